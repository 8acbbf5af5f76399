//! The way out: every reply and push goes through here, so their order on the wire is ours.
//!
//! Owns the bytes that are not written yet. Messages are serialized by their senders, appended
//! whole, and written by one task that takes all there is at once: one write for many messages.
//! Memory is bounded in three steps: pushes wait for [`PUSH_ROOM`], requests are not read above
//! [`READ_ROOM`], and above [`UNWRITTEN_MAX`] the connection ends. It never drops a message.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use meanwhile_core::background::Lease;
use serde::Serialize;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::{Notify, mpsc};

use super::frame::Framing;

/// Pushes wait while more than this is unwritten; the background manager keeps what they would say.
pub(crate) const PUSH_ROOM: usize = 1 << 20;
/// Requests are not read while more than this is unwritten: a client that does not listen is not
/// answered more.
pub(crate) const READ_ROOM: usize = 8 << 20;
/// A client that lets more than this pile up is gone for good; its daemon ends, its tasks go on.
pub(crate) const UNWRITTEN_MAX: usize = 64 << 20;
/// An emptied buffer above this size gives its memory back.
const KEEP_BYTES: usize = 1 << 20;

/// A handle on the way out. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Outbox(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    framing: Framing,
    state: Mutex<State>,
    /// Something to write, or the end.
    filled: Notify,
    /// Something was written.
    emptied: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// What the writer has not taken yet.
    pending: Vec<u8>,
    /// How much the writer has taken and not written yet.
    writing: usize,
    /// The place in the whole stream where `pending` ends.
    end: u64,
    /// What to acknowledge once the stream is written up to a place. Ascending.
    leases: VecDeque<(u64, Lease)>,
    phase: Phase,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Phase {
    #[default]
    Open,
    /// Write what there is, then end.
    Closing,
    /// Too much was unwritten.
    Overflown,
}

/// A place in the stream: just after a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark(u64);

impl Outbox {
    /// An empty way out.
    pub(crate) fn new(framing: Framing) -> Self {
        Self(Arc::new(Shared {
            framing,
            state: Mutex::default(),
            filled: Notify::new(),
            emptied: Notify::new(),
        }))
    }

    /// Sends a message.
    pub(crate) fn send(&self, message: &impl Serialize) -> Mark {
        let body = serde_json::to_vec(message)
            .expect("messages are made of strings, numbers and string-keyed maps only");
        self.send_body(&body)
    }

    /// Sends a message that is serialized already.
    pub(crate) fn send_body(&self, body: &[u8]) -> Mark {
        let mut state = self.lock();
        let before = state.pending.len();
        if state.phase == Phase::Open {
            self.0.framing.append(&mut state.pending, body);
            state.end += (state.pending.len() - before) as u64;
            if state.unwritten() > UNWRITTEN_MAX {
                state.phase = Phase::Overflown;
            }
        }
        let mark = Mark(state.end);
        drop(state);
        self.0.filled.notify_one();
        mark
    }

    /// Hands `lease` to the writer's acknowledger once the stream is written up to `mark`.
    pub(crate) fn when_written(&self, mark: Mark, lease: Lease) {
        let mut state = self.lock();
        // Sent after the mark was made, so the writer may be past it: then the next write, or the
        // wake below, hands it on.
        let at = state.leases.partition_point(|(place, _)| *place <= mark.0);
        state.leases.insert(at, (mark.0, lease));
        drop(state);
        self.0.filled.notify_one();
    }

    /// Whether at most `bytes` are unwritten.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        self.lock().unwritten() <= bytes
    }

    /// Waits until at most `bytes` are unwritten.
    pub(crate) async fn room(&self, bytes: usize) {
        loop {
            let emptied = self.0.emptied.notified();
            tokio::pin!(emptied);
            // Registered before the look, so that no wake between the two is missed.
            emptied.as_mut().enable();
            if self.has_room(bytes) {
                return;
            }
            emptied.await;
        }
    }

    /// What no writer has taken yet.
    #[cfg(test)]
    pub(crate) fn unwritten_text(&self) -> String {
        String::from_utf8(self.lock().pending.clone()).expect("JSON is UTF-8")
    }

    /// Lets the writer end once everything is written. What is sent afterwards is dropped.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        if state.phase == Phase::Open {
            state.phase = Phase::Closing;
        }
        drop(state);
        self.0.filled.notify_one();
    }

    /// The writer: writes until the end, or until the first failure.
    ///
    /// # Errors
    ///
    /// The first failed write, or `OutOfMemory` when the client lets too much pile up.
    pub(crate) async fn write_to(
        self,
        mut sink: impl AsyncWrite + Unpin,
        written: mpsc::UnboundedSender<Lease>,
    ) -> io::Result<()> {
        let mut batch = Vec::new();
        loop {
            let phase = self.take(&mut batch, &written);
            if phase == Phase::Overflown {
                return Err(overflow());
            }
            if batch.is_empty() {
                if phase == Phase::Closing {
                    return sink.shutdown().await;
                }
                self.0.filled.notified().await;
                continue;
            }
            tokio::select! {
                result = async { sink.write_all(&batch).await?; sink.flush().await } => result?,
                () = self.overflown() => return Err(overflow()),
            }
        }
    }

    /// Accounts for the batch that was written, and takes the next one in its place.
    fn take(&self, batch: &mut Vec<u8>, written: &mpsc::UnboundedSender<Lease>) -> Phase {
        batch.clear();
        batch.shrink_to(KEEP_BYTES);
        let mut state = self.lock();
        state.writing = 0;
        let place = state.end - state.pending.len() as u64;
        while state.leases.front().is_some_and(|(mark, _)| *mark <= place) {
            if let Some((_, lease)) = state.leases.pop_front() {
                // Only a loop that has ended already does not listen; the lease is dropped, and
                // what it covers is drained again.
                let _ = written.send(lease);
            }
        }
        std::mem::swap(&mut state.pending, batch);
        state.writing = batch.len();
        let phase = state.phase;
        drop(state);
        self.0.emptied.notify_waiters();
        phase
    }

    async fn overflown(&self) {
        loop {
            if self.lock().phase == Phase::Overflown {
                return;
            }
            self.0.filled.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under the lock but allocation, which aborts.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn unwritten(&self) -> usize {
        self.pending.len() + self.writing
    }
}

fn overflow() -> io::Error {
    let message = format!("the client left more than {UNWRITTEN_MAX} bytes unread");
    io::Error::new(io::ErrorKind::OutOfMemory, message)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn everything_sent_before_the_end_is_written_in_order() {
        for framing in [Framing::ContentLength, Framing::Lines] {
            in_order(framing).await;
        }
    }

    async fn in_order(framing: Framing) {
        let outbox = Outbox::new(framing);
        let (ours, mut theirs) = tokio::io::duplex(7);
        let (written, _leases) = mpsc::unbounded_channel();
        let writer = tokio::spawn(outbox.clone().write_to(ours, written));
        let mut expect = Vec::new();
        for n in 0..100 {
            outbox.send(&n);
            framing.append(&mut expect, n.to_string().as_bytes());
        }
        outbox.close();
        outbox.send(&"after the end");
        let mut read = Vec::new();
        theirs.read_to_end(&mut read).await.unwrap();
        assert_eq!(String::from_utf8(read), String::from_utf8(expect));
        writer.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_closed_reader_ends_the_writer() {
        let outbox = Outbox::new(Framing::ContentLength);
        let (ours, theirs) = tokio::io::duplex(7);
        drop(theirs);
        let (written, _leases) = mpsc::unbounded_channel();
        outbox.send(&1);
        let error = outbox.write_to(ours, written).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }

    #[tokio::test]
    async fn a_reader_that_never_reads_ends_the_writer_at_the_limit() {
        let outbox = Outbox::new(Framing::ContentLength);
        let (ours, _theirs) = tokio::io::duplex(7);
        let (written, _leases) = mpsc::unbounded_channel();
        let writer = tokio::spawn(outbox.clone().write_to(ours, written));
        let body = vec![b' '; 1 << 20];
        for _ in 0..=64 {
            outbox.send_body(&body);
            tokio::task::yield_now().await;
        }
        let error = writer.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::OutOfMemory);
    }

    #[tokio::test(start_paused = true)]
    async fn room_comes_with_reading() {
        let outbox = Outbox::new(Framing::ContentLength);
        let (ours, mut theirs) = tokio::io::duplex(7);
        let (written, _leases) = mpsc::unbounded_channel();
        let _writer = tokio::spawn(outbox.clone().write_to(ours, written));
        outbox.room(0).await;
        outbox.send(&"0123456789");
        let full = tokio::time::timeout(Duration::from_secs(1), outbox.room(0)).await;
        assert!(full.is_err(), "there is room although nothing was read");
        let mut buffer = [0; 64];
        while tokio::time::timeout(Duration::from_secs(1), outbox.room(0)).await.is_err() {
            assert!(theirs.read(&mut buffer).await.unwrap() > 0);
        }
    }
}
