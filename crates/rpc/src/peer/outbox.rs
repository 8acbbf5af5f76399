//! The only way to the client: every reply and push passes through the outbox, which determines their order.
//!
//! Owns the bytes that have not been written. Senders serialize their messages and append them whole; one task writes
//! all that is there at once, so that many messages need one write. Memory is bounded in three steps: above
//! [`PUSH_ROOM`] pushes wait, above [`READ_ROOM`] requests are not read, and above [`UNWRITTEN_MAX`] the connection
//! ends. It never drops a message.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use meanwhile_core::background::Lease;
use serde::Serialize;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::{Notify, mpsc};

use super::frame::Framing;

/// Pushes wait while more bytes than this are unwritten; the background manager keeps the events.
pub(crate) const PUSH_ROOM: usize = 1 << 20;
/// Requests are not read while more bytes than this are unwritten: a client that does not read gets no more replies.
pub(crate) const READ_ROOM: usize = 8 << 20;
/// If more bytes than this are unwritten, the client is considered gone: its daemon exits, its tasks go on.
pub(crate) const UNWRITTEN_MAX: usize = 64 << 20;
/// An emptied buffer above this size is shrunk.
const KEEP_BYTES: usize = 1 << 20;

/// A handle to the outbox. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Outbox(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    framing: Framing,
    state: Mutex<State>,
    /// Notified when there is something to write, or when the outbox is closed.
    filled: Notify,
    /// Notified when something was written.
    emptied: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// The bytes that the writer has not yet taken.
    pending: Vec<u8>,
    /// The number of bytes that the writer has taken but not yet written.
    writing: usize,
    /// The position in the whole stream at which `pending` ends.
    end: u64,
    /// What to acknowledge once the stream is written up to a position. In ascending order.
    leases: VecDeque<(u64, Lease)>,
    phase: Phase,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Phase {
    #[default]
    Open,
    /// The writer writes what is left, and then ends.
    Closing,
    /// Too many bytes were unwritten.
    Overflown,
}

/// A position in the stream: just after a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark(u64);

impl Outbox {
    /// Creates an empty outbox.
    pub(crate) fn new(framing: Framing) -> Self {
        Self(Arc::new(Shared {
            framing,
            state: Mutex::default(),
            filled: Notify::new(),
            emptied: Notify::new(),
        }))
    }

    pub(crate) fn send(&self, message: &impl Serialize) -> Mark {
        let body = serde_json::to_vec(message)
            .expect("messages are made of strings, numbers and string-keyed maps only");
        self.send_body(&body)
    }

    /// Sends a serialized message.
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

    /// Passes `lease` to the writer's acknowledger once the stream is written up to `mark`.
    pub(crate) fn when_written(&self, mark: Mark, lease: Lease) {
        let mut state = self.lock();
        // The mark is older than this call, so the writer may be past it: then the next write, or the wake-up below,
        // passes the lease on.
        let at = state.leases.partition_point(|(place, _)| *place <= mark.0);
        state.leases.insert(at, (mark.0, lease));
        drop(state);
        self.0.filled.notify_one();
    }

    /// Whether at most `bytes` remain unwritten.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        self.lock().unwritten() <= bytes
    }

    /// Waits until at most `bytes` remain unwritten.
    pub(crate) async fn room(&self, bytes: usize) {
        loop {
            let emptied = self.0.emptied.notified();
            tokio::pin!(emptied);
            // Registers before the check, so that no wake-up between the two is missed.
            emptied.as_mut().enable();
            if self.has_room(bytes) {
                return;
            }
            emptied.await;
        }
    }

    /// The text that the writer has not yet taken.
    #[cfg(test)]
    pub(crate) fn unwritten_text(&self) -> String {
        String::from_utf8(self.lock().pending.clone()).expect("JSON is UTF-8")
    }

    /// Ends the writer once everything is written. Later messages are dropped.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        if state.phase == Phase::Open {
            state.phase = Phase::Closing;
        }
        drop(state);
        self.0.filled.notify_one();
    }

    /// Writes until the outbox is closed, or until the first failure.
    ///
    /// # Errors
    ///
    /// Returns the error of the first failed write, or `OutOfMemory` if too much is unwritten.
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

    /// Accounts for the written batch, and replaces it with the next one.
    fn take(&self, batch: &mut Vec<u8>, written: &mpsc::UnboundedSender<Lease>) -> Phase {
        batch.clear();
        batch.shrink_to(KEEP_BYTES);
        let mut state = self.lock();
        state.writing = 0;
        let place = state.end - state.pending.len() as u64;
        while state.leases.front().is_some_and(|(mark, _)| *mark <= place) {
            if let Some((_, lease)) = state.leases.pop_front() {
                // Fails only if the loop has ended; then the lease is dropped, and its notifications are drained
                // again.
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
        // The only code under the lock that can fail is allocation, which aborts.
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
