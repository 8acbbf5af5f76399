//! What no bell tells: a look at everything once a second.

use std::io::ErrorKind;

use super::{Keeper, Local};
use crate::background::task::TaskId;

impl Local {
    /// Looks at what no bell tells.
    pub(super) fn sweep(&mut self) {
        let ids: Vec<TaskId> = self.hands.keys().copied().collect();
        for id in ids {
            match self.home.record(id) {
                // A bell that was full, or survivors that are gone.
                Ok(record) if record.end.is_some() => self.ended(id),
                Ok(_) => {
                    let stranger =
                        self.hands.get(&id).is_some_and(|hand| hand.keeper == Keeper::Others);
                    if stranger && !self.home.is_supervised(id) {
                        self.suspect(id);
                    }
                }
                Err(error) if error.kind() == ErrorKind::NotFound => self.ended(id),
                // Out of descriptors, say. It is looked at again.
                Err(_) => {}
            }
        }
    }
}
