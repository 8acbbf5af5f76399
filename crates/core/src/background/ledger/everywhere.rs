//! Queries across all workspaces: an id is unique in the whole store.

use std::path::PathBuf;

use rusqlite::{OptionalExtension, params};

use super::rows::{outcome_word, path_of, read_task, row_id, task_columns};
use super::{Ledger, LedgerError};
use crate::background::StateFilter;
use crate::background::task::{Task, TaskId};

/// A queue that holds notifications.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// The queue's workspace.
    pub workspace: PathBuf,
    /// The queue's name.
    pub queue: String,
    /// How many of its notifications are not acknowledged.
    pub count: u64,
}

impl Ledger {
    /// The workspace of a task that has not been removed.
    pub fn workspace_of_task(&self, id: TaskId) -> Result<Option<PathBuf>, LedgerError> {
        let found = self
            .connection
            .prepare_cached("SELECT workspace FROM tasks WHERE id = ?1 AND removed = 0")?
            .query_row([row_id(id)], |row| row.get(0).map(path_of))
            .optional()?;
        Ok(found)
    }

    /// The workspaces with tasks whose end is not recorded.
    pub fn busy_workspaces(&self) -> Result<Vec<PathBuf>, LedgerError> {
        let mut select = self.connection.prepare_cached(
            "SELECT DISTINCT workspace FROM tasks INDEXED BY tasks_live
             WHERE outcome IS NULL AND removed = 0",
        )?;
        let found = select.query_map([], |row| row.get(0).map(path_of))?;
        Ok(found.collect::<Result<_, _>>()?)
    }

    /// At most `limit` tasks of all workspaces: those without a recorded end first, then newest first.
    pub fn tasks_everywhere(
        &self,
        state: Option<StateFilter>,
        limit: u32,
        steps: bool,
    ) -> Result<Vec<Task>, LedgerError> {
        let word = match state {
            None => None,
            // Only its supervisor knows that a task waits; the ledger shows it as running.
            Some(StateFilter::Queued | StateFilter::Running | StateFilter::NotStopping) => {
                Some("running")
            }
            Some(StateFilter::Stopping) => Some("stopping"),
            Some(StateFilter::Ended(outcome)) => Some(outcome_word(outcome)),
        };
        let mut select = self.connection.prepare_cached(concat!(
            "SELECT ",
            task_columns!(),
            " FROM tasks t WHERE t.removed = 0 AND (?2 IS NULL OR ?2 = coalesce(t.outcome,
                iif(t.cause_actor IS NULL, 'running', 'stopping')))
             AND (?3 OR NOT EXISTS (SELECT 1 FROM steps WHERE task = t.id AND is_step = 1))
             ORDER BY t.outcome IS NOT NULL, t.created_at DESC, t.id DESC LIMIT ?1"
        ))?;
        let tasks = select.query_map(params![limit, word, steps], read_task)?;
        Ok(tasks.collect::<Result<_, _>>()?)
    }

    /// Every queue of every workspace that holds notifications, except the queues of agents' sessions, which
    /// the agents drain.
    pub fn waiting_everywhere(&self) -> Result<Vec<Waiting>, LedgerError> {
        let mut select = self.connection.prepare_cached(
            "SELECT workspace, queue, count(*) FROM notifications
             WHERE acked_at IS NULL AND queue NOT IN (SELECT id FROM sessions)
             GROUP BY workspace, queue ORDER BY workspace, queue",
        )?;
        let waiting = select.query_map([], |row| {
            Ok(Waiting {
                workspace: path_of(row.get(0)?),
                queue: row.get(1)?,
                count: row.get::<_, i64>(2)?.unsigned_abs(),
            })
        })?;
        Ok(waiting.collect::<Result<_, _>>()?)
    }
}
