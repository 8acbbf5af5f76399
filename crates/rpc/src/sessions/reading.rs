//! The reader of one session's updates: each becomes a push or a question, in order.
//!
//! Waits while the client does not read; the session then waits too, so nothing piles up.

use meanwhile_core::agent::session::{Update, Updates};
use tokio::sync::{mpsc, oneshot};

use super::Asks;
use crate::convert::update::{Teller, Told};
use crate::outbox::{Outbox, PUSH_ROOM};
use crate::push;

/// What reads the updates of a session.
#[derive(Debug)]
pub(crate) struct Reading {
    session: String,
    updates: Updates,
    /// Who waits for everything so far to be told.
    barriers: mpsc::Receiver<oneshot::Sender<()>>,
    /// Nothing is told before this ends: the reply that names the session comes first.
    begin: Option<oneshot::Receiver<()>>,
}

impl Reading {
    pub(super) fn new(
        session: String,
        updates: Updates,
        barriers: mpsc::Receiver<oneshot::Sender<()>>,
        begin: Option<oneshot::Receiver<()>>,
    ) -> Self {
        Self { session, updates, barriers, begin }
    }

    /// Tells the client until the session is closed.
    pub(crate) async fn run(mut self, outbox: Outbox, asks: Asks) {
        if let Some(begin) = self.begin.take() {
            // Either end of it will do: the reply is queued, or there is nobody to reply to.
            let _ = begin.await;
        }
        let mut teller = Teller::new(self.session.clone());
        loop {
            outbox.room(PUSH_ROOM).await;
            tokio::select! {
                // A barrier is passed only when no update is left before it.
                biased;
                update = self.updates.next() => match update {
                    Some(update) => self.tell(&mut teller, update, &outbox, &asks),
                    None => break,
                },
                Some(passed) = self.barriers.recv() => {
                    // Who waited may have gone away since.
                    let _ = passed.send(());
                }
            }
        }
        asks.withdraw(&outbox);
    }

    fn tell(&self, teller: &mut Teller, update: Update, outbox: &Outbox, asks: &Asks) {
        let answered = matches!(update, Update::ToolEnded { .. } | Update::TurnEnded { .. });
        match teller.tell(update) {
            Told::Push(push) => push::send(&push, outbox),
            Told::Ask(ask) => asks.ask(&self.session, ask, outbox),
        }
        if answered {
            asks.withdraw(outbox);
        }
    }
}
