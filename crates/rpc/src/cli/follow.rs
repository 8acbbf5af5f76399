//! The output of one task, piece by piece, until it ends.
//!
//! Reads from the log, where nothing is missing; the events of the background manager only say
//! when to look again, so a flood costs this process no memory and the reader no byte.

use meanwhile_core::background::{Background, Chunk, Event, Events};
use meanwhile_core::task::{Progress, TaskId};

use super::failure::Failure;

/// Bytes asked for at a time.
const PIECE_BYTES: u64 = 256 << 10;

/// A reader of one task's output.
pub(crate) struct Follow<'a> {
    background: &'a Background,
    events: &'a mut Events,
    id: TaskId,
    offset: u64,
    /// Whether there may be output that was not read yet.
    due: bool,
}

/// What comes next.
#[derive(Debug)]
pub(crate) enum Piece {
    /// Output, or a hole in it.
    Output(Chunk),
    /// The task said how far it is.
    Progress(Progress),
    /// The task has ended and all of its output was read.
    End,
}

impl<'a> Follow<'a> {
    /// Follows a task from `offset` on.
    pub(crate) async fn new(
        background: &'a Background,
        events: &'a mut Events,
        id: TaskId,
        offset: u64,
    ) -> Result<Self, Failure> {
        // First the subscription, then the first read: what is written in between is not missed.
        background.subscribe(id, None).await?;
        Ok(Self { background, events, id, offset, due: true })
    }

    /// The next piece. Cancel-safe: a piece is either returned or read again.
    pub(crate) async fn next(&mut self) -> Result<Piece, Failure> {
        loop {
            if self.due {
                let chunk = self.background.read(self.id, self.offset, PIECE_BYTES).await?;
                self.offset = chunk.next_offset;
                if !chunk.data.is_empty() || chunk.gap.is_some() {
                    return Ok(Piece::Output(chunk));
                }
                if chunk.eof {
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
                // An end that another process took in may show only in the list of what runs.
                Some(Event::Changed { running, .. }) => self.due |= !running.contains(&self.id),
                Some(Event::Started(_) | Event::Progress { .. } | Event::Notified(_)) => {}
                None => return Err(Failure::new("the background manager was closed")),
            }
        }
    }
}
