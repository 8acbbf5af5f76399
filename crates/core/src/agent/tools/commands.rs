//! `bash` and `background_run`: both start a task, and `bash` waits for it.

use std::collections::BTreeMap;

use tokio::sync::{mpsc, oneshot};

use super::call::Run;
use super::held::is_note;
use super::output::{HEADER_BYTES, excerpt, lines};
use super::text::{state, survivors};
use super::{Outcome, Progress, Toolbox, shell};
use crate::agent::notice::harmless;
use crate::background::task::{Actor, Cause, DeliveredBy, Exit, Queued, State, Task, TaskId};
use crate::background::words::{self, seconds};
use crate::background::{Background, Command, Mode, Spawn, Stdin, Stop, Token, Which};
use crate::confine::Confine;
use crate::error::Error;
use crate::hosts::{HOSTS, QUEUE_VARIABLE, SESSION_VARIABLE};
use crate::limits;

/// Replaces an empty output.
const NO_OUTPUT: &str = "(no output)";

/// Splits the model's text about a finished foreground command into how it ended and its output, without the notes
/// that are meant only for the model.
pub(in crate::agent) fn read_end(content: &str) -> (&str, &str) {
    let (says, rest) = content.split_once('\n').unwrap_or((content, ""));
    let (output, last) = rest.rsplit_once('\n').unwrap_or(("", rest));
    let output = if is_note(last) { output } else { rest };
    (says, if output == NO_OUTPUT { "" } else { output })
}

/// Stops a command in the foreground when the call that waits for it is dropped.
struct Foreground {
    background: Background,
    task: Option<TaskId>,
}

impl Foreground {
    /// Called when the command has ended or was moved to the background.
    fn let_go(mut self) {
        self.task = None;
    }
}

impl Drop for Foreground {
    fn drop(&mut self) {
        if let Some(id) = self.task {
            let cause =
                Cause { actor: Actor::Client, message: "the turn was cancelled".to_owned() };
            let how = Stop { signal: libc::SIGTERM, grace: limits::STOP_GRACE, cause };
            self.background.stop_soon(id, how);
        }
    }
}

impl Toolbox {
    fn wish(&self, run: Run, key: Token, is_step: bool) -> Spawn {
        let line = run.line;
        let command = match shell::find() {
            shell if shell.as_os_str() == "/bin/sh" => Command::Shell(line),
            shell => Command::ShellOf { shell: shell.to_owned(), line },
        };
        Spawn {
            command,
            cwd: Some(run.cwd),
            env: self.env(),
            label: run.label,
            queue: self.queue.clone(),
            deadline: run.deadline,
            linger: self.linger,
            stdin: if run.stdin { Stdin::Pipe } else { Stdin::Null },
            watches: run.watches,
            client_token: Some(key),
            service: false,
            confine: run.confine,
            is_step,
            line: run.queue,
            on: run.on,
            resources: run.resources,
        }
    }

    /// Changes to the daemon's environment for a command.
    fn env(&self) -> BTreeMap<String, Option<String>> {
        // Tasks that the command spawns belong to this session, not to an agent in whose shell the daemon was
        // started.
        let ids = HOSTS.into_iter().map(|variable| {
            let own = (variable == SESSION_VARIABLE).then(|| self.queue.clone());
            (variable.to_owned(), own)
        });
        // With `CDPATH`, `cd lib` could lead to a directory other than the one that the permission check assumed.
        let left_out = ["CDPATH", QUEUE_VARIABLE].map(|name| (name.to_owned(), None));
        ids.chain(left_out).collect()
    }

    /// Runs the tool `bash`: waits, and moves the command to the background after
    /// [`Budget::yield_after`](super::Budget).
    pub(super) async fn bash(
        &self,
        run: Run,
        key: Token,
        progress: &mpsc::UnboundedSender<Progress>,
    ) -> Result<Outcome, String> {
        let confined = run.confine.as_ref().and_then(Confine::manner);
        let (task, foreground) = self.in_foreground(self.wish(run, key, true)).await?;
        let id = task.id;
        self.views.hold(id, confined);
        // The receiver that displays progress may be gone; the command runs on regardless.
        let _ = progress.send(Progress::Spawned(task));
        let (ids, patience) = (Which::Ids(vec![id]), self.budget.yield_after);
        let waited = self.background.wait(ids, Mode::All, patience).await;
        let mut tasks = waited.map_err(|error| self.said(error))?.tasks;
        // The user may have removed it in the meantime.
        let task = tasks.pop().ok_or_else(|| self.said(Error::UnknownTask(id)))?;
        match task.end() {
            Some(end) => {
                foreground.let_go();
                let failed = end.exit != Exit::Code(0) || end.cause.is_some();
                let mut outcome = self.ended(&task, failed).await?;
                self.saw(&task, DeliveredBy::Wait, &mut outcome);
                Ok(outcome)
            }
            None => {
                // If this cannot be stored, the task stays a step of the turn; it runs and reports all the same.
                let _ = self.background.promote(id).await;
                // No await between these two: a turn that is cancelled before them stops the command, and one that
                // is cancelled after them knows that it continues.
                foreground.let_go();
                let _ = progress.send(Progress::Moved(id));
                self.moved(&task).await
            }
        }
    }

    /// Spawns a command that is stopped if this future is dropped at any time.
    async fn in_foreground(&self, wish: Spawn) -> Result<(Task, Foreground), String> {
        let (reply, answer) = oneshot::channel();
        let background = self.background.clone();
        // Runs to completion even if the call is dropped: a task has no id to stop it by while it is being spawned.
        // If the result is not received, dropping it stops the task.
        tokio::spawn(async move {
            let spawned = background.spawn(wish).await.map(|spawned| {
                let task = Some(spawned.task.id);
                (spawned.task, Foreground { background, task })
            });
            let _ = reply.send(spawned);
        });
        match answer.await {
            Ok(spawned) => spawned.map_err(|error| self.said(error)),
            Err(_) => Err("the command was not run: the agent is shutting down".to_owned()),
        }
    }

    async fn ended(&self, task: &Task, is_error: bool) -> Result<Outcome, String> {
        let left = survivors(task);
        let held = self.views.held();
        let room = HEADER_BYTES + left.len() + held.room(task.id);
        let room = self.budget.result_bytes.saturating_sub(room);
        let excerpt = excerpt(&self.background, task, 0, room).await;
        let excerpt = excerpt.map_err(|error| self.said(error))?;
        self.views.note(task, excerpt.next);
        let shown = match excerpt.shown.is_empty() {
            true => NO_OUTPUT,
            false => &excerpt.shown,
        };
        let held = held.line(task, shown);
        let content = lines([state(task).as_str(), shown, &left, &held]);
        Ok(Outcome { is_error, ..Outcome::of(content) })
    }

    async fn moved(&self, task: &Task) -> Result<Outcome, String> {
        let room = self.budget.result_bytes.saturating_sub(HEADER_BYTES);
        let excerpt = excerpt(&self.background, task, 0, room).await;
        let excerpt = excerpt.map_err(|error| self.said(error))?;
        self.views.note(task, excerpt.next);
        let id = task.id;
        let header = match &task.state {
            State::Queued(why) => format!(
                "not started yet: it is {}. It starts by itself, in the background as task {id}",
                queued(why)
            ),
            State::Running | State::Stopping { .. } | State::Ended(_) => format!(
                "still running after {}; it was moved to the background as task {id}, nothing was \
                 restarted",
                seconds(self.budget.yield_after)
            ),
        };
        let header = format!(
            "{header}. Its result will be delivered to you by itself: go on with other work or end \
             your turn, don't poll."
        );
        let shown = match excerpt.shown.is_empty() {
            true => "(no output so far)".to_owned(),
            false => format!("output so far:\n{}", excerpt.shown),
        };
        Ok(Outcome::of(lines([header.as_str(), &shown])))
    }

    /// Runs the tool `background_run`: starts a task and returns at once.
    pub(super) async fn background_run(
        &self,
        run: Run,
        key: Token,
        progress: &mpsc::UnboundedSender<Progress>,
    ) -> Result<Outcome, String> {
        let confined = run.confine.as_ref().and_then(Confine::manner);
        let spawned = self.background.spawn(self.wish(run, key, false)).await;
        let task = spawned.map_err(|error| self.said(error))?.task;
        let id = task.id;
        self.views.hold(id, confined);
        let started = match &task.state {
            State::Queued(why) => {
                format!("task {id} is {}. It starts by itself, in the background", queued(why))
            }
            State::Running | State::Stopping { .. } | State::Ended(_) => {
                format!("started in the background as task {id}")
            }
        };
        let _ = progress.send(Progress::Spawned(task));
        Ok(Outcome::of(format!(
            "{started}. Its result will be delivered to you by itself \
             when it ends: go on with other work or end your turn, don't poll."
        )))
    }
}

/// What a task waits for, as text for a model: `queued, 2nd for build, behind b3f9c2a1`.
fn queued(why: &Queued) -> String {
    format!("queued, {}", harmless(&words::queued(why), false))
}
