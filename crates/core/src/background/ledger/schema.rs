//! The tables, and how an older file is migrated.
//!
//! Owns the SQL of the schema and its version. Refuses a file of a newer version, because an older program
//! cannot know what it would break.

use rusqlite::{Connection, TransactionBehavior};

use super::LedgerError;

/// Each entry migrates a file from the version that is its index to the next one.
const MIGRATIONS: &[&str] = &[VERSION_1, VERSION_2];

/// The version this program writes.
pub(super) const VERSION: usize = MIGRATIONS.len();

/// Times are milliseconds since the Unix epoch. A task's id is stored as the number that its hex digits spell
/// (`printf('%08x', id)`), so that it is the row id and needs no index. Paths are BLOBs because they need not
/// be UTF-8. Lists (`watches`, `survivors`) are netstrings.
///
/// `tasks.removed` hides a task with waiting notifications; its row is deleted with the last of them. `gone`
/// holds the ids of removed tasks, so that a daemon that was suspended while another one reported and removed a
/// task cannot store it a second time.
///
/// Partial indexes let the frequent queries touch only the rows they return: with 10 000 finished tasks, a list
/// of the running ones reads only those. There are no further indexes, because each costs every end another
/// page to write.
///
/// In `durations` and `gone`, `n` only grows, because only their oldest rows are ever deleted.
const VERSION_1: &str = "
CREATE TABLE tasks (
  id INTEGER PRIMARY KEY,
  workspace BLOB NOT NULL,
  queue TEXT NOT NULL,
  label TEXT,
  command TEXT NOT NULL,
  cwd BLOB NOT NULL,
  created_at INTEGER NOT NULL,
  deadline_ms INTEGER,
  linger_ms INTEGER,
  stdin TEXT NOT NULL,
  watches TEXT NOT NULL,
  client_token TEXT,
  pid INTEGER,
  outcome TEXT,
  exit_code INTEGER,
  exit_signal INTEGER,
  cause_actor TEXT,
  cause_message TEXT,
  ended_at INTEGER,
  duration_us INTEGER,
  total INTEGER NOT NULL DEFAULT 0,
  dropped INTEGER NOT NULL DEFAULT 0,
  percent INTEGER,
  progress TEXT,
  survivors TEXT NOT NULL DEFAULT '',
  delivered_at INTEGER,
  delivered_by TEXT,
  delivered_turn INTEGER,
  removed INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX tasks_live ON tasks (workspace, created_at, id)
  WHERE outcome IS NULL AND removed = 0;
CREATE INDEX tasks_newest ON tasks (workspace, created_at, id)
  WHERE outcome IS NOT NULL AND removed = 0;
CREATE INDEX tasks_ended ON tasks (workspace, ended_at, id)
  WHERE outcome IS NOT NULL AND removed = 0;

CREATE TABLE queues (
  workspace BLOB NOT NULL,
  name TEXT NOT NULL,
  next_seq INTEGER NOT NULL,
  PRIMARY KEY (workspace, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE notifications (
  n INTEGER PRIMARY KEY AUTOINCREMENT,
  workspace BLOB NOT NULL,
  queue TEXT NOT NULL,
  seq INTEGER NOT NULL,
  at INTEGER NOT NULL,
  task INTEGER NOT NULL,
  kind TEXT NOT NULL,
  watch TEXT NOT NULL DEFAULT '',
  position INTEGER NOT NULL DEFAULT 0,
  line TEXT NOT NULL DEFAULT '',
  head TEXT NOT NULL,
  tail TEXT NOT NULL,
  omitted INTEGER NOT NULL,
  pid INTEGER,
  cause_actor TEXT,
  cause_message TEXT,
  total INTEGER NOT NULL,
  dropped INTEGER NOT NULL,
  percent INTEGER,
  progress TEXT,
  lease_holder TEXT,
  lease INTEGER,
  acked_at INTEGER
) STRICT;
CREATE UNIQUE INDEX notifications_once ON notifications (task, kind, watch, position);
CREATE UNIQUE INDEX notifications_waiting ON notifications (workspace, queue, seq)
  WHERE acked_at IS NULL;
CREATE INDEX notifications_leased ON notifications (lease, lease_holder, workspace, queue)
  WHERE lease IS NOT NULL;

CREATE TABLE tokens (
  workspace BLOB NOT NULL,
  token TEXT NOT NULL,
  task INTEGER NOT NULL,
  at INTEGER NOT NULL,
  PRIMARY KEY (workspace, token)
) STRICT, WITHOUT ROWID;

CREATE TABLE durations (
  n INTEGER PRIMARY KEY,
  workspace BLOB NOT NULL,
  command TEXT NOT NULL,
  duration_us INTEGER NOT NULL
) STRICT;
CREATE INDEX durations_command ON durations (workspace, command, n);

CREATE TABLE gone (
  n INTEGER PRIMARY KEY,
  task INTEGER NOT NULL UNIQUE
) STRICT;
";

/// The agent's sessions. Each message of a session is a row of `messages`, as JSON, and never changed; `fresh`
/// marks one with which the model's history starts over. Each fact is a row of `trace`, as JSON; `task` is set
/// if it is about a task, to find these without reading the rest. The row id of both is the session's number in
/// the upper and the row's own number in the lower 32 bits, which keeps a session's rows together and needs no
/// index.
///
/// `holder` is the bell of the process that has the session open, as in leases. `rules` are the permission
/// rules that a person chose to remember.
const VERSION_2: &str = "
CREATE TABLE sessions (
  n INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  workspace BLOB NOT NULL,
  title TEXT,
  model TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  holder TEXT,
  holder_pid INTEGER
) STRICT;

CREATE TABLE messages (
  id INTEGER PRIMARY KEY,
  at INTEGER NOT NULL,
  fresh INTEGER NOT NULL DEFAULT 0,
  body TEXT NOT NULL
) STRICT;

CREATE TABLE trace (
  id INTEGER PRIMARY KEY,
  at INTEGER NOT NULL,
  task INTEGER,
  fact TEXT NOT NULL
) STRICT;

CREATE TABLE rules (
  n INTEGER PRIMARY KEY,
  workspace BLOB NOT NULL,
  rule TEXT NOT NULL,
  UNIQUE (workspace, rule)
) STRICT;
";

/// Columns of tasks that do not depend on the version: an older program that shares the store names the columns
/// that it reads and writes, so further ones do not affect it.
const COLUMNS: [(&str, &str); 4] = [
    ("service", "ALTER TABLE tasks ADD COLUMN service INTEGER NOT NULL DEFAULT 0"),
    // 1: the task never ran, because a task that it was to follow failed. 2: the batch system of its place ended it.
    ("skipped", "ALTER TABLE tasks ADD COLUMN skipped INTEGER NOT NULL DEFAULT 0"),
    ("place", "ALTER TABLE tasks ADD COLUMN place TEXT"),
    ("job", "ALTER TABLE tasks ADD COLUMN job TEXT"),
];

/// The statements that add the missing columns.
fn missing(connection: &Connection) -> Result<Vec<&'static str>, LedgerError> {
    let mut select = connection.prepare("SELECT name FROM pragma_table_info('tasks')")?;
    let found: Vec<String> = select.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let is_missing = |name: &str| !found.iter().any(|column| column == name);
    Ok(COLUMNS.iter().filter(|(name, _)| is_missing(name)).map(|(_, sql)| *sql).collect())
}

/// The steps of agents' turns. Steps that became tasks have `is_step` 0, which a later write of their row does
/// not change. Independent of the schema's version: an older program that shares the store is not affected, and
/// treats a step as a task.
const STEPS: &str = "CREATE TABLE IF NOT EXISTS steps (
  task INTEGER PRIMARY KEY,
  is_step INTEGER NOT NULL
) STRICT";

/// Creates the table of steps if it is missing.
fn add_steps(connection: &Connection) -> Result<(), LedgerError> {
    let found: i64 = connection.query_row(
        "SELECT count(*) FROM sqlite_schema WHERE name = 'steps'",
        [],
        |row| row.get(0),
    )?;
    if found == 0 {
        connection.execute_batch(STEPS)?;
    }
    Ok(())
}

/// Migrates the file to [`VERSION`]. Several processes may do so at once: the version is read again inside the
/// write transaction.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), LedgerError> {
    if read_version(connection)? == VERSION && missing(connection)?.is_empty() {
        return add_steps(connection);
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found = read_version(&transaction)?;
    for step in MIGRATIONS.iter().skip(found) {
        transaction.execute_batch(step)?;
    }
    for column in missing(&transaction)? {
        transaction.execute_batch(column)?;
    }
    transaction.pragma_update(None, "user_version", i64::try_from(VERSION).unwrap_or(i64::MAX))?;
    transaction.commit()?;
    add_steps(connection)
}

/// The file's version. Fails if it is newer than [`VERSION`].
pub(super) fn read_version(connection: &Connection) -> Result<usize, LedgerError> {
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    match usize::try_from(found) {
        Ok(found) if found <= VERSION => Ok(found),
        Ok(_) | Err(_) => Err(LedgerError::NewerVersion { found }),
    }
}
