//! The serve loop: reads bytes, runs requests, and ends the connection.
//!
//! The loop only reads and dispatches: each request runs on its own, sends its own reply through the [`Outbox`], and
//! does not affect others if it panics. (tower-lsp's own loop joins reader, handlers and writer in one task, where a
//! few waiting requests delay all others.) It is the only owner of tasks of the runtime: the writer, the requests,
//! the acknowledgements, and the [`Jobs`] of a front.

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

/// The maximum number of running requests of the kind that finish by themselves. Above this, no message is read until
/// one of them is answered, which depends on nothing outside.
pub(crate) const BUSY_MAX: usize = 4_096;
/// The maximum number of large replies in progress: three of the largest message, together with [`READ_ROOM`], stay
/// below [`UNWRITTEN_MAX`](super::outbox::UNWRITTEN_MAX).
const LARGE_MAX: usize = 3;
/// The number of bytes to request in one read.
const READ_BYTES: usize = 64 << 10;
/// How long running requests may still be answered after the end of the input.
const LAST_ANSWERS: Duration = Duration::from_millis(200);
/// The timeout of each further step of shutting down. Together with [`LAST_ANSWERS`], shutting down takes less than
/// half a second.
const LAST_STEP: Duration = Duration::from_millis(80);

/// Serves the client on standard input and output until it is gone, with the front that `open` creates.
///
/// # Errors
///
/// Standard input or output cannot be used.
pub(crate) fn run<F: Front>(open: impl FnOnce(Outbox, Jobs) -> F) -> io::Result<ExitCode> {
    // One thread: a request then never waits in a queue between threads (a spawn's reply is due in 0.15 ms). Two
    // workers would be `new_multi_thread().worker_threads(2)`.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let clean = runtime.block_on(async {
        let (input, output) = (transport::input()?, transport::output()?);
        Ok::<_, io::Error>(serve(open, input, output).await)
    });
    // A blocking read of standard input cannot be cancelled, so do not wait for its thread.
    runtime.shutdown_background();
    Ok(if clean? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Serves one client. Returns whether it ended the connection according to the protocol.
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

/// Returns when a signal asks the process to exit. Process 1 of a container receives only signals that it handles:
/// without this, `docker stop` waits and then kills it.
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

/// The state of one connection.
pub(super) struct Peer<F> {
    pub(super) front: F,
    pub(super) outbox: Outbox,
    /// The running requests; each returns its id once it has answered.
    pub(super) requests: JoinSet<Id>,
    /// The other tasks of this connection.
    pub(super) owned: JoinSet<Owned>,
    /// The tasks that the connection cannot work without: the writer, and those a front marks as vital.
    vital: Vec<task::Id>,
    /// Handles to cancel each running request; `None` for a change, which is completed.
    pub(super) in_flight: HashMap<Id, Option<AbortHandle>>,
    /// Whether received messages are held back for now.
    held: bool,
    pub(super) waiting: Arc<Semaphore>,
    pub(super) busy: Arc<Semaphore>,
    pub(super) large: Arc<Semaphore>,
    incoming: mpsc::UnboundedReceiver<Job>,
    leases: mpsc::UnboundedReceiver<Lease>,
}

/// How a task of the connection ended.
pub(super) enum Owned {
    /// The writer has ended: the client can no longer be reached.
    Writer(io::Result<()>),
    /// A job of a front has ended.
    Job(JobEnd),
}

/// Why the loop ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The client asked for the exit, or its process is gone: exit at once.
    Exit,
    /// The input has ended: running requests may still be answered.
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
            // While messages are held, read only enough to notice the end of the input.
            let may_read = !self.held || decoder.buffered() < READ_BYTES;
            let read = async {
                let space = decoder.space();
                space.reserve(READ_BYTES);
                input.read_buf(space).await
            };
            tokio::select! {
                // Check ends and acknowledgements before new work, or a flood of requests would starve them.
                biased;
                Some(done) = self.owned.join_next() => match done {
                    Ok(Owned::Writer(result)) => {
                        tracing::info!(?result, "the writer ended");
                        return End::Output;
                    }
                    Ok(Owned::Job(JobEnd::Gone)) => return End::Exit,
                    Ok(Owned::Job(JobEnd::Deaf)) => {
                        tracing::warn!("the client has left too many pushes unread");
                        return End::Output;
                    }
                    Ok(Owned::Job(JobEnd::Nothing)) => {}
                    Err(error) => {
                        tracing::error!(%error, "a task of the connection failed");
                        // A client that receives no more pushes must notice that, and start the server again.
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

    /// Dispatches all complete messages, or holds the rest while too many requests are running.
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

    /// Whether another message may be dispatched: the client reads, and there is room to run it.
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
                tracing::warn!(%error, "cannot acknowledge drained notifications; they can be drained again");
            }
            Owned::Job(JobEnd::Nothing)
        });
    }

    pub(super) fn answered(&mut self, done: Result<Id, task::JoinError>) {
        match done {
            Ok(id) => drop(self.in_flight.remove(&id)),
            // Panics of handlers are caught, so this is a fault of the loop.
            Err(error) => tracing::error!(%error, "a request was not answered"),
        }
    }

    /// Lets running work finish, for less than half a second.
    async fn finish(&mut self, end: &End) {
        if *end != End::Output {
            // Its last results are still reported; what does not finish in time continues without the client.
            let last = self.front.wind_up();
            self.owned.spawn(async move {
                last.await;
                Owned::Job(JobEnd::Nothing)
            });
            // Requests that wait are not answered, because the client is gone.
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
                    tracing::warn!(%error, "cannot acknowledge drained notifications");
                }
            }
        };
        let _ = timeout(LAST_STEP, acknowledged).await;
        let _ = timeout(LAST_STEP, self.front.close()).await;
        self.owned.abort_all();
    }

    /// Waits for running requests: after `exit` only for changes, which are completed anyway.
    async fn last_answers(&mut self, end: &End) {
        let all = *end == End::Input;
        while self.in_flight.values().any(|cancel| all || cancel.is_none()) {
            match self.requests.join_next().await {
                Some(done) => self.answered(done),
                None => return,
            }
        }
    }

    async fn written(&mut self) {
        while let Some(done) = self.owned.join_next().await {
            if let Ok(Owned::Writer(_)) = done {
                return;
            }
        }
    }
}
