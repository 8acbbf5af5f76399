//! LSP's standard progress (`$/progress`) for the tasks this connection spawned.
//!
//! Owns which task is shown under which token. A token comes with the spawn, or is made by us where
//! the client has `window.workDoneProgress`; then the client is asked first. The state is the
//! connection's, a few words a task, shared by the loop and the pusher under a lock that is never
//! held across an await.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use meanwhile_core::background::task::{End, Exit, Outcome, Progress, Task, TaskId};
use serde_json::{Value, json};

use crate::convert::signal;
use crate::outbox::Outbox;
use crate::wire::ProgressToken;

/// Characters of a command or label in a title; editors show one short line.
const TITLE_CHARS: usize = 80;

/// The progress of this connection's tasks. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progresses(Arc<Mutex<HashMap<TaskId, Vec<Track>>>>);

/// A wish to show a task's progress.
#[derive(Debug)]
pub(crate) struct Follow {
    /// The task, as it was spawned.
    pub(crate) task: TaskId,
    /// What to call it.
    pub(crate) title: String,
    /// The client's token; without one the client is asked to make ours.
    pub(crate) token: Option<ProgressToken>,
}

impl Follow {
    /// The wish for a task that has not ended.
    pub(crate) fn new(task: &Task, token: Option<ProgressToken>) -> Option<Self> {
        if task.end().is_some() {
            return None;
        }
        let title = task.label.as_ref().unwrap_or(&task.command);
        let line = title.lines().next().unwrap_or_default();
        Some(Self { task: task.id, title: line.chars().take(TITLE_CHARS).collect(), token })
    }
}

#[derive(Debug)]
struct Track {
    token: ProgressToken,
    phase: Phase,
    /// The client cancelled it, and its task is being stopped.
    cancelled: bool,
}

impl Track {
    fn new(token: ProgressToken, phase: Phase) -> Self {
        Self { token, phase, cancelled: false }
    }
}

#[derive(Debug)]
enum Phase {
    /// The client was asked to make the token; `title` is for the begin.
    Asked { title: String },
    /// Begun.
    Shown,
}

impl Progresses {
    /// Begins to show a task, or asks the client to. A token that shows one already is left alone:
    /// the same spawn was sent again, by its `clientToken`, or the client mixes up its own.
    pub(crate) fn follow(&self, follow: Follow, outbox: &Outbox) {
        let Follow { task, title, token } = follow;
        let mut tasks = self.lock();
        let is_shown = |token: &ProgressToken| {
            tasks.values().flatten().any(|track: &Track| track.token == *token)
        };
        let track = match token {
            Some(token) => {
                if is_shown(&token) {
                    return;
                }
                begin(&token, &title, outbox);
                Track::new(token, Phase::Shown)
            }
            None => {
                // The token is the request's id too, so the answer finds its task.
                let token = ProgressToken::Text(format!("meanwhile/{task}"));
                if is_shown(&token) {
                    return;
                }
                outbox.send(&json!({
                    "jsonrpc": "2.0",
                    "id": token,
                    "method": "window/workDoneProgress/create",
                    "params": {"token": token},
                }));
                Track::new(token, Phase::Asked { title })
            }
        };
        tasks.entry(task).or_default().push(track);
    }

    /// The client answered our request for a token. Returns whether it was one.
    pub(crate) fn created(&self, id: &str, accepted: bool, outbox: &Outbox) -> bool {
        let mut tasks = self.lock();
        for tracks in tasks.values_mut() {
            let asked =
                |track: &Track| matches!(&track.token, ProgressToken::Text(text) if text == id);
            let Some(at) = tracks.iter().position(asked) else { continue };
            if !accepted {
                tracks.remove(at);
                return true;
            }
            let track = &mut tracks[at];
            if let Phase::Asked { title } = &track.phase {
                begin(&track.token, title, outbox);
                track.phase = Phase::Shown;
            }
            return true;
        }
        id.starts_with("meanwhile/")
    }

    /// Reports how far a task is.
    pub(crate) fn report(&self, task: TaskId, progress: &Progress, outbox: &Outbox) {
        let tasks = self.lock();
        for track in tasks.get(&task).into_iter().flatten() {
            if let Phase::Shown = track.phase {
                let mut value = json!({"kind": "report"});
                if let Some(percent) = progress.percent {
                    value["percentage"] = percent.into();
                    // It began without a percentage, since most tasks never have one; clients may
                    // then ignore it, but they show a message.
                    value["message"] = format!("{percent}%").into();
                }
                if let Some(message) = &progress.message {
                    value["message"] = message.as_str().into();
                }
                send(&track.token, &value, outbox);
            }
        }
    }

    /// Ends the progress of a task that has ended.
    pub(crate) fn end(&self, task: &Task, outbox: &Outbox) {
        let tracks = self.lock().remove(&task.id).unwrap_or_default();
        for track in tracks {
            if let Phase::Shown = track.phase {
                let message = task.end().map(describe).unwrap_or_default();
                send(&track.token, &json!({"kind": "end", "message": message}), outbox);
            }
        }
    }

    /// The client cancelled a progress. Returns the task to stop, unless it is being stopped.
    pub(crate) fn cancel(&self, token: &ProgressToken) -> Option<TaskId> {
        let mut tasks = self.lock();
        let (task, track) = find(&mut tasks, token)?;
        (!std::mem::replace(&mut track.cancelled, true)).then_some(task)
    }

    /// The task of a progress that was cancelled could not be stopped: it may be cancelled again.
    pub(crate) fn not_cancelled(&self, token: &ProgressToken) {
        if let Some((_, track)) = find(&mut self.lock(), token) {
            track.cancelled = false;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TaskId, Vec<Track>>> {
        // A panic under the lock leaves a map that is whole: every change is one insert or remove.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The task shown under a token, and how.
fn find<'a>(
    tasks: &'a mut HashMap<TaskId, Vec<Track>>,
    token: &ProgressToken,
) -> Option<(TaskId, &'a mut Track)> {
    tasks.iter_mut().find_map(|(task, tracks)| {
        let track = tracks.iter_mut().find(|track| track.token == *token)?;
        Some((*task, track))
    })
}

fn begin(token: &ProgressToken, title: &str, outbox: &Outbox) {
    send(token, &json!({"kind": "begin", "title": title, "cancellable": true}), outbox);
}

fn send(token: &ProgressToken, value: &Value, outbox: &Outbox) {
    outbox.send(&json!({
        "jsonrpc": "2.0",
        "method": "$/progress",
        "params": {"token": token, "value": value},
    }));
}

fn describe(end: &End) -> String {
    let how = match end.outcome {
        Outcome::Exited => match end.exit {
            Exit::Code(code) => format!("exited {code}"),
            Exit::Signal(number) => format!("ended by {}", signal::name(number)),
            Exit::Unknown => "ended".to_owned(),
        },
        Outcome::Stopped => "stopped".to_owned(),
        Outcome::TimedOut => "timed out".to_owned(),
        Outcome::Lost => "lost".to_owned(),
    };
    format!("{how} after {:.1}s", end.duration.as_secs_f64())
}

#[cfg(test)]
mod tests;
