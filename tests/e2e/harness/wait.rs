//! Waits for conditions; tests never sleep for a fixed time instead.

use std::thread;
use std::time::{Duration, Instant};

/// How long a condition may take on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// The time between two checks of a condition.
const POLL: Duration = Duration::from_millis(4);

/// Polls until `probe` returns a value; panics with `what` after [`DEADLINE`].
#[track_caller]
pub(crate) fn eventually<T>(what: &str, probe: impl FnMut() -> Option<T>) -> T {
    until(DEADLINE, probe).unwrap_or_else(|| panic!("waited {DEADLINE:?} in vain: {what}"))
}

/// Polls until `probe` returns a value or `limit` has passed.
pub(crate) fn until<T>(limit: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + limit;
    loop {
        // The time is read first, so that there is always one check after the limit: a test must not fail
        // because it was not scheduled for a while.
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

/// Prints why a test cannot run on this machine.
#[expect(clippy::print_stderr, reason = "the reader of a test's output must see what was skipped")]
pub(crate) fn skip(why: &str) {
    eprintln!("skipped: {why}");
}
