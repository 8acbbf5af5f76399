//! The client, as the layers below the fronts see it: they report events to it without knowing its protocol.

use std::fmt;
use std::sync::Arc;

use super::answer::Follow;
use super::outbox::{Outbox, PUSH_ROOM};
use crate::wire::{Push, acp};

/// How a protocol sends messages that the client did not request. Each may become one message, several, or none.
pub(crate) trait Voice: fmt::Debug + Send + Sync {
    /// Sends an event.
    fn push(&self, push: &Push, outbox: &Outbox);

    /// Asks the person to decide about a tool call. The answer arrives under `id`.
    fn ask(&self, id: &str, question: &acp::RequestPermissionRequest, outbox: &Outbox);

    /// Withdraws a question whose answer is no longer needed.
    fn withdraw(&self, id: &str, outbox: &Outbox);

    /// Starts to show a task's progress.
    fn follow(&self, follow: Follow, outbox: &Outbox);
}

/// A handle to the client of a connection. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    outbox: Outbox,
    voice: Arc<dyn Voice>,
}

impl Client {
    /// Creates the handle for a client that is reached through `outbox`, with messages in the form of `voice`.
    pub(crate) fn new(outbox: Outbox, voice: Arc<dyn Voice>) -> Self {
        Self { outbox, voice }
    }

    pub(crate) fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// Waits until the client has read enough for another push.
    pub(crate) async fn room(&self) {
        self.outbox.room(PUSH_ROOM).await;
    }

    pub(crate) fn push(&self, push: &Push) {
        self.voice.push(push, &self.outbox);
    }

    /// Asks the person to decide about a tool call.
    pub(crate) fn ask(&self, id: &str, question: &acp::RequestPermissionRequest) {
        self.voice.ask(id, question, &self.outbox);
    }

    /// Withdraws a question.
    pub(crate) fn withdraw(&self, id: &str) {
        self.voice.withdraw(id, &self.outbox);
    }

    /// Starts to show a task's progress.
    pub(crate) fn follow(&self, follow: Follow) {
        self.voice.follow(follow, &self.outbox);
    }
}

/// A client that receives nothing.
#[cfg(test)]
pub(crate) fn mute() -> Client {
    #[derive(Debug)]
    struct Mute;

    impl Voice for Mute {
        fn push(&self, _: &Push, _: &Outbox) {}
        fn ask(&self, _: &str, _: &acp::RequestPermissionRequest, _: &Outbox) {}
        fn withdraw(&self, _: &str, _: &Outbox) {}
        fn follow(&self, _: Follow, _: &Outbox) {}
    }

    Client::new(Outbox::new(super::frame::Framing::Lines), Arc::new(Mute))
}
