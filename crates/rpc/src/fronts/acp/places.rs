//! The workspaces of one connection: a desk for each directory of a session.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use meanwhile_core::agent::session::{self as core, Session};
use meanwhile_core::background::words::reason;
use serde_json::Value;

use crate::convert::error::invalid;
use crate::convert::from_wire::Defaults;
use crate::desk::{Connection, Desk};
use crate::handlers::session;
use crate::wire::Error;

#[derive(Debug)]
pub(super) struct Places {
    /// The desk that the others are derived from.
    root: Desk,
    desks: Mutex<HashMap<PathBuf, Desk>>,
}

impl Places {
    pub(super) fn new(root: Desk) -> Self {
        Self { root, desks: Mutex::default() }
    }

    /// The desk for this directory, or for the current directory if it is missing.
    ///
    /// # Errors
    ///
    /// The value is not the absolute path of a directory.
    pub(super) fn of(&self, cwd: Option<&Value>) -> Result<Desk, Error> {
        let named = match cwd {
            None | Some(Value::Null) => std::env::current_dir().map_err(|why| {
                invalid(
                    "cwd",
                    format!(
                        "missing, and the agent's own directory cannot be read: {}",
                        reason(&why)
                    ),
                )
            })?,
            Some(Value::String(path)) if Path::new(path).is_absolute() => PathBuf::from(path),
            Some(other) => {
                let shown: String = other.to_string().chars().take(200).collect();
                let message = format!("is {shown}; expected the absolute path of a directory");
                return Err(invalid("cwd", message));
            }
        };
        // A deleted directory is kept as it is, so that its sessions can be listed and loaded.
        let workspace = std::fs::canonicalize(&named).unwrap_or(named);
        Ok(self.at(workspace))
    }

    /// The desk for the directory of a session, which may be closed.
    ///
    /// # Errors
    ///
    /// The session does not exist, or the store cannot be read.
    pub(super) async fn of_session(&self, id: &str) -> Result<Desk, Error> {
        let house = self.root.house().await?;
        let home = Session::home_in(house.store(), id).await.map_err(session::refused)?;
        let unknown = || session::refused(core::Error::Unknown(id.to_owned()));
        Ok(self.at(home.ok_or_else(unknown)?))
    }

    fn at(&self, workspace: PathBuf) -> Desk {
        let mut desks = self.lock();
        if let Some(desk) = desks.get(&workspace) {
            return desk.clone();
        }
        let defaults = Defaults::default();
        let connection = Connection::of(workspace.clone(), defaults);
        let desk = self.root.beside(connection);
        desks.insert(workspace, desk.clone());
        desk
    }

    /// Detaches from all workspaces. Tasks keep running.
    pub(super) async fn close(&self) {
        let all: Vec<Desk> = self.lock().drain().map(|(_, desk)| desk).collect();
        futures_util::future::join_all(all.iter().map(Desk::leave)).await;
        self.root.close().await;
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PathBuf, Desk>> {
        // A panic under the lock leaves the map consistent: every change is one insert or drain.
        self.desks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
