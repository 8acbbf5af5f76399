//! Being sure how each task stands, for a command that looks once and goes. What was killed while no process
//! of this version looked takes a moment to be told from what runs.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Supervisor;

/// Between two looks.
const ROUND: Duration = Duration::from_millis(10);
/// After this, tasks are shown as far as they are known: longer than it takes to leave a dead supervisor's
/// task to its keeper first, to start another supervisor, and to ask the kernel for a status.
const PATIENCE: Duration = Duration::from_secs(3);

/// Who waits.
#[derive(Debug, Default)]
pub(super) struct Settling(Vec<Wait>);

#[derive(Debug)]
struct Wait {
    reply: oneshot::Sender<()>,
    until: Instant,
    look_at: Instant,
}

impl Settling {
    /// Tells when each task stands as it is shown.
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
        // An end is shown once it is in the ledger.
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
