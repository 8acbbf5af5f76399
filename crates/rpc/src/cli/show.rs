//! Formats durations, sizes and the ends of tasks for people.
//!
//! Pure functions from the core's types to short texts and styles. This module prints nothing.

use std::time::Duration;

use anstyle::Style;
use meanwhile_core::background::task::{End, Exit, Outcome, State, Task, Timestamp};
use meanwhile_core::background::words::{self, reorders};

pub(crate) use meanwhile_core::background::words::{elapsed, exit, one_line, seconds, thousands};

use super::out::style;

/// Formats a number of bytes: `0 B`, `1.5 KiB`, `12 MiB`.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if count < 1_024 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1_024.0;
    let mut unit = 0;
    // A value that would round to 1024 becomes 1.0 of the next unit.
    while value >= 1_023.5 && unit + 1 < UNITS.len() {
        value /= 1_024.0;
        unit += 1;
    }
    match value {
        ..9.95 => format!("{value:.1} {}", UNITS[unit]),
        _ => format!("{value:.0} {}", UNITS[unit]),
    }
}

/// Keeps lines and tabs, and replaces characters that move the cursor or change colours. Every part of the result is
/// harmless too.
pub(crate) fn harmless(text: &str) -> String {
    text.chars()
        .filter(|c| *c != '\r')
        .map(|c| match c {
            '\n' | '\t' => c,
            c if c.is_control() || reorders(c) => '\u{fffd}',
            c => c,
        })
        .collect()
}

/// The state with its cause or progress, and its style: `running 41%`, `exit 1`, `stopped by client`, `timed out
/// after 10s`.
pub(crate) fn state(task: &Task) -> (String, Style) {
    let percent = task.progress.as_ref().and_then(|progress| progress.percent);
    let text = match (&task.state, percent) {
        (State::Running, Some(percent)) => format!("running {percent}%"),
        (State::Running, None) if task.serving.ready => "running, ready".to_owned(),
        (State::Ended(end), _) if end.outcome == Outcome::TimedOut => {
            format!("timed out after {}", words::limit(task, end))
        }
        (State::Queued(_) | State::Running | State::Stopping { .. } | State::Ended(_), _) => {
            words::stands(task)
        }
    };
    (text, look(&task.state))
}

fn look(state: &State) -> Style {
    match state {
        State::Queued(_) => style::DIM,
        State::Running => style::LIVE,
        State::Stopping { .. } => style::ODD,
        State::Ended(End { outcome: Outcome::Exited, exit: Exit::Code(0), .. }) => style::GOOD,
        State::Ended(End { outcome: Outcome::Stopped, .. }) => style::ODD,
        State::Ended(End {
            outcome: Outcome::Exited | Outcome::TimedOut | Outcome::Lost, ..
        }) => style::BAD,
    }
}

/// A sentence about a task's end, without its id: `exit 1 after 4.0s`, `stopped by client (SIGTERM) after 1m 32s`,
/// `lost after 3m: the supervisor left no exit record`.
pub(crate) fn result(task: &Task, end: &End) -> String {
    let (word, _) = state(task);
    let took = words::at_place(task, elapsed(end.duration));
    match end.outcome {
        Outcome::Exited => match &end.cause {
            Some(cause) => format!("{word} after {took} ({})", one_line(&cause.message)),
            None => format!("{word} after {took}"),
        },
        Outcome::Stopped | Outcome::TimedOut if task.pid.is_none() => match &end.cause {
            Some(cause) => format!("{word} before it started ({})", one_line(&cause.message)),
            None => format!("{word} before it started"),
        },
        Outcome::Stopped => format!("{word} ({}) after {took}", exit(end.exit)),
        Outcome::TimedOut => format!("{word} ({})", exit(end.exit)),
        Outcome::Lost => match &end.cause {
            Some(cause) => format!("{word} after {took}: {}", one_line(&cause.message)),
            None => format!("{word} after {took}: its supervisor left no exit record"),
        },
    }
}

/// How long the task has run.
pub(crate) fn age(task: &Task, now: Timestamp) -> Duration {
    task.end().map_or_else(|| now.since(task.created_at), |end| end.duration)
}

/// The exit code for a task's end: its own; 128 plus the signal, as in shells; 124 for a command that exited with 0
/// after its deadline, as in timeout(1); 1 if it is unknown.
pub(crate) fn exit_code(end: &End) -> u8 {
    match (end.exit, end.outcome) {
        (Exit::Code(0), Outcome::TimedOut) => TIMED_OUT,
        // wait(2): a parent only receives the low eight bits of a code.
        (Exit::Code(code), _) => code.to_le_bytes()[0],
        (Exit::Signal(number), _) => u8::try_from(128 + number).unwrap_or(u8::MAX),
        (Exit::Unknown, _) => super::failure::FAILED,
    }
}

/// The exit code of a wait that timed out, as in timeout(1).
pub(crate) const TIMED_OUT: u8 = 124;

/// The exit code of an interrupted wait: 128 + SIGINT.
pub(crate) const INTERRUPTED: u8 = 130;

#[cfg(test)]
mod tests {
    use meanwhile_core::background::task::{Actor, Cause};

    use super::*;

    #[test]
    fn sizes_have_two_digits_or_three() {
        let check = |count: u64, expected: &str| assert_eq!(bytes(count), expected, "{count}");
        check(0, "0 B");
        check(1_023, "1023 B");
        check(1_024, "1.0 KiB");
        check(1_536, "1.5 KiB");
        check(10 * 1_024, "10 KiB");
        check(1_048_575, "1.0 MiB");
        check(12 << 20, "12 MiB");
        check(u64::MAX, "16384 PiB");
    }

    #[test]
    fn thousands_are_apart() {
        for (number, expected) in
            [(0, "0"), (999, "999"), (1_204, "1 204"), (12_345, "12 345"), (1_000_000, "1 000 000")]
        {
            assert_eq!(thousands(number), expected);
        }
    }

    #[test]
    fn one_line_has_no_control_characters() {
        let check = |text: &str, expected: &str| assert_eq!(one_line(text), expected, "{text:?}");
        check("cargo  test\n&& echo\tdone\n", "cargo test && echo done");
        check("  x ", "x");
        check("\x1b[31mred\x07", "\u{fffd}[31mred\u{fffd}");
        check("a\u{202e}b", "a\u{fffd}b");
        check("名前 é", "名前 é");
    }

    #[test]
    fn harmless_text_keeps_its_lines_and_tabs() {
        let check = |text: &str, expected: &str| assert_eq!(harmless(text), expected, "{text:?}");
        check("one\r\n\ttwo", "one\n\ttwo");
        check("\x1b]0;title\x07\x1b[2J", "\u{fffd}]0;title\u{fffd}\u{fffd}[2J");
        // A C1 control character (ECMA-48) is the same as an escape sequence.
        check("\u{9b}31m", "\u{fffd}31m");
        check("a\u{202e}b", "a\u{fffd}b");
    }

    fn end(outcome: Outcome, exit: Exit, actor: Option<Actor>) -> End {
        End {
            outcome,
            exit,
            cause: actor.map(|actor| Cause { actor, message: "because".to_owned() }),
            at: Timestamp(92_000),
            duration: Duration::from_secs(92),
        }
    }

    fn task(state: State) -> Task {
        Task {
            id: "b3f9c2a1".parse().expect("it is an id"),
            workspace: "/w".into(),
            queue: "default".to_owned(),
            label: None,
            command: "npm install".to_owned(),
            cwd: "/w".into(),
            pid: Some(7),
            state,
            created_at: Timestamp(0),
            deadline: Some(Duration::from_secs(10)),
            output: Default::default(),
            progress: None,
            survivors: Vec::new(),
            is_step: false,
            on: None,
            contact: None,
            job: None,
            delivered: None,
            serving: Default::default(),
            waits_for_input: false,
        }
    }

    #[test]
    fn an_end_is_told_with_its_cause() {
        let check = |end: End, word: &str, sentence: &str, code: u8| {
            let task = task(State::Ended(end.clone()));
            assert_eq!(state(&task).0, word);
            assert_eq!(result(&task, &end), sentence);
            assert_eq!(exit_code(&end), code, "{sentence}");
        };
        use {Exit::Code, Exit::Signal, Exit::Unknown};
        check(end(Outcome::Exited, Code(0), None), "exit 0", "exit 0 after 1m 32s", 0);
        check(end(Outcome::Exited, Code(127), None), "exit 127", "exit 127 after 1m 32s", 127);
        check(end(Outcome::Exited, Signal(9), None), "SIGKILL", "SIGKILL after 1m 32s", 137);
        check(
            end(Outcome::Stopped, Signal(15), Some(Actor::Client)),
            "stopped by client",
            "stopped by client (SIGTERM) after 1m 32s",
            143,
        );
        check(
            end(Outcome::Stopped, Code(0), Some(Actor::Linger)),
            "stopped by linger time",
            "stopped by linger time (exit 0) after 1m 32s",
            0,
        );
        check(
            end(Outcome::TimedOut, Signal(15), Some(Actor::Deadline)),
            "timed out after 10s",
            "timed out after 10s (SIGTERM)",
            143,
        );
        check(
            end(Outcome::TimedOut, Code(0), Some(Actor::Deadline)),
            "timed out after 10s",
            "timed out after 10s (exit 0)",
            124,
        );
        check(
            end(Outcome::Lost, Unknown, Some(Actor::Daemon)),
            "lost",
            "lost after 1m 32s: because",
            1,
        );
    }

    #[test]
    fn a_running_task_says_how_far_it_is() {
        let mut task = task(State::Running);
        assert_eq!(state(&task).0, "running");
        task.serving.ready = true;
        assert_eq!(state(&task).0, "running, ready");
        task.progress =
            Some(meanwhile_core::background::task::Progress { percent: Some(41), message: None });
        assert_eq!(state(&task).0, "running 41%");
        assert_eq!(age(&task, Timestamp(5_000)), Duration::from_secs(5));
        let cause = Cause { actor: Actor::Agent, message: String::new() };
        task.state = State::Stopping { cause };
        assert_eq!(state(&task).0, "stopping, by agent");
    }
}
