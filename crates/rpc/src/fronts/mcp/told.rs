//! The notifications in a reply: what has ended or happened since the last one, each reported once.

use meanwhile_core::Error;
use meanwhile_core::agent::notice;
use meanwhile_core::background::task::{Notification, NotificationKind, TaskId};
use meanwhile_core::background::{Ack, words};

use super::bridge::Afters;
use super::place::Place;
use crate::peer::After;

/// The maximum number of notifications in one reply.
const ENTRIES: u32 = 50;
/// The maximum number of bytes of all notifications together.
const BLOCK_BYTES: usize = 12 << 10;
/// The maximum number of bytes of one notification.
const ENTRY_BYTES: usize = 2 << 10;

/// The notifications that were taken out of the session's queue for a reply.
pub(super) struct News {
    notifications: Vec<Notification>,
    remaining: u64,
}

/// How the notifications are formatted.
pub(super) fn style(entries: usize) -> notice::Style {
    let share = BLOCK_BYTES / entries.max(1);
    let rest = |id: TaskId| format!("the tool `output` with id {id} and offset 0");
    notice::Style { rest, entry_bytes: Some(share.min(ENTRY_BYTES)) }
}

impl News {
    /// Takes the waiting notifications. They are acknowledged once the reply is written, and return to the queue if
    /// that fails.
    pub(super) async fn take(place: &Place, after: &Afters) -> Result<Self, Error> {
        let drained = place.background.drain(place.queue.clone(), ENTRIES, Ack::Auto).await?;
        if let Some(lease) = drained.lease {
            after.push(After::Ack(Box::new(lease)));
        }
        Ok(Self { notifications: drained.notifications, remaining: drained.remaining })
    }

    /// Whether they contain the end of a task.
    pub(super) fn tells_end_of(&self, id: TaskId) -> bool {
        let is_end = |it: &&Notification| it.kind == NotificationKind::Exited;
        self.notifications.iter().filter(is_end).any(|it| it.task.id == id)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.notifications.is_empty()
    }

    /// The notifications as text; empty if there are none.
    pub(super) fn text(&self) -> String {
        if self.is_empty() {
            return String::new();
        }
        let mut text = notice::block(&self.notifications, style(self.notifications.len()));
        if self.remaining > 0 {
            let more = words::thousands(self.remaining);
            text.push_str(&format!("{more} more wait: the next reply has them.\n"));
        }
        text
    }
}
