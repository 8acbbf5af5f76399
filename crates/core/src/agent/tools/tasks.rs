//! `check_background`, `stop_background`, `write_background`: the state of tasks, and control over them.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::held::Held;
use super::output::{HEADER_BYTES, excerpt, lines};
use super::text::{self, command, plural, state, survivors};
use super::{Outcome, Toolbox};
use crate::background::task::{Actor, Cause, DeliveredBy, NotificationKind, State, Task, TaskId};
use crate::background::{Ack, Filter, Mode, Stop, Which};
use crate::confine::Manner;
use crate::error::Error;
use crate::limits;

/// How many running and how many ended tasks a list shows.
const LISTED: (usize, usize) = (40, 10);
/// Bytes of each task's last line in a list.
const LAST_LINE_BYTES: usize = 120;
/// Bytes at the end of an output that are searched for the last line.
const LAST_LINE_SOURCE: u64 = 1_024;
/// How long a task has to read what is written to its input.
const WRITE_PATIENCE: Duration = Duration::from_secs(10);

/// What the model has been shown of each task, so that nothing is shown twice. Kept only in memory: after a
/// restart, a check shows an output from its beginning again.
///
/// Tools of one answer may run in parallel, so a lock protects it; the lock is only held for a moment.
#[derive(Debug, Default)]
pub(super) struct Views(Mutex<Shown>);

#[derive(Debug, Default)]
struct Shown {
    tasks: HashMap<TaskId, View>,
    /// Tasks of this session whose end is in a result.
    ended: HashSet<TaskId>,
    /// Tasks whose end a call waits for, once per call.
    awaited: Vec<TaskId>,
    list: Option<Vec<(TaskId, View)>>,
    held: Held,
}

/// The state of a task when it was last shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct View {
    stage: Stage,
    /// The offset up to which its output was shown.
    next: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Queued,
    Running,
    Stopping,
    Ended,
}

impl View {
    fn of(task: &Task, next: u64) -> Self {
        let stage = match task.state {
            State::Queued(_) => Stage::Queued,
            State::Running => Stage::Running,
            State::Stopping { .. } => Stage::Stopping,
            State::Ended(_) => Stage::Ended,
        };
        Self { stage, next }
    }
}

/// Why a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Over {
    /// The awaited event happened, or the timeout expired.
    Waited,
    /// The session's queue has a notification.
    News,
}

impl Views {
    fn with<T>(&self, change: impl FnOnce(&mut Shown) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Records that the model has seen the state of a task, and its output up to `next`.
    pub(super) fn note(&self, task: &Task, next: u64) {
        self.with(|shown| shown.tasks.insert(task.id, View::of(task, next)));
    }

    /// Records how a command is confined.
    pub(super) fn hold(&self, id: TaskId, confined: Option<Manner>) {
        if let Some(manner) = confined {
            self.with(|shown| shown.held.insert(id, manner));
        }
    }

    /// The session's commands that ran confined.
    pub(super) fn held(&self) -> Held {
        self.with(|shown| shown.held.clone())
    }

    fn last(&self, id: TaskId) -> Option<View> {
        self.with(|shown| shown.tasks.get(&id).copied())
    }

    /// Records a list; returns whether it is the same as before.
    fn same_list(&self, list: Vec<(TaskId, View)>) -> bool {
        self.with(|shown| {
            let same = shown.list.as_ref() == Some(&list);
            shown.list = Some(list);
            same
        })
    }
}

/// Marks a task as awaited by a call until it is dropped.
struct Awaited<'a>(&'a Views, TaskId);

impl<'a> Awaited<'a> {
    fn new(views: &'a Views, id: TaskId) -> Self {
        views.with(|shown| shown.awaited.push(id));
        Self(views, id)
    }
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        self.0.with(|shown| {
            if let Some(at) = shown.awaited.iter().position(|id| *id == self.1) {
                shown.awaited.swap_remove(at);
            }
        });
    }
}

impl Toolbox {
    /// An error of the background manager, as text for the model.
    pub(super) fn said(&self, error: Error) -> String {
        match error {
            Error::UnknownTask(id) => format!(
                "there is no task {id} in this workspace; check_background without task_id lists \
                 the tasks"
            ),
            Error::Invalid { field, message } => match field.strip_suffix(".pattern") {
                Some(watch) => format!("`{watch}`: {message}"),
                None => format!("`{field}`: {message}"),
            },
            other @ (Error::SpawnFailed { .. }
            | Error::LimitReached { .. }
            | Error::NotRunning { .. }
            | Error::StoreUnavailable(_)
            | Error::CannotConfine(_)) => other.to_string(),
        }
    }

    pub(super) async fn task(&self, id: TaskId) -> Result<Task, String> {
        self.background.get(id).await.map_err(|error| self.said(error))
    }

    /// Records that an outcome shows the end of a task, if it has ended and belongs to this session: a session must
    /// not consume the result of another session's task.
    pub(super) fn saw(&self, task: &Task, by: DeliveredBy, outcome: &mut Outcome) {
        // Until the end is in the ledger, the task counts as running.
        if task.end().is_some() && task.queue == self.queue {
            self.views.with(|shown| shown.ended.insert(task.id));
            outcome.seen.push((task.id, by));
        }
    }

    /// A task that this session may control.
    async fn own(&self, id: TaskId) -> Result<Task, String> {
        let task = self.task(id).await?;
        if task.queue != self.queue {
            return Err(format!(
                "task {id} was not started by you but by the user or another session, and only \
                 they may stop it or write to it; check_background and task_output may read it"
            ));
        }
        Ok(task)
    }

    /// Runs the tool `check_background` with an id.
    pub(super) async fn check(&self, id: TaskId, wait: Duration) -> Result<Outcome, String> {
        let mut by = DeliveredBy::Check;
        let mut news = "";
        // Register before the first check: calls of one answer run in parallel, and an end that one of them is
        // about to report is not news for another.
        let _awaited = (!wait.is_zero()).then(|| Awaited::new(&self.views, id));
        let mut task = self.task(id).await?;
        if !wait.is_zero() && task.end().is_none() {
            let which = Which::Ids(vec![id]);
            let waited = self.wait(which, Mode::All, wait).await;
            let over = waited.map_err(|error| self.said(error))?;
            task = self.task(id).await?;
            by = DeliveredBy::Wait;
            if over == Over::News && task.end().is_none() {
                news = "something else has happened; the next message tells you";
            }
        }
        let last = self.views.last(id);
        let mut outcome = match last {
            Some(last) if last == View::of(&task, task.output.total) => {
                let hint = if task.end().is_none() { "; you will get its result" } else { "" };
                Outcome::of(format!("{id}: unchanged, {}{hint}", state(&task)))
            }
            Some(_) | None => self.shown(&task, last.map_or(0, |last| last.next)).await?,
        };
        outcome.content = lines([outcome.content.as_str(), news]);
        self.saw(&task, by, &mut outcome);
        Ok(outcome)
    }

    /// Waits for tasks, but returns early if the session's queue gets a notification: the model receives it only
    /// with its next call, and a message that a server is ready is worth more than the rest of the wait.
    async fn wait(&self, which: Which, mode: Mode, patience: Duration) -> Result<Over, Error> {
        let mut queued = self.background.queued(self.queue.clone()).await?;
        let news = async {
            // The count may be out of date, and does not say what it counts; the ledger does.
            while !self.has_news().await? {
                if queued.changed().await.is_err() {
                    // The manager is closed; the wait reports it.
                    std::future::pending::<()>().await;
                }
            }
            Ok(Over::News)
        };
        tokio::select! {
            biased;
            waited = self.background.wait(which, mode, patience) => waited.map(|_| Over::Waited),
            news = news => news,
        }
    }

    /// Whether the session's queue has a notification that is new to the model. An end that a call of the same
    /// answer has shown stays in the queue until the results are stored.
    async fn has_news(&self) -> Result<bool, Error> {
        let queue = self.queue.clone();
        let waiting = self.background.drain(queue, limits::DRAIN_MAX, Ack::Manual).await?;
        Ok(self.views.with(|shown| {
            waiting.notifications.iter().any(|notification| {
                let id = &notification.task.id;
                notification.kind != NotificationKind::Exited
                    || !(shown.ended.contains(id) || shown.awaited.contains(id))
            })
        }))
    }

    /// A task, and its output since the model last saw it.
    async fn shown(&self, task: &Task, from: u64) -> Result<Outcome, String> {
        let left = survivors(task);
        let held = self.views.held();
        let room = HEADER_BYTES + left.len() + held.room(task.id);
        let room = self.budget.result_bytes.saturating_sub(room);
        let excerpt = excerpt(&self.background, task, from, room).await;
        let excerpt = excerpt.map_err(|error| self.said(error))?;
        self.views.note(task, excerpt.next);
        let shown = match (excerpt.shown.is_empty(), from) {
            (true, 0) if task.end().is_none() => "(no output so far)".to_owned(),
            (true, 0) => "(no output)".to_owned(),
            (true, _) => "(no new output)".to_owned(),
            (false, 0) => excerpt.shown,
            (false, _) => format!("output since you last looked:\n{}", excerpt.shown),
        };
        let header = format!("{} {}: {}", task.id, state(task), command(&task.command));
        let held = held.line(task, &shown);
        Ok(Outcome::of(lines([header.as_str(), &shown, &left, &held])))
    }

    /// Runs the tool `check_background` without an id.
    pub(super) async fn check_all(&self, wait: Duration) -> Result<Outcome, String> {
        if !wait.is_zero() {
            let running = self.background.running_in(self.queue.clone()).await;
            let running = running.map_err(|error| self.said(error))?;
            // Without running tasks there is nothing to wait for, and the wait returns at once.
            let which = Which::Ids(running.iter().map(|task| task.id).collect());
            self.wait(which, Mode::Any, wait).await.map_err(|error| self.said(error))?;
        }
        let filter = Filter { state: None, limit: Some(limits::LIST_LIMIT), steps: false };
        let tasks = self.background.list(filter).await.map_err(|error| self.said(error))?;
        let (running, ended): (Vec<Task>, Vec<Task>) =
            tasks.into_iter().partition(|task| task.end().is_none());
        let (own, others): (Vec<Task>, Vec<Task>) =
            running.into_iter().partition(|task| task.queue == self.queue);
        let mut ended: Vec<Task> =
            ended.into_iter().filter(|task| task.queue == self.queue).collect();
        let counts = (own.len(), ended.len(), others.len());
        ended.truncate(LISTED.1);
        let mut listed: Vec<Task> = own.into_iter().chain(others).collect();
        listed.truncate(LISTED.0);
        listed.extend(ended);
        if listed.is_empty() {
            return Ok(Outcome::of("there are no background tasks".to_owned()));
        }
        let list = listed.iter().map(|task| (task.id, View::of(task, task.output.total)));
        let (own, ended, others) = counts;
        if self.views.same_list(list.collect()) {
            return Ok(Outcome::of(format!(
                "unchanged: {own} of your tasks run{}, nothing new",
                if own == 1 { "s" } else { "" }
            )));
        }
        let mut content = format!("{own} of your tasks run{}", if own == 1 { "s" } else { "" });
        // Writing to a string cannot fail.
        let _ = write!(content, ", {ended} ended");
        if others > 0 {
            let _ = write!(content, "; {others} of the user or other sessions");
        }
        for task in &listed {
            let line = self.line(task).await;
            // A list is an overview: the model can check the other tasks by id.
            if content.len() + line.len() + 64 > self.budget.result_bytes {
                content.push_str("\n... more; check_background with task_id shows one ...");
                break;
            }
            content.push('\n');
            content.push_str(&line);
        }
        Ok(Outcome::of(content))
    }

    async fn line(&self, task: &Task) -> String {
        let mut line = format!("{} {}", task.id, state(task));
        if let Some(label) = &task.label {
            let _ = write!(line, " ({})", command(label));
        }
        let _ = write!(line, ": {}", command(&task.command));
        if task.queue != self.queue {
            line.push_str(" | not yours");
        }
        if task.end().is_some() && task.delivered.is_none() {
            line.push_str(" | result on its way to you");
        }
        if !task.serving.ports.is_empty() {
            let ports: Vec<String> = task.serving.ports.iter().map(u16::to_string).collect();
            let _ = write!(line, " | listens on {}", ports.join(", "));
        }
        if let Ok(chunk) = self.background.tail(task.id, LAST_LINE_SOURCE).await {
            let shown = text::clean(&chunk.data);
            if let Some(last) = shown.lines().rev().find(|line| !line.trim().is_empty()) {
                let last = last.trim();
                let end = last.floor_char_boundary(LAST_LINE_BYTES);
                let dots = if end < last.len() { " ..." } else { "" };
                let _ = write!(line, " | last line: {}{dots}", &last[..end]);
            }
        }
        line
    }

    /// Runs the tool `stop_background`.
    pub(super) async fn stop(&self, id: TaskId, signal: i32) -> Result<Outcome, String> {
        self.own(id).await?;
        let cause = Cause { actor: Actor::Agent, message: "stop_background".to_owned() };
        let how = Stop { signal, grace: limits::STOP_GRACE, cause };
        let task = match self.background.stop(id, how).await {
            Ok(task) => task,
            Err(Error::NotRunning { .. }) => {
                let task = self.task(id).await?;
                return Err(format!("task {id} does not run any more: {}", state(&task)));
            }
            Err(error) => return Err(self.said(error)),
        };
        let from = self.views.last(id).map_or(0, |last| last.next);
        let mut outcome = self.shown(&task, from).await?;
        self.saw(&task, DeliveredBy::Check, &mut outcome);
        Ok(outcome)
    }

    /// Runs the tool `write_background`.
    pub(super) async fn write(
        &self,
        id: TaskId,
        text: String,
        eof: bool,
    ) -> Result<Outcome, String> {
        self.own(id).await?;
        let count = text.len();
        let write = self.background.write(id, text.into_bytes(), eof);
        match tokio::time::timeout(WRITE_PATIENCE, write).await {
            Ok(Ok(())) => {
                let closed = if eof { ", and closed its input" } else { "" };
                let plural = plural(count as u64);
                Ok(Outcome::of(format!("wrote {count} byte{plural} to task {id}{closed}")))
            }
            Ok(Err(Error::Invalid { .. })) => Err(format!(
                "task {id} has no standard input; start it with background_run and stdin: true"
            )),
            Ok(Err(error)) => Err(self.said(error)),
            Err(_) => Err(format!(
                "task {id} has not read all of it within {} s; it may have read a part. \
                 check_background shows what it does",
                WRITE_PATIENCE.as_secs()
            )),
        }
    }
}
