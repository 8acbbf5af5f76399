//! One message at a time: under which conditions it is taken, and what is said about it.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use futures_util::future::{AbortHandle, Abortable, BoxFuture};
use meanwhile_core::limits::WAITING_REQUESTS_MAX;
use serde_json::Value;
use tokio::sync::OwnedSemaphorePermit;

use super::answer::{self, Answer};
use super::front::{Call, Conduct, Front, Handling, JobEnd, Note};
use super::message::{Id, Message};
use super::outbox::READ_ROOM;
use super::reply::Reply;
use super::serve::{End, Owned, Peer};
use crate::convert::error;

impl<F: Front> Peer<F> {
    /// Takes a message. Returns the end where it asks for it.
    pub(super) async fn dispatch(&mut self, message: Message) -> Option<End> {
        match message {
            Message::Request { id, method, params } => self.request(id, method, params).await,
            Message::Notification { method, params } => {
                tracing::debug!(method, "a notification");
                match self.front.notification(&method, params) {
                    Note::Done => {}
                    Note::Run(work) => self.beside(work),
                    Note::Cancel(id) => self.cancel(&id),
                    Note::Exit => return Some(End::Exit),
                }
            }
            Message::Response { id: Some(Id::Text(id)), outcome } => {
                if !self.front.answered(&id, outcome) {
                    tracing::warn!(id, "a response to a request that was not made");
                }
            }
            // Never answered: an error about an error would go round for ever.
            Message::Response { id, outcome } => {
                tracing::warn!(?id, ?outcome, "a response to a request that was not made");
            }
        }
        None
    }

    async fn request(&mut self, id: Id, method: String, params: Option<Value>) {
        tracing::debug!(?id, method, "a request");
        // A client that has its reply may use the id again before the loop has seen the end.
        while let Some(done) = self.requests.try_join_next() {
            self.answered(done);
        }
        if self.in_flight.contains_key(&id) {
            self.outbox.send(&Reply::error(&id, error::duplicate_id()));
            return;
        }
        match self.front.request(method, params).await {
            Call::Answered(outcome) => {
                // Neither way of it is ever too long: what a front answers by itself is short.
                let _ = Reply::new(&id, &outcome).send(&self.outbox);
            }
            Call::Run(conduct, handler) => match self.admit(conduct) {
                Some(permit) => self.run_beside(id, conduct, permit, handler),
                None => {
                    let error = error::overloaded(WAITING_REQUESTS_MAX);
                    self.outbox.send(&Reply::error(&id, error));
                }
            },
        }
    }

    fn run_beside(
        &mut self,
        id: Id,
        conduct: Conduct,
        permit: OwnedSemaphorePermit,
        handler: Handling,
    ) {
        let client = self.front.client().clone();
        let large = conduct.large.then(|| self.large.clone());
        let (cancel, cancelled) = AbortHandle::new_pair();
        self.in_flight.insert(id.clone(), conduct.cancellable.then_some(cancel));
        self.requests.spawn(async move {
            let _permit = permit;
            let _large = match large {
                Some(large) => {
                    let permit = large.acquire_owned().await;
                    client.outbox().room(READ_ROOM).await;
                    permit.ok()
                }
                None => None,
            };
            let handler = AssertUnwindSafe(Abortable::new(handler, cancelled)).catch_unwind();
            let (outcome, after) = match handler.await {
                Ok(Ok(Ok(Answer { result, after }))) => (Ok(result), after),
                Ok(Ok(Err(error))) => (Err(error), Vec::new()),
                Ok(Err(_aborted)) => (Err(error::cancelled()), Vec::new()),
                Err(_panic) => (Err(error::internal()), Vec::new()),
            };
            match Reply::new(&id, &outcome).send(client.outbox()) {
                Ok(mark) => answer::run(after, mark, &client),
                // What was to follow is dropped: a drain that did not arrive is drained again.
                Err(_) => drop(after),
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

    /// Runs what a notification asks for. There is a place: the loop looked before it took the
    /// message, and does not read on while there is none.
    fn beside(&mut self, work: BoxFuture<'static, ()>) {
        let permit = self.busy.clone().try_acquire_owned();
        self.owned.spawn(async move {
            let _permit = permit;
            work.await;
            Owned::Job(JobEnd::Nothing)
        });
    }

    /// Cancels a request that runs. One that is a change is carried out, and answered as usual.
    fn cancel(&mut self, id: &Id) {
        if let Some(Some(cancel)) = self.in_flight.get(id) {
            cancel.abort();
        }
    }
}
