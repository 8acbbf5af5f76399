//! The ends of tasks, for a client that asks for them by id or waits for them.

use std::time::Duration;

use super::{Background, Lease};
use crate::background::task::{Notification, NotificationKind, Task, TaskId};
use crate::background::{Ack, Mode, Which};
use crate::error::Error;

/// How often a wait checks whether one of its tasks has become a server.
const SERVER_LOOK: Duration = Duration::from_secs(1);

impl Background {
    /// The notification of a task's end, delivered or not; `None`: the task has not ended.
    pub async fn exited(&self, id: TaskId) -> Result<Option<Notification>, Error> {
        self.find(id).await?;
        self.store.read(move |ledger| ledger.exited(id)).await
    }

    /// Leases the end of a task, to be acknowledged once it is delivered. `None`: it has been delivered,
    /// another process is delivering it, or the task has not ended.
    pub async fn claim_end(&self, id: TaskId) -> Result<Option<Lease>, Error> {
        let (workspace, holder) = (self.workspace.clone(), self.holder.clone());
        let is_alive = self.liveness();
        let claim =
            self.store.write(move |l| l.lease_end(&workspace, id, &holder, &is_alive)).await?;
        Ok(claim.map(|token| Lease { manager: Box::new(self.clone()), token: Some(token) }))
    }

    /// The running tasks of a queue that are expected to end, so not servers.
    pub async fn finite_in(&self, queue: String) -> Result<Vec<Task>, Error> {
        let mut tasks = self.running_in(queue).await?;
        tasks.retain(|task| !task.serving.service && !task.serving.ready);
        Ok(tasks)
    }

    /// Waits for the finite tasks of a queue, or until a notification other than an end is queued: a match, or
    /// a task that wants input. Stops waiting for a task that turns out to be a server. Returns whether the
    /// wait timed out.
    pub async fn wait_finite(
        &self,
        queue: String,
        mode: Mode,
        patience: Duration,
    ) -> Result<bool, Error> {
        let ends = async {
            loop {
                let tasks = self.finite_in(queue.clone()).await?;
                let ids: Vec<TaskId> = tasks.iter().map(|task| task.id).collect();
                if ids.is_empty() || !self.wait(Which::Ids(ids), mode, SERVER_LOOK).await?.timed_out
                {
                    return Ok(());
                }
            }
        };
        let waited = async {
            tokio::select! {
                biased;
                ends = ends => ends,
                told = self.news_in(queue.clone(), |kind| *kind != NotificationKind::Exited) => told,
            }
        };
        match tokio::time::timeout(patience, waited).await {
            Ok(over) => over.map(|()| false),
            Err(_) => Ok(true),
        }
    }

    /// Returns once a notification of such a kind is in the queue. Takes nothing out of it.
    pub async fn news_in(
        &self,
        queue: String,
        counts: impl Fn(&NotificationKind) -> bool,
    ) -> Result<(), Error> {
        let mut queued = self.queued(queue.clone()).await?;
        loop {
            let waiting = self.drain(queue.clone(), crate::limits::DRAIN_MAX, Ack::Manual).await?;
            if waiting.notifications.iter().any(|it| counts(&it.kind)) {
                return Ok(());
            }
            if queued.changed().await.is_err() {
                return Err(super::closed());
            }
        }
    }
}
