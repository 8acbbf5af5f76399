//! The note to the model about a confined command that may have failed because of its confinement.

use std::collections::HashMap;
use std::sync::Arc;

use crate::background::task::{Exit, Notification, NotificationKind, Task, TaskId};
use crate::confine::{Manner, Mode};

/// Error messages of programs that confinement has stopped: EACCES, EPERM, EROFS.
const REFUSALS: [&str; 3] =
    ["Permission denied", "Operation not permitted", "Read-only file system"];

/// Every confinement that a note can describe.
const MANNERS: [Manner; 3] = [
    Manner { mode: Mode::Look, network: false },
    Manner { mode: Mode::Work, network: false },
    Manner { mode: Mode::Work, network: true },
];

/// The maximum length of such a note in bytes, with one id in it.
const LINE_BYTES: usize = 320;

/// A session's confined commands, and how each one is confined. Kept only in memory, like everything else about
/// what the model was shown. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Held(Arc<HashMap<TaskId, Manner>>);

impl Held {
    pub(super) fn insert(&mut self, id: TaskId, manner: Manner) {
        Arc::make_mut(&mut self.0).insert(id, manner);
    }

    /// Bytes to reserve for the note about a task.
    pub(super) fn room(&self, id: TaskId) -> usize {
        if self.0.contains_key(&id) { LINE_BYTES } else { 0 }
    }

    /// The note about one task, to follow a text about that task.
    pub(super) fn line(&self, task: &Task, output: &str) -> String {
        self.manner(task, &[output]).map_or_else(String::new, |manner| said("it", manner))
    }

    /// The notes about the tasks of a message, one for each kind of confinement.
    pub(crate) fn lines(&self, notifications: &[Notification]) -> String {
        let held = notifications.iter().filter_map(|notification| {
            let preview = &notification.preview;
            let manner = self.manner(&notification.task, &[&preview.head, &preview.tail])?;
            (notification.kind == NotificationKind::Exited)
                .then(|| (notification.task.id.to_string(), manner))
        });
        let held: Vec<(String, Manner)> = held.collect();
        let mut text = String::new();
        for manner in MANNERS {
            let ids = held.iter().filter(|(_, it)| *it == manner).map(|(id, _)| id.as_str());
            let ids: Vec<&str> = ids.collect();
            if !ids.is_empty() {
                text.push_str(&said(&ids.join(", "), manner));
                text.push('\n');
            }
        }
        text
    }

    /// The confinement of an ended task, if it may be the reason for a failure.
    fn manner(&self, task: &Task, output: &[&str]) -> Option<Manner> {
        let (manner, end) = (self.0.get(&task.id)?, task.end()?);
        let failed = end.exit != Exit::Code(0) || end.cause.is_some();
        let refused = || output.iter().any(|text| REFUSALS.iter().any(|it| text.contains(it)));
        (failed || refused()).then_some(*manner)
    }
}

const CONFINED: &str = " ran confined: ";

/// Says that a command ran confined, what that excludes, and how to request more access.
fn said(who: &str, manner: Manner) -> String {
    let network = if manner.network { "" } else { "; no network" };
    let what = match manner.mode {
        Mode::Look => {
            "it could read the workspace without files that may hold keys, and write nothing but \
             $TMPDIR; no network. If it needs more, call again with access \"work\" or \"full\""
                .to_owned()
        }
        Mode::Work | Mode::Open => format!(
            "it could write to the workspace, caches and $TMPDIR, but not read files that may contain \
             keys{network}. If it needs more, call again with access \"full\""
        ),
    };
    format!("({who}{CONFINED}{what}, and the user is asked)")
}

/// Whether a line is a note about a confined command.
pub(super) fn is_note(line: &str) -> bool {
    line.strip_prefix("(it").is_some_and(|rest| rest.starts_with(CONFINED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_the_room_that_is_left_for_it() {
        for manner in MANNERS {
            let line = said("0123abcd", manner);
            assert!(line.len() <= LINE_BYTES, "{} bytes: {line}", line.len());
        }
    }
}
