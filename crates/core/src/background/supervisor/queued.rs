//! Callers that watch the number of notifications in a queue.
//!
//! An idle agent sleeps until something is queued for it. A notification that was just recorded counts at once;
//! the exact number follows with the next complete state.

use std::collections::HashMap;

use tokio::sync::watch;

use crate::background::demand::Undelivered;

/// The watched queues.
#[derive(Debug, Default)]
pub struct Queued {
    watched: HashMap<String, watch::Sender<u64>>,
}

impl Queued {
    /// Watches a queue.
    pub fn watch(&mut self, queue: String) -> watch::Receiver<u64> {
        self.watched.entry(queue).or_insert_with(|| watch::Sender::new(0)).subscribe()
    }

    /// Counts one more notification.
    pub fn more(&mut self, queue: &str) {
        if let Some(sender) = self.watched.get(queue) {
            sender.send_modify(|waiting| *waiting += 1);
        }
    }

    /// Sets the exact numbers, and drops queues that no client watches any more. The same number may stand for
    /// other notifications, so a watcher is also woken if it has not changed but is above zero.
    pub fn count(&mut self, undelivered: &Undelivered) {
        self.watched.retain(|_, sender| sender.receiver_count() > 0);
        for (queue, sender) in &self.watched {
            let now = undelivered.get(queue).copied().unwrap_or(0);
            sender.send_if_modified(|waiting| std::mem::replace(waiting, now) != now || now > 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_watches_a_queue_hears_of_it_at_once_and_of_no_other() {
        let mut queued = Queued::default();
        let mut agent = queued.watch("a".to_owned());
        queued.more("b");
        assert!(!agent.has_changed().expect("watched"));
        queued.more("a");
        assert_eq!(*agent.borrow_and_update(), 1);
        queued.count(&[("a".to_owned(), 1)].into());
        assert!(agent.has_changed().expect("watched"), "as many may be others");
        queued.count(&Undelivered::new());
        assert_eq!(*agent.borrow_and_update(), 0);
        drop(agent);
        queued.count(&Undelivered::new());
        assert!(queued.watched.is_empty(), "no client looks any more");
    }
}
