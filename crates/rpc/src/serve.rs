//! The serve loop: bytes in, requests conducted, replies out, and how it all ends.
//!
//! `tower-lsp` gives the types, the lifecycle and the routing; its own loop joins reader, handlers
//! and writer on one task, where a few waiting requests hold up every other. Here the loop only
//! reads and dispatches: each request runs on its own, answers through the [`Outbox`] by itself, and
//! takes nobody with it when it panics. The loop is the only owner of tasks of the runtime: the
//! writer, the pusher, the requests, the acknowledgements.
//!
//! Requests are known to the router by a number of ours, so that every id a client may choose can
//! be cancelled, and a panic leaves nothing behind.

mod dispatch;

use std::collections::HashMap;
use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use meanwhile_core::background::Lease;
use meanwhile_rpc::frame::Decoder;
use meanwhile_rpc::message::{self, Id};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{self, JoinSet};
use tokio::time::timeout;
use tower_lsp::{ClientSocket, LspService, LspServiceBuilder};

use crate::handlers::{
    ack, check, drain, read, remove, session, spawn, stop, subscribe, unsubscribe, wait, write,
};
use crate::outbox::{Outbox, READ_ROOM};
use crate::progress::Progresses;
use crate::reply::Reply;
use crate::session::{Server, Start, Stream};
use crate::sessions::Asks;
use crate::{parent, push, transport};

/// Requests that may wait at once; one more is refused and may be sent again (contract, section 5,
/// guarantee 8: none of the others is).
pub(crate) const WAITING_MAX: usize = 1_024;
/// Requests that answer by themselves, at once. One more is not read until one is answered, which
/// needs nothing from outside.
const BUSY_MAX: usize = 4_096;
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

/// Serves the client on standard input and output until it is gone.
///
/// # Errors
///
/// Standard input or output cannot be used at all.
pub(crate) fn run(start: Start) -> io::Result<ExitCode> {
    // One thread: a request passes no queue between threads on its way (a spawn's reply is due in
    // 0.15 ms). Two workers would be `new_multi_thread().worker_threads(2)`.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let clean = runtime.block_on(async {
        let (input, output) = (transport::input()?, transport::output()?);
        Ok::<_, io::Error>(serve(start, input, output).await)
    });
    // A read of standard input on a blocking thread cannot be ended; do not wait for it.
    runtime.shutdown_background();
    Ok(if clean? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Serves one client. Returns whether it said goodbye with `shutdown`.
pub(crate) async fn serve(
    start: Start,
    input: impl AsyncRead + Unpin,
    output: impl AsyncWrite + Send + Unpin + 'static,
) -> bool {
    let (streams, incoming) = mpsc::unbounded_channel();
    let builder = LspService::build(|_| Server::new(start, streams));
    serve_with(register(builder), incoming, input, output).await
}

/// Routes the methods of the contract.
fn register(builder: LspServiceBuilder<Server>) -> LspServiceBuilder<Server> {
    builder
        .custom_method("task/spawn", spawn::run)
        .custom_method("task/check", check::run)
        .custom_method("task/drain", drain::run)
        .custom_method("task/ack", ack::run)
        .custom_method("task/wait", wait::run)
        .custom_method("task/read", read::run)
        .custom_method("task/stop", stop::run)
        .custom_method("task/write", write::run)
        .custom_method("task/subscribe", subscribe::run)
        .custom_method("task/unsubscribe", unsubscribe::run)
        .custom_method("task/remove", remove::run)
        .custom_method("session/new", session::new::run)
        .custom_method("session/load", session::load::run)
        .custom_method("session/list", session::list::run)
        .custom_method("session/prompt", session::prompt::run)
        .custom_method("session/cancel", session::cancel::run)
        .custom_method("session/close", session::close::run)
        .custom_method("session/trace", session::trace::run)
}

async fn serve_with(
    builder: LspServiceBuilder<Server>,
    incoming: mpsc::UnboundedReceiver<Stream>,
    input: impl AsyncRead + Unpin,
    output: impl AsyncWrite + Send + Unpin + 'static,
) -> bool {
    let (service, socket) = builder.finish();
    let outbox = Outbox::new();
    let (written, leases) = mpsc::unbounded_channel();
    let mut owned = JoinSet::new();
    let writer = outbox.clone().write_to(output, written);
    let writer = owned.spawn(async move { Owned::Writer(writer.await) });
    let mut connection = Connection {
        service,
        _socket: socket,
        outbox,
        progresses: Progresses::default(),
        asks: Asks::default(),
        requests: JoinSet::new(),
        owned,
        vital: vec![writer.id()],
        in_flight: HashMap::new(),
        last_number: 0,
        held: false,
        waiting: Arc::new(Semaphore::new(WAITING_MAX)),
        busy: Arc::new(Semaphore::new(BUSY_MAX)),
        large: Arc::new(Semaphore::new(LARGE_MAX)),
        incoming,
        leases,
    };
    let end = connection.run(input).await;
    connection.finish(&end).await;
    connection.server().is_shut_down()
}

/// Everything of one connection.
struct Connection {
    service: LspService<Server>,
    /// The router's own way to the client. Unused, and its end would be the router's.
    _socket: ClientSocket,
    outbox: Outbox,
    progresses: Progresses,
    asks: Asks,
    /// The requests that run; each returns its id once it has answered.
    requests: JoinSet<Id>,
    /// The other tasks of this connection.
    owned: JoinSet<Owned>,
    /// Those of them without which it is of no use: the writer and the pusher.
    vital: Vec<task::Id>,
    /// The router's number of each request that runs, and whether it may be cancelled.
    in_flight: HashMap<Id, (i64, bool)>,
    last_number: i64,
    /// Messages that have arrived are not dispatched for now.
    held: bool,
    waiting: Arc<Semaphore>,
    busy: Arc<Semaphore>,
    large: Arc<Semaphore>,
    incoming: mpsc::UnboundedReceiver<Stream>,
    leases: mpsc::UnboundedReceiver<Lease>,
}

/// What a task of the connection has come to.
enum Owned {
    /// The writer ended: the client cannot be told anything any more.
    Writer(io::Result<()>),
    /// The client's process is gone.
    Parent,
    /// Something that the connection can do without.
    Other,
    /// Nothing more will be pushed: the manager is closed, or the client reads none of it.
    Pusher,
}

/// Why the loop ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// `exit`, or the death of `processId`: at once.
    Exit,
    /// No more requests come; those that run may still answer.
    Input,
    /// Nothing can be written any more.
    Output,
}

impl Connection {
    async fn run(&mut self, mut input: impl AsyncRead + Unpin) -> End {
        let mut decoder = Decoder::new();
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
                    Ok(Owned::Parent) => return End::Exit,
                    Ok(Owned::Pusher) => {
                        tracing::warn!("the client left too many pushes unread");
                        return End::Output;
                    }
                    Ok(Owned::Other) => {}
                    Err(error) => {
                        tracing::error!(%error, "a task of the connection failed");
                        // A client that is told nothing any more must see that, and start anew.
                        if self.vital.contains(&error.id()) {
                            return End::Output;
                        }
                    }
                },
                Some(done) = self.requests.join_next() => self.answered(done),
                Some(lease) = self.leases.recv() => self.acknowledge(lease),
                Some(stream) = self.incoming.recv() => self.follow(stream),
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

    /// Has a stream read to its end.
    fn follow(&mut self, stream: Stream) {
        let outbox = self.outbox.clone();
        match stream {
            Stream::Events(events) => {
                let gate = self.server().output_gate();
                let pusher = push::run(*events, outbox, self.progresses.clone(), gate);
                let pusher = self.owned.spawn(async {
                    pusher.await;
                    Owned::Pusher
                });
                self.vital.push(pusher.id());
            }
            Stream::Session(reading) => {
                let reading = reading.run(outbox, self.asks.clone());
                self.owned.spawn(async {
                    reading.await;
                    Owned::Other
                });
            }
        }
    }

    /// After the handshake: opens the store, and watches the client.
    fn begin(&mut self) {
        if let Some(pid) = self.server().parent() {
            self.owned.spawn(async move {
                parent::gone(pid).await;
                Owned::Parent
            });
        }
        let server = self.server().clone();
        self.owned.spawn(async move {
            if let Err(error) = server.background().await {
                tracing::error!(%error, "cannot open the store; the next request tries again");
            }
            Owned::Other
        });
    }

    fn acknowledge(&mut self, lease: Lease) {
        self.owned.spawn(async {
            if let Err(error) = lease.ack().await {
                tracing::warn!(%error, "cannot acknowledge what was drained; it is drained again");
            }
            Owned::Other
        });
    }

    fn answered(&mut self, done: Result<Id, task::JoinError>) {
        match done {
            Ok(id) => {
                if let Some((number, _)) = self.in_flight.remove(&id) {
                    self.release(number);
                }
            }
            // Handlers are caught where they panic, so this is the loop's own fault.
            Err(error) => tracing::error!(%error, "a request was not answered"),
        }
    }

    fn server(&self) -> &Server {
        self.service.inner()
    }

    /// Lets what is under way come to its end, for less than half a second.
    async fn finish(&mut self, end: &End) {
        if *end != End::Output {
            // What a session still says is told; what does not end in time goes on without us.
            let sessions = self.server().sessions().clone();
            self.owned.spawn(async move {
                sessions.close().await;
                Owned::Other
            });
            // Those that still wait are not answered: nobody is there to ask again.
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
        let _ = timeout(LAST_STEP, self.service.inner().close()).await;
        self.owned.abort_all();
    }

    /// Waits for the requests that run: after `exit` for changes only, which are carried out anyway.
    async fn last_answers(&mut self, end: &End) {
        let all = *end == End::Input;
        while self.in_flight.values().any(|(_, cancellable)| all || !cancellable) {
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

#[cfg(test)]
mod tests;
