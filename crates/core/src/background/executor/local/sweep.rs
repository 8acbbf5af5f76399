//! What no bell tells: children that ended, and a look at everything once a second.

use std::io::ErrorKind;

use super::{Hand, Local, Told};
use crate::background::executor::Report;
use crate::background::task::TaskId;

/// Children whose end was seen before anybody knew whose leader they were.
const STRAYS_MAX: usize = 256;

impl Local {
    /// Children ended: shims, or what those that were killed left to us.
    pub(super) fn reap(&mut self) {
        while let Some((pid, status)) = reap_one() {
            if self.shims.pool.reaped(pid) {
                self.shims.reaped(status);
                continue;
            }
            let task = |is: &dyn Fn(&Hand) -> bool| {
                self.hands.iter().find(|(_, hand)| is(hand)).map(|(id, _)| *id)
            };
            if let Some(id) = task(&|hand| hand.shim == Some(pid)) {
                self.shim_ended(id);
            } else if let Some(id) = task(&|hand| hand.leader == Some(pid)) {
                if let Some(hand) = self.hands.get_mut(&id) {
                    hand.status = Some(status);
                }
            } else {
                self.strays.truncate(STRAYS_MAX - 1);
                self.strays.push_front((pid, status));
            }
        }
    }

    fn shim_ended(&mut self, id: TaskId) {
        let told = self.hands.get(&id).map(|hand| hand.told);
        match told {
            Some(Told::Ended(_)) => self.gone(id),
            Some(Told::Nothing) | None => {
                if self.home.record(id).is_ok_and(|record| record.end.is_some()) {
                    self.ended(id);
                } else {
                    self.suspect(id);
                }
            }
        }
        if let Some(hand) = self.hands.get_mut(&id) {
            hand.shim = None;
        }
    }

    /// Looks at what no bell tells.
    pub(super) fn sweep(&mut self) {
        let ids: Vec<TaskId> = self.hands.keys().copied().collect();
        for id in ids {
            match self.home.record(id) {
                // A bell that was full, or survivors that are gone.
                Ok(record) if record.end.is_some() => self.ended(id),
                Ok(_) => {
                    let stranger = self.hands.get(&id).is_some_and(|hand| hand.shim.is_none());
                    if stranger && !self.home.is_supervised(id) {
                        self.suspect(id);
                    }
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    self.reports.push_back(Report::RecordedElsewhere(id));
                }
                // Out of descriptors, say. It is looked at again.
                Err(_) => {}
            }
        }
    }
}

/// Reaps one child that ended. All children of this process are its executor's: nothing else in it may
/// wait for any.
#[expect(unsafe_code, reason = "nix's waitpid knows no real-time signal, and gives no raw status")]
fn reap_one() -> Option<(u32, i32)> {
    let mut status = 0;
    // SAFETY: the call writes one integer.
    let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
    u32::try_from(pid).ok().filter(|pid| *pid > 0).map(|pid| (pid, status))
}
