//! The processes that a record names: its leader and its shim as processes, those that could not be ended,
//! and how many the kernel had killed.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::{HEADER_BYTES, Record, RecordError, SURVIVORS_MAX, Sheet, u32_at, u64_at};
use crate::clock;
use crate::identity::Process;
use crate::tree;

/// The offset of the number of pids, which is followed by the pids.
pub(super) const AT_LEFT: usize = 7_212;
/// The offset of the number plus one; 0: the number is not known.
const AT_OOM_KILLS: usize = 7_280;
const _: () = assert!(AT_LEFT + 4 + 4 * SURVIVORS_MAX == AT_OOM_KILLS);
const _: () = assert!(AT_OOM_KILLS + 8 <= HEADER_BYTES);

/// How many processes of its control group the kernel had killed because of low memory at its start.
pub(super) fn oom_kills(bytes: &[u8]) -> Option<u64> {
    u64_at(bytes, AT_OOM_KILLS).checked_sub(1)
}

/// The pids of the processes that could not be ended.
pub(super) fn left(bytes: &[u8]) -> Result<Vec<u32>, RecordError> {
    let len = u32_at(bytes, AT_LEFT) as usize;
    if len > SURVIVORS_MAX {
        return Err(RecordError::Range("number of processes that could not be ended"));
    }
    Ok((1..=len).map(|place| u32_at(bytes, AT_LEFT + 4 * place)).collect())
}

impl Sheet {
    /// Records how many processes of its control group the kernel had killed because of low memory at its start.
    pub fn oom_kills(&self, count: Option<u64>) {
        self.map.store_u64(AT_OOM_KILLS, count.map_or(0, |count| count.saturating_add(1)));
    }

    /// Records the processes that an order to stop has not ended, even with SIGKILL.
    pub fn left(&mut self, pids: &[u32]) {
        let pids = &pids[..pids.len().min(SURVIVORS_MAX)];
        for (place, pid) in pids.iter().enumerate() {
            self.map.store_u32(AT_LEFT + 4 + 4 * place, *pid);
        }
        self.map.store_u32(AT_LEFT, pids.len() as u32);
    }
}

impl Record {
    /// The leader, if it was started on this machine in the current boot; otherwise its pid means nothing.
    pub fn leader(&self) -> Option<Process> {
        (self.leader_pid != 0 && self.elsewhere.is_none() && self.boot_id == clock::boot_id())
            .then(|| Process::noted(self.leader_pid, self.leader_start))
    }

    /// The shim of the task in this folder, if the process with its pid is a shim whose working directory is
    /// this folder.
    pub fn shim_in(&self, folder: &Path) -> Option<Process> {
        let process = Process::of(self.shim_pid)?;
        let place = |path: &Path| fs::metadata(path).map(|at| (at.dev(), at.ino())).ok();
        let works_there = place(folder)? == place(format!("/proc/{}/cwd", process.pid).as_ref())?;
        (works_there && tree::is_shim(process.pid)).then_some(process)
    }
}
