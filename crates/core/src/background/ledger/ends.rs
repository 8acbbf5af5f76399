//! Stores the notifications about tasks: their ends, lines that watches matched, and that they wait for input.
//!
//! One transaction checks that a notification is not stored yet, takes the next number of the task's queue and
//! stores it. No other code takes a number.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::rows::{
    EXITED, MATCHED, STALLED, actor_word, count, int, job_word, mark, micros, notification_columns,
    outcome_word, path_bytes, read_notification, row_id, survivors_word,
};
use super::tasks::{insert, started};
use super::{About, Finish, Finished, Ledger, LedgerError, NewTask, Notice};
use crate::background::task::{
    Cause, Exit, Match, Notification, Outcome, OutputStat, Preview, Progress, TaskId, Timestamp,
};

/// How many past durations are kept for a command in a workspace.
const DURATIONS_OF_COMMAND: i64 = 20;
/// How many past durations are kept for a workspace.
pub(super) const DURATIONS_OF_WORKSPACE: i64 = 5_000;
/// Longest command, in bytes, whose durations are kept. A longer one contains data and is not repeated.
const DURATION_COMMAND_BYTES: usize = 4_096;

impl Ledger {
    /// Records events in one transaction: a batch costs one lock and one commit, and is stored completely or
    /// not at all. In this order:
    ///
    /// - `tasks`: their rows, as [`Ledger::insert`] makes them;
    /// - `leaders`: process ids, see [`Ledger::started`];
    /// - `notices`: notifications about running tasks. One is skipped if it is already stored, exceeds its
    ///   watch's limit, or comes after the task's end, whose [`Finish`] contains it;
    /// - `ends`: each once, however often and by whichever process it is recorded. If a task has no row, it is
    ///   created: a running task is never removed, so its spawner died before creating the row. Exception: if
    ///   the id is among those of removed tasks, the end was recorded long ago.
    ///
    /// Returns the result for each end. [`Ledger::news`] returns the notifications.
    pub fn record(
        &mut self,
        tasks: &[NewTask],
        leaders: &[(TaskId, u32)],
        notices: &[Notice],
        ends: &[Finish],
    ) -> Result<Vec<Finished>, LedgerError> {
        if tasks.is_empty() && leaders.is_empty() && notices.is_empty() && ends.is_empty() {
            return Ok(Vec::new());
        }
        self.write(|tx| {
            for task in tasks {
                insert(tx, task)?;
            }
            if !leaders.is_empty() {
                started(tx, leaders)?;
            }
            for notice in notices {
                notify(tx, notice)?;
            }
            ends.iter().map(|end| finish(tx, end)).collect()
        })
    }

    /// The past durations of a command in a workspace, newest first, at most 20. Only runs that ended by
    /// themselves count.
    pub fn past_durations(
        &self,
        workspace: &Path,
        command: &str,
    ) -> Result<Vec<Duration>, LedgerError> {
        let mut select = self.connection.prepare_cached(
            "SELECT duration_us FROM durations WHERE workspace = ?1 AND command = ?2
             ORDER BY n DESC LIMIT ?3",
        )?;
        let rows = select
            .query_map(params![path_bytes(workspace), command, DURATIONS_OF_COMMAND], |row| {
                row.get(0).map(|us| Duration::from_micros(count(us)))
            })?
            .collect::<Result<_, _>>()?;
        Ok(rows)
    }
}

/// Whether a task has ended; `None` if it was removed.
fn ended(tx: &Transaction<'_>, id: TaskId) -> Result<Option<bool>, LedgerError> {
    let ended = tx
        .prepare_cached("SELECT outcome IS NOT NULL FROM tasks WHERE id = ?1")?
        .query_row([row_id(id)], |row| row.get(0))
        .optional()?;
    Ok(ended)
}

fn notify(tx: &Transaction<'_>, notice: &Notice) -> Result<(), LedgerError> {
    insert(tx, &notice.task)?;
    match ended(tx, notice.task.id)? {
        Some(false) => tell(tx, &notice.task, &Entry::of_notice(notice)),
        Some(true) | None => Ok(()),
    }
}

fn finish(tx: &Transaction<'_>, finish: &Finish) -> Result<Finished, LedgerError> {
    let id = finish.task.id;
    insert(tx, &finish.task)?;
    match ended(tx, id)? {
        None => return Ok(Finished::Removed),
        Some(true) => return Ok(Finished::Known),
        Some(false) => {}
    }

    for found in &finish.matches {
        tell(tx, &finish.task, &Entry::of_match(found, Entry::of_end(finish)))?;
    }

    let end = &finish.end;
    let (code, signal) = match end.exit {
        Exit::Code(code) => (Some(code), None),
        Exit::Signal(signal) => (None, Some(signal)),
        Exit::Unknown => (None, None),
    };
    let (actor, message) = cause_columns(end.cause.as_ref());
    tx.prepare_cached(
        "UPDATE tasks SET pid = coalesce(?2, pid), outcome = ?3, exit_code = ?4, exit_signal = ?5,
           cause_actor = ?6, cause_message = ?7, ended_at = ?8, duration_us = ?9, total = ?10,
           dropped = ?11, percent = ?12, progress = ?13, survivors = ?14, skipped = ?15,
           job = ?16
         WHERE id = ?1",
    )?
    .execute(params![
        row_id(id),
        finish.pid,
        outcome_word(end.outcome),
        code,
        signal,
        actor,
        message,
        end.at.0,
        micros(end.duration),
        int(finish.output.total),
        int(finish.output.dropped),
        finish.progress.as_ref().and_then(|progress| progress.percent),
        finish.progress.as_ref().and_then(|progress| progress.message.as_deref()),
        survivors_word(&finish.survivors),
        mark(end.cause.as_ref().map(|cause| cause.actor)),
        finish.job.as_ref().map(job_word),
    ])?;

    store(tx, id, &Entry::of_end(finish))?;
    match end.outcome {
        Outcome::Exited => remember_duration(tx, finish)?,
        Outcome::Stopped | Outcome::TimedOut | Outcome::Lost => {}
    }
    Ok(Finished::Fresh)
}

/// A notification to be queued: its contents, and the task's state.
struct Entry<'a> {
    kind: &'static str,
    watch: &'a str,
    offset: u64,
    line: &'a str,
    pid: Option<u32>,
    stopping: Option<&'a Cause>,
    output: OutputStat,
    progress: Option<&'a Progress>,
    preview: &'a Preview,
}

impl<'a> Entry<'a> {
    fn of_end(finish: &'a Finish) -> Self {
        Self {
            kind: EXITED,
            watch: "",
            offset: 0,
            line: "",
            pid: finish.pid,
            stopping: None,
            output: finish.output,
            progress: finish.progress.as_ref(),
            preview: &finish.preview,
        }
    }

    fn of_notice(notice: &'a Notice) -> Self {
        let entry = Self {
            kind: STALLED,
            watch: "",
            offset: 0,
            line: "",
            pid: notice.pid,
            stopping: notice.stopping.as_ref(),
            output: notice.output,
            progress: notice.progress.as_ref(),
            preview: &notice.preview,
        };
        match &notice.about {
            About::Matched(found) => Self::of_match(found, entry),
            &About::Stalled { offset } => Self { offset, ..entry },
        }
    }

    fn of_match(found: &'a Match, entry: Self) -> Self {
        Self { kind: MATCHED, watch: &found.id, offset: found.offset, line: &found.line, ..entry }
    }
}

/// Queues a notification of a running task, unless it is already stored or its watch's limit is reached.
fn tell(tx: &Transaction<'_>, task: &NewTask, entry: &Entry<'_>) -> Result<(), LedgerError> {
    let known: bool = tx
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM notifications
             WHERE task = ?1 AND kind = ?2 AND watch = ?3 AND position = ?4)",
        )?
        .query_row(params![row_id(task.id), entry.kind, entry.watch, int(entry.offset)], |row| {
            row.get(0)
        })?;
    if known {
        return Ok(());
    }
    let watch = task.watches.iter().find(|watch| watch.id == entry.watch);
    if let Some(watch) = watch.filter(|_| entry.kind == MATCHED) {
        let told: i64 = tx
            .prepare_cached(
                "SELECT count(*) FROM notifications WHERE task = ?1 AND kind = ?2 AND watch = ?3",
            )?
            .query_row(params![row_id(task.id), MATCHED, entry.watch], |row| row.get(0))?;
        if told >= i64::from(watch.limit) {
            return Ok(());
        }
    }
    store(tx, task.id, entry)
}

/// Takes the next number of the task's queue and stores the notification under it. The queue comes from the
/// task's row, so it is the one that was recorded first.
fn store(tx: &Transaction<'_>, id: TaskId, entry: &Entry<'_>) -> Result<(), LedgerError> {
    let seq: i64 = tx
        .prepare_cached(
            "INSERT INTO queues (workspace, name, next_seq)
             SELECT workspace, queue, 2 FROM tasks WHERE id = ?1
             ON CONFLICT DO UPDATE SET next_seq = next_seq + 1
             RETURNING next_seq - 1",
        )?
        .query_row([row_id(id)], |row| row.get(0))?;
    let (actor, message) = cause_columns(entry.stopping);
    tx.prepare_cached(
        "INSERT INTO notifications (workspace, queue, seq, at, task, kind, watch, position, line,
           head, tail, omitted, pid, cause_actor, cause_message, total, dropped, percent, progress)
         SELECT workspace, queue, ?2, ?3, id, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15,
           ?16, ?17
         FROM tasks WHERE id = ?1",
    )?
    .execute(params![
        row_id(id),
        seq,
        Timestamp::now().0,
        entry.kind,
        entry.watch,
        int(entry.offset),
        entry.line,
        entry.preview.head,
        entry.preview.tail,
        int(entry.preview.omitted),
        entry.pid,
        actor,
        message,
        int(entry.output.total),
        int(entry.output.dropped),
        entry.progress.and_then(|progress| progress.percent),
        entry.progress.and_then(|progress| progress.message.as_deref()),
    ])?;
    Ok(())
}

/// The notification of a task's end, acknowledged or not; `None` if the task has not ended.
pub(super) fn exited(
    connection: &Connection,
    id: TaskId,
) -> Result<Option<Notification>, LedgerError> {
    let found = connection
        .prepare_cached(concat!(
            "SELECT ",
            notification_columns!(),
            " FROM notifications n JOIN tasks t ON t.id = n.task
             WHERE n.task = ?1 AND n.kind = ?2"
        ))?
        .query_row(params![row_id(id), EXITED], read_notification)
        .optional()?;
    Ok(found.map(|(_, notification)| notification))
}

fn cause_columns(cause: Option<&Cause>) -> (Option<&'static str>, Option<&str>) {
    (cause.map(|cause| actor_word(cause.actor)), cause.map(|cause| cause.message.as_str()))
}

/// Stores a command's duration and drops the command's oldest ones. The workspace's limit is only checked at
/// every 256th duration, because the check walks thousands of rows.
fn remember_duration(tx: &Transaction<'_>, finish: &Finish) -> Result<(), LedgerError> {
    if finish.task.command.len() > DURATION_COMMAND_BYTES {
        return Ok(());
    }
    let workspace = path_bytes(&finish.task.workspace);
    tx.prepare_cached(
        "INSERT INTO durations (workspace, command, duration_us) VALUES (?1, ?2, ?3)",
    )?
    .execute(params![workspace, finish.task.command, micros(finish.end.duration)])?;
    let n = tx.last_insert_rowid();
    tx.prepare_cached(
        "DELETE FROM durations WHERE workspace = ?1 AND command = ?2 AND n <= (
           SELECT n FROM durations WHERE workspace = ?1 AND command = ?2
           ORDER BY n DESC LIMIT 1 OFFSET ?3)",
    )?
    .execute(params![workspace, finish.task.command, DURATIONS_OF_COMMAND])?;
    if n % 256 == 0 {
        trim_durations(tx, &finish.task.workspace)?;
    }
    Ok(())
}

/// Drops the oldest durations of a workspace beyond its limit.
pub(super) fn trim_durations(tx: &Transaction<'_>, workspace: &Path) -> Result<(), LedgerError> {
    tx.prepare_cached(
        "DELETE FROM durations WHERE workspace = ?1 AND n <= (
           SELECT n FROM durations WHERE workspace = ?1 ORDER BY n DESC LIMIT 1 OFFSET ?2)",
    )?
    .execute(params![path_bytes(workspace), DURATIONS_OF_WORKSPACE])?;
    Ok(())
}
