//! One message at a time: who takes it, under which conditions, and what is said about it.

use futures_util::FutureExt;
use meanwhile_rpc::message::{Id, Message};
use serde_json::{Map, Value, json};
use tokio::sync::OwnedSemaphorePermit;
use tower_lsp::jsonrpc::Request;
use tower_service::Service as _;

use super::{Connection, End, Owned, WAITING_MAX};
use crate::convert::error;
use crate::handlers::{session, stop};
use crate::methods::{self, Conduct};
use crate::outbox::READ_ROOM;
use crate::reply::{self, Reply, explain};
use crate::{after, workspace};

impl Connection {
    /// Takes a message. Returns the end where it asks for it.
    pub(super) async fn dispatch(&mut self, message: Message) -> Option<End> {
        match message {
            Message::Request { id, method, params } => self.request(id, method, params).await,
            Message::Notification { method, params } => return self.notification(&method, params),
            Message::Response { id: Some(Id::Text(id)), outcome } => {
                let asked = self.asks.answered(&id, &outcome);
                if !asked && !self.progresses.created(&id, outcome.is_ok(), &self.outbox) {
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
        // A client that has its reply may use the id again before the loop has seen the end.
        while let Some(done) = self.requests.try_join_next() {
            self.answered(done);
        }
        if self.in_flight.contains_key(&id) {
            self.outbox.send(&Reply::error(&id, reply::duplicate_id()));
            return;
        }
        let conduct = methods::conduct(&method, params.as_ref());
        let Some(permit) = self.admit(conduct) else {
            self.outbox.send(&Reply::error(&id, error::overloaded(WAITING_MAX)));
            return;
        };
        let number = self.number();
        let call = self.service.call(request(method.clone(), params, Some(number)));
        if method == "initialize" || method == "shutdown" {
            // What comes next means something else after it, and it settles at once.
            let shut_down = self.server().is_shut_down();
            let response = call.await;
            let outcome = explain(&method, shut_down, response.ok().flatten());
            // Neither reply is ever too long.
            let _ = Reply::new(&id, &outcome).send(&self.outbox);
            if method == "initialize" && outcome.is_ok() {
                self.begin();
            }
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
                Err(_) => (Err(error::panicked()), Vec::new()),
            };
            match Reply::new(&id, &outcome).send(&outbox) {
                Ok(mark) if outcome.is_ok() => after::run(left, mark, &outbox, &progresses),
                // What was left is dropped: a drain that did not arrive is drained again.
                Ok(_) | Err(_) => drop(left),
            }
            id
        });
    }

    /// The right to run; `None` where too many wait already. A place for one that does not wait is
    /// there: the loop looked before it took the message.
    fn admit(&self, conduct: Conduct) -> Option<OwnedSemaphorePermit> {
        let places = if conduct.waits { &self.waiting } else { &self.busy };
        places.clone().try_acquire_owned().ok()
    }

    fn notification(&mut self, method: &str, params: Option<Value>) -> Option<End> {
        match method {
            "exit" => return Some(End::Exit),
            "$/cancelRequest" => self.cancel(params.as_ref()),
            "window/workDoneProgress/cancel" => self.cancel_progress(params),
            "session/cancel" => self.cancel_turn(params),
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
    pub(super) fn release(&mut self, number: i64) {
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
        // However often it is cancelled, it is stopped once.
        let Some(task) = self.progresses.cancel(&token) else { return };
        let (server, progresses) = (self.server().clone(), self.progresses.clone());
        self.owned.spawn(async move {
            if let Err(error) = stop::whole(&server, task, "its progress was cancelled").await {
                progresses.not_cancelled(&token);
                tracing::warn!(%task, %error, "cannot stop a task whose progress was cancelled");
            }
            Owned::Other
        });
    }

    /// Ends the turn of a session that the client cancelled.
    fn cancel_turn(&mut self, params: Option<Value>) {
        let server = self.server().clone();
        let params = params.unwrap_or_else(|| Value::Object(Map::new()));
        // It waits where its session is busy. There is a place: the loop looked before it took the
        // message, and does not read on while there is none.
        let permit = self.busy.clone().try_acquire_owned();
        self.owned.spawn(async move {
            let _permit = permit;
            if let Err(error) = session::cancel::run(&server, params).await {
                tracing::warn!(%error, "cannot cancel a turn");
            }
            Owned::Other
        });
    }

    /// The next number of the router's; it reads 32 bits where a request is cancelled.
    fn number(&mut self) -> i64 {
        self.last_number = self.last_number % i64::from(i32::MAX) + 1;
        self.last_number
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
