//! Removes tasks and sessions from the store: on request, by age, by number.
//!
//! Only ended tasks are removed, and no undelivered notification is lost: a task with waiting notifications is
//! hidden, and its row is deleted with the last of them. The caller deletes the files.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{OptionalExtension, Transaction, params};

use super::ends::trim_durations;
use super::rows::{id_of, millis, path_bytes, path_of, row_id};
use super::sessions::{last_said, rows_of};
use super::{Ledger, LedgerError, settings};
use crate::background::Remove;
use crate::background::task::{TaskId, Timestamp};
use crate::limits::STEPS_KEPT;

/// How many ids of removed tasks are remembered. Must cover what other processes remove while one is suspended
/// between reading an exit record and reporting it.
const GONE_MAX: i64 = 10_000;
/// How long the token of a spawn that never happened is kept.
const TOKEN_WITHOUT_TASK: Duration = Duration::from_secs(24 * 3_600);

/// How long a session is kept after its last message.
const SESSIONS_KEPT: Duration = Duration::from_secs(90 * 24 * 3_600);
/// How long a session without any message is kept.
const SILENT_SESSIONS_KEPT: Duration = Duration::from_secs(24 * 3_600);

impl Ledger {
    /// Removes ended tasks of a workspace; returns the removed ones, whose files may be deleted. With both
    /// `ids` and `ended_before`, those that meet both; with neither, none.
    pub fn remove(&mut self, workspace: &Path, what: &Remove) -> Result<Vec<TaskId>, LedgerError> {
        let before = what.ended_before.map_or(i64::MAX, |before| before.0);
        self.write(|tx| {
            let mut ids = Vec::new();
            match (&what.ids, what.ended_before) {
                (Some(wanted), _) => {
                    let mut select = tx.prepare_cached(
                        "SELECT id FROM tasks WHERE id = ?1 AND workspace = ?2 AND removed = 0
                         AND outcome IS NOT NULL AND ended_at < ?3",
                    )?;
                    for &id in wanted {
                        let found: Option<i64> = select
                            .query_row(params![row_id(id), path_bytes(workspace), before], |row| {
                                row.get(0)
                            })
                            .optional()?;
                        // Retired immediately, so that an id that is given twice is found only once.
                        if let Some(id) = found {
                            retire(tx, id)?;
                            ids.push(id_of(id));
                        }
                    }
                }
                (None, Some(_)) => {
                    ids = retire_all(tx, ENDED_BEFORE, params![path_bytes(workspace), before])?;
                }
                (None, None) => {}
            }
            Ok(ids)
        })
    }

    /// Removes the tasks of a workspace that ended longer than `keep_for` before `now`, and all but the
    /// `keep_count` that ended last; of the steps of agents' turns, all but the last [`STEPS_KEPT`]. Returns
    /// the removed ones. Also deletes other old rows: tokens of spawns that never happened, durations, and
    /// agent sessions whose last message is older than ninety days, or, without any message, that are older
    /// than a day. A session that a live holder has open is kept, however old; `is_alive` is called inside the
    /// transaction.
    pub fn prune(
        &mut self,
        workspace: &Path,
        keep_for: Duration,
        keep_count: u32,
        now: Timestamp,
        is_alive: &dyn Fn(&str) -> bool,
    ) -> Result<Vec<TaskId>, LedgerError> {
        self.write(|tx| {
            let path = path_bytes(workspace);
            let before = now.0.saturating_sub(millis(keep_for));
            let mut ids = retire_all(tx, ENDED_BEFORE, params![path, before])?;
            ids.extend(retire_all(tx, BEYOND_COUNT, params![path, keep_count])?);
            ids.extend(retire_all(tx, STEPS_BEYOND_COUNT, params![path, STEPS_KEPT])?);
            tx.prepare_cached(
                "DELETE FROM tokens WHERE workspace = ?1 AND at < ?2
                 AND NOT EXISTS (SELECT 1 FROM tasks WHERE tasks.id = tokens.task)",
            )?
            .execute(params![path, now.0.saturating_sub(millis(TOKEN_WITHOUT_TASK))])?;
            trim_durations(tx, workspace)?;
            prune_sessions(tx, workspace, now, is_alive)?;
            Ok(ids)
        })
    }

    /// The tasks of any workspace that ended first, at most `limit`, to be removed when the store is over its
    /// quota. Scans all ended tasks.
    pub fn oldest_finished(&self, limit: u32) -> Result<Vec<(PathBuf, TaskId)>, LedgerError> {
        let mut select = self.connection.prepare_cached(OLDEST)?;
        let found = select
            .query_map([limit], |row| Ok((path_of(row.get(0)?), id_of(row.get(1)?))))?
            .collect::<Result<_, _>>()?;
        Ok(found)
    }
}

pub(super) const ENDED_BEFORE: &str = "SELECT id FROM tasks
     WHERE workspace = ?1 AND outcome IS NOT NULL AND removed = 0 AND ended_at < ?2
     ORDER BY ended_at, id";
pub(super) const BEYOND_COUNT: &str = "SELECT id FROM tasks
     WHERE workspace = ?1 AND outcome IS NOT NULL AND removed = 0
     AND NOT EXISTS (SELECT 1 FROM steps WHERE steps.task = tasks.id AND is_step = 1)
     ORDER BY ended_at DESC, id DESC LIMIT -1 OFFSET ?2";
pub(super) const STEPS_BEYOND_COUNT: &str = "SELECT id FROM tasks
     WHERE workspace = ?1 AND outcome IS NOT NULL AND removed = 0
     AND EXISTS (SELECT 1 FROM steps WHERE steps.task = tasks.id AND is_step = 1)
     ORDER BY ended_at DESC, id DESC LIMIT -1 OFFSET ?2";
pub(super) const OLDEST: &str = "SELECT workspace, id FROM tasks
     WHERE outcome IS NOT NULL AND removed = 0 ORDER BY ended_at, id LIMIT ?1";

/// Deletes old sessions with their transcripts, except open ones. Hidden tasks of such a session are deleted
/// too.
fn prune_sessions(
    tx: &Transaction<'_>,
    workspace: &Path,
    now: Timestamp,
    is_alive: &dyn Fn(&str) -> bool,
) -> Result<(), LedgerError> {
    let mut select = tx.prepare_cached(concat!(
        "SELECT id, n, holder FROM (
           SELECT s.id, s.n, s.holder, s.created_at, ",
        last_said!(),
        " AS said_at FROM sessions s WHERE s.workspace = ?1)
         WHERE CASE WHEN said_at IS NULL THEN created_at < ?2 ELSE said_at < ?3 END"
    ))?;
    let before = |kept: Duration| now.0.saturating_sub(millis(kept));
    let old: Vec<(String, i64, Option<String>)> = select
        .query_map(
            params![path_bytes(workspace), before(SILENT_SESSIONS_KEPT), before(SESSIONS_KEPT)],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )?
        .collect::<Result<_, _>>()?;
    for (id, n, holder) in old {
        if holder.is_some_and(|holder| is_alive(&holder)) {
            continue;
        }
        delete_session(tx, n)?;
        let mut hidden = tx.prepare_cached(
            "SELECT id FROM tasks WHERE workspace = ?1 AND queue = ?2 AND removed = 1",
        )?;
        let hidden: Vec<i64> = hidden
            .query_map(params![path_bytes(workspace), id], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        for task in hidden {
            bury_if_told(tx, task)?;
        }
    }
    Ok(())
}

/// Deletes a session with its transcript.
pub(super) fn delete_session(tx: &Transaction<'_>, n: i64) -> Result<(), LedgerError> {
    let rows = rows_of(n);
    for sql in [
        "DELETE FROM messages WHERE id BETWEEN ?1 AND ?2",
        "DELETE FROM trace WHERE id BETWEEN ?1 AND ?2",
    ] {
        tx.prepare_cached(sql)?.execute(params![rows.0, rows.1])?;
    }
    settings::forget(tx, n)?;
    tx.prepare_cached("DELETE FROM sessions WHERE n = ?1")?.execute([n])?;
    Ok(())
}

fn retire_all(
    tx: &Transaction<'_>,
    sql: &str,
    params: impl rusqlite::Params,
) -> Result<Vec<TaskId>, LedgerError> {
    let rows: Vec<i64> =
        tx.prepare_cached(sql)?.query_map(params, |row| row.get(0))?.collect::<Result<_, _>>()?;
    for &row in &rows {
        retire(tx, row)?;
    }
    Ok(rows.into_iter().map(id_of).collect())
}

/// Hides an ended task and frees its token, so that a spawn with the same token creates a new task. Its row is
/// deleted at once if none of its notifications waits.
fn retire(tx: &Transaction<'_>, row: i64) -> Result<(), LedgerError> {
    tx.prepare_cached(
        "DELETE FROM tokens WHERE task = ?1 AND (workspace, token) =
           (SELECT workspace, client_token FROM tasks WHERE id = ?1)",
    )?
    .execute([row])?;
    tx.prepare_cached("UPDATE tasks SET removed = 1 WHERE id = ?1")?.execute([row])?;
    // A hidden task is in no list.
    tx.prepare_cached("DELETE FROM steps WHERE task = ?1")?.execute([row])?;
    bury_if_told(tx, row)
}

/// Deletes a removed task once none of its notifications waits, and remembers its id. A task of an agent's
/// session stays hidden, without the text of its output, because the session's timeline shows it.
pub(super) fn bury_if_told(tx: &Transaction<'_>, row: i64) -> Result<(), LedgerError> {
    let in_session: bool = tx
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM tasks t JOIN sessions s ON s.id = t.queue
               AND s.workspace = t.workspace WHERE t.id = ?1 AND t.removed = 1)",
        )?
        .query_row([row], |found| found.get(0))?;
    if in_session {
        tx.prepare_cached(
            "UPDATE notifications SET head = '', tail = '', line = ''
             WHERE task = ?1 AND acked_at IS NOT NULL",
        )?
        .execute([row])?;
        return Ok(());
    }
    let buried = tx
        .prepare_cached(
            "DELETE FROM tasks WHERE id = ?1 AND removed = 1 AND NOT EXISTS (
               SELECT 1 FROM notifications WHERE task = ?1 AND acked_at IS NULL)",
        )?
        .execute([row])?;
    if buried == 0 {
        return Ok(());
    }
    tx.prepare_cached("DELETE FROM notifications WHERE task = ?1")?.execute([row])?;
    tx.prepare_cached("INSERT INTO gone (task) VALUES (?1) ON CONFLICT DO NOTHING")?
        .execute([row])?;
    tx.prepare_cached("DELETE FROM gone WHERE n <= (SELECT max(n) FROM gone) - ?1")?
        .execute([GONE_MAX])?;
    Ok(())
}
