//! Lists of sessions, whether open or not.

use std::path::PathBuf;

use super::{Error, Session, SessionId};
use crate::background::Background;
use crate::background::ledger::SessionRow;
use crate::background::store::Store;
use crate::background::task::Timestamp;

/// How many sessions are checked for a missing directory.
const STRAYS_SEEN: u32 = 1_000;

/// A session in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// The session's id, chosen when it was created.
    pub id: SessionId,
    /// The directory that the session belongs to.
    pub workspace: PathBuf,
    /// The beginning of its first prompt; `None` before the first prompt.
    pub title: Option<String>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When a message was last added.
    pub updated_at: Timestamp,
}

impl From<SessionRow> for Info {
    fn from(row: SessionRow) -> Self {
        Self {
            id: SessionId(row.id),
            workspace: row.workspace,
            title: row.title,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

impl Session {
    /// The sessions of the workspace, newest first: at most `limit` after the first `skip`.
    pub async fn list(background: &Background, skip: u64, limit: u32) -> Result<Vec<Info>, Error> {
        let workspace = background.workspace().to_owned();
        Self::list_of(background.store(), workspace, skip, limit).await
    }

    /// The sessions of any workspace, newest first; the workspace need not be open.
    pub async fn list_of(
        store: &Store,
        workspace: PathBuf,
        skip: u64,
        limit: u32,
    ) -> Result<Vec<Info>, Error> {
        let rows = store.read(move |l| l.sessions(&workspace, skip, limit)).await?;
        Ok(rows.into_iter().map(Info::from).collect())
    }

    /// The sessions of all workspaces, newest first.
    pub async fn everywhere(store: &Store, skip: u64, limit: u32) -> Result<Vec<Info>, Error> {
        let rows = store.read(move |l| l.sessions_of_all(skip, limit)).await?;
        Ok(rows.into_iter().map(Info::from).collect())
    }

    /// The sessions whose directories no longer exist, newest first. A client that loads one by its full id from
    /// another workspace continues it there.
    pub async fn strays(background: &Background, limit: u32) -> Result<Vec<Info>, Error> {
        let workspace = background.workspace().to_owned();
        let read = background.store().read(move |l| l.sessions_elsewhere(&workspace, STRAYS_SEEN));
        let gone = read.await?.into_iter().filter(|row| !row.workspace.exists());
        Ok(gone.take(limit as usize).map(Info::from).collect())
    }

    /// The directory of the session with this full id.
    pub async fn home(background: &Background, id: &str) -> Result<Option<PathBuf>, Error> {
        Self::home_in(background.store(), id).await
    }

    /// The same without an open workspace.
    pub async fn home_in(store: &Store, id: &str) -> Result<Option<PathBuf>, Error> {
        let id = id.to_owned();
        let row = store.read(move |l| l.session_anywhere(&id)).await?;
        Ok(row.map(|row| row.workspace))
    }
}
