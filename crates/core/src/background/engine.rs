//! One process's access to the state directory, and the workspaces that are open in it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use tokio::signal::unix::{SignalKind, signal};

use crate::background::events::Events;
use crate::background::executor::Executor;
use crate::background::executor::local::Local;
use crate::background::home::Home;
use crate::background::ledger::Waiting;
use crate::background::manager::Background;
use crate::background::store::Store;
use crate::background::task::{Task, TaskId};
use crate::background::{Filter, Look, Role, Settings};
use crate::error::Error;
use crate::hosts::Notes;

/// What a process has once: the ledger, and the state directory in which tasks run. Each open workspace has its
/// own doorbell and supervisor. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Engine {
    home: Home,
    store: Store,
    settings: Settings,
}

impl Engine {
    /// Opens the state directory, an absolute path, and creates it if it is missing.
    pub async fn open(state_dir: &Path, settings: Settings) -> Result<Self, Error> {
        // With a file size limit (`ulimit -f`), a write is to fail as on a full disk, instead of SIGXFSZ
        // killing this process. Once a handler is installed, it stays.
        let _ = signal(SignalKind::from_raw(libc::SIGXFSZ));
        let home = Home::open(state_dir)?;
        let store = Store::open(home.root(), settings.sync).await?;
        Ok(Self { home, store, settings })
    }

    /// Opens a workspace, an absolute path: records what happened in it while no daemon was running, and starts
    /// its supervisor on the current tokio runtime. The same workspace may be open more than once.
    pub async fn workspace(
        &self,
        workspace: PathBuf,
        role: Role,
    ) -> Result<(Background, Events), Error> {
        let local = Local::open(self.home.clone(), workspace.clone(), role)?;
        let holder = local.holder().to_owned();
        let executor = Executor::Local(Box::new(local));
        let (settings, store) = (self.settings.clone(), self.store.clone());
        Background::start((executor, holder), workspace, role, settings, store).await
    }

    /// The ledger and its threads.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The workspace of a queue, given only the queue's name: that of its oldest retained task, otherwise one
    /// in which a task of the queue has ended.
    pub async fn workspace_of(&self, queue: String) -> Result<Option<PathBuf>, Error> {
        self.store.read(move |ledger| ledger.workspace_of(&queue)).await
    }

    /// The workspace of a task, in any workspace of the store.
    pub async fn workspace_of_task(&self, id: TaskId) -> Result<Option<PathBuf>, Error> {
        let known = self.store.read(move |ledger| ledger.workspace_of_task(id)).await?;
        // The ledger's row is written only after the task has started.
        Ok(known.or_else(|| self.home.spec(id).ok().map(|spec| spec.workspace)))
    }

    /// Tasks of all workspaces: running ones first, then newest first.
    pub async fn tasks(&self, filter: Filter, look: Look) -> Result<Vec<Task>, Error> {
        let limit = filter.limit.unwrap_or(crate::limits::LIST_LIMIT);
        let busy = self.busy_workspaces().await?;
        let Filter { state, steps, .. } = filter;
        let mut tasks = self.store.read(move |l| l.tasks_everywhere(state, limit, steps)).await?;
        tasks.retain(|task| !busy.contains(&task.workspace));
        for task in &mut tasks {
            // The workspace has no live task, so stored survivors have exited.
            task.survivors.clear();
        }
        for workspace in busy {
            let (background, _) = self.workspace(workspace, Role::Visitor).await?;
            let settled = background.settle().await;
            let here = background.list_after(filter, look).await;
            background.close().await;
            settled?;
            tasks.extend(here?);
        }
        tasks.sort_by_key(|task| {
            (task.end().is_some(), std::cmp::Reverse((task.created_at, task.id)))
        });
        tasks.truncate(limit as usize);
        Ok(tasks)
    }

    /// Every queue of every workspace that holds notifications, including ends that no process had recorded
    /// yet. `settled` is a workspace that was brought up to date just now.
    pub async fn waiting(&self, settled: &Path) -> Result<Vec<Waiting>, Error> {
        let mut busy = self.busy_workspaces().await?;
        busy.remove(settled);
        for workspace in busy {
            let (background, _) = self.workspace(workspace, Role::Visitor).await?;
            let settled = background.settle().await;
            background.close().await;
            settled?;
        }
        self.store.read(|ledger| ledger.waiting_everywhere()).await
    }

    /// The workspaces with a task whose end is not in the ledger: only their own supervisors know its state.
    async fn busy_workspaces(&self) -> Result<BTreeSet<PathBuf>, Error> {
        let recorded = self.store.read(|ledger| ledger.busy_workspaces()).await?;
        let live = self.home.live_ids().unwrap_or_default();
        let specs = live.into_iter().filter_map(|id| self.home.spec(id).ok());
        Ok(recorded.into_iter().chain(specs.map(|spec| spec.workspace)).collect())
    }

    /// Notes that hooks of hosts store for other commands.
    pub fn notes(&self) -> Notes {
        Notes::of(self.home.root())
    }

    /// Closes the ledger after it has completed earlier requests. Close the workspaces first.
    pub async fn close(&self) {
        self.store.close().await;
    }
}
