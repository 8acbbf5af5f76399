//! The agent's sessions: which process has one open, its messages, and its trace of facts.
//!
//! A transcript only grows. Notifications for the model are taken out of the queue in the same transaction that
//! appends them, so a crash at any time leaves each result in the transcript exactly once. Messages and facts
//! are opaque texts here; the caller defines them.

use std::path::{Path, PathBuf};

use rusqlite::{OptionalExtension, Row, Transaction, params};

use super::queues::{Drain, WAITING, Waiting, acknowledge, end_dead_leases, free};
use super::rows::{
    EXITED, count, id_of, int, path_bytes, path_of, read_notification, read_task, row_id,
    task_columns,
};
use super::tasks::insert_token;
use super::{Ledger, LedgerError};
use crate::background::task::{
    DeliveredBy, Notification, NotificationKind, Task, TaskId, Timestamp,
};

/// How many bits of a row id number the rows within one session.
const ROW_BITS: u32 = 32;

/// The time of a session's last message; NULL if it has none. The session's table is called `s`. The row ids
/// are those of [`rows_of`].
macro_rules! last_said {
    () => {
        "(SELECT m.at FROM messages m
          WHERE m.id BETWEEN (s.n << 32) AND ((s.n << 32) + 4294967295)
          ORDER BY m.id DESC LIMIT 1)"
    };
}

/// The columns that [`read_session`] reads, of a table called `s`.
macro_rules! session_columns {
    () => {
        concat!(
            "s.id, s.workspace, s.title, s.model, s.created_at, coalesce(",
            $crate::background::ledger::sessions::last_said!(),
            ", s.created_at) AS updated_at"
        )
    };
}
pub(super) use session_columns;

pub(super) use last_said;

/// A session, as listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRow {
    /// Its id, which is also its queue's name.
    pub id: String,
    /// The workspace, an absolute path.
    pub workspace: PathBuf,
    /// The beginning of its first prompt.
    pub title: Option<String>,
    /// The model that it was created with.
    pub model: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// When its last message was stored; without any, when it was created.
    pub updated_at: Timestamp,
}

/// The result of trying to open a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// The caller has it open now.
    Taken(SessionRow),
    /// A live process has it open.
    Held {
        /// The pid of that process.
        pid: u32,
    },
    /// The workspace has no session of this name.
    Unknown,
}

/// A message to be appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMessage {
    /// Its number in the session, from 1, one more than the last.
    pub n: u64,
    /// Whether the model's history starts over with this message.
    pub fresh: bool,
    /// The message, as JSON.
    pub body: String,
}

/// A fact to be appended to the trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewFact {
    /// Its number in the session, from 1, higher than the last one.
    pub n: u64,
    /// The time of the event.
    pub at: Timestamp,
    /// The task that it is about; `None`: it is not about a task.
    pub task: Option<TaskId>,
    /// The fact, as JSON.
    pub fact: String,
}

/// What one transaction appends to a session.
#[derive(Debug, Clone, Default)]
pub struct Addition {
    /// The session's id.
    pub session: String,
    /// The session's workspace.
    pub workspace: PathBuf,
    /// The session's title, if it has none yet.
    pub title: Option<String>,
    /// The messages to append.
    pub messages: Vec<NewMessage>,
    /// The facts to append.
    pub facts: Vec<NewFact>,
    /// Ends of tasks that the messages contain. Those in the session's own queue are acknowledged.
    pub seen: Vec<(TaskId, DeliveredBy)>,
    /// Tokens to claim for the tasks that the messages request.
    pub claims: Vec<(String, TaskId)>,
    /// The number of the model call whose request contains the messages.
    pub call: u64,
    /// How many notifications to take out of the session's queue, at most.
    pub drain: u32,
    /// Whether to append nothing at all if the queue is empty.
    pub only_with_news: bool,
}

/// An end that a message contains and that had not been acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// The id of the ended task.
    pub task: TaskId,
    /// The number of its notification in the queue.
    pub seq: u64,
    /// How the agent got it.
    pub by: DeliveredBy,
}

/// What a transaction found for the model.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct News {
    /// Ends acknowledged because the addition shows them.
    pub seen: Vec<Seen>,
    /// The notifications taken out of the queue, oldest first.
    pub drained: Vec<Notification>,
    /// How many notifications remain in the queue.
    pub remaining: u64,
}

/// The model's message about [`News`]: appended in the same transaction.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Told {
    /// The message with them, if there is anything to report.
    pub message: Option<NewMessage>,
    /// The facts that record their delivery.
    pub facts: Vec<NewFact>,
}

/// A task of a session, and the queueing of its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Journey {
    /// The task, removed or not.
    pub task: Task,
    /// When its end was queued and under which number; `None`: not yet.
    pub queued: Option<(Timestamp, u64)>,
}

impl Ledger {
    /// Creates a session that `holder` has open.
    pub fn create_session(
        &mut self,
        workspace: &Path,
        id: &str,
        model: &str,
        holder: (&str, u32),
    ) -> Result<(), LedgerError> {
        self.write(|tx| {
            tx.prepare_cached(
                "INSERT INTO sessions (id, workspace, model, created_at, holder, holder_pid)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![
                id,
                path_bytes(workspace),
                model,
                Timestamp::now().0,
                holder.0,
                holder.1
            ])?;
            Ok(())
        })
    }

    /// Opens a session for `holder`, unless a live holder, which may be the caller itself, has it open.
    pub fn claim_session(
        &mut self,
        workspace: &Path,
        id: &str,
        holder: (&str, u32),
        is_alive: &dyn Fn(&str) -> bool,
    ) -> Result<Claim, LedgerError> {
        self.write(|tx| {
            let Some(row) = session(tx, workspace, id)? else { return Ok(Claim::Unknown) };
            let (other, pid): (Option<String>, Option<u32>) = tx
                .prepare_cached("SELECT holder, holder_pid FROM sessions WHERE id = ?1")?
                .query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))?;
            if other.is_some_and(|other| other == holder.0 || is_alive(&other)) {
                return Ok(Claim::Held { pid: pid.unwrap_or(0) });
            }
            tx.prepare_cached("UPDATE sessions SET holder = ?2, holder_pid = ?3 WHERE id = ?1")?
                .execute(params![id, holder.0, holder.1])?;
            Ok(Claim::Taken(row))
        })
    }

    /// Closes a session that `holder` has open.
    pub fn release_session(&mut self, id: &str, holder: &str) -> Result<(), LedgerError> {
        self.write(|tx| {
            tx.prepare_cached(
                "UPDATE sessions SET holder = NULL, holder_pid = NULL
                 WHERE id = ?1 AND holder = ?2",
            )?
            .execute(params![id, holder])?;
            Ok(())
        })
    }

    /// The sessions of a workspace, most recently updated first.
    pub fn sessions(
        &self,
        workspace: &Path,
        skip: u64,
        limit: u32,
    ) -> Result<Vec<SessionRow>, LedgerError> {
        self.read(|tx| {
            let mut select = tx.prepare_cached(concat!(
                "SELECT ",
                session_columns!(),
                " FROM sessions s WHERE s.workspace = ?1
                 ORDER BY updated_at DESC, s.id DESC LIMIT ?2 OFFSET ?3"
            ))?;
            let rows = select
                .query_map(params![path_bytes(workspace), limit, int(skip)], read_session)?
                .collect::<Result<_, _>>()?;
            Ok(rows)
        })
    }

    /// One session; `None` if the workspace has no session of this name.
    pub fn session(&self, workspace: &Path, id: &str) -> Result<Option<SessionRow>, LedgerError> {
        self.read(|tx| session(tx, workspace, id))
    }

    /// In one transaction, appends to a session and takes notifications out of its queue. `tell` turns them
    /// into a message; its second result is returned. `None`: the queue was empty, and `add` asks to append
    /// nothing in this case. Seen ends are acknowledged in any case.
    ///
    /// Ends leases of dead holders, as in [`Ledger::drain`].
    pub fn append<T>(
        &mut self,
        add: &Addition,
        is_alive: &dyn Fn(&str) -> bool,
        tell: impl FnOnce(News) -> (Told, T),
    ) -> Result<Option<T>, LedgerError> {
        self.write(|tx| {
            let base = base(tx, &add.session)?.ok_or_else(|| {
                LedgerError::Other(format!("session `{}` is not in the store", add.session))
            })?;
            let seen = see(tx, add)?;
            let (drained, remaining) =
                if add.drain > 0 { take(tx, add, is_alive)? } else { Default::default() };
            if add.only_with_news && drained.is_empty() {
                return Ok(None);
            }
            if let Some(title) = &add.title {
                tx.prepare_cached(
                    "UPDATE sessions SET title = ?2 WHERE id = ?1 AND title IS NULL",
                )?
                .execute(params![add.session, title])?;
            }
            let (told, result) = tell(News { seen, drained, remaining });
            let mut insert = tx.prepare_cached(
                "INSERT INTO messages (id, at, fresh, body) VALUES (?1, ?2, ?3, ?4)",
            )?;
            let now = Timestamp::now().0;
            for message in add.messages.iter().chain(&told.message) {
                let id = base + int(message.n);
                insert.execute(params![id, now, message.fresh, message.body])?;
            }
            insert_facts(tx, base, add.facts.iter().chain(&told.facts))?;
            for (token, id) in &add.claims {
                insert_token(tx, &add.workspace, token, *id)?;
            }
            Ok(Some(result))
        })
    }

    /// Appends only facts.
    pub fn append_facts(&mut self, id: &str, facts: &[NewFact]) -> Result<(), LedgerError> {
        self.write(|tx| match base(tx, id)? {
            Some(base) => insert_facts(tx, base, facts.iter()),
            None => Ok(()),
        })
    }

    /// The number of unacknowledged notifications in a queue.
    pub fn waiting(&self, workspace: &Path, queue: &str) -> Result<u64, LedgerError> {
        let waiting = self
            .connection
            .prepare_cached(
                "SELECT count(*) FROM notifications
                 WHERE workspace = ?1 AND queue = ?2 AND acked_at IS NULL",
            )?
            .query_row(params![path_bytes(workspace), queue], |row| row.get(0))?;
        Ok(count(waiting))
    }

    /// The tasks of `ids`, and those of the queue that are running or whose end is unacknowledged, including
    /// removed ones, oldest first.
    pub fn journeys(
        &self,
        workspace: &Path,
        queue: &str,
        ids: &[TaskId],
    ) -> Result<Vec<Journey>, LedgerError> {
        let mut rows: std::collections::BTreeSet<i64> = ids.iter().map(|id| row_id(*id)).collect();
        rows.extend(self.undelivered_ends(workspace, queue)?.into_iter().map(row_id));
        self.read(|tx| {
            let mut running = tx.prepare_cached(
                "SELECT id FROM tasks
                 WHERE workspace = ?1 AND queue = ?2 AND outcome IS NULL AND removed = 0",
            )?;
            for row in running.query_map(params![path_bytes(workspace), queue], |row| row.get(0))? {
                rows.insert(row?);
            }
            let mut select = tx.prepare_cached(concat!(
                "SELECT ",
                task_columns!(),
                ", n.at, n.seq FROM tasks t
                 LEFT JOIN notifications n ON n.task = t.id AND n.kind = ?2
                   AND n.watch = '' AND n.position = 0
                 WHERE t.id = ?1 AND t.workspace = ?3"
            ))?;
            let mut journeys = Vec::new();
            for row in rows {
                let found = select.query_row(params![row, EXITED, path_bytes(workspace)], |row| {
                    let at: Option<i64> = row.get("at")?;
                    let seq: Option<i64> = row.get("seq")?;
                    Ok(Journey {
                        task: read_task(row)?,
                        queued: at.zip(seq).map(|(at, seq)| (Timestamp(at), count(seq))),
                    })
                });
                journeys.extend(found.optional()?);
            }
            journeys.sort_by_key(|journey: &Journey| (journey.task.created_at, journey.task.id));
            Ok(journeys)
        })
    }

    /// The task for which a client's token was claimed.
    pub fn token(&self, workspace: &Path, token: &str) -> Result<Option<TaskId>, LedgerError> {
        let task = self
            .connection
            .prepare_cached("SELECT task FROM tokens WHERE workspace = ?1 AND token = ?2")?
            .query_row(params![path_bytes(workspace), token], |row| row.get(0).map(id_of))
            .optional()?;
        Ok(task)
    }

    /// The permission rules stored for a workspace, oldest first.
    pub fn rules(&self, workspace: &Path) -> Result<Vec<String>, LedgerError> {
        let mut select = self
            .connection
            .prepare_cached("SELECT rule FROM rules WHERE workspace = ?1 ORDER BY n")?;
        let rules = select
            .query_map([path_bytes(workspace)], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        Ok(rules)
    }

    /// Stores permission rules for a workspace.
    pub fn remember_rules(
        &mut self,
        workspace: &Path,
        rules: &[String],
    ) -> Result<(), LedgerError> {
        self.write(|tx| {
            for rule in rules {
                tx.prepare_cached(
                    "INSERT INTO rules (workspace, rule) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
                )?
                .execute(params![path_bytes(workspace), rule])?;
            }
            Ok(())
        })
    }
}

/// The row id before a session's first row.
pub(super) fn base(tx: &Transaction<'_>, id: &str) -> Result<Option<i64>, LedgerError> {
    let n: Option<i64> = tx
        .prepare_cached("SELECT n FROM sessions WHERE id = ?1")?
        .query_row([id], |row| row.get(0))
        .optional()?;
    Ok(n.map(|n| n << ROW_BITS))
}

/// The highest row id that a session's rows can have.
pub(super) fn last(base: i64) -> i64 {
    base + (1 << ROW_BITS) - 1
}

/// The lowest and the highest row id that the rows of session number `n` can have.
pub(super) fn rows_of(n: i64) -> (i64, i64) {
    (n << ROW_BITS, last(n << ROW_BITS))
}

/// Reads a session from the columns of `session_columns!`.
pub(super) fn read_session(row: &Row<'_>) -> rusqlite::Result<SessionRow> {
    Ok(SessionRow {
        id: row.get(0)?,
        workspace: path_of(row.get(1)?),
        title: row.get(2)?,
        model: row.get(3)?,
        created_at: Timestamp(row.get(4)?),
        updated_at: Timestamp(row.get(5)?),
    })
}

pub(super) fn session(
    tx: &Transaction<'_>,
    workspace: &Path,
    id: &str,
) -> Result<Option<SessionRow>, LedgerError> {
    let found = tx
        .prepare_cached(concat!(
            "SELECT ",
            session_columns!(),
            " FROM sessions s WHERE s.id = ?1 AND s.workspace = ?2"
        ))?
        .query_row(params![id, path_bytes(workspace)], read_session)
        .optional()?;
    Ok(found)
}

fn insert_facts<'a>(
    tx: &Transaction<'_>,
    base: i64,
    facts: impl Iterator<Item = &'a NewFact>,
) -> Result<(), LedgerError> {
    let mut insert =
        tx.prepare_cached("INSERT INTO trace (id, at, task, fact) VALUES (?1, ?2, ?3, ?4)")?;
    for fact in facts {
        let task = fact.task.map(row_id);
        insert.execute(params![base + int(fact.n), fact.at.0, task, fact.fact])?;
    }
    Ok(())
}

/// Acknowledges the ends that the addition contains, if they are in the session's own queue: reading a task of
/// another queue must not acknowledge it for its owner.
fn see(tx: &Transaction<'_>, add: &Addition) -> Result<Vec<Seen>, LedgerError> {
    let mut seen = Vec::new();
    for &(task, by) in &add.seen {
        let found: Option<(i64, i64)> = tx
            .prepare_cached(
                "SELECT n, seq FROM notifications WHERE task = ?1 AND kind = ?2
                 AND workspace = ?3 AND queue = ?4 AND acked_at IS NULL",
            )?
            .query_row(
                params![row_id(task), EXITED, path_bytes(&add.workspace), add.session],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .optional()?;
        if let Some((n, seq)) = found {
            let waiting = Waiting { n, task: row_id(task), is_end: true };
            acknowledge(tx, &[waiting], by, Some(add.call))?;
            seen.push(Seen { task, seq: count(seq), by });
        }
    }
    Ok(seen)
}

/// Takes the oldest notifications out of the session's queue. They are acknowledged at once, because this
/// transaction appends them.
fn take(
    tx: &Transaction<'_>,
    add: &Addition,
    is_alive: &dyn Fn(&str) -> bool,
) -> Result<(Vec<Notification>, u64), LedgerError> {
    let (workspace, queue) = (add.workspace.as_path(), add.session.as_str());
    end_dead_leases(tx, workspace, queue, Drain::Manual, is_alive)?;
    let free = free(tx, workspace, queue)?;
    let mut waiting = Vec::new();
    let mut drained = Vec::new();
    let mut select = tx.prepare_cached(WAITING)?;
    for found in
        select.query_map(params![path_bytes(workspace), queue, add.drain], read_notification)?
    {
        let (n, notification) = found?;
        let is_end = match notification.kind {
            NotificationKind::Exited => true,
            NotificationKind::Matched(_) | NotificationKind::Stalled => false,
        };
        waiting.push(Waiting { n, task: row_id(notification.task.id), is_end });
        drained.push(notification);
    }
    acknowledge(tx, &waiting, DeliveredBy::Drain, Some(add.call))?;
    Ok((drained, count(free - int(waiting.len() as u64))))
}
