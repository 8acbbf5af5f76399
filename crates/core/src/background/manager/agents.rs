//! Requests that only the agent makes: its own queue's count, and access to the ledger.

use tokio::sync::watch;

use super::Background;
use crate::background::demand::Demand;
use crate::background::store::Store;
use crate::background::task::{Task, TaskId};
use crate::error::Error;

impl Background {
    /// The number of notifications in a queue, and its changes. It may be some milliseconds behind the ledger,
    /// so use it as a signal to drain.
    pub async fn queued(&self, queue: String) -> Result<watch::Receiver<u64>, Error> {
        self.ask(|reply| Demand::Queued(queue, reply)).await
    }

    /// The running tasks of a queue, oldest first.
    pub async fn running_in(&self, queue: String) -> Result<Vec<Task>, Error> {
        let ids = self.ask(|reply| Demand::InQueue(queue, reply)).await?;
        let mut tasks = Vec::with_capacity(ids.len());
        for id in ids {
            match self.find(id).await {
                Ok(task) if task.end().is_none() => tasks.push(task),
                // It has ended or been removed meanwhile.
                Ok(_) | Err(Error::UnknownTask(_)) => {}
                Err(error) => return Err(error),
            }
        }
        tasks.sort_by_key(|task| (task.created_at, task.id));
        Ok(tasks)
    }

    /// Turns a step that continues in the background into a task, and notifies the client.
    pub(crate) async fn promote(&self, id: TaskId) -> Result<(), Error> {
        let written = self.store.write(move |l| l.promote(id)).await;
        self.send(Demand::Promoted(id)).await?;
        written
    }

    /// Deletes a session with its messages and ended tasks; running tasks stay.
    pub async fn forget_session(&self, id: &str) -> Result<(), Error> {
        let (workspace, id) = (self.workspace.clone(), id.to_owned());
        let removed = self.store.write(move |l| l.forget_session(&workspace, &id)).await?;
        for id in removed {
            self.archive.delete(id);
        }
        self.send(Demand::Changed).await
    }

    /// Notifies the other processes that this process changed the ledger.
    pub(crate) async fn changed(&self) -> Result<(), Error> {
        self.send(Demand::Changed).await
    }

    /// Notifies of new messages in sessions of the workspace that another process has open. Messages from
    /// before the call are not reported.
    pub(crate) async fn said(&self) -> Result<watch::Receiver<()>, Error> {
        self.ask(Demand::Said).await
    }

    /// Notifies the other processes of a new message in a session that this process has open, after the ledger
    /// has done all writes requested so far. Does not wait for it.
    pub(crate) fn tell_said(&self) {
        let (archive, workspace, holder) =
            (self.archive.clone(), self.workspace.clone(), self.holder.clone());
        drop(self.store.write(move |_| {
            archive.tell_said(&workspace, &holder);
            Ok(())
        }));
    }

    /// The ledger and its threads.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// The state directory, if there is one.
    pub(crate) fn state_dir(&self) -> Option<&std::path::Path> {
        self.archive.folder()
    }

    /// The name of this process in leases.
    pub(crate) fn holder(&self) -> &str {
        &self.holder
    }

    /// A function that returns whether a holder of leases is alive.
    pub(crate) fn liveness(&self) -> impl Fn(&str) -> bool + Send + use<> {
        let archive = self.archive.clone();
        move |holder| archive.is_alive(holder)
    }
}
