//! The seam between a connection and the protocol that is spoken on it.

use std::future::Future;

use futures_util::future::BoxFuture;
use serde_json::Value;
use tokio::sync::mpsc;

use super::answer::Answer;
use super::client::Client;
use super::frame::Framing;
use super::message::Id;
use crate::wire::Error;

/// A protocol on one connection: what its messages mean.
pub(crate) trait Front {
    /// How messages are told apart.
    const FRAMING: Framing;

    /// The client.
    fn client(&self) -> &Client;

    /// A request. What comes behind it is read once this returns.
    fn request(&mut self, method: String, params: Option<Value>) -> impl Future<Output = Call>;

    /// A notification.
    fn notification(&mut self, method: &str, params: Option<Value>) -> Note;

    /// The answer to the server's own request `id`. Returns whether there was such a request.
    fn answered(&mut self, id: &str, outcome: Result<Value, Value>) -> bool;

    /// Ends what must not be cut off in the middle. What does not end in time goes on unheard.
    fn wind_up(&self) -> impl Future<Output = ()> + Send + 'static;

    /// Lets go of everything, after the last message.
    fn close(&self) -> impl Future<Output = ()>;

    /// Whether the client took its leave before the connection ended.
    fn is_clean(&self) -> bool;
}

/// A handler at work. Dropping it changes nothing half.
pub(crate) type Handling = BoxFuture<'static, Result<Answer<Value>, Error>>;

/// What comes of a request.
pub(crate) enum Call {
    /// It is answered already.
    Answered(Result<Value, Error>),
    /// It runs beside the others.
    Run(Conduct, Handling),
}

/// What comes of a notification.
pub(crate) enum Note {
    /// Nothing more.
    Done,
    /// Something runs because of it.
    Run(BoxFuture<'static, ()>),
    /// This request is not wanted any more.
    Cancel(Id),
    /// The connection ends.
    Exit,
}

/// How a request is conducted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Conduct {
    /// May wait for something outside: counted, and refused above the limit. The others answer by
    /// themselves and are never refused.
    pub(crate) waits: bool,
    /// May be cancelled. A change is carried out whole instead, and answered with what it did.
    pub(crate) cancellable: bool,
    /// Its reply may be large: few are made at once, and only while the client reads.
    pub(crate) large: bool,
}

/// Hands work to the connection, which owns every task of its runtime. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Jobs(mpsc::UnboundedSender<Job>);

/// Work that runs as long as the connection, or less.
pub(super) struct Job {
    pub(super) work: BoxFuture<'static, ()>,
    pub(super) end: JobEnd,
}

/// What the end of a job means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum JobEnd {
    /// Nothing.
    Nothing,
    /// The client cannot be told what happens any more: the connection is of no use.
    Deaf,
    /// The client is gone.
    Gone,
}

impl Jobs {
    pub(super) fn new() -> (Self, mpsc::UnboundedReceiver<Job>) {
        let (jobs, incoming) = mpsc::unbounded_channel();
        (Self(jobs), incoming)
    }

    /// Jobs that no connection does.
    #[cfg(test)]
    pub(crate) fn none() -> Self {
        Self::new().0
    }

    /// Does something beside the requests.
    pub(crate) fn beside(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.hand_over(work, JobEnd::Nothing);
    }

    /// Does what the client depends on: its end, or its panic, is that of the connection.
    pub(crate) fn vital(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.hand_over(work, JobEnd::Deaf);
    }

    /// Waits for the client to be gone, which ends the connection.
    pub(crate) fn until_gone(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.hand_over(work, JobEnd::Gone);
    }

    fn hand_over(&self, work: impl Future<Output = ()> + Send + 'static, end: JobEnd) {
        // The connection does not listen any more only when it is ending.
        let _ = self.0.send(Job { work: Box::pin(work), end });
    }
}
