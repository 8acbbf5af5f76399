//! The sweep once a second, which finds changes that no bell signalled.

use std::io::ErrorKind;

use meanwhile_shim::identity::Process;
use meanwhile_shim::record::Phase;

use super::{Hand, Keeper, Local, Told};
use crate::background::task::TaskId;

impl Local {
    pub fn is_settled(&mut self) -> bool {
        for id in std::mem::take(&mut self.unsettled) {
            if !self.stands(id) {
                self.unsettled.push(id);
            }
        }
        self.unsettled.is_empty()
    }

    /// Whether a task that was found is running, or its end has been reported.
    fn stands(&mut self, id: TaskId) -> bool {
        let ended = |hand: &Hand| matches!(hand.told, Told::Ended(_));
        if self.hands.get(&id).is_none_or(ended) {
            return true;
        }
        let Ok(record) = self.home.record(id) else { return true };
        if record.end.is_some() {
            self.ended(id);
            return false;
        }
        if !self.home.is_supervised(id) {
            return false;
        }
        match record.phase {
            Phase::Idle | Phase::Starting | Phase::Stopping | Phase::Ended => true,
            // If the shim is in another pid namespace, its pids mean nothing here: trust its record.
            Phase::Running => {
                record.shim_in(&self.home.live(id)).is_none()
                    || record.leader().is_some_and(Process::is_alive)
            }
        }
    }

    /// Checks each tracked task for changes that no bell signalled.
    pub(super) fn sweep(&mut self) {
        let ids: Vec<TaskId> = self.hands.keys().copied().collect();
        for id in ids {
            match self.home.record(id) {
                // A bell's FIFO was full, or survivors have exited.
                Ok(record) if record.end.is_some() => {
                    self.ended(id);
                    if !record.left.is_empty() {
                        self.left(id);
                    }
                }
                Ok(record) => {
                    if !record.left.is_empty() {
                        self.left(id);
                    }
                    let stranger =
                        self.hands.get(&id).is_some_and(|hand| hand.keeper == Keeper::Others);
                    if stranger && !self.home.is_supervised(id) {
                        self.suspect(id);
                    }
                }
                Err(error) if error.kind() == ErrorKind::NotFound => self.ended(id),
                // For example out of descriptors. The next sweep tries again.
                Err(_) => {}
            }
        }
    }
}
