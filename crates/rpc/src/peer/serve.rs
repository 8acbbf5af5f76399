//! The serve loop: bytes in, requests conducted, replies out, and how it all ends.
//!
//! The loop only reads and dispatches: each request runs on its own, answers through the [`Outbox`]
//! by itself, and takes no other with it when it panics. (tower-lsp's own loop joins reader, handlers
//! and writer on one task, where a few waiting requests hold up every other.) It is the only owner
//! of tasks of the runtime: the writer, the requests, the acknowledgements, and the [`Jobs`] that a
//! front hands over.

use std::collections::HashMap;
use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::AbortHandle;
use meanwhile_core::background::Lease;
use meanwhile_core::limits::WAITING_REQUESTS_MAX;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{self, JoinSet};
use tokio::time::timeout;

use super::frame::Decoder;
use super::front::{Front, Job, JobEnd, Jobs};
use super::message::{self, Id};
use super::outbox::{Outbox, READ_ROOM};
use super::reply::Reply;
use super::transport;

/// Requests that answer by themselves, at once. One more is not read until one is answered, which
/// needs nothing from outside.
pub(crate) const BUSY_MAX: usize = 4_096;
/// Large replies made at once: three of the largest message, beside [`READ_ROOM`], stay below what
/// may be unwritten.
const LARGE_MAX: usize = 3;
/// Bytes asked for in one read.
const READ_BYTES: usize = 64 << 10;
/// How long requests may still answer after the end of the input.
const LAST_ANSWERS: Duration = Duration::from_millis(200);
/// How long each further step of the end may take. With [`LAST_ANSWERS`] the whole end takes less
/// than half a second.
const LAST_STEP: Duration = Duration::from_millis(80);

/// Serves the client on standard input and output until it is gone, with the front that `open`
/// makes of the way out.
///
/// # Errors
///
/// Standard input or output cannot be used at all.
pub(crate) fn run<F: Front>(open: impl FnOnce(Outbox, Jobs) -> F) -> io::Result<ExitCode> {
    // One thread: a request passes no queue between threads on its way (a spawn's reply is due in
    // 0.15 ms). Two workers would be `new_multi_thread().worker_threads(2)`.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let clean = runtime.block_on(async {
        let (input, output) = (transport::input()?, transport::output()?);
        Ok::<_, io::Error>(serve(open, input, output).await)
    });
    // A read of standard input on a blocking thread cannot be ended; do not wait for it.
    runtime.shutdown_background();
    Ok(if clean? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Serves one client. Returns whether it took its leave before it went.
pub(crate) async fn serve<F: Front>(
    open: impl FnOnce(Outbox, Jobs) -> F,
    input: impl AsyncRead + Unpin,
    output: impl AsyncWrite + Send + Unpin + 'static,
) -> bool {
    let outbox = Outbox::new(F::FRAMING);
    let (jobs, incoming) = Jobs::new();
    let front = open(outbox.clone(), jobs);
    let (written, leases) = mpsc::unbounded_channel();
    let mut owned = JoinSet::new();
    let writer = outbox.clone().write_to(output, written);
    let writer = owned.spawn(async move { Owned::Writer(writer.await) });
    if std::process::id() == 1 {
        owned.spawn(async {
            terminated().await;
            Owned::Job(JobEnd::Gone)
        });
    }
    let mut peer = Peer {
        front,
        outbox,
        requests: JoinSet::new(),
        owned,
        vital: vec![writer.id()],
        in_flight: HashMap::new(),
        held: false,
        waiting: Arc::new(Semaphore::new(WAITING_REQUESTS_MAX)),
        busy: Arc::new(Semaphore::new(BUSY_MAX)),
        large: Arc::new(Semaphore::new(LARGE_MAX)),
        incoming,
        leases,
    };
    let end = peer.run(input).await;
    peer.finish(&end).await;
    peer.front.is_clean()
}

/// Returns at a signal that asks for the end. Process 1 of a container gets only those signals that it asks
/// for: without this `docker stop` waits and kills.
pub(crate) async fn terminated() {
    let (Ok(mut term), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// Everything of one connection.
pub(super) struct Peer<F> {
    pub(super) front: F,
    pub(super) outbox: Outbox,
    /// The requests that run; each returns its id once it has answered.
    pub(super) requests: JoinSet<Id>,
    /// The other tasks of this connection.
    pub(super) owned: JoinSet<Owned>,
    /// Those of them without which it is of no use: the writer, and what a front says is.
    vital: Vec<task::Id>,
    /// How to cancel each request that runs; `None` for a change, which is carried out.
    pub(super) in_flight: HashMap<Id, Option<AbortHandle>>,
    /// Messages that have arrived are not dispatched for now.
    held: bool,
    pub(super) waiting: Arc<Semaphore>,
    pub(super) busy: Arc<Semaphore>,
    pub(super) large: Arc<Semaphore>,
    incoming: mpsc::UnboundedReceiver<Job>,
    leases: mpsc::UnboundedReceiver<Lease>,
}

/// What a task of the connection has come to.
pub(super) enum Owned {
    /// The writer ended: the client cannot be told anything any more.
    Writer(io::Result<()>),
    /// A job.
    Job(JobEnd),
}

/// Why the loop ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The client says so, or its process is gone: at once.
    Exit,
    /// No more requests come; those that run may still answer.
    Input,
    /// Nothing can be written any more.
    Output,
}

impl<F: Front> Peer<F> {
    async fn run(&mut self, mut input: impl AsyncRead + Unpin) -> End {
        let mut decoder = Decoder::new(F::FRAMING);
        let outbox = self.outbox.clone();
        loop {
            if self.held
                && self.may_dispatch()
                && let Some(end) = self.take_in(&mut decoder).await
            {
                return end;
            }
            // What is held is not added to, but for so much that the end of the input is seen.
            let may_read = !self.held || decoder.buffered() < READ_BYTES;
            let read = async {
                let space = decoder.space();
                space.reserve(READ_BYTES);
                input.read_buf(space).await
            };
            tokio::select! {
                // Ends and acknowledgements before new work, else a flood of requests starves them.
                biased;
                Some(done) = self.owned.join_next() => match done {
                    Ok(Owned::Writer(result)) => {
                        tracing::info!(?result, "the writer ended");
                        return End::Output;
                    }
                    Ok(Owned::Job(JobEnd::Gone)) => return End::Exit,
                    Ok(Owned::Job(JobEnd::Deaf)) => {
                        tracing::warn!("the client left too many pushes unread");
                        return End::Output;
                    }
                    Ok(Owned::Job(JobEnd::Nothing)) => {}
                    Err(error) => {
                        tracing::error!(%error, "a task of the connection failed");
                        // A client that is told nothing any more must see that, and start again.
                        if self.vital.contains(&error.id()) {
                            return End::Output;
                        }
                    }
                },
                Some(done) = self.requests.join_next() => self.answered(done),
                Some(lease) = self.leases.recv() => self.acknowledge(lease),
                Some(job) = self.incoming.recv() => self.take_on(job),
                () = outbox.room(READ_ROOM), if self.held && !outbox.has_room(READ_ROOM) => {}
                result = read, if may_read => match result {
                    Ok(1..) => {
                        if let Some(end) = self.take_in(&mut decoder).await {
                            return end;
                        }
                    }
                    Ok(0) => {
                        if !decoder.is_between_frames() {
                            tracing::warn!("the input ended within a message");
                        }
                        return End::Input;
                    }
                    Err(error) => {
                        tracing::info!(%error, "the input failed");
                        return End::Input;
                    }
                },
            }
        }
    }

    /// Dispatches every message that is whole, or holds the rest while too much is under way.
    async fn take_in(&mut self, decoder: &mut Decoder) -> Option<End> {
        loop {
            self.held = !self.may_dispatch();
            if self.held {
                return None;
            }
            let item = decoder.next()?;
            match item {
                Ok(body) => match message::parse(body) {
                    Ok(message) => {
                        if let Some(end) = self.dispatch(message).await {
                            return Some(end);
                        }
                    }
                    Err(malformed) => {
                        self.outbox.send(&Reply::malformed(malformed));
                    }
                },
                Err(fault) => {
                    self.outbox.send(&Reply::fault(&fault));
                    if fault.is_fatal() {
                        return Some(End::Input);
                    }
                }
            }
        }
    }

    /// Whether one more message may be taken: the client reads, and there is a place to run.
    fn may_dispatch(&self) -> bool {
        self.outbox.has_room(READ_ROOM) && self.busy.available_permits() > 0
    }

    fn take_on(&mut self, job: Job) {
        let Job { work, end } = job;
        let task = self.owned.spawn(async move {
            work.await;
            Owned::Job(end)
        });
        if end == JobEnd::Deaf {
            self.vital.push(task.id());
        }
    }

    fn acknowledge(&mut self, lease: Lease) {
        self.owned.spawn(async {
            if let Err(error) = lease.ack().await {
                tracing::warn!(%error, "cannot acknowledge what was drained; it is drained again");
            }
            Owned::Job(JobEnd::Nothing)
        });
    }

    pub(super) fn answered(&mut self, done: Result<Id, task::JoinError>) {
        match done {
            Ok(id) => drop(self.in_flight.remove(&id)),
            // Handlers are caught where they panic, so this is the loop's own fault.
            Err(error) => tracing::error!(%error, "a request was not answered"),
        }
    }

    /// Lets what is under way come to its end, for less than half a second.
    async fn finish(&mut self, end: &End) {
        if *end != End::Output {
            // What still comes of it is told; what does not end in time goes on without us.
            let last = self.front.wind_up();
            self.owned.spawn(async move {
                last.await;
                Owned::Job(JobEnd::Nothing)
            });
            // Those that still wait are not answered: the client is not there to ask again.
            let _ = timeout(LAST_ANSWERS, self.last_answers(end)).await;
        }
        self.requests.abort_all();
        if *end != End::Output {
            self.outbox.close();
            let _ = timeout(LAST_STEP, self.written()).await;
        }
        let acknowledged = async {
            while let Ok(lease) = self.leases.try_recv() {
                if let Err(error) = lease.ack().await {
                    tracing::warn!(%error, "cannot acknowledge what was drained");
                }
            }
        };
        let _ = timeout(LAST_STEP, acknowledged).await;
        let _ = timeout(LAST_STEP, self.front.close()).await;
        self.owned.abort_all();
    }

    /// Waits for the requests that run: after `exit` for changes only, which are carried out anyway.
    async fn last_answers(&mut self, end: &End) {
        let all = *end == End::Input;
        while self.in_flight.values().any(|cancel| all || cancel.is_none()) {
            match self.requests.join_next().await {
                Some(done) => self.answered(done),
                None => return,
            }
        }
    }

    /// Waits until the writer has written everything.
    async fn written(&mut self) {
        while let Some(done) = self.owned.join_next().await {
            if let Ok(Owned::Writer(_)) = done {
                return;
            }
        }
    }
}
