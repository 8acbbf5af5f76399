//! What was run before, and how long it took: read for people who look back.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::params;

use super::rows::{path_bytes, path_of};
use super::{Ledger, LedgerError};

/// A command that ran before, and how long its runs took, newest first. Only ends by itself count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Past {
    /// The command as it was shown.
    pub command: String,
    /// A duration a run, at most 20.
    pub runs: Vec<Duration>,
}

impl Ledger {
    /// At most `limit` commands that ended by themselves: those of `first` before those of other
    /// workspaces, and of each the ones that ran last first.
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
