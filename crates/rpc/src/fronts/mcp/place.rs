//! Determines the session of a request, and the workspace of its tasks.
//!
//! The session is determined for each request: one server of Codex serves several threads, and the session of a
//! Claude Code process changes after `/clear`. A session stays in the workspace of its first task.

use std::collections::HashMap;
use std::path::PathBuf;

use meanwhile_core::background::task::TaskId;
use meanwhile_core::background::{Background, Engine, Role};
use meanwhile_core::hosts::{Notes, Owner, Process, QUEUE_VARIABLE};
use meanwhile_core::{Error, StoreFaultKind};
use rmcp::model::JsonObject;
use tokio::sync::{Mutex, OnceCell};

use crate::desk::Options;

/// The argument in which a host's plugin names the session in each call. The plugin for opencode uses it, because
/// opencode has several sessions in one process and names none, and its plugin can add arguments but no `_meta`.
pub(super) const SESSION: &str = "_session";

/// The workspaces that are open on this connection.
#[derive(Debug)]
pub(super) struct Places {
    pub(super) options: Options,
    engine: OnceCell<Engine>,
    /// Locked while a workspace is being opened, so that it is opened only once.
    open: Mutex<HashMap<PathBuf, Background>>,
}

/// The session and workspace of a request.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) background: Background,
    /// The queue of the session.
    pub(super) queue: String,
    /// The session, and the variable that passes it to what its tasks spawn.
    pub(super) owner: Owner,
    /// Whether a hook of the session reports its results too.
    pub(super) hooked: bool,
}

impl Places {
    pub(super) fn new(options: Options) -> Self {
        Self { options, engine: OnceCell::new(), open: Mutex::default() }
    }

    /// The session and workspace of a request with this `_meta`.
    ///
    /// # Errors
    ///
    /// The store cannot be opened, or the session's name is not valid for a queue.
    pub(super) async fn of(&self, meta: Option<&JsonObject>) -> Result<Place, Error> {
        let engine = self.engine().await?;
        let notes = engine.notes();
        let owner = session(meta, &notes)?;
        let queue = owner.queue.clone();
        let hooked = notes.has_hook(&queue);
        let workspace = match engine.workspace_of(queue.clone()).await? {
            Some(known) => known,
            None => directory(meta)?,
        };
        let background = self.background(workspace).await?;
        Ok(Place { background, queue, owner, hooked })
    }

    /// The workspace of a task of any session.
    ///
    /// # Errors
    ///
    /// The task does not exist, or the store cannot be opened.
    pub(super) async fn of_task(&self, id: TaskId) -> Result<Background, Error> {
        let workspace = self.engine().await?.workspace_of_task(id).await?;
        self.background(workspace.ok_or(Error::UnknownTask(id))?).await
    }

    async fn background(&self, workspace: PathBuf) -> Result<Background, Error> {
        let mut open = self.open.lock().await;
        if let Some(background) = open.get(&workspace) {
            return Ok(background.clone());
        }
        // The daemon's role attaches to the workspace, so that linger times do not start.
        let (background, _) =
            self.engine().await?.workspace(workspace.clone(), Role::Daemon).await?;
        open.insert(workspace, background.clone());
        Ok(background)
    }

    async fn engine(&self) -> Result<&Engine, Error> {
        self.engine
            .get_or_try_init(async || {
                let Options { state_dir, store, .. } = &self.options;
                let state_dir = state_dir
                    .as_ref()
                    .map_err(|why| Error::unavailable(StoreFaultKind::Other, why.clone()))?;
                let engine = Engine::open(state_dir, store.clone()).await?;
                engine.notes().sweep();
                Ok(engine)
            })
            .await
    }

    /// Detaches from all workspaces. Tasks keep running.
    pub(super) async fn close(&self) {
        for (_, background) in self.open.lock().await.drain() {
            background.close().await;
        }
        if let Some(engine) = self.engine.get() {
            engine.close().await;
        }
    }
}

/// The session that sent a request.
fn session(meta: Option<&JsonObject>, notes: &Notes) -> Result<Owner, Error> {
    let refused = |why: &dyn std::fmt::Display| Error::Invalid {
        field: "_meta".to_owned(),
        message: why.to_string(),
    };
    if let Some(thread) = meta.and_then(|meta| meta.get("threadId")?.as_str()) {
        return Owner::of_thread(thread).map_err(|why| refused(&why));
    }
    let named = Owner::find().map_err(|why| refused(&why))?;
    let host = Process::find(std::os::unix::process::parent_id());
    // The report of the session's hook is newer than the environment that this process started with.
    let bound = host.and_then(|host| notes.session_of(host));
    let given = meta.and_then(|meta| meta.get(SESSION));
    if let (None, None, Some(given)) = (&named, &bound, given) {
        // Checked last, because a model could set this argument.
        let given = given.as_str().unwrap_or_default();
        return Owner::of_plugin(given).map_err(|why| refused(&why));
    }
    Ok(match (named, bound) {
        (Some(owner), Some(queue)) if !owner.is_chosen() => Owner { queue, ..owner },
        (Some(owner), _) => owner,
        (None, Some(queue)) => Owner { queue, variable: QUEUE_VARIABLE },
        (None, None) => {
            // Hosts without a session name never share a queue.
            let queue = host.map_or_else(|| "default".to_owned(), Process::queue);
            Owner { queue, variable: QUEUE_VARIABLE }
        }
    })
}

/// The directory of a session without tasks: the one in the request, or else that of this process.
fn directory(meta: Option<&JsonObject>) -> Result<PathBuf, Error> {
    let named = meta.and_then(super::sandbox::directory);
    let unusable = |why: std::io::Error| Error::Invalid {
        field: "cwd".to_owned(),
        message: format!("the session's directory cannot be used: {why}"),
    };
    match named {
        Some(directory) => directory.canonicalize().map_err(unusable),
        None => std::env::current_dir().map_err(unusable),
    }
}
