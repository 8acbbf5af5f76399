//! The rows of tasks: created at the start, read again later.

use std::path::Path;

use rusqlite::{OptionalExtension, Transaction, params};

use super::rows::{
    FACTS, actor_word, id_of, millis, outcome_word, path_bytes, read_facts, read_task, row_id,
    stdin_word, task_columns, watches_word,
};
use super::{Ledger, LedgerError, NewTask};
use crate::background::StateFilter;
use crate::background::task::{Cause, Task, TaskId, Timestamp};

/// Claims a token for a task if it is free.
pub(super) fn insert_token(
    tx: &Transaction<'_>,
    workspace: &Path,
    token: &str,
    id: TaskId,
) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "INSERT INTO tokens (workspace, token, task, at) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT DO NOTHING",
    )?
    .execute(params![path_bytes(workspace), token, row_id(id), Timestamp::now().0])?;
    Ok(())
}

impl Ledger {
    /// Stores tasks that are about to run. Returns for each whether its row was created, which it is not if the
    /// store has, or had, a task with that id.
    pub fn insert(&mut self, tasks: &[NewTask]) -> Result<Vec<bool>, LedgerError> {
        self.write(|tx| tasks.iter().map(|task| insert(tx, task)).collect())
    }

    /// Claims a client's token for a task that is about to be spawned. Returns `id`, or the id for which the
    /// token is already claimed. The caller must check whether that task was ever spawned, and can free the
    /// token of a spawn that died midway with [`Ledger::release_token`].
    pub fn claim_token(
        &mut self,
        workspace: &Path,
        token: &str,
        id: TaskId,
    ) -> Result<TaskId, LedgerError> {
        self.write(|tx| {
            insert_token(tx, workspace, token, id)?;
            let holder = tx
                .prepare_cached("SELECT task FROM tokens WHERE workspace = ?1 AND token = ?2")?
                .query_row(params![path_bytes(workspace), token], |row| row.get(0))?;
            Ok(id_of(holder))
        })
    }

    /// Releases a token because its spawn failed. Does nothing if it is claimed for another task.
    pub fn release_token(
        &mut self,
        workspace: &Path,
        token: &str,
        id: TaskId,
    ) -> Result<(), LedgerError> {
        self.write(|tx| {
            tx.prepare_cached(
                "DELETE FROM tokens WHERE workspace = ?1 AND token = ?2 AND task = ?3",
            )?
            .execute(params![path_bytes(workspace), token, row_id(id)])?;
            Ok(())
        })
    }

    /// Deletes the row of a task that was never started. Does nothing if it has ended or has notifications.
    pub fn forget(&mut self, id: TaskId) -> Result<(), LedgerError> {
        self.write(|tx| {
            tx.prepare_cached(
                "DELETE FROM tasks WHERE id = ?1 AND outcome IS NULL
                 AND NOT EXISTS (SELECT 1 FROM notifications WHERE task = ?1)",
            )?
            .execute([row_id(id)])?;
            tx.prepare_cached(
                "DELETE FROM steps WHERE task = ?1
                 AND NOT EXISTS (SELECT 1 FROM tasks WHERE id = ?1)",
            )?
            .execute([row_id(id)])?;
            Ok(())
        })
    }

    /// Stores the pids of tasks' leaders.
    pub fn started(&mut self, leaders: &[(TaskId, u32)]) -> Result<(), LedgerError> {
        self.write(|tx| started(tx, leaders))
    }

    /// Stores that a task is being stopped. Keeps the first cause, and does not change an ended task.
    pub fn stopping(&mut self, id: TaskId, cause: &Cause) -> Result<(), LedgerError> {
        self.write(|tx| {
            tx.prepare_cached(
                "UPDATE tasks SET cause_actor = ?2, cause_message = ?3
                 WHERE id = ?1 AND outcome IS NULL AND cause_actor IS NULL",
            )?
            .execute(params![row_id(id), actor_word(cause.actor), cause.message])?;
            Ok(())
        })
    }

    /// A task of a workspace, unless it has been removed.
    pub fn task(&self, workspace: &Path, id: TaskId) -> Result<Option<Task>, LedgerError> {
        let task = self
            .connection
            .prepare_cached(concat!(
                "SELECT ",
                task_columns!(),
                " FROM tasks t WHERE t.id = ?1 AND t.workspace = ?2 AND t.removed = 0"
            ))?
            .query_row(params![row_id(id), path_bytes(workspace)], read_task)
            .optional()?;
        Ok(task)
    }

    /// The static facts of a task in any workspace, removed or not.
    pub fn facts(&self, id: TaskId) -> Result<Option<NewTask>, LedgerError> {
        let facts = self
            .connection
            .prepare_cached(&format!("SELECT {FACTS} FROM tasks WHERE id = ?1"))?
            .query_row([row_id(id)], read_facts)
            .optional()?;
        Ok(facts)
    }

    /// At most `limit` tasks of a workspace: those without a recorded end, then the ended ones, each newest
    /// first by creation time. The steps of agents' turns only with `steps`.
    pub fn tasks(
        &self,
        workspace: &Path,
        state: Option<StateFilter>,
        limit: u32,
        steps: bool,
    ) -> Result<Vec<Task>, LedgerError> {
        self.read(|tx| {
            let mut found = Vec::new();
            let mut list = |sql: &str, word: Option<&str>| -> Result<(), LedgerError> {
                let left = i64::from(limit) - i64::try_from(found.len()).unwrap_or(i64::MAX);
                let mut select = tx.prepare_cached(sql)?;
                for task in select
                    .query_map(params![path_bytes(workspace), left, word, steps], read_task)?
                {
                    found.push(task?);
                }
                Ok(())
            };
            match state {
                None => {
                    list(LIVE, None)?;
                    list(ENDED, None)?;
                }
                Some(StateFilter::Queued | StateFilter::Running | StateFilter::NotStopping) => {
                    list(LIVE, Some("running"))?;
                }
                Some(StateFilter::Stopping) => list(LIVE, Some("stopping"))?,
                Some(StateFilter::Ended(outcome)) => list(ENDED, Some(outcome_word(outcome)))?,
            }
            Ok(found)
        })
    }

    /// The tasks without a recorded end, oldest first: of one workspace, or of all of them, grouped by
    /// workspace.
    pub fn running_ids(&self, workspace: Option<&Path>) -> Result<Vec<TaskId>, LedgerError> {
        let mut select = self.connection.prepare_cached(match workspace {
            Some(_) => RUNNING_HERE,
            None => RUNNING,
        })?;
        let read = |row: &rusqlite::Row<'_>| row.get(0).map(id_of);
        let ids = match workspace {
            Some(workspace) => select.query_map([path_bytes(workspace)], read)?.collect(),
            None => select.query_map([], read)?.collect::<Result<Vec<_>, _>>(),
        };
        Ok(ids?)
    }
}

/// The queries of [`Ledger::tasks`]; `?3` is a state to filter by, or NULL.
pub(super) const LIVE: &str = concat!(
    "SELECT ",
    task_columns!(),
    " FROM tasks t WHERE t.workspace = ?1 AND t.outcome IS NULL AND t.removed = 0
     AND (?3 IS NULL OR ?3 = iif(t.cause_actor IS NULL, 'running', 'stopping'))
     AND (?4 OR NOT EXISTS (SELECT 1 FROM steps WHERE steps.task = t.id AND steps.is_step = 1))
     ORDER BY t.created_at DESC, t.id DESC LIMIT ?2"
);
pub(super) const ENDED: &str = concat!(
    "SELECT ",
    task_columns!(),
    " FROM tasks t WHERE t.workspace = ?1 AND t.outcome IS NOT NULL AND t.removed = 0
     AND (?3 IS NULL OR ?3 = t.outcome)
     AND (?4 OR NOT EXISTS (SELECT 1 FROM steps WHERE steps.task = t.id AND steps.is_step = 1))
     ORDER BY t.created_at DESC, t.id DESC LIMIT ?2"
);
pub(super) const RUNNING_HERE: &str = "SELECT id FROM tasks
     WHERE workspace = ?1 AND outcome IS NULL AND removed = 0 ORDER BY created_at, id";
pub(super) const RUNNING: &str = "SELECT id FROM tasks INDEXED BY tasks_live
     WHERE outcome IS NULL AND removed = 0 ORDER BY workspace, created_at, id";

pub(super) fn started(tx: &Transaction<'_>, leaders: &[(TaskId, u32)]) -> Result<(), LedgerError> {
    let mut update = tx.prepare_cached("UPDATE tasks SET pid = ?2 WHERE id = ?1")?;
    for &(id, pid) in leaders {
        update.execute(params![row_id(id), pid])?;
    }
    Ok(())
}

/// Creates the row of a task. Returns whether it was created, which it is not if the task exists or has been
/// removed.
pub(super) fn insert(tx: &Transaction<'_>, task: &NewTask) -> Result<bool, LedgerError> {
    let made = tx
        .prepare_cached(
            "INSERT INTO tasks (id, workspace, queue, label, command, cwd, created_at, deadline_ms,
               linger_ms, stdin, watches, client_token, service, place)
             SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14
             WHERE NOT EXISTS (SELECT 1 FROM gone WHERE task = ?1)
             ON CONFLICT DO NOTHING",
        )?
        .execute(params![
            row_id(task.id),
            path_bytes(&task.workspace),
            task.queue,
            task.label,
            task.command,
            path_bytes(&task.cwd),
            task.created_at.0,
            task.deadline.map(millis),
            task.linger.map(millis),
            stdin_word(task.stdin),
            watches_word(&task.watches),
            task.client_token,
            task.service,
            task.place,
        ])?;
    if task.is_step && made == 1 {
        tx.prepare_cached(
            "INSERT INTO steps (task, is_step) VALUES (?1, 1) ON CONFLICT DO NOTHING",
        )?
        .execute([row_id(task.id)])?;
    }
    Ok(made == 1)
}
