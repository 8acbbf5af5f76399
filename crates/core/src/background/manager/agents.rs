//! What only the agent asks of the background manager: its own queue as it changes, and the ledger.

use tokio::sync::watch;

use super::Background;
use crate::background::demand::Demand;
use crate::background::store::Store;
use crate::background::task::{Task, TaskId};
use crate::error::Error;

impl Background {
    /// How many notifications wait in a queue, as it changes. A look at what happens rather than at
    /// what is: it may be some milliseconds behind the ledger, which a drain asks.
    pub async fn queued(&self, queue: String) -> Result<watch::Receiver<u64>, Error> {
        self.ask(|reply| Demand::Queued(queue, reply)).await
    }

    /// The tasks of a queue that run, oldest first.
    pub async fn running_in(&self, queue: String) -> Result<Vec<Task>, Error> {
        let ids = self.ask(|reply| Demand::InQueue(queue, reply)).await?;
        let mut tasks = Vec::with_capacity(ids.len());
        for id in ids {
            match self.find(id).await {
                Ok(task) if task.end().is_none() => tasks.push(task),
                // It has ended, or was removed, since.
                Ok(_) | Err(Error::UnknownTask(_)) => {}
                Err(error) => return Err(error),
            }
        }
        tasks.sort_by_key(|task| (task.created_at, task.id));
        Ok(tasks)
    }

    /// Makes a step that goes on in the background a task, and tells the client so.
    pub(crate) async fn promote(&self, id: TaskId) -> Result<(), Error> {
        let written = self.store.write(move |l| l.promote(id)).await;
        self.send(Demand::Promoted(id)).await?;
        written
    }

    /// Takes a session away with everything that was said and run in it; what runs still stays.
    pub async fn forget_session(&self, id: &str) -> Result<(), Error> {
        let (workspace, id) = (self.workspace.clone(), id.to_owned());
        let removed = self.store.write(move |l| l.forget_session(&workspace, &id)).await?;
        for id in removed {
            self.archive.delete(id);
        }
        self.send(Demand::Changed).await
    }

    /// Tells the other processes that the ledger was changed from here.
    pub(crate) async fn changed(&self) -> Result<(), Error> {
        self.send(Demand::Changed).await
    }

    /// Changes when something is said in a session of the workspace that another process has open. A bell only
    /// wakes: one that is missed says nothing.
    pub(crate) async fn said(&self) -> Result<watch::Receiver<()>, Error> {
        self.ask(Demand::Said).await
    }

    /// Tells the other processes that something was said in a session that we have open, once the ledger has all
    /// that it was asked to write before. No caller waits for it.
    pub(crate) fn tell_said(&self) {
        let (archive, workspace, holder) =
            (self.archive.clone(), self.workspace.clone(), self.holder.clone());
        drop(self.store.write(move |_| {
            archive.tell_said(&workspace, &holder);
            Ok(())
        }));
    }

    /// The ledger.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// The state directory, where there is one.
    pub(crate) fn state_dir(&self) -> Option<&std::path::Path> {
        self.archive.folder()
    }

    /// Who we are in leases.
    pub(crate) fn holder(&self) -> &str {
        &self.holder
    }

    /// Tells which holders of leases live.
    pub(crate) fn liveness(&self) -> impl Fn(&str) -> bool + Send + use<> {
        let archive = self.archive.clone();
        move |holder| archive.is_alive(holder)
    }
}
