//! How values are stored in columns and read back.
//!
//! Defines the spelling of every stored enum and the order of the columns of a task and a notification. Uses
//! words rather than numbers, so that a person can read the output of `sqlite3 meanwhile.db`.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Row;
use rusqlite::types::{FromSql, Type};

use crate::background::task::{
    Actor, Cause, Delivered, DeliveredBy, End, Exit, Job, Match, Notification, NotificationKind,
    Outcome, OutputStat, Preview, Progress, Serving, State, Survivor, Task, TaskId, Timestamp,
};
use crate::background::{Stdin, Watch};

use super::NewTask;

/// The columns that [`read_task`] reads, of a table called `t`.
macro_rules! task_columns {
    () => {
        "t.id, t.workspace, t.queue, t.label, t.command, t.cwd, t.pid, t.created_at, \
         t.deadline_ms, t.outcome, t.exit_code, t.exit_signal, t.cause_actor, t.cause_message, \
         t.ended_at, t.duration_us, t.total, t.dropped, t.percent, t.progress, t.survivors, \
         t.delivered_at, t.delivered_by, t.delivered_turn, t.service, t.skipped, t.place, t.job, \
         EXISTS (SELECT 1 FROM steps WHERE steps.task = t.id AND steps.is_step = 1)"
    };
}

/// The columns that [`read_notification`] reads, of tables called `n` and `t`.
macro_rules! notification_columns {
    () => {
        concat!(
            $crate::background::ledger::rows::task_columns!(),
            ", n.n, n.seq, n.queue, n.at, n.kind, n.watch, n.position, n.line, n.head, n.tail, \
             n.omitted, n.pid, n.cause_actor, n.cause_message, n.total, n.dropped, n.percent, \
             n.progress"
        )
    };
}

pub(super) use {notification_columns, task_columns};

/// Reads a row column by column, in the order of the lists above.
struct Columns<'a> {
    row: &'a Row<'a>,
    next: usize,
}

impl Columns<'_> {
    fn take<T: FromSql>(&mut self) -> rusqlite::Result<T> {
        self.next += 1;
        self.row.get(self.next - 1)
    }

    /// A stored enum value; `None` for NULL.
    fn take_word<T>(&mut self, read: fn(&str) -> Option<T>) -> rusqlite::Result<Option<T>> {
        let Some(text) = self.take::<Option<String>>()? else { return Ok(None) };
        read(&text).map(Some).ok_or_else(|| self.unknown(&text))
    }

    /// Fails if a column that must have a value is NULL.
    fn need<T>(&self, value: Option<T>) -> rusqlite::Result<T> {
        value.ok_or_else(|| self.unknown("NULL"))
    }

    fn unknown(&self, text: &str) -> rusqlite::Error {
        let why = format!("unexpected value `{text}`");
        rusqlite::Error::FromSqlConversionFailure(self.next - 1, Type::Text, why.into())
    }

    fn take_cause(&mut self) -> rusqlite::Result<Option<Cause>> {
        let actor = self.take_word(read_actor)?;
        let message: Option<String> = self.take()?;
        Ok(actor.map(|actor| Cause { actor, message: message.unwrap_or_default() }))
    }

    fn take_output(&mut self) -> rusqlite::Result<OutputStat> {
        Ok(OutputStat { total: count(self.take()?), dropped: count(self.take()?) })
    }

    fn take_progress(&mut self) -> rusqlite::Result<Option<Progress>> {
        let percent: Option<u8> = self.take()?;
        let message: Option<String> = self.take()?;
        Ok((percent.is_some() || message.is_some()).then_some(Progress { percent, message }))
    }

    fn take_task(&mut self) -> rusqlite::Result<Task> {
        let id = id_of(self.take()?);
        let workspace = path_of(self.take()?);
        let queue = self.take()?;
        let label = self.take()?;
        let command = self.take()?;
        let cwd = path_of(self.take()?);
        let pid = self.take()?;
        let created_at = Timestamp(self.take()?);
        let deadline = self.take::<Option<i64>>()?.map(|ms| Duration::from_millis(count(ms)));
        let mut state = self.take_state()?;
        let output = self.take_output()?;
        let progress = self.take_progress()?;
        let survivors = self.take::<String>()?;
        let survivors = read_survivors(&survivors).ok_or_else(|| self.unknown(&survivors))?;
        let delivered_at: Option<i64> = self.take()?;
        let by = self.take_word(read_by)?;
        let turn = self.take::<Option<i64>>()?.map(count);
        let delivered = match delivered_at {
            Some(at) => Some(Delivered { at: Timestamp(at), by: self.need(by)?, turn }),
            None => None,
        };
        let serving = Serving { service: self.take()?, ..Serving::default() };
        let marked = read_mark(self.take()?);
        if let (Some(actor), State::Ended(End { cause: Some(cause), .. })) = (marked, &mut state) {
            cause.actor = actor;
        }
        let on = self.take()?;
        let job = self.take::<Option<String>>()?;
        let job = job.map(|job| read_job(&job).ok_or_else(|| self.unknown(&job))).transpose()?;
        let is_step = self.take()?;
        Ok(Task {
            id,
            workspace,
            queue,
            label,
            command,
            cwd,
            pid,
            state,
            created_at,
            deadline,
            output,
            progress,
            survivors,
            delivered,
            serving,
            waits_for_input: false,
            is_step,
            on,
            contact: None,
            job: job.map(Box::new),
        })
    }

    fn take_state(&mut self) -> rusqlite::Result<State> {
        let outcome = self.take_word(read_outcome)?;
        let exit = match (self.take::<Option<i32>>()?, self.take::<Option<i32>>()?) {
            (Some(code), _) => Exit::Code(code),
            (None, Some(signal)) => Exit::Signal(signal),
            (None, None) => Exit::Unknown,
        };
        let cause = self.take_cause()?;
        let ended_at: Option<i64> = self.take()?;
        let duration: Option<i64> = self.take()?;
        Ok(match (outcome, cause) {
            (Some(outcome), cause) => State::Ended(End {
                outcome,
                exit,
                cause,
                at: Timestamp(self.need(ended_at)?),
                duration: Duration::from_micros(count(self.need(duration)?)),
            }),
            (None, Some(cause)) => State::Stopping { cause },
            (None, None) => State::Running,
        })
    }
}

/// Reads a task from the columns of `task_columns!`.
pub(super) fn read_task(row: &Row<'_>) -> rusqlite::Result<Task> {
    Columns { row, next: 0 }.take_task()
}

/// Reads a notification and its row id from the columns of `notification_columns!`.
pub(super) fn read_notification(row: &Row<'_>) -> rusqlite::Result<(i64, Notification)> {
    let mut columns = Columns { row, next: 0 };
    let mut task = columns.take_task()?;
    let n = columns.take()?;
    let seq = count(columns.take()?);
    let queue = columns.take()?;
    let at = Timestamp(columns.take()?);
    let kind: String = columns.take()?;
    let id = columns.take()?;
    let offset = count(columns.take()?);
    let line = columns.take()?;
    let preview =
        Preview { head: columns.take()?, tail: columns.take()?, omitted: count(columns.take()?) };
    let pid: Option<u32> = columns.take()?;
    let cause = columns.take_cause()?;
    let output = columns.take_output()?;
    let progress = columns.take_progress()?;
    let kind = match kind.as_str() {
        EXITED => NotificationKind::Exited,
        MATCHED => NotificationKind::Matched(Match { id, line, offset }),
        STALLED => NotificationKind::Stalled,
        other => return Err(columns.unknown(other)),
    };
    match kind {
        NotificationKind::Exited => {}
        // The task has changed since; the notification contains its state at the time.
        NotificationKind::Matched(_) | NotificationKind::Stalled => {
            task.pid = pid;
            task.state = cause.map_or(State::Running, |cause| State::Stopping { cause });
            task.output = output;
            task.progress = progress;
            task.survivors = Vec::new();
            task.delivered = None;
        }
    }
    Ok((n, Notification { seq, queue, at, kind, task, preview }))
}

/// The columns that [`read_facts`] reads.
pub(super) const FACTS: &str = "id, workspace, queue, label, command, cwd, created_at, \
     deadline_ms, linger_ms, stdin, watches, client_token, service, place, \
     EXISTS (SELECT 1 FROM steps WHERE steps.task = tasks.id AND steps.is_step = 1)";

/// Reads a task's static facts from the columns of [`FACTS`].
pub(super) fn read_facts(row: &Row<'_>) -> rusqlite::Result<NewTask> {
    let mut columns = Columns { row, next: 0 };
    let millis = |ms: Option<i64>| ms.map(|ms| Duration::from_millis(count(ms)));
    Ok(NewTask {
        id: id_of(columns.take()?),
        workspace: path_of(columns.take()?),
        queue: columns.take()?,
        label: columns.take()?,
        command: columns.take()?,
        cwd: path_of(columns.take()?),
        created_at: Timestamp(columns.take()?),
        deadline: millis(columns.take()?),
        linger: millis(columns.take()?),
        stdin: {
            let stdin = columns.take_word(read_stdin)?;
            columns.need(stdin)?
        },
        watches: {
            let watches = columns.take_word(read_watches)?;
            columns.need(watches)?
        },
        client_token: columns.take()?,
        service: columns.take()?,
        place: columns.take()?,
        is_step: columns.take()?,
        slot: None,
        after: Vec::new(),
    })
}

pub(super) const EXITED: &str = "exited";
pub(super) const MATCHED: &str = "matched";
pub(super) const STALLED: &str = "stalled";

pub(super) fn outcome_word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Exited => "exited",
        Outcome::Stopped => "stopped",
        Outcome::TimedOut => "timedOut",
        Outcome::Lost => "lost",
    }
}

fn read_outcome(word: &str) -> Option<Outcome> {
    [Outcome::Exited, Outcome::Stopped, Outcome::TimedOut, Outcome::Lost]
        .into_iter()
        .find(|&outcome| outcome_word(outcome) == word)
}

pub(super) fn actor_word(actor: Actor) -> &'static str {
    match actor {
        Actor::Client => "client",
        Actor::Agent => "agent",
        Actor::Deadline => "deadline",
        Actor::Linger => "linger",
        Actor::Limit => "limit",
        // An older program that shares the store knows no such actors; see the column `skipped`.
        Actor::Daemon | Actor::Dependency | Actor::Engine => "daemon",
    }
}

/// The mark in the column `skipped` of an actor that the column of the cause has no word for.
pub(super) fn mark(actor: Option<Actor>) -> i64 {
    MARKS.into_iter().find(|(_, marked)| actor == Some(*marked)).map_or(0, |(mark, _)| mark)
}

fn read_mark(mark: i64) -> Option<Actor> {
    MARKS.into_iter().find(|(known, _)| *known == mark).map(|(_, actor)| actor)
}

const MARKS: [(i64, Actor); 2] = [(1, Actor::Dependency), (2, Actor::Engine)];

fn read_actor(word: &str) -> Option<Actor> {
    let all =
        [Actor::Client, Actor::Agent, Actor::Deadline, Actor::Linger, Actor::Limit, Actor::Daemon];
    all.into_iter().find(|&actor| actor_word(actor) == word)
}

pub(super) fn by_word(by: DeliveredBy) -> &'static str {
    match by {
        DeliveredBy::Drain => "drain",
        DeliveredBy::Wait => "wait",
        DeliveredBy::Check => "check",
    }
}

fn read_by(word: &str) -> Option<DeliveredBy> {
    [DeliveredBy::Drain, DeliveredBy::Wait, DeliveredBy::Check]
        .into_iter()
        .find(|&by| by_word(by) == word)
}

pub(super) fn stdin_word(stdin: Stdin) -> String {
    match stdin {
        Stdin::Null => "null".to_owned(),
        Stdin::Pipe => "pipe".to_owned(),
        Stdin::Pty { rows, cols } => format!("pty {rows} {cols}"),
    }
}

fn read_stdin(word: &str) -> Option<Stdin> {
    match word {
        "null" => Some(Stdin::Null),
        "pipe" => Some(Stdin::Pipe),
        other => {
            let (rows, cols) = other.strip_prefix("pty ")?.split_once(' ')?;
            Some(Stdin::Pty { rows: rows.parse().ok()?, cols: cols.parse().ok()? })
        }
    }
}

/// Appends a netstring: the field's length in bytes, a colon, and the field.
fn push_field(list: &mut String, field: &str) {
    list.push_str(&field.len().to_string());
    list.push(':');
    list.push_str(field);
}

fn take_field<'a>(list: &mut &'a str) -> Option<&'a str> {
    let (length, rest) = list.split_once(':')?;
    let (field, rest) = rest.split_at_checked(length.parse().ok()?)?;
    *list = rest;
    Some(field)
}

pub(super) fn survivors_word(survivors: &[Survivor]) -> String {
    let mut list = String::new();
    for survivor in survivors {
        push_field(&mut list, &survivor.pid.to_string());
        push_field(&mut list, &survivor.command);
    }
    list
}

fn read_survivors(mut list: &str) -> Option<Vec<Survivor>> {
    let mut survivors = Vec::new();
    while !list.is_empty() {
        let pid = take_field(&mut list)?.parse().ok()?;
        survivors.push(Survivor { pid, command: take_field(&mut list)?.to_owned() });
    }
    Some(survivors)
}

pub(super) fn job_word(job: &Job) -> String {
    let mut list = String::new();
    for word in [&job.engine, &job.id, &job.node, &job.warning] {
        push_field(&mut list, word);
    }
    list
}

fn read_job(mut list: &str) -> Option<Job> {
    let mut word = || take_field(&mut list).map(str::to_owned);
    let (engine, id, node) = (word()?, word()?, word()?);
    // An older program stored no warning.
    Some(Job { engine, id, node, warning: word().unwrap_or_default() })
}

pub(super) fn watches_word(watches: &[Watch]) -> String {
    let mut list = String::new();
    for watch in watches {
        push_field(&mut list, &watch.id);
        push_field(&mut list, &watch.pattern);
        push_field(&mut list, &watch.limit.to_string());
    }
    list
}

fn read_watches(mut list: &str) -> Option<Vec<Watch>> {
    let mut watches = Vec::new();
    while !list.is_empty() {
        watches.push(Watch {
            id: take_field(&mut list)?.to_owned(),
            pattern: take_field(&mut list)?.to_owned(),
            limit: take_field(&mut list)?.parse().ok()?,
        });
    }
    Some(watches)
}

/// A task's id as its row id.
pub(super) fn row_id(id: TaskId) -> i64 {
    i64::from_str_radix(id.as_str(), 16).expect("an id is 8 hex digits, which fit 63 bits")
}

pub(super) fn id_of(row: i64) -> TaskId {
    format!("{:08x}", row & 0xffff_ffff).parse().expect("32 bits in hex are 8 lowercase digits")
}

/// A path as it is stored: bytes, because a path need not be UTF-8.
pub(super) fn path_bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}

pub(super) fn path_of(bytes: Vec<u8>) -> PathBuf {
    PathBuf::from(OsString::from_vec(bytes))
}

/// SQLite has 63 bits for non-negative numbers; no real count exceeds them.
pub(super) fn int(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

pub(super) fn count(int: i64) -> u64 {
    u64::try_from(int).unwrap_or(0)
}

pub(super) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

pub(super) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    #[test]
    fn lists_come_back_whatever_is_in_them() {
        let survivors = ["", "sleep 9", "3:abc", "a\0b\n", "é:ü"]
            .map(|command| Survivor { pid: 7, command: command.to_owned() });
        assert_eq!(read_survivors(&survivors_word(&survivors)).as_deref(), Some(&survivors[..]));
        let watches = ["", "^err: (.*)$", "12:"].map(|pattern| Watch {
            id: format!("w{pattern}"),
            pattern: pattern.to_owned(),
            limit: 3,
        });
        assert_eq!(read_watches(&watches_word(&watches)).as_deref(), Some(&watches[..]));
    }

    #[test]
    fn an_engine_and_its_job_come_back() {
        let job = Job {
            engine: "slurm".to_owned(),
            id: "1:7".to_owned(),
            node: String::new(),
            warning: "the sources differ".to_owned(),
        };
        assert_eq!(read_job(&job_word(&job)), Some(job));
        for actor in [Actor::Client, Actor::Daemon, Actor::Dependency, Actor::Engine] {
            let cause = read_mark(mark(Some(actor))).or(read_actor(actor_word(actor)));
            assert_eq!(cause, Some(actor));
        }
    }

    #[test]
    fn a_damaged_list_is_refused() {
        for bad in ["x", "5:abc", "3:abc", "1:é", "1:1", "2:7 3:abc"] {
            assert_eq!(read_survivors(bad), None, "{bad}");
        }
    }

    #[test]
    fn ids_are_row_numbers_and_back() {
        for text in ["00000000", "b3f9c2a1", "ffffffff"] {
            let id = text.parse().expect("an id");
            assert_eq!(id_of(row_id(id)), id);
        }
        assert_eq!(path_of(path_bytes(Path::new("/a\u{e9}")).to_vec()), Path::new("/a\u{e9}"));
        assert_eq!(path_bytes(Path::new(OsStr::from_bytes(b"/\xff"))), b"/\xff");
    }

    #[test]
    fn every_kind_of_input_comes_back() {
        for stdin in [Stdin::Null, Stdin::Pipe, Stdin::Pty { rows: 24, cols: 80 }] {
            assert_eq!(read_stdin(&stdin_word(stdin)), Some(stdin));
        }
        assert_eq!(read_stdin("pty 24"), None);
    }
}
