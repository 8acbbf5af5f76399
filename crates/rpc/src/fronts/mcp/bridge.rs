//! Connects the peer to rmcp: passes requests to it, and returns replies with the actions that follow them.
//!
//! rmcp's service runs on a transport whose other end is in this process. It receives one request at a time, and its
//! reply goes back to the connection, which writes it.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::{Future, ready};
use std::sync::{Arc, Mutex, PoisonError};

use rmcp::model::{
    CancelledNotification, CancelledNotificationParam, ClientJsonRpcMessage, ClientNotification,
    ClientRequest, ErrorData, Extensions, GetExtensions, JsonRpcMessage, RequestId, ServerResult,
};
use rmcp::service::{RoleServer, RxJsonRpcMessage, TxJsonRpcMessage, serve_directly};
use rmcp::transport::Transport;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use super::server::Server;
use crate::convert::error;
use crate::peer::{After, Answer, Handling, Jobs};
use crate::wire::Error;

type Outcome = Result<ServerResult, ErrorData>;

/// A handle to rmcp's service.
pub(super) struct Bridge {
    to: mpsc::UnboundedSender<ClientJsonRpcMessage>,
    replies: Replies,
    next: i64,
}

impl Bridge {
    /// Starts the service.
    pub(super) fn new(server: Server, jobs: &Jobs) -> Self {
        // Unbounded, because the connection limits how many requests run at once.
        let (to, from) = mpsc::unbounded_channel();
        let replies = Replies::default();
        let pipe = Pipe { from, replies: replies.clone() };
        jobs.vital(async move {
            // The service ends when the connection drops the other end.
            if let Err(error) = serve_directly(server, pipe, None).waiting().await {
                tracing::error!(%error, "the service failed");
            }
        });
        Self { to, replies, next: 0 }
    }

    /// Passes a request to the service.
    pub(super) fn ask(&mut self, method: String, params: Value) -> Result<Handling, Error> {
        let request = json!({ "method": method, "params": params });
        let mut request: ClientRequest = serde_json::from_value(request)
            .map_err(|why| invalid(format!("the parameters of `{method}`: {why}")))?;
        let after = Afters::default();
        request.extensions_mut().insert(after.clone());
        let id = self.next;
        self.next += 1;
        let reply = self.replies.expect(id);
        let to = self.to.clone();
        let message = JsonRpcMessage::request(request, RequestId::Number(id));
        Ok(Box::pin(async move {
            let mut unwanted = Unwanted { to: Some(to.clone()), id };
            // Fails only when the connection ends, because the service ends with it.
            to.send(message).map_err(|_| error::internal())?;
            let outcome = reply.await.map_err(|_| error::internal())?;
            unwanted.to = None;
            let result = outcome.map_err(from_mcp)?;
            Answer { result, after: after.take() }.written()
        }))
    }
}

/// When it is dropped before the reply arrives, it tells the service that the request is cancelled.
struct Unwanted {
    to: Option<mpsc::UnboundedSender<ClientJsonRpcMessage>>,
    id: i64,
}

impl Drop for Unwanted {
    fn drop(&mut self) {
        let Some(to) = self.to.take() else { return };
        let params = CancelledNotificationParam::new(Some(RequestId::Number(self.id)), None);
        let cancelled =
            ClientNotification::CancelledNotification(CancelledNotification::new(params));
        // Fails if the service has ended; then nothing runs.
        let _ = to.send(JsonRpcMessage::notification(cancelled));
    }
}

/// The actions that follow a reply. It travels with the request.
#[derive(Debug, Clone, Default)]
pub(super) struct Afters(Arc<Mutex<Vec<After>>>);

impl Afters {
    /// The actions of a request.
    pub(super) fn of(extensions: &Extensions) -> Self {
        extensions.get::<Self>().cloned().unwrap_or_default()
    }

    /// Adds an action.
    pub(super) fn push(&self, after: After) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(after);
    }

    /// Drops the actions, so that leased notifications return to the queue.
    pub(super) fn give_back(&self) {
        drop(self.take());
    }

    fn take(&self) -> Vec<After> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The unanswered requests, each with the sender for its reply.
#[derive(Debug, Clone, Default)]
struct Replies(Arc<Mutex<HashMap<i64, oneshot::Sender<Outcome>>>>);

impl Replies {
    fn expect(&self, id: i64) -> oneshot::Receiver<Outcome> {
        let (reply, outcome) = oneshot::channel();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id, reply);
        outcome
    }

    fn give(&self, id: Option<RequestId>, outcome: Outcome) {
        let Some(RequestId::Number(id)) = id else { return };
        let waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        if let Some(reply) = waiting {
            // Fails if the request was cancelled; then its actions are dropped too.
            let _ = reply.send(outcome);
        }
    }
}

/// The service's end of the transport.
struct Pipe {
    from: mpsc::UnboundedReceiver<ClientJsonRpcMessage>,
    replies: Replies,
}

impl Transport<RoleServer> for Pipe {
    type Error = Infallible;

    fn send(
        &mut self,
        item: TxJsonRpcMessage<RoleServer>,
    ) -> impl Future<Output = Result<(), Infallible>> + Send + 'static {
        match item {
            JsonRpcMessage::Response(reply) => self.replies.give(Some(reply.id), Ok(reply.result)),
            JsonRpcMessage::Error(reply) => self.replies.give(reply.id, Err(reply.error)),
            // The service sends no requests or notifications to the client.
            JsonRpcMessage::Request(_) | JsonRpcMessage::Notification(_) => {}
        }
        ready(Ok(()))
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleServer>> {
        self.from.recv().await
    }

    async fn close(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

/// The error -32602 with this message.
pub(super) fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorData::invalid_params("", None).code.0.into(), message)
}

fn from_mcp(error: ErrorData) -> Error {
    let ErrorData { code, message, data } = error;
    Error { code: code.0.into(), message, data }
}
