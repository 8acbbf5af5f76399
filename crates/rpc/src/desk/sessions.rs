//! The agent sessions that are open on this connection.
//!
//! Owns the handles, by session id, and the questions to the person. One job of the connection ([`Reading`]) reads the
//! updates of a session, so that they are sent in order. A handler that must answer after all updates so far waits for
//! that job with [`Open::told`].

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

/// How many handlers can wait for a reader at a time; further ones wait for a free place.
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
    pub(crate) session: Session,
    /// The session's timeline, if the client receives timelines.
    pub(crate) lanes: Option<Arc<Lanes>>,
    barriers: mpsc::Sender<oneshot::Sender<()>>,
}

impl Open {
    /// Returns once all updates of the session so far are queued for the client.
    pub(crate) async fn told(&self) {
        let (passed, wait) = oneshot::channel();
        // A reader that has ended has sent everything.
        if self.barriers.send(passed).await.is_ok() {
            let _ = wait.await;
        }
    }

    /// Updates the timeline with tasks that may have ended since the past was read.
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
    /// The open questions to the person.
    pub(super) fn asks(&self) -> &Asks {
        &self.asks
    }

    /// Adds a session. Returns the job that reads its updates, which the connection must run.
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

    /// The open session with this id.
    pub(crate) fn get(&self, id: &str) -> Option<Open> {
        self.lock().get(id).cloned()
    }

    /// The timelines of open sessions.
    pub(super) fn lanes(&self) -> Vec<Arc<Lanes>> {
        self.lock().values().filter_map(|open| open.lanes.clone()).collect()
    }

    /// Removes a closed session; a session with the same id that was loaded since stays.
    pub(crate) fn take(&self, id: &str, closed: &Open) {
        let mut all = self.lock();
        if all.get(id).is_some_and(|open| open.barriers.same_channel(&closed.barriers)) {
            all.remove(id);
        }
    }

    /// Closes all sessions in parallel, so that each receives the request even if the process exits before the slowest
    /// has closed. Their tasks keep running.
    pub(crate) async fn close(&self) {
        let all: Vec<Open> = self.lock().drain().map(|(_, open)| open).collect();
        let closed = join_all(all.iter().map(|open| open.session.close()));
        // With its cooperative budget the runtime would pause after about a hundred sessions, and a busy machine may
        // leave no time for the rest.
        unconstrained(closed).await;
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Open>> {
        // A panic under the lock leaves a consistent map: every change is one insert or remove.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
