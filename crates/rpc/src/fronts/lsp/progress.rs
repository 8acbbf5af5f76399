//! LSP's standard progress (`$/progress`) for the tasks this connection spawned.
//!
//! Owns which task is shown under which token. The client sends the token with the spawn; otherwise the server
//! creates one if the client has `window.workDoneProgress`, and asks the client first. The state belongs to the
//! connection, is a few words per task, and is shared by the loop and the pusher under a lock that is never held
//! across an await.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use meanwhile_core::background::task::TaskId;
use serde_json::{Value, json};

use crate::peer::{Follow, Outbox};
use crate::wire::{Exit, ProgressPush, ProgressToken, Task, TaskState};

/// The progress of this connection's tasks. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Progresses(Arc<Mutex<HashMap<TaskId, Vec<Track>>>>);

#[derive(Debug)]
struct Track {
    token: ProgressToken,
    phase: Phase,
    /// Whether the client has cancelled it, so that its task is being stopped.
    cancelled: bool,
}

impl Track {
    fn new(token: ProgressToken, phase: Phase) -> Self {
        Self { token, phase, cancelled: false }
    }
}

#[derive(Debug)]
enum Phase {
    /// The client was asked to create the token; `title` is for the `begin` report.
    Asked { title: String },
    /// The progress was begun.
    Shown,
}

impl Progresses {
    /// Begins to show a task, or asks the client to create a token. A token that is in use is ignored: either the
    /// same spawn was sent again, with its `clientToken`, or the client reuses a token.
    pub(super) fn follow(&self, follow: Follow, outbox: &Outbox) {
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
                // The token is also the id of the request, so that the response finds its task.
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

    /// Handles the client's response to a token request. Returns whether there was such a request.
    pub(super) fn created(&self, id: &str, accepted: bool, outbox: &Outbox) -> bool {
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

    /// Reports the progress of a task.
    pub(super) fn report(&self, progress: &ProgressPush, outbox: &Outbox) {
        let Ok(task) = progress.id.parse() else { return };
        let tasks = self.lock();
        for track in tasks.get(&task).into_iter().flatten() {
            if let Phase::Shown = track.phase {
                let mut value = json!({"kind": "report"});
                if let Some(percent) = progress.percent {
                    value["percentage"] = percent.into();
                    // The progress began without a percentage, because most tasks have none. Clients may then ignore
                    // a percentage, but they show a message.
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
    pub(super) fn end(&self, task: &Task, outbox: &Outbox) {
        let Ok(id) = task.id.parse() else { return };
        let tracks = self.lock().remove(&id).unwrap_or_default();
        for track in tracks {
            if let Phase::Shown = track.phase {
                let value = json!({"kind": "end", "message": describe(task)});
                send(&track.token, &value, outbox);
            }
        }
    }

    /// Handles a cancellation by the client. Returns the task to stop, unless it is already being stopped.
    pub(super) fn cancel(&self, token: &ProgressToken) -> Option<TaskId> {
        let mut tasks = self.lock();
        let (task, track) = find(&mut tasks, token)?;
        (!std::mem::replace(&mut track.cancelled, true)).then_some(task)
    }

    /// Allows another cancellation, because the task could not be stopped.
    pub(super) fn not_cancelled(&self, token: &ProgressToken) {
        if let Some((_, track)) = find(&mut self.lock(), token) {
            track.cancelled = false;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TaskId, Vec<Track>>> {
        // A panic under the lock leaves the map consistent: every change is one insert or remove.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The task that is shown under a token, and its state.
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

/// Describes how a task ended.
fn describe(task: &Task) -> String {
    let how = match task.state {
        TaskState::Queued | TaskState::Running | TaskState::Stopping => return String::new(),
        TaskState::Exited => match &task.exit {
            Some(Exit { code: Some(code), .. }) => format!("exited {code}"),
            Some(Exit { signal: Some(signal), .. }) => format!("ended by {signal}"),
            Some(Exit { code: None, signal: None }) | None => "ended".to_owned(),
        },
        TaskState::Stopped => "stopped".to_owned(),
        TaskState::TimedOut => "timed out".to_owned(),
        TaskState::Lost => "lost".to_owned(),
    };
    let seconds = task.duration_ms.unwrap_or(0) as f64 / 1_000.0;
    format!("{how} after {seconds:.1}s")
}

#[cfg(test)]
mod tests;
