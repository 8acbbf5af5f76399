//! Waiting for conditions. Nothing in these tests sleeps and hopes.

use std::thread;
use std::time::{Duration, Instant};

/// How long a condition may take on a machine that has other work to do.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// The pause between two looks at a condition.
const POLL: Duration = Duration::from_millis(4);

/// Looks until `probe` gives a value; panics with `what` when [`DEADLINE`] is over.
#[track_caller]
pub(crate) fn eventually<T>(what: &str, probe: impl FnMut() -> Option<T>) -> T {
    until(DEADLINE, probe).unwrap_or_else(|| panic!("waited {DEADLINE:?} in vain: {what}"))
}

/// Looks until `probe` gives a value or `limit` is over.
pub(crate) fn until<T>(limit: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + limit;
    loop {
        // The time is read first, so that there is always one look after the limit: a test that
        // was not scheduled for a while must not fail for that.
        let late = Instant::now() >= end;
        if let Some(value) = probe() {
            return Some(value);
        }
        if late {
            return None;
        }
        thread::sleep(POLL);
    }
}

/// Says why a test cannot run on this machine.
#[expect(clippy::print_stderr, reason = "the reader of a test's output must see what was skipped")]
pub(crate) fn skip(why: &str) {
    eprintln!("skipped: {why}");
}
