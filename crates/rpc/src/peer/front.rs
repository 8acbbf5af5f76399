//! The interface between a connection and the protocol that it uses.

use std::future::Future;

use futures_util::future::BoxFuture;
use serde_json::Value;
use tokio::sync::mpsc;

use super::answer::Answer;
use super::client::Client;
use super::frame::Framing;
use super::message::Id;
use crate::wire::Error;

/// A protocol on one connection: interprets its messages.
pub(crate) trait Front {
    /// How messages are separated.
    const FRAMING: Framing;

    fn client(&self) -> &Client;

    /// Handles a request. The next message is read when this returns.
    fn request(&mut self, method: String, params: Option<Value>) -> impl Future<Output = Call>;

    /// Handles a notification.
    fn notification(&mut self, method: &str, params: Option<Value>) -> Note;

    /// Handles the response to the server's own request `id`. Returns whether there was such a request.
    fn answered(&mut self, id: &str, outcome: Result<Value, Value>) -> bool;

    /// Finishes work that must not be interrupted. Work that does not finish in time continues without the client.
    fn wind_up(&self) -> impl Future<Output = ()> + Send + 'static;

    /// Releases all resources, after the last message.
    fn close(&self) -> impl Future<Output = ()>;

    /// Whether the client ended the connection according to the protocol.
    fn is_clean(&self) -> bool;
}

/// A running handler. It can be dropped at any time without leaving a partial change.
pub(crate) type Handling = BoxFuture<'static, Result<Answer<Value>, Error>>;

/// How to continue with a request.
pub(crate) enum Call {
    /// The request has been answered.
    Answered(Result<Value, Error>),
    /// Runs the handler concurrently with others.
    Run(Conduct, Handling),
}

/// How to continue with a notification.
pub(crate) enum Note {
    /// The notification has been handled.
    Done,
    /// Runs this work in the background.
    Run(BoxFuture<'static, ()>),
    /// Cancels the request with this id.
    Cancel(Id),
    /// Ends the connection.
    Exit,
}

/// How a request is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Conduct {
    /// It may wait for something outside, so it is counted and refused above the limit. Other requests finish by
    /// themselves and are never refused.
    pub(crate) waits: bool,
    /// It can be cancelled. A change is completed instead, and its reply reports the result.
    pub(crate) cancellable: bool,
    /// Its reply may be large, so only a few run at once, and only while the client reads.
    pub(crate) large: bool,
}

/// Starts tasks of the runtime on the connection, which owns them. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Jobs(mpsc::UnboundedSender<Job>);

/// Work that ends with the connection at the latest.
pub(super) struct Job {
    pub(super) work: BoxFuture<'static, ()>,
    pub(super) end: JobEnd,
}

/// What happens when a job ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum JobEnd {
    /// The connection continues.
    Nothing,
    /// The connection ends, because the client can no longer be notified.
    Deaf,
    /// The connection ends, because the client is gone.
    Gone,
}

impl Jobs {
    pub(super) fn new() -> (Self, mpsc::UnboundedReceiver<Job>) {
        let (jobs, incoming) = mpsc::unbounded_channel();
        (Self(jobs), incoming)
    }

    /// Accepts jobs that never run.
    #[cfg(test)]
    pub(crate) fn none() -> Self {
        Self::new().0
    }

    /// Runs work concurrently with the requests.
    pub(crate) fn beside(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.hand_over(work, JobEnd::Nothing);
    }

    /// Runs work that the client depends on: when it ends or panics, the connection ends.
    pub(crate) fn vital(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.hand_over(work, JobEnd::Deaf);
    }

    /// Runs work that returns when the client is gone; the connection then ends.
    pub(crate) fn until_gone(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.hand_over(work, JobEnd::Gone);
    }

    fn hand_over(&self, work: impl Future<Output = ()> + Send + 'static, end: JobEnd) {
        // Sending fails only while the connection is ending.
        let _ = self.0.send(Job { work: Box::pin(work), end });
    }
}
