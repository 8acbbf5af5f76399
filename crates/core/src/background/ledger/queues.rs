//! Reads and acknowledges queues.
//!
//! A notification is waiting, leased to a process that is delivering it, or acknowledged, which is final. A
//! lease has no timeout: it ends when it is acknowledged or dropped, or when its holder dies. The caller knows
//! whether a holder is alive.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use rusqlite::{OptionalExtension, Transaction, params};

use super::ends::exited;
use super::retention::bury_if_told;
use super::rows::{
    EXITED, by_word, count, id_of, int, notification_columns, path_bytes, path_of,
    read_notification, row_id,
};
use super::{FileId, Ledger, LedgerError};
use crate::background::task::{DeliveredBy, Notification, TaskId, Timestamp};

/// What a drain does to the notifications that it returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drain<'a> {
    /// Nothing: [`Ledger::ack`] acknowledges them, and until then every drain returns them.
    Manual,
    /// Leases them to this process: [`Ledger::ack_lease`] acknowledges them, [`Ledger::drop_lease`] gives them
    /// back. Until then no other drain returns them while the process is alive.
    Auto {
        /// The process's name, for which `is_alive` in every other process can tell whether it is alive.
        holder: &'a str,
    },
}

/// Identifies the lease of one drain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LeaseToken(i64);

/// A position in the order in which notifications were queued in one file, across all workspaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Cursor {
    file: FileId,
    n: i64,
}

/// What a drain returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The notifications, oldest first.
    pub notifications: Vec<Notification>,
    /// How many more a drain could return now: neither acknowledged nor leased to a live process.
    pub remaining: u64,
    /// The lease of [`Drain::Auto`]; `None` if nothing was leased.
    pub lease: Option<LeaseToken>,
}

impl Ledger {
    /// Returns the oldest waiting notifications of a queue, at most `max`. Ends leases whose holder is dead
    /// according to `is_alive`, which is called inside the transaction and must be fast. The drain's own holder
    /// counts as alive.
    pub fn drain(
        &mut self,
        workspace: &Path,
        queue: &str,
        max: u32,
        how: Drain<'_>,
        is_alive: &dyn Fn(&str) -> bool,
    ) -> Result<Batch, LedgerError> {
        self.write(|tx| {
            end_dead_leases(tx, workspace, queue, how, is_alive)?;
            let free = free(tx, workspace, queue)?;
            let mut rows = Vec::new();
            let mut notifications = Vec::new();
            let mut select = tx.prepare_cached(WAITING)?;
            for found in
                select.query_map(params![path_bytes(workspace), queue, max], read_notification)?
            {
                let (n, notification) = found?;
                rows.push(n);
                notifications.push(notification);
            }
            let remaining = free - int(rows.len() as u64);
            let lease = match how {
                Drain::Auto { holder } if !rows.is_empty() => Some(lease(tx, &rows, holder)?),
                Drain::Auto { .. } | Drain::Manual => None,
            };
            Ok(Batch { notifications, remaining: count(remaining), lease })
        })
    }

    /// Leases the end of one task to this process, as a drain does for a queue. `None`: the end is
    /// acknowledged, leased to a live process, or not recorded.
    pub fn lease_end(
        &mut self,
        workspace: &Path,
        id: TaskId,
        holder: &str,
        is_alive: &dyn Fn(&str) -> bool,
    ) -> Result<Option<LeaseToken>, LedgerError> {
        self.write(|tx| {
            let Some(notification) = exited(tx, id)? else { return Ok(None) };
            let how = Drain::Auto { holder };
            end_dead_leases(tx, workspace, &notification.queue, how, is_alive)?;
            let waiting = rows(
                tx,
                "SELECT n, task, kind FROM notifications
                 WHERE task = ?1 AND kind = ?2 AND acked_at IS NULL AND lease IS NULL",
                params![row_id(id), EXITED],
            )?;
            let waiting: Vec<i64> = waiting.iter().map(|row| row.n).collect();
            if waiting.is_empty() {
                return Ok(None);
            }
            lease(tx, &waiting, holder).map(Some)
        })
    }

    /// Acknowledges the notifications of a lease; returns how many were still leased.
    pub fn ack_lease(
        &mut self,
        holder: &str,
        token: LeaseToken,
        by: DeliveredBy,
        turn: Option<u64>,
    ) -> Result<u64, LedgerError> {
        self.write(|tx| {
            let rows = rows(
                tx,
                "SELECT n, task, kind FROM notifications
                 WHERE lease = ?1 AND lease_holder = ?2 AND acked_at IS NULL",
                params![token.0, holder],
            )?;
            acknowledge(tx, &rows, by, turn)
        })
    }

    /// Gives the notifications of a lease back to the queue; returns how many there were.
    pub fn drop_lease(&mut self, holder: &str, token: LeaseToken) -> Result<u64, LedgerError> {
        self.write(|tx| {
            let freed = tx
                .prepare_cached(
                    "UPDATE notifications SET lease_holder = NULL, lease = NULL
                     WHERE lease = ?1 AND lease_holder = ?2 AND acked_at IS NULL",
                )?
                .execute(params![token.0, holder])?;
            Ok(freed as u64)
        })
    }

    /// The workspace of a queue, given only its name: that of its oldest retained task, otherwise one in which
    /// a task of the queue has ended.
    pub fn workspace_of(&self, queue: &str) -> Result<Option<PathBuf>, LedgerError> {
        let workspace = self
            .connection
            .prepare_cached(
                "SELECT workspace FROM (
                   SELECT workspace, created_at FROM tasks WHERE queue = ?1
                   UNION ALL SELECT workspace, 9223372036854775807 FROM queues WHERE name = ?1
                 ) ORDER BY created_at LIMIT 1",
            )?
            .query_row([queue], |row| row.get::<_, Vec<u8>>(0))
            .optional()?;
        Ok(workspace.map(path_of))
    }

    /// Acknowledges every notification of a queue up to and including `through`, leased or not; returns how
    /// many had not been acknowledged.
    pub fn ack(&mut self, workspace: &Path, queue: &str, through: u64) -> Result<u64, LedgerError> {
        self.write(|tx| {
            let rows = rows(
                tx,
                "SELECT n, task, kind FROM notifications
                 WHERE workspace = ?1 AND queue = ?2 AND seq <= ?3 AND acked_at IS NULL",
                params![path_bytes(workspace), queue, int(through)],
            )?;
            acknowledge(tx, &rows, DeliveredBy::Drain, None)
        })
    }

    /// Acknowledges the end of one task, because the owner of its queue has seen it by other means. Returns
    /// whether it was waiting. A lease on it ends: its holder finds it acknowledged.
    pub fn mark_delivered(
        &mut self,
        id: TaskId,
        by: DeliveredBy,
        turn: Option<u64>,
    ) -> Result<bool, LedgerError> {
        self.write(|tx| {
            let rows = rows(
                tx,
                "SELECT n, task, kind FROM notifications
                 WHERE task = ?1 AND kind = ?2 AND acked_at IS NULL",
                params![row_id(id), EXITED],
            )?;
            Ok(acknowledge(tx, &rows, by, turn)? > 0)
        })
    }

    /// The number of unacknowledged notifications of each queue of a workspace, without empty queues.
    pub fn undelivered(&self, workspace: &Path) -> Result<BTreeMap<String, u64>, LedgerError> {
        let mut select = self.connection.prepare_cached(
            "SELECT queue, count(*) FROM notifications
             WHERE workspace = ?1 AND acked_at IS NULL GROUP BY queue",
        )?;
        let counts = select
            .query_map([path_bytes(workspace)], |row| Ok((row.get(0)?, count(row.get(1)?))))?
            .collect::<Result<_, _>>()?;
        Ok(counts)
    }

    /// The tasks whose end is not acknowledged in a queue, oldest end first.
    pub fn undelivered_ends(
        &self,
        workspace: &Path,
        queue: &str,
    ) -> Result<Vec<TaskId>, LedgerError> {
        let mut select = self.connection.prepare_cached(
            "SELECT task FROM notifications
             WHERE workspace = ?1 AND queue = ?2 AND acked_at IS NULL AND kind = ?3 ORDER BY seq",
        )?;
        let ids = select
            .query_map(params![path_bytes(workspace), queue, EXITED], |row| row.get(0).map(id_of))?
            .collect::<Result<_, _>>()?;
        Ok(ids)
    }

    /// The cursor from which [`Ledger::news`] returns all notifications queued later.
    pub fn now(&self) -> Result<Cursor, LedgerError> {
        let last = self
            .connection
            .prepare_cached("SELECT max(n) FROM notifications")?
            .query_row([], |row| row.get::<_, Option<i64>>(0))?;
        Ok(Cursor { file: self.file, n: last.unwrap_or(0) })
    }

    /// The notifications queued in a workspace after the cursor, acknowledged or not, in order, at most
    /// `limit`; and the cursor after them.
    pub fn news(
        &self,
        workspace: &Path,
        since: Cursor,
        limit: u32,
    ) -> Result<(Vec<Notification>, Cursor), LedgerError> {
        let mut select = self.connection.prepare_cached(concat!(
            "SELECT ",
            notification_columns!(),
            " FROM notifications n JOIN tasks t ON t.id = n.task
             WHERE n.n > ?1 AND n.workspace = ?2 ORDER BY n.n LIMIT ?3"
        ))?;
        // If the file has been replaced, all of its notifications are new.
        let seen = if since.file == self.file { since.n } else { 0 };
        let mut cursor = Cursor { file: self.file, n: seen };
        let mut news = Vec::new();
        for found in
            select.query_map(params![seen, path_bytes(workspace), limit], read_notification)?
        {
            let (n, notification) = found?;
            cursor.n = n;
            news.push(notification);
        }
        Ok((news, cursor))
    }

    /// The notification of a task's end, acknowledged or not; `None` if the task has not ended.
    pub fn exited(&self, id: TaskId) -> Result<Option<Notification>, LedgerError> {
        exited(&self.connection, id)
    }
}

/// Selects the notifications that a drain returns.
pub(super) const WAITING: &str = concat!(
    "SELECT ",
    notification_columns!(),
    " FROM notifications n JOIN tasks t ON t.id = n.task
     WHERE n.workspace = ?1 AND n.queue = ?2 AND n.acked_at IS NULL AND n.lease_holder IS NULL
     ORDER BY n.seq LIMIT ?3"
);

pub(super) fn end_dead_leases(
    tx: &Transaction<'_>,
    workspace: &Path,
    queue: &str,
    how: Drain<'_>,
    is_alive: &dyn Fn(&str) -> bool,
) -> Result<(), LedgerError> {
    let mut holders = tx.prepare_cached(
        "SELECT DISTINCT lease_holder FROM notifications
         WHERE lease IS NOT NULL AND workspace = ?1 AND queue = ?2",
    )?;
    let holders: Vec<String> = holders
        .query_map(params![path_bytes(workspace), queue], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for holder in holders {
        let is_own = match how {
            Drain::Auto { holder: own } => own == holder,
            Drain::Manual => false,
        };
        if !is_own && !is_alive(&holder) {
            tx.prepare_cached(
                "UPDATE notifications SET lease_holder = NULL, lease = NULL
                 WHERE lease IS NOT NULL AND workspace = ?1 AND queue = ?2 AND lease_holder = ?3",
            )?
            .execute(params![path_bytes(workspace), queue, holder])?;
        }
    }
    Ok(())
}

/// How many notifications of a queue are neither acknowledged nor leased. Two counts, each answered by an
/// index; few rows are leased at any time.
pub(super) fn free(
    tx: &Transaction<'_>,
    workspace: &Path,
    queue: &str,
) -> Result<i64, LedgerError> {
    let free = tx
        .prepare_cached(
            "SELECT
               (SELECT count(*) FROM notifications
                WHERE workspace = ?1 AND queue = ?2 AND acked_at IS NULL)
               - (SELECT count(*) FROM notifications
                  WHERE lease IS NOT NULL AND workspace = ?1 AND queue = ?2)",
        )?
        .query_row(params![path_bytes(workspace), queue], |row| row.get(0))?;
    Ok(free)
}

/// Leases rows under a new token. It is random, because a counter would have to be stored.
fn lease(tx: &Transaction<'_>, rows: &[i64], holder: &str) -> Result<LeaseToken, LedgerError> {
    let (random, _) = uuid::Uuid::new_v4().as_u64_pair();
    let token = (random >> 1).cast_signed();
    let mut update =
        tx.prepare_cached("UPDATE notifications SET lease_holder = ?2, lease = ?3 WHERE n = ?1")?;
    for n in rows {
        update.execute(params![n, holder, token])?;
    }
    Ok(LeaseToken(token))
}

/// A notification to be acknowledged.
pub(super) struct Waiting {
    pub(super) n: i64,
    pub(super) task: i64,
    pub(super) is_end: bool,
}

fn rows(
    tx: &Transaction<'_>,
    sql: &str,
    params: impl rusqlite::Params,
) -> Result<Vec<Waiting>, LedgerError> {
    let mut select = tx.prepare_cached(sql)?;
    let rows = select
        .query_map(params, |row| {
            let kind: String = row.get(2)?;
            Ok(Waiting { n: row.get(0)?, task: row.get(1)?, is_end: kind == EXITED })
        })?
        .collect::<Result<_, _>>()?;
    Ok(rows)
}

/// Acknowledges notifications; an end is marked as delivered in its task too. Deletes what was only kept for
/// them: a match's text (its key stays, so that it is not queued again), and tasks removed earlier.
pub(super) fn acknowledge(
    tx: &Transaction<'_>,
    rows: &[Waiting],
    by: DeliveredBy,
    turn: Option<u64>,
) -> Result<u64, LedgerError> {
    let now = Timestamp::now().0;
    for row in rows {
        if row.is_end {
            tx.prepare_cached(
                "UPDATE notifications SET acked_at = ?2, lease_holder = NULL, lease = NULL
                 WHERE n = ?1",
            )?
            .execute(params![row.n, now])?;
            tx.prepare_cached(
                "UPDATE tasks SET delivered_at = ?2, delivered_by = ?3, delivered_turn = ?4
                 WHERE id = ?1",
            )?
            .execute(params![row.task, now, by_word(by), turn.map(int)])?;
        } else {
            tx.prepare_cached(
                "UPDATE notifications SET acked_at = ?2, lease_holder = NULL, lease = NULL,
                   line = '', head = '', tail = '' WHERE n = ?1",
            )?
            .execute(params![row.n, now])?;
        }
    }
    let tasks: BTreeSet<i64> = rows.iter().map(|row| row.task).collect();
    for task in tasks {
        bury_if_told(tx, task)?;
    }
    Ok(rows.len() as u64)
}
