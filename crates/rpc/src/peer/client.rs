//! The client as the storeys below the fronts know it: who is told what happened, in whichever words.

use std::fmt;
use std::sync::Arc;

use super::answer::Follow;
use super::outbox::{Outbox, PUSH_ROOM};
use crate::wire::{Push, acp};

/// How a protocol says what the client did not ask for. Each may be said in one message, in more, or
/// not at all.
pub(crate) trait Voice: fmt::Debug + Send + Sync {
    /// Something happened.
    fn push(&self, push: &Push, outbox: &Outbox);

    /// The person is to decide about a tool call. The answer comes back under `id`.
    fn ask(&self, id: &str, question: &acp::RequestPermissionRequest, outbox: &Outbox);

    /// Nothing waits for the answer to a question any more.
    fn withdraw(&self, id: &str, outbox: &Outbox);

    /// A task's progress is to be shown from now on.
    fn follow(&self, follow: Follow, outbox: &Outbox);
}

/// A handle on the client of a connection. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    outbox: Outbox,
    voice: Arc<dyn Voice>,
}

impl Client {
    /// The client behind `outbox`, told in the words of `voice`.
    pub(crate) fn new(outbox: Outbox, voice: Arc<dyn Voice>) -> Self {
        Self { outbox, voice }
    }

    /// The way out.
    pub(crate) fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// Waits until the client has read enough for one more push.
    pub(crate) async fn room(&self) {
        self.outbox.room(PUSH_ROOM).await;
    }

    /// Tells what happened.
    pub(crate) fn push(&self, push: &Push) {
        self.voice.push(push, &self.outbox);
    }

    /// Asks the person.
    pub(crate) fn ask(&self, id: &str, question: &acp::RequestPermissionRequest) {
        self.voice.ask(id, question, &self.outbox);
    }

    /// Takes a question back.
    pub(crate) fn withdraw(&self, id: &str) {
        self.voice.withdraw(id, &self.outbox);
    }

    /// Begins to show a task's progress.
    pub(crate) fn follow(&self, follow: Follow) {
        self.voice.follow(follow, &self.outbox);
    }
}

/// A client that is told nothing.
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
