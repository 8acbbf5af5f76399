//! The output of tasks for the model: both ends, a part, or the matching lines.
//!
//! Reads only what is shown and a limited piece around it, so that 200 MB cost no more than 200 kB.

use std::fmt::Write as _;

use super::text::{self, beginning, clean, ending};
use super::{Outcome, Toolbox};
use crate::background::preview::without_partial_end;
use crate::background::task::{DeliveredBy, State, Task, TaskId};
use crate::background::watch::Scanner;
use crate::background::words::thousands;
use crate::background::{Background, Chunk, Watch};
use crate::error::Error;

/// Bytes that are read from a beginning. More than are shown, because a terminal would not show all of them.
const HEAD_BYTES: u64 = 64 << 10;
/// Bytes that are read from an end.
const TAIL_BYTES: u64 = 192 << 10;
/// Bytes that are searched at a time.
const SEARCH_BYTES: u64 = 1 << 20;
/// Bytes of a result reserved for the line about omitted output.
const NOTE_BYTES: usize = 160;
/// Bytes of a result reserved for the text above the output.
pub(super) const HEADER_BYTES: usize = 640;
/// Maximum number of matches of one search; the usual budget is exhausted earlier.
const MATCHES_MAX: u32 = 5_000;

/// A part of an output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    /// The beginning and the end.
    Ends,
    /// From this byte offset on.
    From(u64),
    /// The first lines.
    Head(u64),
    /// The last lines.
    Tail(u64),
    /// The matching lines, from this byte offset on.
    Matching { pattern: String, from: u64 },
}

/// A part of an output, and the offset where it ends.
pub(super) struct Excerpt {
    pub(super) shown: String,
    pub(super) next: u64,
}

/// What a task wrote from byte `from` to now, in at most `room` bytes: both ends, and between them a note on how to
/// read the rest.
pub(super) async fn excerpt(
    background: &Background,
    task: &Task,
    from: u64,
    room: usize,
) -> Result<Excerpt, Error> {
    let (id, to) = (task.id, task.output.total);
    let span = to.saturating_sub(from);
    if span == 0 {
        return Ok(Excerpt { shown: String::new(), next: from });
    }
    let step = if span <= HEAD_BYTES + TAIL_BYTES { span } else { HEAD_BYTES };
    let head = background.read(id, from, step).await?;
    let tail = match head.next_offset < to {
        true => Some(last_bytes(background, id, head.next_offset, to).await?),
        false => None,
    };
    let room = room.saturating_sub(NOTE_BYTES);
    let Some(tail) = tail else {
        let bytes = whole_characters(task, &head.data);
        let next = head.next_offset - (head.data.len() - bytes.len()) as u64;
        let all = clean(bytes);
        let shown = match all.len() <= room {
            true => lines([lost(head.offset - from).as_str(), &all]),
            false => {
                let first = beginning(bytes, room / 3);
                let rest = &bytes[first.bytes..];
                let last = ending(rest, room - first.shown.len());
                let note = omitted(
                    id,
                    head.offset - from + (rest.len() - last.bytes) as u64,
                    head.offset + first.bytes as u64,
                );
                lines([first.shown.as_str(), &note, &last.shown])
            }
        };
        return Ok(Excerpt { shown, next });
    };
    let bytes = whole_characters(task, &tail.data);
    let next = tail.next_offset - (tail.data.len() - bytes.len()) as u64;
    let first = beginning(&head.data, room / 3);
    let last = ending(bytes, room - first.shown.len());
    let at = head.offset + first.bytes as u64;
    let left_out = (next - last.bytes as u64).saturating_sub(from + first.bytes as u64);
    let shown = lines([first.shown.as_str(), &omitted(id, left_out, at), &last.shown]);
    Ok(Excerpt { shown, next })
}

/// The last bytes before `to`, but none before `from`.
async fn last_bytes(
    background: &Background,
    id: TaskId,
    from: u64,
    to: u64,
) -> Result<Chunk, Error> {
    let mut tail = background.read(id, from.max(to.saturating_sub(TAIL_BYTES)), TAIL_BYTES).await?;
    while tail.next_offset < to {
        // There is a gap of output that was not kept. What follows it is closer to the end.
        let more = background.read(id, tail.next_offset, TAIL_BYTES).await?;
        if more.next_offset == tail.next_offset {
            break;
        }
        tail = more;
    }
    Ok(tail)
}

/// The bytes without a last character that is still incomplete.
fn whole_characters<'a>(task: &Task, bytes: &'a [u8]) -> &'a [u8] {
    match task.state {
        State::Queued(_) | State::Running | State::Stopping { .. } => without_partial_end(bytes),
        State::Ended(_) => bytes,
    }
}

fn lost(bytes: u64) -> String {
    match bytes {
        0 => String::new(),
        bytes => format!("... {} bytes are not kept ...", thousands(bytes)),
    }
}

fn omitted(id: TaskId, bytes: u64, at: u64) -> String {
    match bytes {
        0 => String::new(),
        bytes => format!(
            "... {} bytes omitted; task_output(\"{id}\", offset={at}) has them ...",
            thousands(bytes)
        ),
    }
}

/// Joins the pieces that are not empty, each starting on a new line.
pub(super) fn lines<const N: usize>(pieces: [&str; N]) -> String {
    let mut all = String::new();
    for piece in pieces.into_iter().filter(|piece| !piece.is_empty()) {
        if !all.is_empty() && !all.ends_with('\n') {
            all.push('\n');
        }
        all.push_str(piece);
    }
    all.truncate(all.trim_end_matches('\n').len());
    all
}

/// A server's answer, which is not stored: if it is too long, only its two ends remain.
pub(super) fn both_ends(answer: String, room: usize) -> String {
    if answer.len() <= room {
        return answer;
    }
    let (bytes, room) = (answer.as_bytes(), room.saturating_sub(NOTE_BYTES));
    let first = beginning(bytes, room / 2);
    let rest = &bytes[first.bytes..];
    let last = ending(rest, room - first.shown.len());
    let (left_out, all) = (rest.len() - last.bytes, bytes.len());
    let note = format!(
        "... {} of {} bytes are left out and not kept; ask the tool for less, or for that part ...",
        thousands(left_out as u64),
        thousands(all as u64)
    );
    lines([first.shown.as_str(), &note, &last.shown])
}

impl Toolbox {
    /// Runs the tool `task_output`.
    pub(super) async fn output(&self, id: TaskId, part: Part) -> Result<Outcome, String> {
        let task = self.task(id).await?;
        let total = task.output.total;
        let room = self.budget.result_bytes.saturating_sub(HEADER_BYTES);
        let shown = match part {
            Part::Ends => excerpt(&self.background, &task, 0, room).await.map(|it| it.shown),
            Part::From(offset) if offset > total => {
                return Err(format!(
                    "`offset`: {offset} is beyond the end; the output of task {id} has {total} \
                     bytes so far"
                ));
            }
            Part::From(offset) => self.part(&task, offset, None, room).await,
            Part::Head(count) => self.part(&task, 0, Some(count), room).await,
            Part::Tail(count) => self.tail(&task, count, room).await,
            Part::Matching { pattern, from } => {
                return self.matching(&task, pattern, from, room).await;
            }
        };
        let shown = shown.map_err(|error| self.said(error))?;
        Ok(self.about(&task, &shown))
    }

    fn about(&self, task: &Task, shown: &str) -> Outcome {
        let count = thousands(task.output.total);
        let header = format!(
            "{} {}, {count} byte{} of output",
            task.id,
            text::state(task),
            text::plural(task.output.total)
        );
        let mut outcome = Outcome::of(lines([header.as_str(), shown]));
        self.saw(task, DeliveredBy::Check, &mut outcome);
        outcome
    }

    /// Output from an offset on: as much as fits, or the requested number of lines.
    async fn part(
        &self,
        task: &Task,
        offset: u64,
        count: Option<u64>,
        room: usize,
    ) -> Result<String, Error> {
        let room = room.saturating_sub(NOTE_BYTES);
        let chunk = self.background.read(task.id, offset, HEAD_BYTES + TAIL_BYTES).await?;
        let bytes = match count {
            Some(count) => first_lines(&chunk.data, count),
            None => &chunk.data[..],
        };
        let piece = beginning(bytes, room);
        let next = chunk.offset + piece.bytes as u64;
        let left = task.output.total.saturating_sub(next);
        let more = match left {
            0 => String::new(),
            left => format!("... {} bytes follow; go on with offset={next} ...", thousands(left)),
        };
        Ok(lines([lost(chunk.offset - offset).as_str(), &piece.shown, &more]))
    }

    async fn tail(&self, task: &Task, count: u64, room: usize) -> Result<String, Error> {
        let room = room.saturating_sub(NOTE_BYTES);
        let chunk = last_bytes(&self.background, task.id, 0, task.output.total).await?;
        let bytes = last_lines(&chunk.data, count);
        let piece = ending(bytes, room);
        let before = chunk.next_offset - piece.bytes as u64;
        let more = match before {
            0 => String::new(),
            before => format!("... {} bytes before ...", thousands(before)),
        };
        Ok(lines([more.as_str(), &piece.shown]))
    }

    async fn matching(
        &self,
        task: &Task,
        pattern: String,
        from: u64,
        room: usize,
    ) -> Result<Outcome, String> {
        let watch = Watch { id: String::new(), pattern, limit: MATCHES_MAX };
        let mut scanner = Scanner::new(&[watch]).map_err(|error| match error {
            Error::Invalid { message, .. } => format!("`pattern`: {message}"),
            other @ (Error::UnknownTask(_)
            | Error::SpawnFailed { .. }
            | Error::LimitReached { .. }
            | Error::NotRunning { .. }
            | Error::StoreUnavailable(_)
            | Error::CannotConfine(_)) => other.to_string(),
        })?;
        let room = room.saturating_sub(NOTE_BYTES);
        let (mut found, mut count, mut at) = (String::new(), 0_u64, from);
        let mut more = String::new();
        'search: loop {
            let chunk = self.background.read(task.id, at, SEARCH_BYTES).await;
            let chunk = chunk.map_err(|error| self.said(error))?;
            at = chunk.next_offset;
            let last = chunk.data.is_empty() || at >= task.output.total;
            // The scanner counts from zero; a gap at its start would make it skip the first line.
            let searched = tokio::task::spawn_blocking(move || {
                let mut hits = scanner.push(chunk.offset - from, &chunk.data);
                if last {
                    hits.extend(scanner.finish());
                }
                (scanner, hits)
            });
            let hits;
            (scanner, hits) = searched.await.map_err(|error| error.to_string())?;
            for hit in hits {
                let offset = from + hit.found.offset;
                let line = format!("{offset}: {}\n", clean(hit.found.line.as_bytes()));
                if found.len() + line.len() > room {
                    more = format!("... more matches; go on with offset={offset} ...");
                    break 'search;
                }
                found.push_str(&line);
                count += 1;
            }
            if scanner.is_done() {
                more = "... and perhaps more; take a narrower pattern ...".to_owned();
                break;
            }
            if last {
                break;
            }
        }
        let mut header = format!("{count} line{} match", text::plural(count));
        if count == 1 {
            header.push_str("es");
        }
        if count > 0 {
            // Writing to a string cannot fail.
            let _ = write!(header, ", each after its offset");
        }
        let shown = lines([header.as_str(), &found, &more]);
        Ok(self.about(task, &shown))
    }
}

fn first_lines(bytes: &[u8], count: u64) -> &[u8] {
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let length = bytes.split_inclusive(|byte| *byte == b'\n').take(count).map(<[u8]>::len).sum();
    &bytes[..length]
}

fn last_lines(bytes: &[u8], count: u64) -> &[u8] {
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let lines = bytes.split_inclusive(|byte| *byte == b'\n').rev();
    let length: usize = lines.take(count).map(<[u8]>::len).sum();
    &bytes[bytes.len() - length..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_is_too_long_keeps_its_two_ends() {
        assert_eq!(both_ends("short\n".to_owned(), 400), "short\n");
        let answer: String = (0..1_000).map(|n| format!("line {n}\n")).collect();
        let shown = both_ends(answer.clone(), 400);
        assert!(shown.len() <= 400, "{} bytes", shown.len());
        assert!(shown.starts_with("line 0\n") && shown.ends_with("line 999"), "{shown}");
        let (head, rest) = shown.split_once("... ").unwrap();
        let (note, tail) = rest.split_once(" ...\n").unwrap();
        // The last line has lost its line break.
        let left_out = answer.len() - head.len() - tail.len() - 1;
        let told = [left_out, answer.len()].map(|bytes| thousands(bytes as u64)).join(" of ");
        assert!(note.starts_with(&told), "{note}, not {told}");
    }

    #[test]
    fn lines_are_counted_from_both_ends() {
        let check = |count, first: &str, last: &str| {
            assert_eq!(first_lines(b"a\nb\nc", count), first.as_bytes());
            assert_eq!(last_lines(b"a\nb\nc", count), last.as_bytes());
        };
        check(0, "", "");
        check(1, "a\n", "c");
        check(2, "a\nb\n", "b\nc");
        check(9, "a\nb\nc", "a\nb\nc");
        assert_eq!(last_lines(b"a\nb\n", 1), b"b\n");
        assert_eq!(lines(["a\n", "", "b", "c\n"]), "a\nb\nc");
        assert_eq!(lines(["", ""]), "");
    }
}
