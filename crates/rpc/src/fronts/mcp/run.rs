//! Executes tool calls.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use meanwhile_core::agent::notice;
use meanwhile_core::agent::permission::{Rules, Verdict};
use meanwhile_core::agent::tools::{Access, Builtin, Intent, Kind};
use meanwhile_core::background::task::{NotificationKind, State, Task, TaskId};
use meanwhile_core::background::{Ack, Filter, Mode, Spawn, Which, words};
use meanwhile_core::{Error, confine, limits};
use rmcp::model::{JsonObject, RequestMetaObject};

use super::bridge::Afters;
use super::place::{Place, Places};
use super::sandbox::{self, Sandbox};
use super::tasks::stopping;
use super::told::News;
use super::tools::{self, Call};
use crate::convert::from_wire::{self, Defaults};
use crate::convert::hint;
use crate::peer::After;
use crate::wire;

/// How many bytes of the end of an output `check` shows.
const CHECK_BYTES: u64 = 4 << 10;
/// The maximum number of bytes of output in one reply: hosts truncate a longer result, at either end.
const OUTPUT_BYTES: u64 = 16 << 10;
/// How long to wait for a task to read what is written to it.
const WRITE_PATIENCE: Duration = Duration::from_secs(10);
/// The maximum numbers of running and of ended tasks in a list.
const LISTED: (usize, usize) = (40, 10);

/// The result of a call.
pub(super) enum Done {
    Text(String),
    /// The call became a task in the sense of MCP, which the client polls.
    Task(Box<Task>),
}

/// The text of a call that failed.
type Refused = String;

/// Executes a call. Every reply also reports what has ended.
pub(super) async fn call(
    places: &Places,
    call: Call,
    meta: Option<&RequestMetaObject>,
    after: &Afters,
    wants_task: bool,
) -> Result<Done, Refused> {
    let meta: Option<&JsonObject> = meta.map(|meta| &***meta);
    let place = places.of(meta).await.map_err(said)?;
    let place = &place;
    allowed(places, place, &call)?;
    let (text, about) = match call {
        // With hooks, the end of an MCP task would wake the session a second time, without need.
        Call::Run(run) if wants_task && !place.hooked => {
            let task = start(places, place, run, meta, after).await?;
            return Ok(Done::Task(Box::new(task)));
        }
        Call::Run(run) => {
            // Take the notifications first: one from the new task, in this reply, would look as if the task had not
            // started.
            let news = News::take(place, after).await.map_err(said)?;
            let task = start(places, place, run, meta, after).await?;
            return Ok(Done::Text(started(&task, place.hooked) + &news.text()));
        }
        Call::Check(tools::One { id }) => (String::new(), Some(own(place, &id).await?)),
        Call::Wait(wait) => (wait_for(place, wait).await?, None),
        Call::Output(tools::Output { id, offset }) => {
            let task = own(place, &id).await?;
            (output(place, &task, offset).await.map_err(said)?, None)
        }
        Call::Write(write) => (written(place, write, meta).await?, None),
        Call::Stop(tools::One { id }) => {
            let task = own(place, &id).await?;
            let stopped = match place.background.stop(task.id, stopping("the tool `stop`")).await {
                Ok(task) => task,
                Err(Error::NotRunning { message, .. }) => {
                    return Err(format!("task {id} does not run any more: {message}"));
                }
                Err(error) => return Err(said(error)),
            };
            (String::new(), Some(stopped))
        }
        Call::Drain => (String::new(), None),
        Call::List => (list(place).await.map_err(said)?, None),
    };
    let news = News::take(place, after).await.map_err(said)?;
    let text = match about {
        // The notifications contain the end and the output of the task.
        Some(task) if news.tells_end_of(task.id) => String::new(),
        Some(task) => about_task(place, &task).await.map_err(said)?,
        None if text.is_empty() && news.is_empty() => nothing_new(place).await.map_err(said)?,
        None => text,
    };
    Ok(Done::Text(text + &news.text()))
}

/// Refuses a call that a rule denies. A command is checked when it is started; there are no rules about tools that
/// only list tasks or report what has ended.
fn allowed(places: &Places, place: &Place, call: &Call) -> Result<(), Refused> {
    let (tool, kind) = match call {
        Call::Check(_) => (Builtin::CheckBackground, Kind::Read),
        Call::Output(_) => (Builtin::TaskOutput, Kind::Read),
        Call::Write(_) => (Builtin::WriteBackground, Kind::Execute),
        Call::Stop(_) => (Builtin::StopBackground, Kind::Execute),
        Call::Run(_) | Call::Wait(_) | Call::Drain | Call::List => return Ok(()),
    };
    let rules = Rules::new(places.options.agent.rules.clone());
    let intent = Intent::new(tool, String::new(), kind, Vec::new());
    match rules.judge(&intent, place.background.workspace()) {
        Verdict::Deny { why } => Err(format!("not done: {why}")),
        // The host has already asked the user where that was needed.
        Verdict::Allow(_) | Verdict::Ask { .. } => Ok(()),
    }
}

async fn start(
    places: &Places,
    place: &Place,
    run: tools::Run,
    meta: Option<&JsonObject>,
    after: &Afters,
) -> Result<Task, Refused> {
    let resources = run.resources();
    let deadline_ms = run.deadline_seconds.map(|it| milliseconds("deadline_seconds", it));
    let watch = run.watch.map(|pattern| wire::WatchParam { id: None, pattern, limit: None });
    let params = wire::SpawnParams {
        command: wire::CommandParam::Shell(run.command),
        shell: None,
        cwd: run.cwd,
        env: environment(place),
        label: run.label,
        queue: None,
        deadline_ms: deadline_ms.transpose()?,
        stdin: run.stdin.then_some(wire::StdinParam::Pipe),
        pty: None,
        watch: watch.into_iter().collect(),
        client_token: None,
        service: run.service,
        confine: None,
        slot: run.slot,
        after: run.after,
        on_failure: run.on_failure,
        queue_deadline_ms: None,
        network: false,
        on: run.on,
        resources,
        work_done_token: None,
    };
    let defaults = Defaults { queue: place.queue.clone(), ..Defaults::default() };
    let mut wish = from_wire::spawn(params, &defaults).map_err(|error| error.to_string())?;
    let rules = Rules::new(places.options.agent.rules.clone());
    let workspace = place.background.workspace();
    let cwd = wish.cwd.as_ref().map_or_else(|| workspace.to_owned(), |cwd| workspace.join(cwd));
    if let meanwhile_core::background::Command::Shell(line) = &wish.command {
        let access = match wish.on.clone() {
            None => Access::Command { line: line.clone(), cwd, level: None },
            Some(place) => Access::Elsewhere { place, line: line.clone(), cwd },
        };
        let intent = Intent::new(Builtin::BackgroundRun, line.clone(), Kind::Execute, vec![access]);
        // The host has already asked the user where that was needed: a call that arrives here was allowed.
        if let Verdict::Deny { why } = rules.judge(&intent, workspace) {
            return Err(format!("not started: {why}"));
        }
    }
    wish.confine = held(&wish, meta, &rules, workspace).await?.or(wish.confine);
    let spawned = place.background.spawn(wish).await.map_err(said)?;
    after.push(After::Release(spawned.hold));
    Ok(spawned.task)
}

/// How the session's sandbox confines the task; `None` without a sandbox.
async fn held(
    wish: &Spawn,
    meta: Option<&JsonObject>,
    rules: &Rules,
    workspace: &Path,
) -> Result<Option<confine::Confine>, Refused> {
    match sandbox::of(meta, workspace)? {
        Sandbox::None => Ok(None),
        Sandbox::Held(_) if wish.on.is_some() => {
            let why =
                "not started: this session's sandbox can only confine commands on this machine";
            Err(why.to_owned())
        }
        Sandbox::Held(mut held) => {
            let of_session = meta.and_then(sandbox::directory);
            // `work` allows writing to the whole workspace, so the session must be allowed to write to all of it.
            let is_here = of_session
                .is_none_or(|it| it.canonicalize().is_ok_and(|it| workspace.starts_with(it)));
            if !is_here {
                return Err(format!(
                    "not started: this session's tasks are in {}, outside of its sandbox",
                    workspace.display()
                ));
            }
            let Some(ours) = rules.confined(workspace) else {
                return Err("not started: rules exclude everything that could be read".to_owned());
            };
            // Paths that do not exist need no mount.
            if let Some(first) = held.sealed.iter().find(|path| path.exists())
                && !tokio::task::spawn_blocking(confine::has_mounts).await.unwrap_or_default()
            {
                return Err(format!(
                    "not started: this session may not write {}, and this machine has no mount \
                     namespaces that would prevent a task from it (`meanwhile doctor`). Run the command with \
                     your own shell tool",
                    first.display()
                ));
            }
            if held.mode == confine::Mode::Work {
                held.sealed.extend(ours.sealed);
            }
            held.hidden.extend(ours.hidden);
            held.readable.extend(ours.readable);
            Ok(Some(held))
        }
    }
}

/// A task's environment contains the id of its own session, and of no other host's session.
fn environment(place: &Place) -> BTreeMap<String, Option<String>> {
    let owner = &place.owner;
    let others = owner.others().map(|name| (name.to_owned(), None));
    others.chain([(owner.variable.to_owned(), Some(owner.queue.clone()))]).collect()
}

fn milliseconds(field: &str, seconds: f64) -> Result<u64, Refused> {
    let time = Duration::try_from_secs_f64(seconds).ok().filter(|time| !time.is_zero());
    let millis = time.and_then(|time| u64::try_from(time.as_millis()).ok());
    millis.ok_or_else(|| format!("`{field}` is {seconds}: expected a number of seconds above 0"))
}

fn started(task: &Task, hooked: bool) -> String {
    let how = match (task.serving.service, hooked) {
        (true, _) => "Check it when you need it.",
        (false, true) => "Its result comes by itself; go on, and end your turn when you are done.",
        (false, false) => "Go on; call wait for its result when nothing else is left to do.",
    };
    let id = task.id;
    match &task.state {
        State::Queued(why) => {
            let why = harmless(&words::queued(why));
            format!("task {id} is queued, {why}; it starts by itself, in the background. {how}\n")
        }
        State::Running | State::Stopping { .. } | State::Ended(_) => {
            format!("task {id} runs in the background. {how}\n")
        }
    }
}

/// A task of this session, by its id.
async fn own(place: &Place, id: &str) -> Result<Task, Refused> {
    let id: TaskId = id.parse().map_err(|why| format!("`id`: {why}"))?;
    let task = place.background.get(id).await.map_err(said)?;
    if task.queue != place.queue {
        return Err(format!("task {id} is not of this session; `list` names those that are"));
    }
    Ok(task)
}

async fn about_task(place: &Place, task: &Task) -> Result<String, Error> {
    let mut text = line(task, place);
    if !task.survivors.is_empty() {
        let pids: Vec<String> = task.survivors.iter().map(|it| it.pid.to_string()).collect();
        let _ = writeln!(text, "processes that are still alive: {}", pids.join(", "));
    }
    let chunk = place.background.tail(task.id, CHECK_BYTES).await?;
    if chunk.offset > 0 {
        let before = words::thousands(chunk.offset);
        let _ = writeln!(text, "... {before} bytes before; `output` has them ...");
    }
    text.push_str(&notice::output(&chunk.data));
    if chunk.data.is_empty() {
        text.push_str("(no output)\n");
    }
    Ok(text)
}

/// Text from others on one line, which cannot imitate the markers of this server.
fn harmless(text: &str) -> String {
    notice::harmless(&words::one_line(text), true)
}

/// A task on one line.
fn line(task: &Task, place: &Place) -> String {
    let state = match &task.state {
        State::Queued(why) => format!("queued, {}", words::queued(why)),
        State::Running => {
            let since = meanwhile_core::background::task::Timestamp::now().since(task.created_at);
            format!("running for {}", words::seconds(since))
        }
        State::Stopping { .. } => "being stopped".to_owned(),
        State::Ended(_) => words::ended(task),
    };
    let mut text = format!("[bg:{}] {}: ", task.id, harmless(&state));
    text.push_str(&harmless(&words::shorten(&words::one_line(&task.command), 200)));
    if let Some(label) = &task.label {
        let _ = write!(text, " ({})", harmless(label));
    }
    if !task.serving.ports.is_empty() {
        let ports: Vec<String> = task.serving.ports.iter().map(u16::to_string).collect();
        let _ = write!(text, ", listens on {}", ports.join(", "));
    }
    if task.serving.ready {
        text.push_str(", ready");
    }
    if task.queue != place.queue {
        text.push_str(", not of this session");
    }
    text.push('\n');
    text
}

async fn output(place: &Place, task: &Task, offset: Option<u64>) -> Result<String, Error> {
    let background = &place.background;
    let chunk = match offset {
        Some(offset) => background.read(task.id, offset, OUTPUT_BYTES).await?,
        None => background.tail(task.id, OUTPUT_BYTES).await?,
    };
    let (from, to) = (chunk.offset, chunk.next_offset);
    let total = words::thousands(task.output.total.max(to));
    let mut text = format!("[bg:{}] bytes {from} to {to} of {total}\n", task.id);
    if let Some((from, to)) = chunk.gap {
        let lost = words::thousands(to - from);
        let _ = writeln!(text, "... {lost} bytes were not kept ...");
    }
    text.push_str(&notice::output(&chunk.data));
    if !chunk.eof && to < task.output.total {
        let _ = writeln!(text, "... go on with offset {to} ...");
    }
    Ok(text)
}

async fn written(
    place: &Place,
    write: tools::Write,
    meta: Option<&JsonObject>,
) -> Result<String, Refused> {
    let task = own(place, &write.id).await?;
    if let Sandbox::Held(held) = sandbox::of(meta, place.background.workspace())? {
        // A shell that was started with wider permissions would use them now.
        let began = place.background.manner(task.id).map_err(said)?;
        if !began.zip(held.manner()).is_some_and(|(began, now)| began.is_within(now)) {
            return Err(format!(
                "not written: task {} was started when this session might do more than now; stop it and \
                 start it again",
                task.id
            ));
        }
    }
    let count = write.text.len();
    let data = from_wire::data(write.text, None).map_err(|error| error.to_string())?;
    let writing = place.background.write(task.id, data, write.eof);
    match tokio::time::timeout(WRITE_PATIENCE, writing).await {
        Ok(Ok(())) => {
            let closed = if write.eof { " and closed its input" } else { "" };
            Ok(format!("wrote {count} bytes to task {}{closed}\n", task.id))
        }
        Ok(Err(Error::Invalid { .. })) => {
            Err(format!("task {} has no standard input; start it with stdin: true", task.id))
        }
        Ok(Err(error)) => Err(said(error)),
        Err(_) => Err(format!(
            "task {} did not read all of it within {}; some may have arrived",
            task.id,
            words::seconds(WRITE_PATIENCE)
        )),
    }
}

async fn wait_for(place: &Place, wait: tools::Wait) -> Result<String, Refused> {
    let patience = match wait.seconds {
        Some(seconds) => milliseconds("seconds", seconds).map(Duration::from_millis)?,
        None => limits::TOOL_WAIT_MAX,
    };
    let patience = patience.min(limits::TOOL_WAIT_MAX);
    let background = &place.background;
    let mode = if wait.any { Mode::Any } else { Mode::All };
    let queue = place.queue.clone();
    let ids = match wait.ids.is_empty() {
        // If a task has ended and was not reported, do not wait.
        true if wait.any && untold(place).await.map_err(said)? => Vec::new(),
        true => {
            background.wait_finite(queue.clone(), mode, patience).await.map_err(said)?;
            let running = background.running_in(queue).await.map_err(said)?;
            running.iter().map(|task| task.id).collect()
        }
        false => {
            let mut ids = Vec::with_capacity(wait.ids.len());
            for id in &wait.ids {
                ids.push(own(place, id).await?.id);
            }
            tokio::select! {
                biased;
                waited = background.wait(Which::Ids(ids.clone()), mode, patience) => {
                    waited.map_err(said)?;
                }
                // Report a server that is ready, or a task that waits for input, without waiting any longer.
                told = background.news_in(queue, |kind| *kind != NotificationKind::Exited) => {
                    told.map_err(said)?;
                }
            }
            ids
        }
    };
    let mut text = String::new();
    for id in ids {
        match background.get(id).await {
            Ok(task) if task.end().is_none() => text.push_str(&line(&task, place)),
            Ok(_) | Err(Error::UnknownTask(_)) => {}
            Err(error) => return Err(said(error)),
        }
    }
    if !text.is_empty() {
        text.insert_str(0, "still running:\n");
        text.push_str("(wait again, or go on)\n");
    }
    Ok(text)
}

/// Whether the queue contains notifications for the session.
async fn untold(place: &Place) -> Result<bool, Error> {
    let waiting = place.background.drain(place.queue.clone(), 1, Ack::Manual).await?;
    Ok(!waiting.notifications.is_empty())
}

async fn list(place: &Place) -> Result<String, Error> {
    let filter = Filter { limit: Some(limits::LIST_LIMIT_MAX), ..Filter::default() };
    let tasks = place.background.list(filter).await?;
    let (own, others): (Vec<Task>, Vec<Task>) =
        tasks.into_iter().partition(|task| task.queue == place.queue);
    let others = others.iter().filter(|task| task.end().is_none()).count();
    let (running, ended): (Vec<Task>, Vec<Task>) =
        own.into_iter().partition(|task| task.end().is_none());
    let mut text = format!("{} running, {} ended", running.len(), ended.len());
    if others > 0 {
        let _ = write!(text, "; {others} of the user or of other sessions run here");
    }
    text.push('\n');
    for task in running.iter().take(LISTED.0).chain(ended.iter().take(LISTED.1)) {
        text.push_str(&line(task, place));
    }
    let left = running.len().saturating_sub(LISTED.0) + ended.len().saturating_sub(LISTED.1);
    if left > 0 {
        let _ = writeln!(text, "... and {left} more ...");
    }
    Ok(text)
}

async fn nothing_new(place: &Place) -> Result<String, Error> {
    let running = place.background.running_in(place.queue.clone()).await?;
    if running.is_empty() {
        return Ok("nothing new, and nothing runs\n".to_owned());
    }
    let mut text = "nothing new; still running:\n".to_owned();
    for task in running.iter().take(LISTED.0) {
        text.push_str(&line(task, place));
    }
    Ok(text)
}

/// An error as a text for a model.
fn said(error: Error) -> Refused {
    let advice = hint::core(&error);
    match error {
        Error::UnknownTask(id) => {
            format!("there is no task {id} here; `list` names the tasks")
        }
        Error::Invalid { field, message } => format!("`{field}`: {message}"),
        other @ (Error::SpawnFailed { .. }
        | Error::LimitReached { .. }
        | Error::NotRunning { .. }
        | Error::StoreUnavailable(_)
        | Error::CannotConfine(_)) => match advice {
            Some(advice) => format!("{other}; {advice}"),
            None => other.to_string(),
        },
    }
}
