//! `meanwhile spawn`: starts a task, and with `--wait` waits until it ends.

use std::path::PathBuf;

use futures_util::future::join_all;
use meanwhile_core::background::task::{Actor, Cause, Outcome, Task, TaskId};
use meanwhile_core::background::words::reason;
use meanwhile_core::background::{
    Background, Chunk, Line, Mode, Resources, Size, Spawn, Stdin, Stop, Watch, Which,
};
use meanwhile_core::hosts::Owner;
use meanwhile_core::{Error, confine, limits};
use tokio::io::AsyncReadExt;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::args;
use super::failure::Failure;
use super::follow::{Follow, Manner, Piece};
use super::live::{self, Live, result_line};
use super::out::{self, Out, note, remark};
use super::session::Session;
use super::{ids, json, show};

/// The maximum number of bytes of standard input to forward at a time: the size of a pipe.
const INPUT_BYTES: usize = 64 << 10;
/// The size of the task's terminal if the command has none.
const ROWS_COLUMNS: (u16, u16) = (24, 80);

pub(crate) async fn run(session: &mut Session, args: args::Spawn) -> Result<u8, Failure> {
    let (wait, as_json, pass_input, pty) = (args.wait, args.json, args.stdin, args.pty);
    let replaced = args.replace.clone();
    let after = followed(session, &args.after).await?;
    let wish = wish(session, args, after)?;
    if let Some(label) = replaced {
        stop_labelled(session, &label).await?;
    }
    let spawned = session.background.spawn(wish).await?;
    let task = spawned.task;
    drop(spawned.hold);
    let id = task.id;
    if as_json {
        session.out.json(&json::task(&task))?;
    } else if !wait {
        session.out.line(id)?;
    }
    session.out.flush()?;
    if !wait {
        remark(format_args!(
            "it runs in the background; `meanwhile logs -f {id}` shows its output"
        ));
        if pass_input {
            feed(&session.background, id).await?;
        }
        return Ok(0);
    }
    stay(session, &task, pty, as_json, pass_input).await
}

/// The ids of the tasks to run after.
async fn followed(session: &mut Session, names: &[String]) -> Result<Vec<TaskId>, Failure> {
    let mut ids = Vec::new();
    for place in ids::resolve(session, names).await? {
        match place.elsewhere {
            None => ids.extend(place.ids),
            Some(_) => {
                let id = place.ids[0];
                let message = format!(
                    "task `{id}` belongs to another workspace, so no task can run after it"
                );
                return Err(Failure::usage(message));
            }
        }
    }
    Ok(ids)
}

fn wish(session: &Session, args: args::Spawn, after: Vec<TaskId>) -> Result<Spawn, Failure> {
    let stdin = match (args.pty, args.stdin) {
        (true, _) => {
            let (rows, cols) = screen_size().unwrap_or(ROWS_COLUMNS);
            Stdin::Pty { rows, cols }
        }
        (false, true) => Stdin::Pipe,
        (false, false) => Stdin::Null,
    };
    let watches = args.watch.into_iter().enumerate().map(|(place, pattern)| Watch {
        // The pattern as id makes a notification clearer than an index; a longer pattern gets an index, as in the
        // protocol.
        id: match pattern.len() {
            1..=limits::NAME_BYTES => pattern.clone(),
            _ => place.to_string(),
        },
        pattern,
        limit: limits::WATCH_LIMIT,
    });
    let others = session.owner.iter().flat_map(Owner::others);
    let foreign = others.filter(|name| std::env::var_os(name).is_some());
    // If only a hook names the session, pass its queue to the task in the environment.
    let noted = session.owner.iter().filter(|it| std::env::var_os(it.variable).is_none());
    let noted = noted.map(|it| (it.variable.to_owned(), Some(it.queue.clone())));
    // The variables of `--env` come last and take precedence.
    let env = foreign.map(|name| (name.to_owned(), None)).chain(noted).chain(args.env);
    Ok(Spawn {
        command: match args.shell {
            Some(shell) => args::shell_command(shell, &args.command).map_err(Failure::usage)?,
            None => args::task_command(args.command),
        },
        cwd: args.cwd.map(from_here).transpose()?.or_else(|| session.away.clone()),
        env: env.collect(),
        label: args.replace.or(args.label),
        queue: session.queue(args.queue),
        deadline: args.deadline,
        linger: args.linger.0,
        stdin,
        watches: watches.collect(),
        client_token: None,
        service: args.service,
        confine: match (args.confine, args.network) {
            (Some(args::Confine::Look), true) => {
                return Err(Failure::usage("`--network` requires `--confine work`".to_owned()));
            }
            (mode, network) => {
                mode.map(|mode| confine::Confine { network, ..confine::Mode::from(mode).into() })
            }
        },
        is_step: false,
        on: args.on,
        resources: Resources {
            cpus: args.cpus,
            memory: args.memory,
            gpus: args.gpus,
            time: args.time,
            partition: args.partition,
            extra: args.extra,
        },
        line: Line {
            slot: args.slot,
            after,
            on_failure: args.on_failure.into(),
            deadline: args.queue_deadline,
        },
    })
}

/// Stops the running tasks with a label.
async fn stop_labelled(session: &Session, label: &str) -> Result<(), Failure> {
    let message = "replaced from the command line".to_owned();
    let cause = Cause { actor: Actor::Client, message };
    let how = Stop { signal: libc::SIGTERM, grace: limits::STOP_GRACE, cause };
    let tasks = ids::list(&session.background).await?;
    let is_meant = |task: &&Task| task.end().is_none() && task.label.as_deref() == Some(label);
    let stops =
        tasks.iter().filter(is_meant).map(|task| session.background.stop(task.id, how.clone()));
    for stopped in join_all(stops).await {
        match stopped {
            Ok(task) if task.end().is_none() => {
                return Err(Failure::new(format!(
                    "task `{}` runs at a place that cannot be reached now, so it is not replaced",
                    task.id
                )));
            }
            // It ended between the list and the stop.
            Ok(_) | Err(Error::NotRunning { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// A person means a directory relative to the current one, not to the workspace.
fn from_here(directory: PathBuf) -> Result<PathBuf, Failure> {
    std::path::absolute(&directory).map_err(|error| {
        Failure::usage(format!("cannot use `{}` as --cwd: {}", directory.display(), reason(&error)))
    })
}

/// Shows a task's output as it arrives, and returns its exit code.
async fn stay(
    session: &mut Session,
    task: &Task,
    pty: bool,
    as_json: bool,
    pass_input: bool,
) -> Result<u8, Failure> {
    let Session { background, events, out, .. } = session;
    let id = task.id;
    let live = match as_json {
        true => None,
        false => Live::new(background, std::slice::from_ref(task)).await?,
    };
    let mut screen = Screen { out, id, live, as_json, held: Vec::new(), missed: 0 };
    let manner = Manner { wait: true, text: as_json };
    let mut follow = Follow::new(background, events, id, 0, manner).await?;
    let mut tick = tokio::time::interval(live::TICK);
    let mut fed = !pass_input;
    let mut input = std::pin::pin!(feed(background, id));
    let mut interrupt = std::pin::pin!(tokio::signal::ctrl_c());
    let mut resized = signal(SignalKind::window_change()).ok().filter(|_| pty);
    loop {
        tokio::select! {
            piece = follow.next() => match piece? {
                Piece::Output(chunk) => if let Err(failure) = screen.output(chunk) {
                    return left(failure, id);
                },
                Piece::Progress(progress) => if let Some(live) = &mut screen.live {
                    live.progress(id, progress);
                },
                Piece::End => break,
            },
            result = &mut input, if !fed => { result?; fed = true; }
            // If the task can no longer be resized, this command goes on.
            Some(()) = next(&mut resized) => if let Some((rows, cols)) = screen_size() {
                let _ = background.resize(id, Size { rows, cols }).await;
            },
            _ = tick.tick(), if screen.live.is_some() => if let Some(live) = &mut screen.live {
                live.tick();
            },
            // Without a handler the signal would have ended this process.
            _ = &mut interrupt => {
                drop(screen);
                return Ok(interrupted(&[id]));
            }
        }
    }
    let waited = background.wait(Which::Ids(vec![id]), Mode::All, limits::TIME_MAX).await?;
    let Some((task, end)) = waited.tasks.first().and_then(|task| task.end().map(|end| (task, end)))
    else {
        return Err(Failure::new(format!("how task `{id}` ended is not known")));
    };
    screen.finish(task)?;
    Ok(show::exit_code(end))
}

/// The size of the person's terminal.
fn screen_size() -> Option<(u16, u16)> {
    console::Term::stderr().size_checked()
}

/// The next signal; never returns if there is no listener.
async fn next(signal: &mut Option<Signal>) -> Option<()> {
    signal.as_mut()?.recv().await
}

/// The reader of the output has exited. Like other programs in a pipe, this command exits; the task does not, so
/// print that it goes on.
fn left(failure: Failure, id: TaskId) -> Result<u8, Failure> {
    match failure {
        Failure::ClosedOutput => {
            note(format_args!(
                "the reader of the output is gone, but the task goes on: \
                 `meanwhile stop {id}` ends it"
            ));
            // 128 + SIGPIPE.
            Ok(141)
        }
        told @ Failure::Told { .. } => Err(told),
    }
}

/// Prints that the tasks go on although the wait was interrupted.
pub(crate) fn interrupted(ids: &[TaskId]) -> u8 {
    let names: Vec<&str> = ids.iter().map(TaskId::as_str).collect();
    let names = names.join(" ");
    match ids {
        // The last task ended at this moment.
        [] => {}
        [id] => note(format_args!(
            "the task goes on: `meanwhile logs -f {id}` shows it, `meanwhile stop {id}` ends it"
        )),
        _ => note(format_args!(
            "the tasks go on: `meanwhile ps` lists them, `meanwhile stop {names}` ends them"
        )),
    }
    show::INTERRUPTED
}

/// Forwards standard input to a task, until either ends.
async fn feed(background: &Background, id: TaskId) -> Result<(), Failure> {
    let mut stdin = tokio::io::stdin();
    let mut buffer = vec![0; INPUT_BYTES];
    loop {
        let count = stdin.read(&mut buffer).await.map_err(|error| {
            Failure::new(format!("cannot read standard input: {}", reason(&error)))
        })?;
        match background.write(id, buffer[..count].to_vec(), count == 0).await {
            Ok(()) if count > 0 => {}
            // A command may end before it has read all input, as in any pipe.
            Ok(()) | Err(Error::NotRunning { .. }) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Shows the output of the task that the command waits for.
struct Screen<'a> {
    out: &'a mut Out,
    id: TaskId,
    live: Option<Live>,
    as_json: bool,
    /// The line that is not complete yet, because the status line is only drawn below complete lines.
    held: Vec<u8>,
    /// The number of bytes that were not shown and not yet reported.
    missed: u64,
}

/// A line longer than this is shown before it is complete.
const HELD_MAX: usize = 64 << 10;

impl Screen<'_> {
    fn output(&mut self, chunk: Chunk) -> Result<(), Failure> {
        if self.as_json {
            return json::output(self.out, self.id, chunk);
        }
        if let Some((from, to)) = chunk.gap {
            self.show_held()?;
            self.gap(to - from);
        }
        if !self.shares_screen() {
            self.out.raw(&chunk.data)?;
            return self.out.flush();
        }
        self.held.extend_from_slice(&chunk.data);
        let whole = match self.held.iter().rposition(|byte| *byte == b'\n') {
            Some(end) => end + 1,
            None if self.held.len() > HELD_MAX => self.held.len(),
            None => return Ok(()),
        };
        let rest = self.held.split_off(whole);
        self.show_held()?;
        self.held = rest;
        Ok(())
    }

    /// Whether output and status line appear on the same terminal.
    fn shares_screen(&self) -> bool {
        self.live.is_some() && self.out.terminal
    }

    fn show_held(&mut self) -> Result<(), Failure> {
        let Self { out, live, held, .. } = self;
        let bytes = std::mem::take(held);
        if bytes.is_empty() {
            return Ok(());
        }
        let mut show = || out.raw(&bytes).and_then(|()| out.flush());
        match live {
            Some(live) => live.suspend(show),
            None => show(),
        }
    }

    /// The task wrote faster than its output was read. A terminal shows this at its position in the output; otherwise
    /// it is reported once at the end.
    fn gap(&mut self, bytes: u64) {
        match &self.live {
            Some(live) if self.out.terminal => live.suspend(|| {
                note(format_args!("... {} bytes were not kept ...", show::thousands(bytes)));
            }),
            Some(_) | None => self.missed += bytes,
        }
    }

    /// Shows the rest of the output and the result.
    fn finish(mut self, task: &Task) -> Result<(), Failure> {
        if !self.held.is_empty() {
            self.held.push(b'\n');
        }
        self.show_held()?;
        if self.as_json {
            return self.out.json(&json::task(task));
        }
        let missed = self.missed;
        if missed > 0 {
            let text = format!(
                "{} bytes arrived faster than they could be shown, and were not kept; \
                 `output_tail` in config.toml keeps more",
                show::thousands(missed)
            );
            match &self.live {
                Some(live) => live.suspend(|| note(text)),
                None => note(text),
            }
        }
        if let Some(live) = &mut self.live {
            live.ended(task);
            return Ok(());
        }
        // Prints nothing else, but an end by another actor must not look like the command's own.
        if task.end().is_some_and(|end| end.outcome != Outcome::Exited) {
            note(result_line(task, out::stderr_colour()));
        }
        Ok(())
    }
}
