//! Formats tasks and numbers as text, for people and models.
//!
//! Pure. Text from a command or its output is reduced to one printable line.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::background::task::{
    Actor, Ahead, Cause, End, Exit, Outcome, Queued, State, Task, TaskId, Wait,
};

/// Maximum bytes of a task's title.
pub(crate) const CALLED_BYTES: usize = 240;
/// Maximum bytes of the title of a task ahead.
const TITLE_BYTES: usize = 40;
/// The last time that [`order`] can represent, in milliseconds.
const LAST_MS: i64 = 9_999_999_999_999;

/// An error's reason in this project's style, without its number: `no such file or directory`.
pub fn reason(error: &dyn std::error::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}

/// Seconds with one decimal: `92.4s`.
pub fn seconds(time: Duration) -> String {
    let tenths = time.as_millis() / 100;
    format!("{}.{}s", tenths / 10, tenths % 10)
}

/// A duration in at most two units: `0.4s`, `38s`, `1m 32s`, `2h 5m`, `3d 4h`.
pub fn elapsed(time: Duration) -> String {
    let seconds = time.as_secs();
    let pair = |big: u64, big_unit: &str, small: u64, small_unit: &str| match small {
        0 => format!("{big}{big_unit}"),
        small => format!("{big}{big_unit} {small}{small_unit}"),
    };
    match seconds {
        0..10 => self::seconds(time),
        10..60 => format!("{seconds}s"),
        60..3_600 => pair(seconds / 60, "m", seconds % 60, "s"),
        3_600..86_400 => pair(seconds / 3_600, "h", seconds % 3_600 / 60, "m"),
        _ => pair(seconds / 86_400, "d", seconds % 86_400 / 3_600, "h"),
    }
}

/// A number with grouped thousands: `1 204`.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// The text on one line, without anything that moves a cursor or changes a colour.
pub fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_whitespace() {
            if !line.ends_with(' ') && !line.is_empty() {
                line.push(' ');
            }
        } else if c.is_control() || is_invisible(c) {
            line.push('\u{fffd}');
        } else {
            line.push(c);
        }
    }
    line.truncate(line.trim_end().len());
    line
}

/// The beginning of a line, at most `bytes` long; ends with `...` if anything was cut off.
pub fn shorten(line: &str, bytes: usize) -> String {
    if line.len() <= bytes {
        return line.to_owned();
    }
    let end = line.floor_char_boundary(bytes.saturating_sub(3));
    format!("{}...", &line[..end])
}

/// Invisible format characters: those that reorder, those that join or separate their neighbours, and some
/// without effect.
pub(crate) fn is_invisible(c: char) -> bool {
    const UNSEEN: [std::ops::RangeInclusive<char>; 8] = [
        '\u{ad}'..='\u{ad}',
        '\u{61c}'..='\u{61c}',
        '\u{180e}'..='\u{180e}',
        '\u{200b}'..='\u{200f}',
        '\u{2060}'..='\u{206f}',
        '\u{feff}'..='\u{feff}',
        '\u{fff9}'..='\u{fffb}',
        // Tags, which encode ASCII.
        '\u{e0000}'..='\u{e007f}',
    ];
    reorders(c) || UNSEEN.iter().any(|range| range.contains(&c))
}

/// Format characters that reorder their neighbours (Unicode, bidirectional controls).
pub fn reorders(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The name of a signal: `SIGKILL`, `SIGRTMIN+3`; a number that is not a signal on Linux is shown as a number.
pub fn signal(number: i32) -> String {
    if let Ok(signal) = Signal::try_from(number) {
        return signal.as_str().to_owned();
    }
    match number - libc::SIGRTMIN() {
        0 => "SIGRTMIN".to_owned(),
        n if n > 0 && number <= libc::SIGRTMAX() => format!("SIGRTMIN+{n}"),
        _ => format!("signal {number}"),
    }
}

/// The leader's wait status: `exit 1`, `SIGKILL`, `no exit status`.
pub fn exit(exit: Exit) -> String {
    match exit {
        Exit::Code(code) => format!("exit {code}"),
        Exit::Signal(number) => signal(number),
        Exit::Unknown => "no exit status".to_owned(),
    }
}

/// Who ended a task or requested its end.
pub fn actor(actor: Actor) -> &'static str {
    match actor {
        Actor::Client => "client",
        Actor::Agent => "agent",
        Actor::Deadline => "deadline",
        Actor::Linger => "linger time",
        Actor::Limit => "limit",
        Actor::Dependency => "a task before it",
        Actor::Engine => "engine",
        Actor::Daemon => "daemon",
    }
}

/// Says that a task was stopped, and by which actor; a task whose predecessor failed was skipped.
pub fn stopped(end: &End) -> String {
    match end.cause.as_ref().map(|cause| cause.actor) {
        None => "stopped".to_owned(),
        Some(Actor::Dependency) => "skipped".to_owned(),
        Some(by) => format!("stopped by {}", actor(by)),
    }
}

/// A task's end in the protocol's notation: `exited 0 after 92.4s`, `stopped by client, SIGTERM after 4.0s (no
/// longer wanted)`. If the command ended by itself and there is a cause, it is shown: a requested signal, or a
/// lack of memory.
pub fn ended(task: &Task) -> String {
    let Some(end) = task.end() else { return "ended".to_owned() };
    let took = at_place(task, seconds(end.duration));
    let why = match &end.cause {
        Some(Cause { message, .. }) => format!(" ({})", one_line(message)),
        None => String::new(),
    };
    match (end.outcome, end.exit) {
        (Outcome::Exited, Exit::Code(code)) => format!("exited {code} after {took}{why}"),
        (Outcome::Exited, Exit::Signal(number)) => {
            format!("ended by {} after {took}{why}", signal(number))
        }
        (Outcome::Exited, Exit::Unknown) => format!("ended after {took}{why}"),
        (Outcome::Stopped, _) if task.pid.is_none() => {
            format!("{} before it started{why}", stopped(end))
        }
        (Outcome::TimedOut, _) if task.pid.is_none() => format!("timed out before it started{why}"),
        (Outcome::Stopped, status) => {
            format!("{}, {} after {took}{why}", stopped(end), exit(status))
        }
        (Outcome::TimedOut, status) => {
            let limit = seconds(task.deadline.unwrap_or(end.duration)).replace(".0s", "s");
            format!("timed out after {limit}, {} after {took}{why}", exit(status))
        }
        (Outcome::Lost, _) => format!("lost after {took}{why}"),
    }
}

/// A task's title: its label or else its command, on one line that fits a list.
pub fn title(task: &Task) -> String {
    let whole = task.label.as_deref().unwrap_or(&task.command);
    // A command may be 128 KiB long; process only what is shown.
    shorten(&one_line(&shorten(whole, 2 * CALLED_BYTES)), CALLED_BYTES)
}

/// Orders the tasks in lists: those that wait for input come first, then the other live ones, then the ended ones,
/// each group newest first. Sorts as text.
pub fn order(task: &Task) -> String {
    let group = match &task.state {
        State::Ended(_) => 2,
        State::Queued(_) | State::Running | State::Stopping { .. } => {
            i32::from(!task.waits_for_input)
        }
    };
    let before_the_last = LAST_MS - task.created_at.0.clamp(0, LAST_MS);
    format!("{group}{before_the_last:013}{}", task.id)
}

/// A task's state in a few words: `running`, `queued, 2nd for build`, `exit 1`, `stopped by client`, `timed
/// out`. Without its progress, which changes while it runs.
pub fn stands(task: &Task) -> String {
    match &task.state {
        State::Queued(why) => match out_of_reach(task) {
            Some(place) => format!("queued, {place}"),
            None => format!("queued, {}", queued(why)),
        },
        State::Running => match out_of_reach(task) {
            Some(place) => format!("running, {place}"),
            None if task.waits_for_input => "waits for input".to_owned(),
            None if warning(task).is_some() => "running, with a warning".to_owned(),
            None => "running".to_owned(),
        },
        State::Stopping { cause } => format!("stopping, by {}", actor(cause.actor)),
        State::Ended(end) => match end.outcome {
            Outcome::Exited => exit(end.exit),
            Outcome::Stopped => stopped(end),
            Outcome::TimedOut => "timed out".to_owned(),
            Outcome::Lost => "lost".to_owned(),
        },
    }
}

/// The duration, followed by the place if the task did not run on this machine, and by the warning about it.
pub fn at_place(task: &Task, took: String) -> String {
    match (&task.on, warning(task)) {
        (Some(place), Some(warning)) => format!("{took} at {place}, where {}", one_line(warning)),
        (Some(place), None) => format!("{took} at {place}"),
        (None, _) => took,
    }
}

/// How a task's sources at its place differ from those here, if they were compared and do.
pub fn warning(task: &Task) -> Option<&str> {
    task.job.as_ref().map(|job| job.warning.as_str()).filter(|warning| !warning.is_empty())
}

/// Says that the place of a task cannot be reached: `build out of reach`.
fn out_of_reach(task: &Task) -> Option<String> {
    let lost = task.contact.as_ref().is_some_and(|contact| contact.lost_since.is_some());
    task.on.as_ref().filter(|_| lost).map(|place| format!("{place} out of reach"))
}

/// The deadline that a task exceeded: as [`elapsed`], but `10s` rather than `10.0s`.
pub fn limit(task: &Task, end: &End) -> String {
    elapsed(task.deadline.unwrap_or(end.duration)).replace(".0s", "s")
}

/// A task's end as the predicate of a sentence that starts with its title: `exited 1 after 4.0s`, `stopped by
/// client after 1m 32s`. Includes the cause of an end that neither the command nor a client chose. `None`: it
/// has not ended.
pub fn told(task: &Task) -> Option<String> {
    let end = task.end()?;
    let took = at_place(task, elapsed(end.duration));
    let how = match (end.outcome, end.exit) {
        (Outcome::Exited, Exit::Code(code)) => format!("exited {code} after {took}"),
        (Outcome::Exited, Exit::Signal(number)) => {
            format!("ended by {} after {took}", signal(number))
        }
        (Outcome::Exited, Exit::Unknown) => format!("ended without an exit status after {took}"),
        (Outcome::Stopped | Outcome::TimedOut, _) if task.pid.is_none() => {
            format!("{} before it started", stands(task))
        }
        (Outcome::Stopped, _) => format!("{} after {took}", stopped(end)),
        (Outcome::TimedOut, _) => format!("timed out after {}", limit(task, end)),
        (Outcome::Lost, _) => format!("was lost after {took}"),
    };
    Some(match &end.cause {
        Some(Cause { actor: Actor::Client | Actor::Agent | Actor::Deadline, .. }) | None => how,
        Some(Cause { message, .. }) => format!("{how} ({})", one_line(message)),
    })
}

/// What a task waits for: `2nd for build, behind b3f9c2a1 cargo test, about 40 s`.
pub fn queued(queued: &Queued) -> String {
    let mut text = match &queued.reason {
        Wait::Slot { name, position, behind } => {
            let place = format!("{} for {name}", ordinal(*position));
            match behind {
                None => place,
                Some(Ahead { id, title: None }) => format!("{place}, behind {id}"),
                Some(Ahead { id, title: Some(title) }) => {
                    format!("{place}, behind {id} {}", shorten(&one_line(title), TITLE_BYTES))
                }
            }
        }
        Wait::After(ids) => {
            let ids: Vec<_> = ids.iter().map(TaskId::as_str).collect();
            format!("after {}", ids.join(", "))
        }
        Wait::Place { name, why } if why.is_empty() => format!("for {name}"),
        Wait::Place { name, why } => format!("for {name}: {}", one_line(why)),
    };
    if let Some(left) = queued.left.and_then(about) {
        text.push_str(", ");
        text.push_str(&left);
    }
    text
}

/// An approximate time: `about 40 s`, `about 3 min`; `None`: less than half a second.
fn about(time: Duration) -> Option<String> {
    let seconds = time.as_secs() + u64::from(time.subsec_millis() >= 500);
    match seconds {
        0 => None,
        1..120 => Some(format!("about {seconds} s")),
        120..7_200 => Some(format!("about {} min", (seconds + 30) / 60)),
        7_200.. => Some(format!("about {} h", (seconds + 1_800) / 3_600)),
    }
}

/// `1st`, `2nd`, `3rd`, `4th`.
fn ordinal(number: u32) -> String {
    let end = match (number % 100, number % 10) {
        (11..=13, _) => "th",
        (_, 1) => "st",
        (_, 2) => "nd",
        (_, 3) => "rd",
        (_, _) => "th",
    };
    format!("{number}{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_at_most_two_units() {
        let check = |millis: u64, expected: &str| {
            assert_eq!(elapsed(Duration::from_millis(millis)), expected, "{millis} ms");
        };
        check(0, "0.0s");
        check(449, "0.4s");
        check(9_999, "9.9s");
        check(10_000, "10s");
        check(59_999, "59s");
        check(60_000, "1m");
        check(92_000, "1m 32s");
        check(3_600_000, "1h");
        check(7_500_000, "2h 5m");
        check(86_400_000, "1d");
        check(273_600_000, "3d 4h");
    }

    #[test]
    fn lines_are_cut_between_characters() {
        let check = |text, bytes, want| assert_eq!(shorten(text, bytes), want, "{text}");
        check("short", 5, "short");
        check("longer text", 8, "longe...");
        check("ééééé", 8, "éé...");
        check("abc", 0, "...");
    }

    #[test]
    fn places_are_counted_as_people_count() {
        let said = [1, 2, 3, 4, 11, 12, 13, 21, 111, 122].map(ordinal);
        let want = ["1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "111th", "122nd"];
        assert_eq!(said, want);
    }

    #[test]
    fn what_is_waited_for_is_one_line() {
        let check = |position, title: Option<&str>, left: Option<u64>, want: &str| {
            let id = "b3f9c2a1".parse().unwrap();
            let behind = Some(Ahead { id, title: title.map(str::to_owned) });
            let reason = Wait::Slot { name: "build".to_owned(), position, behind };
            let since = crate::background::task::Timestamp(0);
            let left = left.map(Duration::from_millis);
            assert_eq!(queued(&Queued { since, reason, left }), want);
        };
        let test = Some("cargo  test\n");
        check(2, test, Some(40_400), "2nd for build, behind b3f9c2a1 cargo test, about 40 s");
        check(1, test, Some(150_000), "1st for build, behind b3f9c2a1 cargo test, about 3 min");
        check(1, test, Some(9_000_000), "1st for build, behind b3f9c2a1 cargo test, about 3 h");
        check(1, test, Some(400), "1st for build, behind b3f9c2a1 cargo test");
        check(1, None, None, "1st for build, behind b3f9c2a1");
    }

    #[test]
    fn a_line_moves_nothing() {
        assert_eq!(one_line(" a\tb\n\x1b[1mc\u{202e}d "), "a b \u{fffd}[1mc\u{fffd}d");
        assert_eq!(one_line("\n \u{feff}"), "\u{fffd}");
    }

    #[test]
    fn a_systems_error_is_words_without_its_number() {
        let missing = std::io::Error::from_raw_os_error(libc::ENOENT);
        assert_eq!(reason(&missing), "no such file or directory");
        assert_eq!(reason(&std::io::Error::other("Not UTF-8")), "not UTF-8");
    }

    #[test]
    fn numbers_and_signals_read_well() {
        assert_eq!([0, 999, 1_204, 1_000_000].map(thousands), ["0", "999", "1 204", "1 000 000"]);
        assert_eq!(seconds(Duration::from_millis(92_449)), "92.4s");
        assert_eq!(
            [9, libc::SIGRTMIN() + 3, 999].map(signal),
            ["SIGKILL", "SIGRTMIN+3", "signal 999"]
        );
    }
}
