//! Text for the model: output as it would remain on a terminal, within a limit.
//!
//! Pure functions. Output comes from programs and is not trusted: it must not move a cursor, and must not look like
//! a message of this program.

use crate::agent::notice::harmless;
use crate::background::ansi;
use crate::background::preview::without_partial_end;
use crate::background::task::{State, Survivor, Task, Timestamp};
use crate::background::words::{actor, ended, one_line, queued, reorders, seconds, shorten};

/// How many surviving processes of a task are listed.
const SURVIVORS: usize = 5;

/// Output as a terminal would show it: without escape sequences, with only the final text of a line that was
/// overwritten, and with U+FFFD for invalid UTF-8 and other control characters.
pub(in crate::agent) fn clean(output: &[u8]) -> String {
    let plain = ansi::strip(output);
    let text = String::from_utf8_lossy(&plain);
    let mut shown = String::with_capacity(text.len());
    for (i, line) in text.split('\n').enumerate() {
        if i > 0 {
            shown.push('\n');
        }
        let line = line.trim_end_matches('\r');
        push_line(&mut shown, line.rsplit('\r').next().unwrap_or(line));
    }
    shown
}

fn push_line(shown: &mut String, line: &str) {
    let mut plain = String::with_capacity(line.len());
    for c in line.chars() {
        match c {
            '\u{8}' => {
                plain.pop();
            }
            '\t' => plain.push('\t'),
            // In names and titles, invisible characters are replaced, but not here: scripts and emoji need them,
            // and a model that copies a line has to copy them.
            c if c.is_control() || reorders(c) => plain.push('\u{fffd}'),
            c => plain.push(c),
        }
    }
    match plain.contains('<') {
        true => shown.push_str(&harmless(&plain, false)),
        false => shown.push_str(&plain),
    }
}

/// A piece of output in the form that is shown, and how many bytes of the original it covers.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) shown: String,
    pub(super) bytes: usize,
}

/// The longest beginning of `output` that takes at most `room` bytes when shown. It ends at a line break, unless
/// one line takes up most of it.
pub(super) fn beginning(output: &[u8], room: usize) -> Piece {
    let mut piece = Piece { shown: String::new(), bytes: 0 };
    for line in output.split_inclusive(|byte| *byte == b'\n') {
        let shown = clean(line);
        let left = room - piece.shown.len();
        if shown.len() <= left {
            piece.shown.push_str(&shown);
            piece.bytes += line.len();
            continue;
        }
        if left > room / 4 {
            let (shown, bytes) =
                shrink(line.len().min(left), left, |length| without_partial_end(&line[..length]));
            piece.shown.push_str(&shown);
            piece.bytes += bytes;
        }
        break;
    }
    piece
}

/// The longest end of `output`, by the same rules.
pub(super) fn ending(output: &[u8], room: usize) -> Piece {
    let mut lines = Vec::new();
    let mut left = room;
    let mut bytes = 0;
    while bytes < output.len() {
        let rest = &output[..output.len() - bytes];
        let above = &rest[..rest.len() - 1];
        let start = above.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let line = &rest[start..];
        let shown = clean(line);
        if shown.len() <= left {
            left -= shown.len();
            bytes += line.len();
            lines.push(shown);
            continue;
        }
        if left > room / 4 {
            let (shown, taken) = shrink(line.len().min(left), left, |length| {
                let end = &line[line.len() - length..];
                // Skip the rest of a character that starts before the cut.
                let partial = end.iter().take(3).take_while(|b| **b & 0xc0 == 0x80).count();
                &end[partial..]
            });
            lines.push(shown);
            bytes += taken;
        }
        break;
    }
    lines.reverse();
    Piece { shown: lines.concat(), bytes }
}

/// Shortens the piece until it fits.
fn shrink<'a>(
    mut length: usize,
    room: usize,
    piece: impl Fn(usize) -> &'a [u8],
) -> (String, usize) {
    loop {
        let bytes = piece(length);
        let shown = clean(bytes);
        if shown.len() <= room {
            return (shown, bytes.len());
        }
        length = length * room / shown.len();
    }
}

/// A command in a list: on one line, with limited length.
pub(super) fn command(line: &str) -> String {
    harmless(&shorten(&one_line(line), 200), false)
}

/// Truncates a text that is too long, and notes that it did.
pub(super) fn cut(text: &mut String, most: usize) {
    if text.len() <= most {
        return;
    }
    let note = "\n... cut ...";
    let keep = text.floor_char_boundary(most.saturating_sub(note.len()));
    text.truncate(keep);
    if most >= note.len() {
        text.push_str(note);
    }
}

/// The plural `s`, unless the count is one.
pub(super) fn plural(count: u64) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// The state of a task: `running for 12.0s`, `exited 0 after 92.4s`.
pub(super) fn state(task: &Task) -> String {
    let age = || seconds(Timestamp::now().since(task.created_at));
    match &task.state {
        State::Queued(why) => format!("queued for {}: {}", age(), queued(why)),
        State::Running => {
            let percent = task.progress.as_ref().and_then(|progress| progress.percent);
            let percent = percent.map(|percent| format!(", {percent} %")).unwrap_or_default();
            format!("running for {}{percent}", age())
        }
        State::Stopping { cause } => {
            format!("being stopped by {}, running for {}", actor(cause.actor), age())
        }
        State::Ended(_) => ended(task),
    }
}

/// The processes that a task left behind, one per line.
pub(super) fn survivors(task: &Task) -> String {
    let line = |survivor: &Survivor| {
        let command = command(&survivor.command);
        format!("... process {} is still alive: {command} ...", survivor.pid)
    };
    let mut lines: Vec<String> = task.survivors.iter().take(SURVIVORS).map(line).collect();
    if let Some(more @ 1..) = task.survivors.len().checked_sub(SURVIVORS) {
        lines.push(format!("... and {more} more ..."));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn output_is_shown_as_a_terminal_leaves_it() {
        let check = |output: &[u8], expected: &str| assert_eq!(clean(output), expected);
        check(b"plain\n\ttab\r\n", "plain\n\ttab\n");
        check(b"\x1b[31mred\x1b[0m\x1b]0;title\x07", "red");
        check(b" 1%\r 50%\r100%\r\ndone", "100%\ndone");
        check(b"50%\r\x1b[K", "50%");
        check(b"|\x08/\x08-\x08 ok\n\x08x", " ok\nx");
        check(b"a\xffb\xc3", "a\u{fffd}b\u{fffd}");
        check(b"bell\x07 nul\0", "bell\u{fffd} nul\u{fffd}");
        check("a\u{202e}b\u{85}".as_bytes(), "a\u{fffd}b\u{fffd}");
        check("👩\u{200d}🚀 می\u{200c}خواهم".as_bytes(), "👩\u{200d}🚀 می\u{200c}خواهم");
        check(
            b"</background-results> < / BACKGROUND-results><b>",
            "<\\/background-results> <\\ / BACKGROUND-results><b>",
        );
        check(b"<background-resul", "<background-resul");
    }

    #[test]
    fn both_ends_are_cut_by_lines_or_inside_a_long_one() {
        let output = b"one\ntwo\nthree\n";
        let piece = |shown: &str, bytes| Piece { shown: shown.to_owned(), bytes };
        assert_eq!(beginning(output, 100), piece("one\ntwo\nthree\n", 14));
        assert_eq!(beginning(output, 8), piece("one\ntwo\n", 8));
        assert_eq!(beginning(output, 9), piece("one\ntwo\n", 8));
        assert_eq!(ending(output, 7), piece("three\n", 6));
        assert_eq!(ending(output, 100), piece("one\ntwo\nthree\n", 14));
        assert_eq!(beginning(&[b'x'; 50], 10), piece("xxxxxxxxxx", 10));
        assert_eq!(ending(&[b'x'; 50], 10), piece("xxxxxxxxxx", 10));
        assert_eq!(beginning("ééé".as_bytes(), 5), piece("éé", 4));
        assert_eq!(ending("ééé".as_bytes(), 5), piece("éé", 4));
        // A progress bar that was drawn a thousand times is one line.
        let bar = "50%\r".repeat(1_000) + "100%\n";
        assert_eq!(beginning(bar.as_bytes(), 10), piece("100%\n", bar.len()));
        assert_eq!(ending(bar.as_bytes(), 10), piece("100%\n", bar.len()));
        // Each invalid byte is shown as three bytes.
        assert_eq!(beginning(&[0xff; 50], 10).shown, "\u{fffd}\u{fffd}\u{fffd}");
        assert_eq!(ending(&[0xff; 50], 10).shown, "\u{fffd}\u{fffd}\u{fffd}");
        assert_eq!(beginning(b"", 10), piece("", 0));
        assert_eq!(ending(b"", 0), piece("", 0));
    }

    #[test]
    fn a_text_that_is_too_long_says_so() {
        let mut text = "ä".repeat(20);
        cut(&mut text, 40);
        assert_eq!(text, "ä".repeat(20));
        cut(&mut text, 21);
        assert_eq!(text, "ääää\n... cut ...");
    }

    proptest! {
        #[test]
        fn no_piece_exceeds_its_room(
            output in prop::collection::vec(
                prop_oneof![
                    Just(b'\n'),
                    Just(b'\r'),
                    Just(0x1b),
                    Just(b'<'),
                    0x20..=0x3f_u8,
                    any::<u8>(),
                ],
                0..300,
            ),
            room in 0..200_usize,
        ) {
            let (first, last) = (beginning(&output, room), ending(&output, room));
            prop_assert!(first.shown.len() <= room && last.shown.len() <= room);
            prop_assert!(first.bytes <= output.len() && last.bytes <= output.len());
            if clean(&output).len() <= room {
                prop_assert_eq!(first.bytes, output.len());
                prop_assert_eq!(last.bytes, output.len());
            }
        }
    }
}
