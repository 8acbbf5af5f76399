//! Converts the end of a task, as a place reports it, to the end that a record stores.

use std::time::SystemTime;

use meanwhile_core::background::task::Timestamp;
use meanwhile_shim::record::{Actor, Cause, End, Exit, Outcome};
use serde_json::Value;

use crate::convert::signal;

const OUTCOMES: [(&str, Outcome); 4] = [
    ("exited", Outcome::Exited),
    ("stopped", Outcome::Stopped),
    ("timedOut", Outcome::TimedOut),
    ("lost", Outcome::Lost),
];

const ACTORS: [(&str, Actor); 8] = [
    ("client", Actor::Client),
    ("agent", Actor::Agent),
    ("deadline", Actor::Deadline),
    ("linger", Actor::Linger),
    ("limit", Actor::Limit),
    ("daemon", Actor::Daemon),
    ("dependency", Actor::Dependency),
    ("engine", Actor::Engine),
];

fn of_name<T: Copy>(table: &[(&str, T)], name: &str) -> Option<T> {
    table.iter().find(|(known, _)| name == *known).map(|(_, value)| *value)
}

fn name_of<T: PartialEq>(table: &[(&'static str, T)], value: T) -> &'static str {
    table.iter().find(|(_, known)| *known == value).map_or("", |(name, _)| name)
}

/// The outcome of this name.
pub(super) fn outcome(name: &str) -> Option<Outcome> {
    of_name(&OUTCOMES, name)
}

/// The name of an outcome on the wire.
pub(super) fn state(outcome: Outcome) -> &'static str {
    name_of(&OUTCOMES, outcome)
}

/// The name of an actor on the wire.
pub(super) fn actor(actor: Actor) -> &'static str {
    name_of(&ACTORS, actor)
}

/// The end of a task as its place reports it; `None` if the task has not ended.
pub(super) fn of(task: &Value) -> Option<End> {
    let exit = match (task["exit"]["code"].as_i64(), task["exit"]["signal"].as_str()) {
        (Some(code), _) => Exit::Code(i32::try_from(code).unwrap_or(-1)),
        (None, Some(name)) => signal::number(name).map_or(Exit::Unknown, Exit::Signal),
        (None, None) => Exit::Unknown,
    };
    let cause =
        of_name(&ACTORS, task["cause"]["actor"].as_str().unwrap_or_default()).map(|actor| Cause {
            actor,
            message: task["cause"]["message"].as_str().unwrap_or_default().to_owned(),
        });
    let at = task["endedAt"].as_str().and_then(|at| humantime::parse_rfc3339(at).ok());
    Some(End {
        outcome: outcome(task["state"].as_str()?)?,
        exit,
        cause,
        at_ms: Timestamp::from(at.unwrap_or_else(SystemTime::now)).0,
        duration_ns: task["durationMs"].as_u64().unwrap_or(0).saturating_mul(1_000_000),
        total: task["output"]["total"].as_u64().unwrap_or(0),
        dropped: task["output"]["dropped"].as_u64().unwrap_or(0),
        survivors: Vec::new(),
    })
}

/// The end of a task that the place never had or no longer knows. `total` is the number of output bytes that were
/// fetched.
pub(super) fn unheard(outcome: Outcome, cause: Cause, total: u64) -> End {
    End {
        outcome,
        exit: Exit::Unknown,
        cause: Some(cause),
        at_ms: Timestamp::now().0,
        duration_ns: 0,
        total,
        dropped: 0,
        survivors: Vec::new(),
    }
}

/// The first bytes of an output that a preview gives exactly: it replaces what is not UTF-8 with U+FFFD.
pub(super) fn exact(head: &str, tail: &str, omitted: u64, total: u64) -> Vec<u8> {
    let whole = match omitted {
        0 => head.to_owned() + tail,
        _ => head.to_owned(),
    };
    let sure = whole.split('\u{fffd}').next().unwrap_or_default();
    let sure = &sure.as_bytes()[..sure.len().min(usize::try_from(total).unwrap_or(usize::MAX))];
    sure.to_vec()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_end_is_read_as_the_place_reports_it() {
        let task = json!({
            "state": "timedOut", "exit": {"code": null, "signal": "SIGTERM"},
            "cause": {"actor": "deadline", "message": "it ran into its deadline"},
            "endedAt": "2026-01-02T03:04:05.678Z", "durationMs": 1500,
            "output": {"total": 7, "dropped": 2},
        });
        let end = of(&task).unwrap();
        assert_eq!((end.outcome, end.exit), (Outcome::TimedOut, Exit::Signal(libc::SIGTERM)));
        assert_eq!((end.at_ms, end.duration_ns), (1_767_323_045_678, 1_500_000_000));
        assert_eq!((end.total, end.dropped), (7, 2));
        assert_eq!(end.cause.map(|cause| cause.actor), Some(Actor::Deadline));
        assert_eq!(of(&json!({"state": "running"})), None);
    }

    #[test]
    fn only_exact_bytes_are_taken_from_a_preview() {
        assert_eq!(exact("ab", "cd", 0, 4), b"abcd");
        assert_eq!(exact("ab", "cd", 9, 13), b"ab");
        assert_eq!(exact("a\u{fffd}b", "", 0, 3), b"a");
    }
}
