//! Between the connection and rmcp: requests in, replies out, each with what is to follow it.
//!
//! rmcp's service runs on a transport whose other end is this process. It is given one request at a time and
//! its reply is taken back to the connection, which writes it.

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

/// The way to rmcp's service.
pub(super) struct Bridge {
    to: mpsc::UnboundedSender<ClientJsonRpcMessage>,
    replies: Replies,
    next: i64,
}

impl Bridge {
    /// Starts the service.
    pub(super) fn new(server: Server, jobs: &Jobs) -> Self {
        // As many as the connection lets run at once: it counts them.
        let (to, from) = mpsc::unbounded_channel();
        let replies = Replies::default();
        let pipe = Pipe { from, replies: replies.clone() };
        jobs.vital(async move {
            // Ends when the connection drops the other end.
            if let Err(error) = serve_directly(server, pipe, None).waiting().await {
                tracing::error!(%error, "the service failed");
            }
        });
        Self { to, replies, next: 0 }
    }

    /// Hands a request over.
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
            // The service ends with the connection only.
            to.send(message).map_err(|_| error::internal())?;
            let outcome = reply.await.map_err(|_| error::internal())?;
            unwanted.to = None;
            let result = outcome.map_err(from_mcp)?;
            Answer { result, after: after.take() }.written()
        }))
    }
}

/// Tells the service that the reply to a request is not wanted any more, where it is dropped before it came.
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
        // Without a service nothing runs.
        let _ = to.send(JsonRpcMessage::notification(cancelled));
    }
}

/// What is to follow a reply. Travels with its request.
#[derive(Debug, Clone, Default)]
pub(super) struct Afters(Arc<Mutex<Vec<After>>>);

impl Afters {
    /// Those of a request.
    pub(super) fn of(extensions: &Extensions) -> Self {
        extensions.get::<Self>().cloned().unwrap_or_default()
    }

    /// Adds one.
    pub(super) fn push(&self, after: After) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(after);
    }

    /// Lets nothing follow: what was leased waits again.
    pub(super) fn give_back(&self) {
        drop(self.take());
    }

    fn take(&self) -> Vec<After> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The requests that are not answered, and who waits for each.
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
            // It was cancelled: what was to follow goes with the request.
            let _ = reply.send(outcome);
        }
    }
}

/// The service's end.
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
            // The server asks the client for nothing and pushes nothing.
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

/// -32602, in this module's words.
pub(super) fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorData::invalid_params("", None).code.0.into(), message)
}

fn from_mcp(error: ErrorData) -> Error {
    let ErrorData { code, message, data } = error;
    Error { code: code.0.into(), message, data }
}
