//! One process's hold on the state directory, and the workspaces that are open in it.

use std::path::{Path, PathBuf};

use crate::background::events::Events;
use crate::background::executor::Executor;
use crate::background::executor::local::Local;
use crate::background::home::Home;
use crate::background::manager::Background;
use crate::background::store::Store;
use crate::background::{Role, Settings};
use crate::error::Error;

/// What a process has once: the ledger, and where tasks run. Each workspace opened in it has a doorbell
/// and a supervisor of its own. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Engine {
    home: Home,
    store: Store,
    settings: Settings,
}

impl Engine {
    /// Opens the state directory, an absolute path, making it if it is missing.
    pub async fn open(state_dir: &Path, settings: Settings) -> Result<Self, Error> {
        let home = Home::open(state_dir)?;
        let store = Store::open(home.root(), settings.sync).await?;
        Ok(Self { home, store, settings })
    }

    /// Opens a workspace, an absolute path: takes in what happened in it while nobody looked, and
    /// starts its supervisor on the current tokio runtime. The same workspace may be open more than once.
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

    /// The workspace of a queue, by its name alone: where the newest of its tasks runs, else where one
    /// has ended.
    pub async fn workspace_of(&self, queue: String) -> Result<Option<PathBuf>, Error> {
        self.store.read(move |ledger| ledger.workspace_of(&queue)).await
    }

    /// Closes the ledger, once it has done what was asked before. Close the workspaces first.
    pub async fn close(&self) {
        self.store.close().await;
    }
}
