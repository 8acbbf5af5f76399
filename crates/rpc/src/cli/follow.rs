//! Reads the output of one task, piece by piece.
//!
//! Reads from the log, which is complete; the events of the background manager only say when to read again. So a
//! flood of output costs this process no memory, and no bytes are lost.

use meanwhile_core::background::task::{Progress, TaskId};
use meanwhile_core::background::{Background, Chunk, Event, Events};
use meanwhile_core::limits;

use super::failure::Failure;
use crate::convert::to_wire::incomplete_tail;

/// The bytes to request at a time. If a task writes faster than it is read, the middle of its output is lost once it
/// no longer fits the log; fewer, larger reads keep up for longer.
pub(crate) const PIECE_BYTES: u64 = limits::READ_BYTES_MAX;

/// The options for reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Manner {
    /// Whether to continue until the task ends, instead of to the current end of the output.
    pub(crate) wait: bool,
    /// Whether a piece must not end in the middle of a character, for a reader that expects text.
    pub(crate) text: bool,
}

/// Reads one task's output.
pub(crate) struct Follow<'a> {
    background: &'a Background,
    events: &'a mut Events,
    id: TaskId,
    offset: u64,
    manner: Manner,
    /// Whether there may be unread output.
    due: bool,
}

/// What [`Follow::next`] returns.
#[derive(Debug)]
pub(crate) enum Piece {
    /// Output, possibly after a gap.
    Output(Chunk),
    /// The task reported progress.
    Progress(Progress),
    /// Nothing is left to read.
    End,
}

impl<'a> Follow<'a> {
    /// Starts to read a task's output at `offset`.
    pub(crate) async fn new(
        background: &'a Background,
        events: &'a mut Events,
        id: TaskId,
        offset: u64,
        manner: Manner,
    ) -> Result<Self, Failure> {
        if manner.wait {
            // Subscribe before the first read, so that nothing is missed in between.
            background.subscribe(id, None).await?;
        }
        Ok(Self { background, events, id, offset, manner, due: true })
    }

    /// The next piece. Cancel-safe: a piece is either returned or read again later.
    pub(crate) async fn next(&mut self) -> Result<Piece, Failure> {
        loop {
            if self.due {
                let mut chunk = self.background.read(self.id, self.offset, PIECE_BYTES).await?;
                let last = chunk.eof || (!self.manner.wait && chunk.data.is_empty());
                if self.manner.text {
                    let more_to_come = self.manner.wait && !chunk.eof;
                    cut_to_characters(&mut chunk, more_to_come);
                }
                self.offset = chunk.next_offset;
                if !chunk.data.is_empty() || chunk.gap.is_some() {
                    return Ok(Piece::Output(chunk));
                }
                if last {
                    return Ok(Piece::End);
                }
                self.due = false;
            }
            match self.events.next().await {
                Some(Event::Output { id, .. }) => self.due |= id == self.id,
                Some(Event::Exited(notification)) => self.due |= notification.task.id == self.id,
                Some(Event::Progress { id, progress }) if id == self.id => {
                    return Ok(Piece::Progress(progress));
                }
                // If another process recorded the end, only the list of running tasks may show it.
                Some(Event::Changed { running, .. }) => self.due |= !running.contains(&self.id),
                Some(
                    Event::Started(_)
                    | Event::Began { .. }
                    | Event::Progress { .. }
                    | Event::Listening { .. }
                    | Event::State(_)
                    | Event::Notified(_),
                ) => {}
                None => return Err(Failure::new("the background manager was closed")),
            }
        }
    }
}

/// Moves an incomplete character at the end of a piece to the next one; at the end of the output it is then a piece
/// of its own. A piece that consists only of such a character is kept back only if more output follows.
fn cut_to_characters(chunk: &mut Chunk, more_to_come: bool) {
    let held = incomplete_tail(&chunk.data);
    if held < chunk.data.len() || more_to_come {
        chunk.data.truncate(chunk.data.len() - held);
        chunk.next_offset -= held as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_is_never_cut_in_two() {
        let check = |data: &[u8], more: bool, expected: &[u8]| {
            let mut chunk = Chunk {
                offset: 10,
                data: data.to_vec(),
                next_offset: 10 + data.len() as u64,
                ..Chunk::default()
            };
            cut_to_characters(&mut chunk, more);
            assert_eq!(chunk.data, expected, "{data:?}");
            assert_eq!(chunk.next_offset, 10 + expected.len() as u64, "{data:?}");
        };
        check("né".as_bytes(), true, "né".as_bytes());
        check(b"n\xc3", true, b"n");
        check(b"n\xc3", false, b"n");
        check(b"\xc3", true, b"");
        check(b"\xc3", false, b"\xc3");
        check(b"\xff\xff", true, b"\xff\xff");
        check(b"", true, b"");
    }
}
