//! Past commands and their durations, for display to a person.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::params;

use super::rows::{path_bytes, path_of};
use super::{Ledger, LedgerError};

/// A command that ran before, and the durations of its runs. Only runs that ended by themselves count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Past {
    /// The command, as displayed.
    pub command: String,
    /// The runs' durations, newest first, at most 20.
    pub runs: Vec<Duration>,
}

impl Ledger {
    /// At most `limit` commands that ended by themselves: those of the workspace `first` before those of other
    /// workspaces, each group by last run, newest first.
    pub fn past_commands(&self, first: &Path, limit: u32) -> Result<Vec<Past>, LedgerError> {
        let mut select = self.connection.prepare_cached(
            "SELECT workspace, command FROM durations GROUP BY workspace, command
             ORDER BY workspace = ?1 DESC, max(n) DESC LIMIT ?2",
        )?;
        let found: Vec<(PathBuf, String)> = select
            .query_map(params![path_bytes(first), limit], |row| {
                Ok((path_of(row.get(0)?), row.get(1)?))
            })?
            .collect::<Result<_, _>>()?;
        found
            .into_iter()
            .map(|(workspace, command)| {
                let runs = self.past_durations(&workspace, &command)?;
                Ok(Past { command, runs })
            })
            .collect()
    }
}
