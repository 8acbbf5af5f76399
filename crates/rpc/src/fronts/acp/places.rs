//! The workspaces of one connection: a desk for each directory that a session names.

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

/// The desks.
#[derive(Debug)]
pub(super) struct Places {
    /// What they have in common.
    root: Desk,
    desks: Mutex<HashMap<PathBuf, Desk>>,
}

impl Places {
    pub(super) fn new(root: Desk) -> Self {
        Self { root, desks: Mutex::default() }
    }

    /// The desk for this directory, or for that of the process where none is named.
    ///
    /// # Errors
    ///
    /// It is not an absolute path of a directory.
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
        // One that does not exist any more stays as it is: its sessions are listed and loaded.
        let workspace = std::fs::canonicalize(&named).unwrap_or(named);
        Ok(self.at(workspace))
    }

    /// The desk for the directory of a session that need not be open.
    ///
    /// # Errors
    ///
    /// There is no such session, or the store cannot be read.
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

    /// Detaches from all. Tasks go on.
    pub(super) async fn close(&self) {
        let all: Vec<Desk> = self.lock().drain().map(|(_, desk)| desk).collect();
        futures_util::future::join_all(all.iter().map(Desk::leave)).await;
        self.root.close().await;
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PathBuf, Desk>> {
        // A panic under the lock leaves a map that is whole: every change is one insert or drain.
        self.desks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
