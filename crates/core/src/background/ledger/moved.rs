//! Sessions whose directory has moved: they are found by full id in any workspace, and moved to the directory
//! in which a person continues them.

use std::path::Path;

use rusqlite::{OptionalExtension, params};

use super::rows::{int, path_bytes};
use super::sessions::{SessionRow, read_session, session_columns};
use super::{Ledger, LedgerError};

impl Ledger {
    /// The session with this full id, in any workspace.
    pub fn session_anywhere(&self, id: &str) -> Result<Option<SessionRow>, LedgerError> {
        let row = self
            .connection
            .prepare_cached(concat!(
                "SELECT ",
                session_columns!(),
                " FROM sessions s WHERE s.id = ?1"
            ))?
            .query_row([id], read_session)
            .optional()?;
        Ok(row)
    }

    /// The newest sessions of other workspaces, at most `limit`.
    pub fn sessions_elsewhere(
        &self,
        workspace: &Path,
        limit: u32,
    ) -> Result<Vec<SessionRow>, LedgerError> {
        let mut select = self.connection.prepare_cached(concat!(
            "SELECT ",
            session_columns!(),
            " FROM sessions s WHERE s.workspace <> ?1 ORDER BY s.n DESC LIMIT ?2"
        ))?;
        let rows = select
            .query_map(params![path_bytes(workspace), limit], read_session)?
            .collect::<Result<_, _>>()?;
        Ok(rows)
    }

    /// The sessions of all workspaces, most recently updated first.
    pub fn sessions_of_all(&self, skip: u64, limit: u32) -> Result<Vec<SessionRow>, LedgerError> {
        let mut select = self.connection.prepare_cached(concat!(
            "SELECT ",
            session_columns!(),
            " FROM sessions s ORDER BY updated_at DESC, s.id DESC LIMIT ?1 OFFSET ?2"
        ))?;
        let rows =
            select.query_map(params![limit, int(skip)], read_session)?.collect::<Result<_, _>>()?;
        Ok(rows)
    }

    /// Moves a session, its queue and its ended tasks to another workspace.
    pub fn move_session(&mut self, id: &str, to: &Path) -> Result<(), LedgerError> {
        self.write(|tx| {
            let from: Option<Vec<u8>> = tx
                .prepare_cached("SELECT workspace FROM sessions WHERE id = ?1")?
                .query_row([id], |row| row.get(0))
                .optional()?;
            let Some(from) = from else { return Ok(()) };
            let to = path_bytes(to);
            tx.prepare_cached("UPDATE sessions SET workspace = ?2 WHERE id = ?1")?
                .execute(params![id, to])?;
            // The queue's name is the session's id, which is unique.
            for table in [
                "UPDATE queues SET workspace = ?3 WHERE workspace = ?1 AND name = ?2",
                "UPDATE notifications SET workspace = ?3 WHERE workspace = ?1 AND queue = ?2",
                // Running tasks stay: the old workspace's daemon supervises them.
                "UPDATE tasks SET workspace = ?3 WHERE workspace = ?1 AND queue = ?2 \
                 AND outcome IS NOT NULL",
            ] {
                tx.prepare_cached(table)?.execute(params![from, id, to])?;
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::open;
    use super::*;

    #[test]
    fn a_session_goes_where_it_is_gone_on_with() {
        let (_dir, mut ledger) = open();
        let (old, new) = (Path::new("/old"), Path::new("/new"));
        ledger.create_session(old, "s", "m", ("holder", 1)).expect("made");
        assert_eq!(ledger.session_anywhere("s").expect("read").expect("there").workspace, old);
        assert_eq!(ledger.session_anywhere("x").expect("read"), None);
        assert_eq!(ledger.sessions_elsewhere(new, 9).expect("read").len(), 1);
        assert_eq!(ledger.sessions_elsewhere(old, 9).expect("read").len(), 0);
        ledger.move_session("s", new).expect("moved");
        assert!(ledger.session(old, "s").expect("read").is_none());
        assert!(ledger.session(new, "s").expect("read").is_some());
    }
}
