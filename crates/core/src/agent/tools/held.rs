//! What a model is told of a command that ran confined and may have failed for it.

use std::collections::HashMap;

use crate::background::task::{Exit, Notification, NotificationKind, Task, TaskId};
use crate::confine::Mode;

/// What programs say that ran into confinement: EACCES, EPERM, EROFS.
const REFUSALS: [&str; 3] =
    ["Permission denied", "Operation not permitted", "Read-only file system"];

/// Bytes that such a line takes, with one id in it.
const LINE_BYTES: usize = 320;

/// A session's commands that ran confined, and how far. Lost with the process, like all that a model was
/// shown.
#[derive(Debug, Clone, Default)]
pub(crate) struct Held(HashMap<TaskId, Mode>);

impl Held {
    pub(super) fn insert(&mut self, id: TaskId, mode: Mode) {
        self.0.insert(id, mode);
    }

    /// Bytes to leave for the line about a task.
    pub(super) fn room(&self, id: TaskId) -> usize {
        if self.0.contains_key(&id) { LINE_BYTES } else { 0 }
    }

    /// The line about one task, which the text around it is about.
    pub(super) fn line(&self, task: &Task, output: &str) -> String {
        self.mode(task, &[output]).map_or_else(String::new, |mode| said("it", mode))
    }

    /// The lines about the tasks of a message, one for each mode.
    pub(crate) fn lines(&self, notifications: &[Notification]) -> String {
        let held = notifications.iter().filter_map(|notification| {
            let preview = &notification.preview;
            let mode = self.mode(&notification.task, &[&preview.head, &preview.tail])?;
            (notification.kind == NotificationKind::Exited)
                .then(|| (notification.task.id.to_string(), mode))
        });
        let held: Vec<(String, Mode)> = held.collect();
        let mut text = String::new();
        for mode in [Mode::Look, Mode::Work] {
            let ids = held.iter().filter(|(_, it)| *it == mode).map(|(id, _)| id.as_str());
            let ids: Vec<&str> = ids.collect();
            if !ids.is_empty() {
                text.push_str(&said(&ids.join(", "), mode));
                text.push('\n');
            }
        }
        text
    }

    /// How far an ended task was confined, if it may have failed for it.
    fn mode(&self, task: &Task, output: &[&str]) -> Option<Mode> {
        let (mode, end) = (self.0.get(&task.id)?, task.end()?);
        let failed = end.exit != Exit::Code(0) || end.cause.is_some();
        let refused = || output.iter().any(|text| REFUSALS.iter().any(|it| text.contains(it)));
        (failed || refused()).then_some(*mode)
    }
}

/// That a command ran confined, what that excludes, and how to ask for more.
fn said(who: &str, mode: Mode) -> String {
    let what = match mode {
        Mode::Look => {
            "it could read the workspace without files that may hold keys, and write nothing but \
             $TMPDIR; no network. If it needs more, call again with access \"work\" or \"full\""
        }
        Mode::Work => {
            "it could write the workspace, caches and $TMPDIR, and read no files that may hold keys; \
             no network. If it needs more, call again with access \"full\""
        }
    };
    format!("({who} ran confined: {what}, and the user is asked)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_the_room_that_is_left_for_it() {
        for mode in [Mode::Look, Mode::Work] {
            let line = said("0123abcd", mode);
            assert!(line.len() <= LINE_BYTES, "{} bytes: {line}", line.len());
        }
    }
}
