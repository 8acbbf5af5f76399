//! Waits until the state of every task is known, for a command that checks once and exits. Tasks that were
//! killed while no process was watching take a moment to be told apart from running ones.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Supervisor;

/// Time between two checks.
const ROUND: Duration = Duration::from_millis(10);
/// Timeout, after which tasks are shown as far as their state is known: longer than it takes to leave a dead
/// shim's task to its keeper first, to start another shim, and to get an exit status from the kernel.
const PATIENCE: Duration = Duration::from_secs(3);

/// The callers that wait.
#[derive(Debug, Default)]
pub(super) struct Settling(Vec<Wait>);

#[derive(Debug)]
struct Wait {
    reply: oneshot::Sender<()>,
    until: Instant,
    look_at: Instant,
}

impl Settling {
    /// Adds a caller, to be notified once the state of every task is known.
    pub(super) fn ask(&mut self, reply: oneshot::Sender<()>) {
        let now = Instant::now();
        self.0.push(Wait { reply, until: now + PATIENCE, look_at: now });
    }

    pub(super) fn timer(&self) -> Option<Instant> {
        self.0.iter().map(|wait| wait.look_at).min()
    }
}

impl Supervisor {
    pub(super) fn look_at_settling(&mut self, now: Instant) {
        if self.settling.timer().is_none_or(|at| now < at) {
            return;
        }
        let executor_is_sure = self.executor.is_settled();
        self.take_reports();
        // An end is only shown once it is in the ledger.
        let nothing_under_way =
            self.write.is_none() && !self.batch.is_urgent() && self.scans.is_empty();
        let is_settled = executor_is_sure && nothing_under_way;
        let (told, waiting): (Vec<_>, Vec<_>) = std::mem::take(&mut self.settling.0)
            .into_iter()
            .partition(|wait| is_settled || now >= wait.until);
        for wait in told {
            let _ = wait.reply.send(());
        }
        let later = waiting.into_iter().map(|wait| Wait { look_at: now + ROUND, ..wait });
        self.settling.0 = later.collect();
    }
}
