//! Queues read and acknowledged.
//!
//! A notification waits, or is leased to a process that is handing it out, or is acknowledged, and
//! never goes back from there. A lease has no time-out: it ends with an acknowledgement, with a drop,
//! or with the death of its holder, and whether a holder lives is the caller's to know.

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

/// How a drain leaves what it returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drain<'a> {
    /// As it was: [`Ledger::ack`] acknowledges it, and until then every drain returns it.
    Manual,
    /// Leased to this process: [`Ledger::ack_lease`] acknowledges it, [`Ledger::drop_lease`] gives it
    /// back, and until then no drain returns it while the process lives.
    Auto {
        /// The process, in words that `is_alive` of every other process can judge.
        holder: &'a str,
    },
}

/// Names what one drain leased.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LeaseToken(i64);

/// A place in the order in which notifications were queued, of all workspaces, in one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Cursor {
    file: FileId,
    n: i64,
}

/// What a drain returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Oldest first.
    pub notifications: Vec<Notification>,
    /// How many more a drain could return now: neither acknowledged nor leased to a living process.
    pub remaining: u64,
    /// What [`Drain::Auto`] leased; `None` if that is nothing.
    pub lease: Option<LeaseToken>,
}

impl Ledger {
    /// The oldest notifications of a queue that wait, at most `max`. Leases of a holder that
    /// `is_alive` denies end here. It is asked inside the transaction and must not be slow; the
    /// drain's own holder lives without being asked.
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

    /// Leases the end of one task to this process, as a drain does with all that waits. `None`: it was
    /// told, or is being told by a process that lives, or is not recorded.
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

    /// Acknowledges what a drain leased; returns how many that still were.
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

    /// Gives back what a drain leased, to be drained again; returns how many that were.
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

    /// The workspace of a queue, by its name alone: that of the oldest of its tasks that is kept, else one
    /// in which a task of it has ended.
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

    /// Acknowledges every notification of a queue up to and including `through`, leased or not;
    /// returns how many were not acknowledged before.
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

    /// Acknowledges the end of one task, because the owner of its queue has seen it by other means.
    /// Returns whether it waited. A lease on it ends: its holder finds it acknowledged.
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

    /// How many notifications are not acknowledged, for each queue of a workspace that has any.
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

    /// Where the notifications queued from now on begin, for [`Ledger::news`].
    pub fn now(&self) -> Result<Cursor, LedgerError> {
        let last = self
            .connection
            .prepare_cached("SELECT max(n) FROM notifications")?
            .query_row([], |row| row.get::<_, Option<i64>>(0))?;
        Ok(Cursor { file: self.file, n: last.unwrap_or(0) })
    }

    /// What was queued in a workspace since, acknowledged or not, in the order of their numbers,
    /// at most `limit`; and the cursor for what comes after.
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
        // In a file that was made since, nothing was seen yet.
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

    /// The notification of a task's end, acknowledged or not; `None` if it has not ended.
    pub fn exited(&self, id: TaskId) -> Result<Option<Notification>, LedgerError> {
        exited(&self.connection, id)
    }
}

/// What a drain returns.
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

/// How many notifications of a queue wait and are not leased. Two counts, each answered by an index;
/// few rows are leased at any time.
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

/// Leases rows under a token of their own. Random: a number counted up would have to be stored.
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

/// Acknowledges notifications; an end also says so in its task. What was only kept for them goes:
/// the text of a match (its key stays, so that it is not told again), and tasks removed before.
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
