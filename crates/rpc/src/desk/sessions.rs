//! The agent sessions that are open on this connection.
//!
//! Owns the handles, by name, and the questions to the person. Each session's updates are read by
//! one job of the connection ([`Reading`]), so that what a session says goes out in its own order; a
//! handler that has to answer after the last of it asks the reader first ([`Open::told`]).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::join_all;
use meanwhile_core::agent::session::{Session, Updates};
use meanwhile_core::agent::story::Timeline;
use meanwhile_core::background::task::Timestamp;
use tokio::sync::{RwLock, mpsc, oneshot};
use tokio::task::unconstrained;

use super::asks::Asks;
use super::lanes::Lanes;
use super::reading::{Reading, Start};
use crate::peer::Client;

/// Handlers that wait at once for a reader to catch up; one more waits for its turn.
const BARRIERS: usize = 16;

/// The open sessions. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sessions {
    open: Arc<Mutex<HashMap<String, Open>>>,
    asks: Asks,
}

/// An open session. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Open {
    /// The session.
    pub(crate) session: Session,
    /// Its timeline, where the client is told of it.
    pub(crate) lanes: Option<Arc<Lanes>>,
    barriers: mpsc::Sender<oneshot::Sender<()>>,
}

impl Open {
    /// Returns once everything the session has said so far is on its way to the client.
    pub(crate) async fn told(&self) {
        let (passed, wait) = oneshot::channel();
        // A reader that has ended has told everything.
        if self.barriers.send(passed).await.is_ok() {
            let _ = wait.await;
        }
    }

    /// Tells the client how tasks stand that may have ended since the past was read.
    pub(super) async fn catch_up(self, client: Client) {
        let Some(lanes) = self.lanes else { return };
        let mut tasks = Vec::new();
        for id in lanes.running() {
            tasks.extend(self.session.background().get(id).await.ok());
        }
        let now = Timestamp::now();
        lanes.change(&client, |it| tasks.iter().for_each(|task| it.task(task, now))).await;
    }
}

impl Sessions {
    /// The questions that wait for the person.
    pub(super) fn asks(&self) -> &Asks {
        &self.asks
    }

    /// Takes a session in. What reads its updates is handed back, to be run by the connection.
    pub(super) fn open(
        &self,
        session: Session,
        updates: Updates,
        past: Timeline,
        gate: Option<Arc<RwLock<()>>>,
        start: Start,
    ) -> (Open, Reading) {
        let (barriers, incoming) = mpsc::channel(BARRIERS);
        let id = session.id().to_string();
        let story = past.story().clone();
        let lanes = gate.map(|gate| Arc::new(Lanes::new(id.clone(), past, gate)));
        let open = Open { session, lanes: lanes.clone(), barriers };
        let reading = Reading::new(id.clone(), updates, story, lanes, incoming, start);
        self.lock().insert(id, open.clone());
        (open, reading)
    }

    /// The open session of this name.
    pub(crate) fn get(&self, id: &str) -> Option<Open> {
        self.lock().get(id).cloned()
    }

    /// The timelines of open sessions.
    pub(super) fn lanes(&self) -> Vec<Arc<Lanes>> {
        self.lock().values().filter_map(|open| open.lanes.clone()).collect()
    }

    /// Takes a session out that was closed; one that was loaded again under its name stays.
    pub(crate) fn take(&self, id: &str, closed: &Open) {
        let mut all = self.lock();
        if all.get(id).is_some_and(|open| open.barriers.same_channel(&closed.barriers)) {
            all.remove(id);
        }
    }

    /// Closes every session, all at once: each is told to close even where no client can wait for the
    /// slowest. Their tasks go on.
    pub(crate) async fn close(&self) {
        let all: Vec<Open> = self.lock().drain().map(|(_, open)| open).collect();
        let closed = join_all(all.iter().map(|open| open.session.close()));
        // Else the runtime would have a hundred told, and the others when it comes round again, for
        // which a busy machine may leave no time.
        unconstrained(closed).await;
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Open>> {
        // A panic under the lock leaves a map that is whole: every change is one insert or remove.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
