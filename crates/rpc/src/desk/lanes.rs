//! The timeline of an open session. Every change is pushed to the client.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use meanwhile_core::agent::story::Timeline;
use meanwhile_core::background::task::TaskId;
use tokio::sync::RwLock;

use crate::convert::timeline;
use crate::peer::Client;
use crate::wire::{self, Push};

/// The timeline of one session.
#[derive(Debug)]
pub(crate) struct Lanes {
    session: String,
    timeline: Mutex<Timeline>,
    /// Held while a request for a timeline is answered, because a push must not overtake an older reply.
    gate: Arc<RwLock<()>>,
}

impl Lanes {
    pub(super) fn new(session: String, timeline: Timeline, gate: Arc<RwLock<()>>) -> Self {
        Self { session, timeline: Mutex::new(timeline), gate }
    }

    /// Changes the timeline, and pushes the changed pieces to the client.
    pub(super) async fn change(&self, client: &Client, change: impl FnOnce(&mut Timeline)) {
        let _answered = self.gate.write().await;
        let mut timeline = self.lock();
        change(&mut timeline);
        let pieces: Vec<_> = timeline.changed().into_iter().map(timeline::piece).collect();
        if !pieces.is_empty() {
            let session_id = self.session.clone();
            client.push(&Push::Timeline(wire::TimelinePush { session_id, pieces }));
        }
    }

    /// The whole timeline.
    pub(crate) fn whole(&self) -> wire::Timeline {
        timeline::whole(&self.lock())
    }

    /// The tasks in the timeline that have not ended.
    pub(super) fn running(&self) -> Vec<TaskId> {
        self.lock().story().running()
    }

    fn lock(&self) -> MutexGuard<'_, Timeline> {
        // After a panic under the lock, at worst a piece is missing.
        self.timeline.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
