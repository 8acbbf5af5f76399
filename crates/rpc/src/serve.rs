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

use std::collections::HashMap;
use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use meanwhile_core::background::{Events, Lease};
use meanwhile_rpc::frame::Decoder;
use meanwhile_rpc::message::{self, Id, Message};
use serde_json::{Map, Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tower_lsp::jsonrpc::{Request, Response};
use tower_lsp::{ClientSocket, LspService};
use tower_service::Service as _;

use crate::handlers::{
    ack, check, drain, read, remove, spawn, stop, subscribe, unsubscribe, wait, write,
};
use crate::methods::{self, Conduct};
use crate::outbox::{Outbox, READ_ROOM};
use crate::progress::Progresses;
use crate::reply::{Reply, explain};
use crate::session::{Server, Start};
use crate::{after, parent, push, reply, transport, workspace};

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
    let (events, incoming_events) = mpsc::unbounded_channel();
    let (service, socket) = LspService::build(|_| Server::new(start, events))
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
        .finish();
    let outbox = Outbox::new();
    let (written, leases) = mpsc::unbounded_channel();
    let mut owned = JoinSet::new();
    let writer = outbox.clone().write_to(output, written);
    owned.spawn(async move { Owned::Writer(writer.await) });
    let mut connection = Connection {
        service,
        _socket: socket,
        outbox,
        progresses: Progresses::default(),
        requests: JoinSet::new(),
        owned,
        in_flight: HashMap::new(),
        last_number: 0,
        waiting: Arc::new(Semaphore::new(WAITING_MAX)),
        busy: Arc::new(Semaphore::new(BUSY_MAX)),
        large: Arc::new(Semaphore::new(LARGE_MAX)),
        incoming_events,
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
    /// The requests that run; each returns its id once it has answered.
    requests: JoinSet<Id>,
    /// The other tasks of this connection.
    owned: JoinSet<Owned>,
    /// The router's number of each request that runs, and whether it may be cancelled.
    in_flight: HashMap<Id, (i64, bool)>,
    last_number: i64,
    waiting: Arc<Semaphore>,
    busy: Arc<Semaphore>,
    large: Arc<Semaphore>,
    incoming_events: mpsc::UnboundedReceiver<Events>,
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
            let read = async {
                outbox.room(READ_ROOM).await;
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
                    Ok(Owned::Other) => {}
                    Err(error) => tracing::error!(%error, "a task of the connection failed"),
                },
                Some(done) = self.requests.join_next() => self.answered(done),
                Some(lease) = self.leases.recv() => self.acknowledge(lease),
                Some(events) = self.incoming_events.recv() => {
                    let pusher = push::run(events, self.outbox.clone(), self.progresses.clone());
                    self.owned.spawn(async { pusher.await; Owned::Other });
                }
                result = read => match result {
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

    /// Dispatches every message that is whole.
    async fn take_in(&mut self, decoder: &mut Decoder) -> Option<End> {
        while let Some(item) = decoder.next() {
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
        None
    }

    async fn dispatch(&mut self, message: Message) -> Option<End> {
        match message {
            Message::Request { id, method, params } => self.request(id, method, params).await,
            Message::Notification { method, params } => return self.notification(&method, params),
            Message::Response { id: Some(Id::Text(id)), outcome } => {
                if !self.progresses.created(&id, outcome.is_ok(), &self.outbox) {
                    tracing::warn!(id, "a response to no request of ours");
                }
            }
            // Never answered: an error about an error would go round for ever.
            Message::Response { id, outcome } => {
                tracing::warn!(?id, ?outcome, "a response to no request of ours");
            }
        }
        None
    }

    async fn request(&mut self, id: Id, method: String, params: Option<Value>) {
        if self.in_flight.contains_key(&id) {
            self.outbox.send(&Reply::error(&id, reply::duplicate_id()));
            return;
        }
        let conduct = methods::conduct(&method, params.as_ref());
        let Some(permit) = self.admit(conduct).await else {
            self.outbox.send(&Reply::error(&id, crate::convert::error::overloaded(WAITING_MAX)));
            return;
        };
        let number = self.number();
        let call = self.service.call(request(method.clone(), params, Some(number)));
        if method == "initialize" {
            // What comes next means nothing before this is settled, and it settles at once.
            let response = call.await;
            self.reply(&id, &method, response.ok().flatten());
            self.begin();
            return;
        }
        self.in_flight.insert(id.clone(), (number, conduct.cancellable));
        let (outbox, progresses) = (self.outbox.clone(), self.progresses.clone());
        let large = conduct.large.then(|| self.large.clone());
        let shut_down = self.server().is_shut_down();
        self.requests.spawn(async move {
            let _permit = permit;
            let _large = match large {
                Some(large) => {
                    let permit = large.acquire_owned().await;
                    outbox.room(READ_ROOM).await;
                    permit.ok()
                }
                None => None,
            };
            let handler = std::panic::AssertUnwindSafe(after::collect(call)).catch_unwind();
            let (outcome, left) = match handler.await {
                Ok((response, left)) => {
                    let response = response.ok().flatten();
                    (explain(&method, shut_down, response), left)
                }
                Err(_) => (Err(crate::convert::error::panicked()), Vec::new()),
            };
            match Reply::new(&id, &outcome).send(&outbox) {
                Ok(mark) if outcome.is_ok() => after::run(left, mark, &outbox, &progresses),
                // What was left is dropped: a drain that did not arrive is drained again.
                Ok(_) | Err(_) => drop(left),
            }
            id
        });
    }

    /// The right to run; `None` where too many wait already.
    async fn admit(&self, conduct: Conduct) -> Option<OwnedSemaphorePermit> {
        if conduct.waits {
            self.waiting.clone().try_acquire_owned().ok()
        } else {
            self.busy.clone().acquire_owned().await.ok()
        }
    }

    fn notification(&mut self, method: &str, params: Option<Value>) -> Option<End> {
        match method {
            "exit" => return Some(End::Exit),
            "$/cancelRequest" => self.cancel(params.as_ref()),
            "window/workDoneProgress/cancel" => self.cancel_progress(params),
            _ => {
                let call = self.service.call(request(method.to_owned(), params, None));
                self.owned.spawn(async {
                    // Says only that the router has exited, which ends the loop elsewhere.
                    let _ = call.await;
                    Owned::Other
                });
            }
        }
        None
    }

    /// Cancels a request that runs. One that is a change is carried out, and answered as usual.
    fn cancel(&mut self, params: Option<&Value>) {
        let id = match params.and_then(|params| params.get("id")) {
            Some(Value::String(text)) => Id::Text(text.clone()),
            Some(Value::Number(number)) => match (number.as_i64(), number.as_u64()) {
                (Some(number), _) => Id::Number(number),
                (None, Some(number)) => Id::Large(number),
                (None, None) => return,
            },
            Some(_) | None => return,
        };
        if let Some((number, true)) = self.in_flight.get(&id).copied() {
            self.release(number);
        }
    }

    /// Ends the router's side of a request.
    fn release(&mut self, number: i64) {
        let cancel = request("$/cancelRequest".to_owned(), Some(json!({ "id": number })), None);
        // The router does it within the first poll.
        let _ = self.service.call(cancel).now_or_never();
    }

    /// Stops the task whose progress the client cancelled.
    fn cancel_progress(&mut self, params: Option<Value>) {
        let token = params.and_then(|mut params| params.get_mut("token").map(Value::take));
        let Some(token) = token.and_then(|token| serde_json::from_value(token).ok()) else {
            return;
        };
        let Some(task) = self.progresses.task_of(&token) else { return };
        let server = self.server().clone();
        self.owned.spawn(async move {
            if let Err(error) = stop::whole(&server, task, "its progress was cancelled").await {
                tracing::warn!(%task, %error, "cannot stop a task whose progress was cancelled");
            }
            Owned::Other
        });
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

    fn answered(&mut self, done: Result<Id, tokio::task::JoinError>) {
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

    fn reply(&mut self, id: &Id, method: &str, response: Option<Response>) {
        let outcome = explain(method, false, response);
        // A reply that is too long is replaced by its error, which is what there is to do.
        let _ = Reply::new(id, &outcome).send(&self.outbox);
    }

    /// The next number of the router's; it reads 32 bits where a request is cancelled.
    fn number(&mut self) -> i64 {
        self.last_number = self.last_number % i64::from(i32::MAX) + 1;
        self.last_number
    }

    fn server(&self) -> &Server {
        self.service.inner()
    }

    /// Lets what is under way come to its end, for less than half a second.
    async fn finish(&mut self, end: &End) {
        if *end == End::Input {
            let answers = async { while self.requests.join_next().await.is_some() {} };
            // Those that still wait are not answered: nobody is there to ask again.
            let _ = timeout(LAST_ANSWERS, answers).await;
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

    /// Waits until the writer has written everything.
    async fn written(&mut self) {
        while let Some(done) = self.owned.join_next().await {
            if let Ok(Owned::Writer(_)) = done {
                return;
            }
        }
    }
}

/// A request as the router takes it. Parameters that were left out of one of ours are empty.
fn request(method: String, params: Option<Value>, number: Option<i64>) -> Request {
    let empty = || Value::Object(Map::new());
    let params = match method.as_str() {
        "initialize" => {
            let mut params = params.unwrap_or_else(empty);
            workspace::normalize(&mut params);
            Some(params)
        }
        "initialized" => Some(empty()),
        method if methods::is_ours(method) => Some(params.unwrap_or_else(empty)),
        _ => params,
    };
    let mut request = Request::build(method);
    if let Some(params) = params {
        request = request.params(params);
    }
    if let Some(number) = number {
        request = request.id(number);
    }
    request.finish()
}

#[cfg(test)]
mod tests;
