//! Processes that survived a stop: which they are, and why.

use meanwhile_shim::identity::{Process, Sent};
use meanwhile_shim::record::Record;
use meanwhile_shim::tree;

use crate::background::task::Survivor;

/// The processes in a task's record that are still alive.
pub(super) fn of_record(record: &Record) -> Vec<Survivor> {
    let left: Vec<_> = record.left.iter().filter_map(|pid| Process::of(*pid)).collect();
    let named = tree::name(&left).into_iter();
    named.map(|it| Survivor { pid: it.pid, command: it.command }).collect()
}

/// Why a stop did not end this process.
pub fn why(survivor: &Survivor) -> &'static str {
    match Process::of(survivor.pid).map(|process| process.signal(0)) {
        Some(Sent::Refused) => "it belongs to another user, and signalling it is not permitted",
        Some(Sent::Yes | Sent::Gone) => "SIGKILL has not ended it: it may hang in the kernel",
        None => "it has ended by now",
    }
}
