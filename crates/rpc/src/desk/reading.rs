//! The reader of one session's updates: each becomes a push or a question, in order.
//!
//! Waits while the client does not read; the session then waits too, so nothing piles up.

use std::sync::Arc;

use meanwhile_core::agent::session::{Update, Updates};
use meanwhile_core::agent::story::Story;
use tokio::sync::{mpsc, oneshot};

use super::asks::Asks;
use super::lanes::Lanes;
use crate::convert::update::{Teller, Told, is_resumed};
use crate::peer::Client;

/// The job that reads a session's updates.
#[derive(Debug)]
pub(super) struct Reading {
    session: String,
    updates: Updates,
    /// The session's story before it was opened.
    story: Story,
    /// The session's timeline, if the client receives timelines.
    lanes: Option<Arc<Lanes>>,
    /// Handlers that wait until all updates so far were sent.
    barriers: mpsc::Receiver<oneshot::Sender<()>>,
    start: Start,
}

/// How a session's updates start.
#[derive(Debug)]
pub(crate) enum Start {
    /// A new session. Nothing is sent until this channel closes, because the reply with the session's id comes first.
    New(oneshot::Receiver<()>),
    /// A loaded session. The sender is dropped once the conversation was sent. The reply comes next, and further
    /// updates follow once the receiver closes.
    Loaded(oneshot::Sender<()>, oneshot::Receiver<()>),
}

impl Reading {
    pub(super) fn new(
        session: String,
        updates: Updates,
        story: Story,
        lanes: Option<Arc<Lanes>>,
        barriers: mpsc::Receiver<oneshot::Sender<()>>,
        start: Start,
    ) -> Self {
        Self { session, updates, story, lanes, barriers, start }
    }

    /// Sends the updates to the client until the session is closed.
    pub(super) async fn run(self, client: Client, asks: Asks) {
        let Self { session, mut updates, story, lanes, mut barriers, start } = self;
        let mut loaded = match start {
            Start::New(replied) => {
                // The channel closes when the reply is queued or the client has exited.
                let _ = replied.await;
                None
            }
            Start::Loaded(told, replied) => Some((told, replied)),
        };
        let mut teller = Teller::new(session.clone(), story);
        loop {
            client.room().await;
            tokio::select! {
                // A barrier is passed only when no update is left before it.
                biased;
                update = updates.next() => {
                    let Some(update) = update else { break };
                    let begins_again = is_resumed(&update);
                    let answered =
                        matches!(update, Update::ToolEnded { .. } | Update::TurnEnded { .. });
                    let traced = match (&lanes, &update) {
                        (Some(lanes), Update::Traced(event)) => Some((lanes, event.clone())),
                        (Some(_) | None, _) => None,
                    };
                    match teller.tell(update) {
                        Some(Told::Push(push)) => client.push(&push),
                        Some(Told::Ask(ask)) => asks.ask(&session, *ask, &client),
                        None => {}
                    }
                    if let Some((lanes, event)) = traced {
                        lanes.change(&client, |timeline| timeline.take(&event)).await;
                    }
                    if answered {
                        asks.withdraw(&client);
                    }
                    if let Some((told, replied)) = loaded.take_if(|_| begins_again) {
                        drop(told);
                        let _ = replied.await;
                    }
                }
                Some(passed) = barriers.recv() => {
                    // The handler may have been cancelled since.
                    let _ = passed.send(());
                }
            }
        }
        asks.withdraw(&client);
    }
}
