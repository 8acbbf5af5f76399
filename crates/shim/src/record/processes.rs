//! What a record says of a task's processes, beyond their numbers: which process it means.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::Record;
use crate::clock;
use crate::identity::Process;
use crate::tree;

impl Record {
    /// The leader, if it was started in the present boot: in another one its number means nothing.
    pub fn leader(&self) -> Option<Process> {
        (self.leader_pid != 0 && self.boot_id == clock::boot_id())
            .then(|| Process::noted(self.leader_pid, self.leader_start))
    }

    /// The shim of the task in this folder, if the process of its number is one: a shim works in its
    /// task's folder.
    pub fn shim_in(&self, folder: &Path) -> Option<Process> {
        let process = Process::of(self.shim_pid)?;
        let place = |path: &Path| fs::metadata(path).map(|at| (at.dev(), at.ino())).ok();
        let works_there = place(folder)? == place(format!("/proc/{}/cwd", process.pid).as_ref())?;
        (works_there && tree::is_shim(process.pid)).then_some(process)
    }
}
