//! The request form that each model server accepted.

use rusqlite::{OptionalExtension, params};

use super::{Ledger, LedgerError};
use crate::background::task::Timestamp;

/// How long a stored form is used, in milliseconds: a week. After that the full form is tried again, as the
/// server may support it by now.
const BELIEVED_MS: i64 = 7 * 24 * 3_600 * 1_000;

/// Created when it is first needed, independent of the schema's version: an older program that shares the store
/// is not affected.
const TABLE: &str = "CREATE TABLE IF NOT EXISTS forms (
  origin TEXT PRIMARY KEY,
  form TEXT NOT NULL,
  at INTEGER NOT NULL
) STRICT, WITHOUT ROWID";

impl Ledger {
    /// The form that a server and model accepted last, if that was within a week.
    pub fn form(&self, origin: &str) -> Result<Option<String>, LedgerError> {
        let is_there: bool = self
            .connection
            .prepare_cached("SELECT count(*) FROM sqlite_schema WHERE name = 'forms'")?
            .query_row([], |row| row.get::<_, i64>(0))
            .map(|count| count > 0)?;
        if !is_there {
            return Ok(None);
        }
        let since = Timestamp::now().0 - BELIEVED_MS;
        let form = self
            .connection
            .prepare_cached("SELECT form FROM forms WHERE origin = ?1 AND at > ?2")?
            .query_row(params![origin, since], |row| row.get(0))
            .optional()?;
        Ok(form)
    }

    /// Stores the form that a server and model accepted.
    pub fn remember_form(&mut self, origin: &str, form: &str) -> Result<(), LedgerError> {
        self.write(|tx| {
            tx.execute_batch(TABLE)?;
            tx.prepare_cached(
                "INSERT INTO forms (origin, form, at) VALUES (?1, ?2, ?3) ON CONFLICT (origin) \
                 DO UPDATE SET form = excluded.form, at = excluded.at",
            )?
            .execute(params![origin, form, Timestamp::now().0])?;
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::open;
    use super::*;

    #[test]
    fn a_form_is_believed_for_a_week() {
        let (_dir, mut ledger) = open();
        assert_eq!(ledger.form("http://h m").expect("read"), None);
        ledger.remember_form("http://h m", "ids").expect("written");
        ledger.remember_form("http://h m", "ids cache").expect("written");
        assert_eq!(ledger.form("http://h m").expect("read").as_deref(), Some("ids cache"));
        assert_eq!(ledger.form("http://h other").expect("read"), None);
        let old = Timestamp::now().0 - BELIEVED_MS;
        ledger.connection.execute("UPDATE forms SET at = ?1", [old]).expect("set");
        assert_eq!(ledger.form("http://h m").expect("read"), None);
    }
}
