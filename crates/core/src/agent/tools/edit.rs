//! `edit_file`: replaces one exact text by another.
//!
//! Works on bytes, so that everything else stays unchanged: an 8-bit encoding, a byte order mark, line endings.
//! UTF-16 is edited as text. A model writes `\n`, which matches `\r\n` in a file whose lines end with `\r\n`.

use std::borrow::Cow;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::Outcome;
use super::alike::differs;
use super::blocking::{Gone, blocking};
use super::editor::Buffers;
use super::encoding::{Encoding, MIXED};
use super::files::{diff, failed, replace};
use super::text::plural;
use crate::background::words::thousands;

/// Maximum bytes of a file that can be edited; a larger one is data.
pub(super) const FILE_BYTES: u64 = 32 << 20;
/// How many occurrences are listed if a text occurs more than once.
const PLACES: usize = 8;

/// A change to make.
#[derive(Debug, Clone)]
pub(super) struct Edit {
    pub(super) path: PathBuf,
    pub(super) old: String,
    pub(super) new: String,
    pub(super) all: bool,
}

/// Runs the tool `edit_file`, through the editor if it has the file.
pub(super) async fn run(edit: Edit, buffers: Option<&Buffers>) -> Result<Outcome, String> {
    if let Some(buffers) = buffers
        && buffers.edits(&edit.path).await
        && let Some(text) = buffers.read(&edit.path).await
    {
        let path = edit.path.clone();
        let changed = blocking(move |_| {
            let changed = change(text.as_bytes(), &edit.old, &edit.new, edit.all);
            let unchanged = |why| format!("`{}` was not changed: {why}", edit.path.display());
            Ok((text, changed.map_err(unchanged)?))
        });
        let (text, Changed { bytes, lines }) = changed.await?;
        // Both texts are UTF-8, so the result is, too.
        let content = String::from_utf8_lossy(&bytes).into_owned();
        buffers.write(&path, content).await?;
        let diff = shown(&path, text.into_bytes(), bytes);
        return Ok(Outcome { diff, ..Outcome::of(report(&path, &lines)) });
    }
    blocking(move |gone| run_now(&edit, gone)).await
}

/// The result for the model after a file was changed.
fn report(path: &Path, lines: &[usize]) -> String {
    format!(
        "`{}`: {} place{} changed, {}line{} {}",
        path.display(),
        lines.len(),
        plural(lines.len() as u64),
        if lines.len() > PLACES { "first " } else { "" },
        plural(lines.len() as u64),
        places(lines)
    )
}

fn run_now(edit: &Edit, gone: &Gone) -> Result<Outcome, String> {
    let path = &edit.path;
    let about = match fs::metadata(path) {
        Ok(about) if about.is_file() => about,
        Ok(_) => return Err(format!("`{}` is not a file; name a file", path.display())),
        Err(error) if error.kind() == ErrorKind::NotFound && edit.old.is_empty() => {
            return Err(format!(
                "there is no file `{}` to edit; write_file makes it",
                path.display()
            ));
        }
        Err(error) => return Err(failed("edit", path, &error)),
    };
    if about.len() > FILE_BYTES {
        return Err(format!(
            "`{}` has {} bytes, and at most {} can be edited; use a command such as sed",
            path.display(),
            thousands(about.len()),
            thousands(FILE_BYTES)
        ));
    }
    let before = gone.whole(path, FILE_BYTES).map_err(|error| failed("read", path, &error))?;
    let unchanged = |error: String| format!("`{}` was not changed: {error}", path.display());
    let (text, encoding) = decoded(before).map_err(unchanged)?;
    if encoding == Encoding::EightBit && !(edit.old.is_ascii() && edit.new.is_ascii()) {
        return Err(unchanged(MIXED.to_owned()));
    }
    let changed = change(&text, &edit.old, &edit.new, edit.all).map_err(unchanged)?;
    let bytes = encoded(&changed.bytes, encoding);
    replace(path, &bytes, Some(&about)).map_err(|error| failed("write", path, &error))?;
    let report = report(path, &changed.lines);
    let diff = shown(path, text, changed.bytes);
    Ok(Outcome { diff, ..Outcome::of(report) })
}

/// A file's text in UTF-8; a file in another 8-bit encoding is returned unchanged.
pub(super) fn decoded(bytes: Vec<u8>) -> Result<(Vec<u8>, Encoding), String> {
    let encoding = Encoding::of(&bytes);
    let text = match encoding {
        Encoding::Utf8 { .. } | Encoding::EightBit => bytes,
        Encoding::Utf16 { little } => Encoding::decode_utf16(little, &bytes)
            .ok_or("it starts like UTF-16 but is not valid UTF-16: use a command")?
            .into_bytes(),
        Encoding::Binary => {
            return Err("it is not text: it has NUL bytes in it; use a command".to_owned());
        }
    };
    Ok((text, encoding))
}

/// A changed text in the encoding of its file.
fn encoded(text: &[u8], encoding: Encoding) -> Cow<'_, [u8]> {
    match encoding {
        Encoding::Utf16 { little } => {
            Cow::Owned(Encoding::encode_utf16(little, &String::from_utf8_lossy(text)))
        }
        Encoding::Utf8 { .. } | Encoding::EightBit | Encoding::Binary => Cow::Borrowed(text),
    }
}

fn shown(path: &Path, before: Vec<u8>, after: Vec<u8>) -> Option<super::Diff> {
    diff(path, Some(before), String::from_utf8(after).ok()?)
}

/// A changed text, and the numbers of the changed lines.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Changed {
    pub(super) bytes: Vec<u8>,
    lines: Vec<usize>,
}

/// Replaces one text by another; with `all`, every occurrence.
pub(super) fn change(text: &[u8], old: &str, new: &str, all: bool) -> Result<Changed, String> {
    if old.is_empty() {
        return Err("old_string is empty: give the text to replace, or use write_file".to_owned());
    }
    if old == new {
        return Err("old_string and new_string are the same: there is nothing to do".to_owned());
    }
    let (mut old, mut new) = (old.to_owned(), new.to_owned());
    let mut at = find(text, old.as_bytes());
    if has_crlf_only(text) || at.is_empty() && old.contains('\n') {
        // Use the line endings of the file. If it has both kinds, only the form that was found matters.
        let (with_crlf, found) = (crlf(&old), find(text, crlf(&old).as_bytes()));
        if has_crlf_only(text) || !found.is_empty() {
            (old, new, at) = (with_crlf, crlf(&new), found);
        }
    }
    if at.is_empty() {
        return Err(not_found(text, &old));
    }
    let lines = lines_of(text, &at);
    if at.len() > 1 && !all {
        return Err(format!(
            "old_string occurs {} times, in lines {}: give more of the text around the one you \
             mean, or set replace_all",
            at.len(),
            places(&lines)
        ));
    }
    let mut bytes = Vec::with_capacity(text.len() + at.len() * new.len());
    let mut changed = Vec::new();
    let mut done = 0;
    for (at, line) in at.into_iter().zip(lines) {
        // Occurrences may overlap, as `aa` does in `aaa`; the first one counts.
        if at < done {
            continue;
        }
        bytes.extend_from_slice(&text[done..at]);
        bytes.extend_from_slice(new.as_bytes());
        done = at + old.len();
        changed.push(line);
    }
    bytes.extend_from_slice(&text[done..]);
    Ok(Changed { bytes, lines: changed })
}

/// The offsets of all occurrences of `wanted`, including overlapping ones.
fn find(text: &[u8], wanted: &[u8]) -> Vec<usize> {
    let finder = memchr::memmem::Finder::new(wanted);
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(at) = text.get(from..).and_then(|rest| finder.find(rest)) {
        found.push(from + at);
        from += at + 1;
    }
    found
}

/// The line numbers of these offsets, which must be ascending.
fn lines_of(text: &[u8], places: &[usize]) -> Vec<usize> {
    let (mut line, mut from) = (1, 0);
    let next = |at: &usize| {
        line += memchr::memchr_iter(b'\n', &text[from..*at]).count();
        from = *at;
        line
    };
    places.iter().map(next).collect()
}

fn places(lines: &[usize]) -> String {
    let named: Vec<String> = lines.iter().take(PLACES).map(usize::to_string).collect();
    let more = if lines.len() > PLACES { ", ..." } else { "" };
    format!("{}{more}", named.join(", "))
}

/// Whether there is a line break, and every one is `\r\n`.
fn has_crlf_only(text: &[u8]) -> bool {
    let mut ends = memchr::memchr_iter(b'\n', text).peekable();
    ends.peek().is_some() && ends.all(|at| at > 0 && text[at - 1] == b'\r')
}

fn crlf(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\n', "\r\n")
}

/// Explains why a text may not have been found.
fn not_found(text: &[u8], old: &str) -> String {
    let plain = String::from_utf8_lossy(text);
    let squeeze = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let wanted: Vec<String> = old.lines().map(squeeze).collect();
    let lines: Vec<String> = plain.lines().map(squeeze).collect();
    let is_blank = wanted.iter().all(String::is_empty);
    let same = lines.windows(wanted.len().max(1)).position(|lines| lines == wanted);
    if let Some(at) = same.filter(|_| !is_blank) {
        return format!(
            "old_string is not in it, but for whitespace it is at line {}: read the file there and \
             copy it exactly",
            at + 1
        );
    }
    if let Some(told) = differs(&plain, old) {
        return told;
    }
    let without_numbers: Option<Vec<&str>> = old.lines().map(without_number).collect();
    if let Some(bare) = without_numbers
        && plain.replace("\r\n", "\n").contains(&bare.join("\n"))
    {
        return "old_string has the line numbers of read_file in it: leave them and the tab out"
            .to_owned();
    }
    let first = wanted.iter().find(|line| !line.is_empty());
    let near = first.and_then(|first| lines.iter().position(|line| line == first));
    match near {
        Some(at) => format!(
            "old_string is not in it; its first line is at line {}, but what follows differs: read \
             the file there",
            at + 1
        ),
        None => "old_string is not in it: read the file again, it may have changed".to_owned(),
    }
}

/// A line without the line number of `read_file`.
fn without_number(line: &str) -> Option<&str> {
    let (number, rest) = line.split_once('\t')?;
    number.trim().parse::<u64>().ok().map(|_| rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exact_text_is_replaced_once() {
        let check = |text: &[u8], old: &str, new: &str, expected: &[u8]| {
            let changed = change(text, old, new, false);
            assert_eq!(changed.map(|changed| changed.bytes), Ok(expected.to_vec()));
        };
        check(b"a b c", "b", "x", b"a x c");
        check(b"a b c", "a b c", "", b"");
        check("é ü".as_bytes(), "ü", "ö", "é ö".as_bytes());
        // Another encoding around the text, and a byte order mark before it.
        check(b"\xe9 b \xff", "b", "x", b"\xe9 x \xff");
        check(b"\xef\xbb\xbfa\nb\n", "a\n", "x\n", b"\xef\xbb\xbfx\nb\n");
        // The line endings of the file are used.
        check(b"a\r\nb\r\nc\r\n", "a\nb", "x\ny\nz", b"x\r\ny\r\nz\r\nc\r\n");
        check(b"a\r\nb\r\n", "b", "x\ny", b"a\r\nx\r\ny\r\n");
        check(b"a\r\nb\r\n", "a\r\nb", "x", b"x\r\n");
        check(b"a\nb\r\nc\r\nd\n", "b\nc", "x\ny", b"a\nx\r\ny\r\nd\n");
        check(b"a\nb\r\n", "a", "x\ny", b"x\ny\nb\r\n");
        check(b"no end", "end", "x\ny", b"no x\ny");
    }

    #[test]
    fn all_are_replaced_only_if_told() {
        let all = change(b"a.a\na", "a", "bb", true);
        assert_eq!(all, Ok(Changed { bytes: b"bb.bb\nbb".to_vec(), lines: vec![1, 1, 2] }));
        let overlapping = change(b"aaa", "aa", "b", true);
        assert_eq!(overlapping, Ok(Changed { bytes: b"ba".to_vec(), lines: vec![1] }));
        let many = "x\n".repeat(20);
        let check = |text: &[u8], old: &str, says: &str| {
            let error = change(text, old, "z", false).unwrap_err();
            assert!(error.contains(says), "{error}");
        };
        check(b"a\na", "a", "2 times, in lines 1, 2");
        check(b"aaa", "aa", "2 times");
        // The time is proportional to the length of the file.
        let very_many = change("x\n".repeat(1_000_000).as_bytes(), "x", "y", true).unwrap();
        assert_eq!(very_many.lines, (1..=1_000_000).collect::<Vec<_>>());
        check(many.as_bytes(), "x", "20 times, in lines 1, 2, 3, 4, 5, 6, 7, 8, ...");
    }

    #[test]
    fn what_is_not_found_gets_a_reason() {
        let check = |text: &str, old: &str, says: &str| {
            let error = change(text.as_bytes(), old, "new", false).unwrap_err();
            assert!(error.contains(says), "{old:?}: {error}");
        };
        check("fn a() {\n    b();\n}\n", "fn a() {\n\tb();\n}", "whitespace it is at line 1");
        check("one\ntwo\n", "     1\tone\n     2\ttwo", "line numbers");
        check("one\ntwo\n", "one\nthree", "first line is at line 1");
        check("one\n", "four", "may have changed");
        check("one\n", "\n\n\n", "may have changed");
        check("one\n", "", "empty");
        check("one\n", "new", "the same");
    }
}
