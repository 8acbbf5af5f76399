//! Searches an output for lines that match a task's watches.
//!
//! Owns the compiled patterns and the beginning of an incomplete line; both are bounded for any pattern and
//! output. Pure: the caller supplies the bytes, split anywhere, and tells when the task is silent. A hit may
//! have been stored before, which the ledger checks.
//!
//! A line ends with a newline, or with a carriage return after which the task redraws it: progress bars never
//! write a newline. A prompt ends with neither, so when a task is silent, its incomplete line is matched.

use std::borrow::Cow;
use std::ops::Range;

use regex::bytes::{Regex, RegexBuilder};

use crate::background::Watch;
use crate::background::ansi;
use crate::background::task::Match;
use crate::error::Error;
use crate::limits::{MATCH_LINE_BYTES, PATTERN_BYTES};

/// Bytes of a line that are matched. A longer "line" is data.
const LINE_BYTES: usize = 64 << 10;
/// Maximum bytes of a compiled pattern, and also of its cache while it runs. `a{1000}{1000}` is a short pattern
/// that would take gigabytes.
const COMPILED_BYTES: usize = 1 << 20;

/// A line that a watch matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// The watch, as an index into those that the scanner was created with.
    pub watch: usize,
    /// The watch's id, the line and the line's offset.
    pub found: Match,
}

/// Scans one output for lines that match watches.
#[derive(Debug)]
pub struct Scanner {
    patterns: Vec<Pattern>,
    /// The offset of the next expected byte.
    next: u64,
    line: Line,
}

#[derive(Debug)]
struct Pattern {
    id: String,
    regex: Regex,
    /// How many more hits it may make.
    left: u32,
}

/// The line to which the next byte belongs.
#[derive(Debug)]
enum Line {
    /// The bytes from offset `start` on, and a bit for each watch that has matched them.
    Open { start: u64, bytes: Vec<u8>, hit: u32 },
    /// Nothing to match until the line ends: its beginning is unknown or was already matched.
    Skipped,
}

impl Line {
    fn at(start: u64) -> Self {
        Self::Open { start, bytes: Vec::new(), hit: 0 }
    }
}

impl Scanner {
    /// A scanner for a task with these watches; `None` if it has none.
    pub fn for_task(watches: &[Watch]) -> Result<Option<Self>, Error> {
        if watches.is_empty() { Ok(None) } else { Self::new(watches).map(Some) }
    }

    /// Compiles the patterns of `watches`.
    pub fn new(watches: &[Watch]) -> Result<Self, Error> {
        let patterns = watches.iter().enumerate().map(|(i, watch)| {
            let invalid =
                |message| Error::Invalid { field: format!("watch[{i}].pattern"), message };
            let regex = compile(&watch.pattern).map_err(invalid)?;
            Ok(Pattern { id: watch.id.clone(), regex, left: watch.limit })
        });
        Ok(Self { patterns: patterns.collect::<Result<_, Error>>()?, next: 0, line: Line::at(0) })
    }

    /// Whether no watch can hit any more, so that the output need not be read for them.
    pub fn is_done(&self) -> bool {
        self.patterns.iter().all(|pattern| pattern.left == 0)
    }

    /// The offset of the next expected byte: everything before it has been scanned.
    pub fn position(&self) -> u64 {
        self.next
    }

    /// Scans the bytes of the output at `offset`. Skips bytes before [`Scanner::position`], which were already
    /// scanned; after a gap, starts with the next complete line.
    pub fn push(&mut self, offset: u64, bytes: &[u8]) -> Vec<Hit> {
        let mut hits = Vec::new();
        let seen = self.next.saturating_sub(offset);
        let Some(mut bytes) = usize::try_from(seen).ok().and_then(|seen| bytes.get(seen..)) else {
            return hits;
        };
        if offset > self.next && !bytes.is_empty() {
            self.next = offset;
            self.line = Line::Skipped;
        }
        if self.is_done() {
            // Keep nothing of a line that no watch needs.
            self.next += bytes.len() as u64;
            self.line = Line::Skipped;
            return hits;
        }
        while let Some(&first) = bytes.first() {
            if first != b'\n' && self.is_redrawn() {
                self.match_line(&mut hits);
                self.line = Line::at(self.next);
            }
            let end = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            let text = &bytes[..end.unwrap_or(bytes.len())];
            self.take(text, &mut hits);
            let Some(end) = end else { break };
            bytes = &bytes[end..];
            if bytes[0] == b'\n' {
                self.match_line(&mut hits);
                self.next += 1;
                self.line = Line::at(self.next);
                bytes = &bytes[1..];
            } else {
                // The byte after the carriage returns determines whether they end the line.
                let returns = bytes.iter().take_while(|byte| **byte == b'\r').count();
                self.take(&bytes[..returns], &mut hits);
                bytes = &bytes[returns..];
                if let (Line::Skipped, Some(next)) = (&self.line, bytes.first())
                    && *next != b'\n'
                {
                    self.line = Line::at(self.next);
                }
            }
        }
        hits
    }

    /// Whether there is an incomplete line, which is to be matched if the task stays silent.
    pub fn has_open_line(&self) -> bool {
        !self.is_done() && matches!(&self.line, Line::Open { bytes, .. } if !bytes.is_empty())
    }

    /// Matches the incomplete line, because the task is silent. A watch that matches it now does not match it
    /// again when it is complete.
    pub fn pause(&mut self) -> Vec<Hit> {
        let mut hits = Vec::new();
        if self.has_open_line() {
            self.match_line(&mut hits);
        }
        hits
    }

    /// Whether the line so far ends with a carriage return: the next byte redraws it unless it is a newline.
    fn is_redrawn(&self) -> bool {
        matches!(&self.line, Line::Open { bytes, .. } if bytes.last() == Some(&b'\r'))
    }

    /// Matches the last line, which no newline ends.
    pub fn finish(&mut self) -> Vec<Hit> {
        let mut hits = Vec::new();
        if !matches!(&self.line, Line::Open { bytes, .. } if bytes.is_empty()) {
            self.match_line(&mut hits);
        }
        self.line = Line::Skipped;
        hits
    }

    /// Appends to the line bytes that do not end it.
    fn take(&mut self, added: &[u8], hits: &mut Vec<Hit>) {
        self.next += added.len() as u64;
        let Line::Open { bytes, .. } = &mut self.line else { return };
        let room = LINE_BYTES - bytes.len();
        bytes.extend_from_slice(&added[..added.len().min(room)]);
        if added.len() > room {
            self.match_line(hits);
            self.line = Line::Skipped;
        }
    }

    /// Matches the line as far as it is known.
    fn match_line(&mut self, hits: &mut Vec<Hit>) {
        let Line::Open { start, bytes, hit } = &mut self.line else { return };
        let end = bytes.iter().rposition(|byte| *byte != b'\r').map_or(0, |last| last + 1);
        let raw = &bytes[..end];
        // Patterns are written for what a terminal shows, except those about escapes.
        let plain = ansi::strip(raw);
        let has_escapes = matches!(plain, Cow::Owned(_));
        for (watch, pattern) in self.patterns.iter_mut().enumerate() {
            let bit = 1 << watch;
            if pattern.left == 0 || *hit & bit != 0 {
                continue;
            }
            let matched = match pattern.regex.find(&plain) {
                Some(matched) => matched.range(),
                None if has_escapes && pattern.regex.is_match(raw) => 0..0,
                None => continue,
            };
            *hit |= bit;
            pattern.left -= 1;
            let line = cut(&plain, matched);
            let found = Match { id: pattern.id.clone(), line, offset: *start };
            hits.push(Hit { watch, found });
        }
    }
}

fn compile(pattern: &str) -> Result<Regex, String> {
    if pattern.len() > PATTERN_BYTES {
        return Err(format!(
            "it has {} bytes, and at most {PATTERN_BYTES} are allowed; shorten it",
            pattern.len()
        ));
    }
    let built = RegexBuilder::new(pattern)
        .size_limit(COMPILED_BYTES)
        .dfa_size_limit(COMPILED_BYTES)
        .build();
    built.map_err(|error| {
        if matches!(error, regex::Error::CompiledTooBig(_)) {
            return format!(
                "it takes more than {COMPILED_BYTES} bytes compiled; use smaller repeat counts, or \
                 `(?-u)` for classes of ASCII only"
            );
        }
        // The last line has the reason; those before show the pattern with a marker.
        let text = error.to_string();
        let reason = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
        format!("not a regular expression of the `regex` crate's syntax: {reason}")
    })
}

/// The line for a notification: lossy UTF-8, cut at a character boundary. Its beginning, or if the match is
/// further on, the part that ends with the match.
fn cut(line: &[u8], matched: Range<usize>) -> String {
    let text = String::from_utf8_lossy(&line[..matched.end]);
    if text.len() <= MATCH_LINE_BYTES {
        // The text is at least as long as the bytes, so this cuts off only what would be cut off below.
        let line = String::from_utf8_lossy(&line[..line.len().min(MATCH_LINE_BYTES + 4)]);
        return line[..line.floor_char_boundary(MATCH_LINE_BYTES)].to_owned();
    }
    let matched = String::from_utf8_lossy(&line[matched]);
    if matched.len() > MATCH_LINE_BYTES {
        return matched[..matched.floor_char_boundary(MATCH_LINE_BYTES)].to_owned();
    }
    text[text.ceil_char_boundary(text.len() - MATCH_LINE_BYTES)..].to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scanner(patterns: &[&str]) -> Scanner {
        let watch = |(i, pattern): (usize, &&str)| Watch {
            id: format!("w{i}"),
            pattern: (*pattern).to_owned(),
            limit: 100,
        };
        let watches: Vec<Watch> = patterns.iter().enumerate().map(watch).collect();
        Scanner::new(&watches).expect("valid patterns")
    }

    /// The lines that match a pattern, with their offsets.
    fn lines(hits: Vec<Hit>) -> Vec<(u64, String)> {
        hits.into_iter().map(|hit| (hit.found.offset, hit.found.line)).collect()
    }

    fn scan(pattern: &str, output: &[u8]) -> Vec<(u64, String)> {
        let mut scanner = scanner(&[pattern]);
        let mut hits = scanner.push(0, output);
        hits.extend(scanner.finish());
        lines(hits)
    }

    #[track_caller]
    fn check(pattern: &str, output: &[u8], expected: &[(u64, &str)]) {
        let expected: Vec<_> = expected.iter().map(|&(at, line)| (at, line.to_owned())).collect();
        assert_eq!(scan(pattern, output), expected);
    }

    #[test]
    fn lines_match_one_by_one() {
        check("^b", b"ab\nbc\n\nb", &[(3, "bc"), (7, "b")]);
        check("b$", b"ab\r\nbc\r\nb\r", &[(0, "ab"), (8, "b")]);
        check("^$", b"a\n\nb\n", &[(2, "")]);
        check("a.b", b"a\nb", &[]);
        check("", b"", &[]);
        check("", b"\n", &[(0, "")]);
        check("x", b"\xff x \xc3\n", &[(0, "\u{fffd} x \u{fffd}")]);
        check("(?i)ERR", "é err\n".as_bytes(), &[(0, "é err")]);
    }

    #[test]
    fn a_line_that_is_drawn_again_is_a_line() {
        check("^1$|^3$", b"1\r2\r3\r", &[(0, "1"), (4, "3")]);
        check("^1$|^3$", b"1\r2\r3\n", &[(0, "1"), (4, "3")]);
        check("^$", b"\r\n1\r\n\r\r\n", &[(0, ""), (5, "")]);
        check("^2$", b"1\r\r2\r\r\n3", &[(3, "2")]);
        check("^50%", b"\r10%\r50%\r90%", &[(5, "50%")]);
    }

    #[test]
    fn a_silent_task_s_line_matches_once() {
        let mut scanner = scanner(&["y/N", "done"]);
        assert!(!scanner.has_open_line());
        assert_eq!(lines(scanner.push(0, b"a\nGo on? [y/N] ")), []);
        assert!(scanner.has_open_line());
        assert_eq!(lines(scanner.pause()), [(2, "Go on? [y/N] ".to_owned())]);
        assert_eq!(lines(scanner.pause()), []);
        // Another watch may still match the rest, and the same one the next line.
        assert_eq!(lines(scanner.push(15, b"done\n")), [(2, "Go on? [y/N] done".to_owned())]);
        assert_eq!(lines(scanner.push(20, b"y/N\n")), [(20, "y/N".to_owned())]);
        assert_eq!(lines(scanner.pause()), []);
        assert_eq!(lines(scanner.push(24, b"step y/N\r")), []);
        assert_eq!(lines(scanner.pause()), [(24, "step y/N".to_owned())]);
        assert_eq!(lines(scanner.push(33, b"\n")), []);
        assert_eq!(lines(scanner.finish()), []);
    }

    #[test]
    fn what_is_told_contains_the_match() {
        let far = [&[b'.'; 5_000][..], b"needle in hay"].concat();
        let line = scan("needle", &far).remove(0).1;
        assert!(line.len() == MATCH_LINE_BYTES && line.ends_with(".needle"), "{line}");
        let line = scan("x+", &[&[b'.'; 5_000][..], &[b'x'; 5_000]].concat()).remove(0).1;
        assert_eq!(line, "x".repeat(MATCH_LINE_BYTES));
        let line = scan("z", format!("{}z", "\u{20ac}".repeat(3_000)).as_bytes()).remove(0).1;
        assert!(line.len() > MATCH_LINE_BYTES - 3 && line.ends_with("\u{20ac}z"));
    }

    #[test]
    fn escapes_neither_hide_a_match_nor_are_told() {
        check("^error: x$", b"\x1b[1merror\x1b[0m: x\n", &[(0, "error: x")]);
        check(r"\x1b\[31m", b"\x1b[31mred\n", &[(0, "red")]);
    }

    #[test]
    fn after_a_gap_the_next_whole_line_is_looked_at() {
        let mut scanner = scanner(&["x"]);
        assert_eq!(lines(scanner.push(0, b"x1\nx2")), [(0, "x1".to_owned())]);
        assert_eq!(lines(scanner.push(100, b"x3\nx4\nx5")), [(103, "x4".to_owned())]);
        assert_eq!(lines(scanner.push(104, b"4\nx5x")), [], "looked at but for one byte");
        assert_eq!(scanner.position(), 109);
        assert_eq!(lines(scanner.push(0, b"x1\n")), [], "looked at");
        assert_eq!(lines(scanner.finish()), [(106, "x5x".to_owned())]);
        assert_eq!(lines(scanner.finish()), []);
    }

    #[test]
    fn an_endless_line_is_matched_on_its_beginning_in_bounded_memory() {
        let mut scanner = scanner(&["x", "y"]);
        let mut hits = Vec::new();
        for chunk in 0..100 {
            hits.extend(scanner.push(chunk * 10_000, &[b'x'; 10_000]));
            if let Line::Open { bytes, .. } = &scanner.line {
                assert!(bytes.len() <= LINE_BYTES);
            }
        }
        assert_eq!(hits.len(), 1, "once, and before it ends");
        assert_eq!(hits[0].found.line.len(), MATCH_LINE_BYTES);
        assert_eq!(lines(scanner.push(1_000_000, b"y\ny\n")), [(1_000_002, "y".to_owned())]);
    }

    #[test]
    fn a_line_is_cut_at_a_character() {
        let line = scan("€", "€".repeat(1_000).as_bytes()).remove(0).1;
        assert_eq!(line, "€".repeat(MATCH_LINE_BYTES / 3));
        let line = scan("x", &[&[b'x'][..], &[0xff; 5_000]].concat()).remove(0).1;
        assert!(line.len() <= MATCH_LINE_BYTES && line.len() > MATCH_LINE_BYTES - 3);
    }

    #[test]
    fn each_watch_has_its_own_limit() {
        let watch = |pattern: &str, limit| Watch {
            id: pattern.to_owned(),
            pattern: pattern.to_owned(),
            limit,
        };
        let mut scanner = Scanner::new(&[watch("a", 2), watch("b", 1)]).expect("valid");
        let hits = scanner.push(0, b"ab\nab\n");
        let which: Vec<_> = hits.iter().map(|hit| (hit.watch, hit.found.offset)).collect();
        assert_eq!(which, [(0, 0), (1, 0), (0, 3)]);
        assert!(scanner.is_done());
        assert_eq!(scanner.push(6, b"ab\n"), []);
        assert_eq!(scanner.position(), 9);
    }

    #[test]
    fn a_pattern_that_cannot_be_used_is_named() {
        let check = |pattern: &str, says: &str| {
            let watch =
                |pattern: &str| Watch { id: String::new(), pattern: pattern.to_owned(), limit: 1 };
            let error = Scanner::new(&[watch("fine"), watch(pattern)]).expect_err("refused");
            let text = error.to_string();
            assert!(matches!(error, Error::Invalid { field, .. } if field == "watch[1].pattern"));
            assert!(text.contains(says), "{text}");
        };
        check("(", "unclosed group");
        check("(?=x)", "look-around");
        check("(?:a{1000}){1000}", "smaller repeat counts");
        check(r"\pL{1000}", "smaller repeat counts");
        check(&"x".repeat(2_000), "at most 1024");
    }

    proptest! {
        #[test]
        fn how_the_output_is_cut_makes_no_difference(
            output in "([ab\r\n]|\u{1b}\\[1m|é){0,200}",
            cuts in prop::collection::vec(0..200_usize, 0..12),
        ) {
            let output = output.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|at| at.min(output.len())).collect();
            cuts.extend([0, output.len()]);
            cuts.sort_unstable();
            let mut scanner = scanner(&["^a+b"]);
            let mut hits = Vec::new();
            for pair in cuts.windows(2) {
                hits.extend(scanner.push(pair[0] as u64, &output[pair[0]..pair[1]]));
            }
            hits.extend(scanner.finish());
            prop_assert_eq!(lines(hits), scan("^a+b", output));
        }
    }

    #[test]
    fn a_line_that_was_too_long_and_is_redrawn_is_a_new_line() {
        let long = "x".repeat(LINE_BYTES + 1);
        let output = format!("{long}\rready\n{long}\r\nready\n");
        let first = long.len() as u64 + 1;
        check(
            "ready",
            output.as_bytes(),
            &[(first, "ready"), (first + 8 + long.len() as u64, "ready")],
        );
    }

    #[test]
    fn a_task_has_a_scanner_if_it_has_watches() {
        let watch = Watch { id: "w".to_owned(), pattern: "a".to_owned(), limit: 1 };
        assert!(Scanner::for_task(&[]).expect("valid").is_none());
        assert!(Scanner::for_task(&[watch]).expect("valid").is_some());
    }

    #[test]
    fn each_watch_that_has_matched_an_open_line_does_not_match_it_again() {
        let mut scanner = scanner(&["zzz", "a"]);
        assert!(scanner.push(0, b"ab").is_empty());
        assert_eq!(scanner.pause().len(), 1);
        assert!(scanner.push(2, b"c\n").is_empty());
    }

    #[test]
    fn a_line_with_escapes_that_matches_nothing_does_not_hit() {
        check("zzz", b"\x1b[1mbold\x1b[0m\n", &[]);
    }

    #[test]
    fn a_match_longer_than_a_notification_is_shown_from_its_beginning() {
        let line = format!("{}c{}", "a".repeat(100), "b".repeat(MATCH_LINE_BYTES + 50));
        let found = scan("cb+", format!("{line}\n").as_bytes());
        assert_eq!(found, [(0, format!("c{}", "b".repeat(MATCH_LINE_BYTES - 1)))]);
    }

    #[test]
    fn a_pattern_may_be_as_long_as_the_limit() {
        assert!(compile(&"x".repeat(PATTERN_BYTES)).is_ok());
        assert!(compile(&"x".repeat(PATTERN_BYTES + 1)).is_err());
    }
}
