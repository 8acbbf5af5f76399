//! A person's settings for single sessions, and the deletion of a session on request.

use std::path::Path;

use rusqlite::{OptionalExtension, Transaction, params};

use super::retention::{bury_if_told, delete_session};
use super::rows::path_bytes;
use super::{Ledger, LedgerError};

/// Created when it is first needed, independent of the schema's version: an older program that shares the store
/// is not affected. `session` is a session's number, which is never reused.
const TABLE: &str = "CREATE TABLE IF NOT EXISTS session_settings (
  session INTEGER NOT NULL,
  name TEXT NOT NULL,
  value TEXT NOT NULL,
  PRIMARY KEY (session, name)
) STRICT, WITHOUT ROWID";

/// The result of trying to delete a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deleted {
    /// It is deleted.
    Gone,
    /// A live process has it open.
    Held {
        /// The pid of that process.
        pid: u32,
    },
    /// The workspace has no session of this name.
    Unknown,
}

impl Ledger {
    /// The names and values of a session's settings.
    pub fn session_settings(&self, id: &str) -> Result<Vec<(String, String)>, LedgerError> {
        self.read(|tx| {
            if !is_there(tx)? {
                return Ok(Vec::new());
            }
            let mut select = tx.prepare_cached(
                "SELECT name, value FROM session_settings
                 WHERE session = (SELECT n FROM sessions WHERE id = ?1) ORDER BY name",
            )?;
            let found = select
                .query_map([id], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect::<Result<_, _>>()?;
            Ok(found)
        })
    }

    /// Stores a setting of a session.
    pub fn choose_for_session(
        &mut self,
        id: &str,
        name: &str,
        value: &str,
    ) -> Result<(), LedgerError> {
        self.write(|tx| {
            tx.execute_batch(TABLE)?;
            tx.prepare_cached(
                "INSERT INTO session_settings (session, name, value)
                 SELECT n, ?2, ?3 FROM sessions WHERE id = ?1
                 ON CONFLICT (session, name) DO UPDATE SET value = excluded.value",
            )?
            .execute(params![id, name, value])?;
            Ok(())
        })
    }

    /// Deletes a session of a workspace with its transcript and the notifications in its queue. Its tasks stay.
    pub fn delete_session(
        &mut self,
        workspace: &Path,
        id: &str,
        is_alive: &dyn Fn(&str) -> bool,
    ) -> Result<Deleted, LedgerError> {
        self.write(|tx| {
            let path = path_bytes(workspace);
            let found: Option<(i64, Option<String>, Option<u32>)> = tx
                .prepare_cached(
                    "SELECT n, holder, holder_pid FROM sessions WHERE workspace = ?1 AND id = ?2",
                )?
                .query_row(params![path, id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
                .optional()?;
            let Some((n, holder, pid)) = found else { return Ok(Deleted::Unknown) };
            if holder.is_some_and(|holder| is_alive(&holder)) {
                return Ok(Deleted::Held { pid: pid.unwrap_or(0) });
            }
            delete_session(tx, n)?;
            tx.prepare_cached(
                "DELETE FROM notifications WHERE workspace = ?1 AND queue = ?2 AND acked_at IS NULL",
            )?
            .execute(params![path, id])?;
            let hidden: Vec<i64> = tx
                .prepare_cached(
                    "SELECT id FROM tasks WHERE workspace = ?1 AND queue = ?2 AND removed = 1",
                )?
                .query_map(params![path, id], |row| row.get(0))?
                .collect::<Result<_, _>>()?;
            for task in hidden {
                bury_if_told(tx, task)?;
            }
            Ok(Deleted::Gone)
        })
    }
}

/// Whether the table exists.
fn is_there(tx: &Transaction<'_>) -> Result<bool, LedgerError> {
    let found: i64 = tx
        .prepare_cached("SELECT count(*) FROM sqlite_schema WHERE name = 'session_settings'")?
        .query_row([], |row| row.get(0))?;
    Ok(found > 0)
}

/// Deletes the settings of a session that is being deleted.
pub(super) fn forget(tx: &Transaction<'_>, n: i64) -> Result<(), LedgerError> {
    if is_there(tx)? {
        tx.prepare_cached("DELETE FROM session_settings WHERE session = ?1")?.execute([n])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::open;
    use super::*;

    #[test]
    fn what_was_chosen_stays_with_the_session_and_goes_with_it() {
        let (_dir, mut ledger) = open();
        let place = Path::new("/w");
        assert_eq!(ledger.session_settings("s").expect("read"), []);
        ledger.choose_for_session("s", "wake", "on").expect("written");
        assert_eq!(ledger.session_settings("s").expect("read"), [], "there is no such session");
        ledger.create_session(place, "s", "m", ("holder", 1)).expect("made");
        for value in ["on", "queue"] {
            ledger.choose_for_session("s", "wake", value).expect("written");
        }
        let chosen = [("wake".to_owned(), "queue".to_owned())];
        assert_eq!(ledger.session_settings("s").expect("read"), chosen);
        let delete = |ledger: &mut Ledger, place: &str, alive: bool| {
            ledger.delete_session(Path::new(place), "s", &|_| alive).expect("written")
        };
        assert_eq!(delete(&mut ledger, "/w", true), Deleted::Held { pid: 1 });
        assert_eq!(delete(&mut ledger, "/elsewhere", false), Deleted::Unknown);
        assert_eq!(delete(&mut ledger, "/w", false), Deleted::Gone);
        assert_eq!(delete(&mut ledger, "/w", false), Deleted::Unknown);
        ledger.create_session(place, "s", "m", ("holder", 1)).expect("made");
        assert_eq!(ledger.session_settings("s").expect("read"), [], "it is another session");
    }
}
