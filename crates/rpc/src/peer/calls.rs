//! Dispatches one message at a time: whether it is accepted, and how it is answered.

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
    /// Dispatches a message. Returns why the connection ends, if the message ends it.
    pub(super) async fn dispatch(&mut self, message: Message) -> Option<End> {
        match message {
            Message::Request { id, method, params } => self.request(id, method, params).await,
            Message::Notification { method, params } => {
                tracing::debug!(method, "received a notification");
                match self.front.notification(&method, params) {
                    Note::Done => {}
                    Note::Run(work) => self.beside(work),
                    Note::Cancel(id) => self.cancel(&id),
                    Note::Exit => return Some(End::Exit),
                }
            }
            Message::Response { id: Some(Id::Text(id)), outcome } => {
                if !self.front.answered(&id, outcome) {
                    tracing::warn!(id, "received a response to an unknown request");
                }
            }
            // Not answered, because replying to an error with an error could loop forever.
            Message::Response { id, outcome } => {
                tracing::warn!(?id, ?outcome, "received a response to an unknown request");
            }
        }
        None
    }

    async fn request(&mut self, id: Id, method: String, params: Option<Value>) {
        tracing::debug!(?id, method, "received a request");
        // A client that has its reply may reuse the id before the loop has seen the request's end.
        while let Some(done) = self.requests.try_join_next() {
            self.answered(done);
        }
        if self.in_flight.contains_key(&id) {
            self.outbox.send(&Reply::error(&id, error::duplicate_id()));
            return;
        }
        match self.front.request(method, params).await {
            Call::Answered(outcome) => {
                // Either outcome fits in a message: what a front answers immediately is short.
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
                // Dropping a lease makes its notifications available to the next drain.
                Err(_) => drop(after),
            }
            id
        });
    }

    /// Reserves the right to run; `None` if too many requests are waiting. A request that does not wait always gets
    /// it, because the loop checked before it took the message.
    fn admit(&self, conduct: Conduct) -> Option<OwnedSemaphorePermit> {
        let places = if conduct.waits { &self.waiting } else { &self.busy };
        places.clone().try_acquire_owned().ok()
    }

    /// Runs the work of a notification. There is always room, because the loop checks before it takes a message, and
    /// otherwise stops reading.
    fn beside(&mut self, work: BoxFuture<'static, ()>) {
        let permit = self.busy.clone().try_acquire_owned();
        self.owned.spawn(async move {
            let _permit = permit;
            work.await;
            Owned::Job(JobEnd::Nothing)
        });
    }

    /// Cancels a running request. A change cannot be cancelled: it is completed and answered as usual.
    fn cancel(&mut self, id: &Id) {
        if let Some(Some(cancel)) = self.in_flight.get(id) {
            cancel.abort();
        }
    }
}
