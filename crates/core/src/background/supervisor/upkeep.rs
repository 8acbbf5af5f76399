//! Schedules the upkeep of the store: retention, quota, the ledger's log.

use std::time::Duration;

use tokio::time::Instant;

use super::Supervisor;
use crate::background::Role;
use crate::background::{memory, upkeep};

/// How long after an end retention and quota are checked again.
const DELAY: Duration = Duration::from_secs(1);
/// Time after which they are checked again in any case.
pub(super) const ROUND: Duration = Duration::from_secs(600);
/// Number of ends after which the ledger's log is written back, while no request waits: some 4 MiB of it. The
/// first commit afterwards restarts the log and waits for the disk, so this is not done after each end.
const WRITE_BACK_ENDS: u32 = 128;

impl Supervisor {
    /// Starts the upkeep if it is due.
    pub(super) fn look_at_store(&mut self, now: Instant) {
        let ends = std::mem::take(&mut self.ends);
        if ends > 0 {
            self.unwritten += ends;
            self.upkeep_at = self.upkeep_at.min(now + DELAY);
        }
        if self.role == Role::Visitor || self.upkeep.is_some() || now < self.upkeep_at {
            return;
        }
        let age = self.settings.keep_for / 4;
        self.upkeep_at = now + age.clamp(DELAY, ROUND);
        if std::mem::take(&mut self.holds_start) {
            memory::let_go_of_code();
        }
        let write_back = self.unwritten >= WRITE_BACK_ENDS;
        if write_back {
            self.unwritten = 0;
        }
        self.upkeep = Some(Box::pin(upkeep::keep_up(
            self.archive.clone(),
            self.store.clone(),
            self.workspace.clone(),
            self.settings.clone(),
            write_back,
        )));
    }
}
