//! The ledger: tasks, queues, notifications, past durations and the agent's sessions, in one SQLite file per
//! user.
//!
//! Owns `meanwhile.db` in the state directory and every transaction on it. Never starts, signals or inspects a
//! process, never accesses a task's files, and keeps nothing in memory between calls.
//!
//! Several daemons and commands use the file at once and see the same ends. So every mutation is one `BEGIN
//! IMMEDIATE` transaction that first reads what is already stored, and repeating it, from any process, changes
//! nothing. This alone guarantees that each task has one `exited` notification and that the numbers of a queue
//! have no gap.
//!
//! Synchronous: `crate::store` runs it on threads of its own.

mod ends;
mod error;
mod everywhere;
mod forms;
mod history;
mod moved;
mod queues;
mod retention;
mod rows;
mod said;
mod schema;
mod sessions;
mod settings;
mod steps;
mod tasks;
#[cfg(test)]
pub(crate) mod tests;

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::stat::{Mode, SFlag, mknod};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use crate::background::task::{
    Cause, End, Job, Match, OutputStat, Preview, Progress, Serving, State, Survivor, Task, TaskId,
    Timestamp,
};
use crate::background::{Stdin, Watch};

pub use error::LedgerError;
pub use everywhere::Waiting;
pub use history::Past;
/// The file's name in the state directory.
pub use meanwhile_shim::layout::LEDGER as FILE;
pub use queues::{Batch, Cursor, Drain, LeaseToken};
pub use said::{Followed, StoredFact, StoredMessage, Traced};
pub use sessions::{Addition, Claim, Journey, NewFact, NewMessage, News, Seen, SessionRow, Told};
pub use settings::Deleted;

/// How long a call waits for another process's transaction. This program's take a millisecond; ten seconds mean
/// a machine that swaps, or a suspended process that holds the lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// Page cache of a connection in KiB (negative: KiB rather than pages). Two of the default, 2 MB, would be most
/// of what an idle daemon may use; the kernel caches the file anyway.
const CACHE_KIB: i64 = -512;
/// Bytes of a page, SQLite's default. With 1 024, storing an end is not faster, and queries on a large store
/// take half as long again.
const PAGE_BYTES: i64 = 4_096;
/// Size to which a checkpoint truncates the write-ahead log, in bytes.
const WAL_BYTES: i64 = 4 << 20;
/// Size of the log at which a commit checkpoints it and waits for the disk. Daemons do so earlier, while no
/// request waits; this limits the log if only commands use the store.
const WAL_BYTES_MAX: i64 = 16 << 20;
/// Bytes of a page in the log, with its frame's header (fileformat2.html).
const FRAME_BYTES: i64 = PAGE_BYTES + 24;
/// How many prepared statements are cached: all of this module's.
const STATEMENTS: usize = 128;

/// The parameters of a task, which are known before it runs and do not change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTask {
    /// The task's id.
    pub id: TaskId,
    /// The workspace it belongs to, an absolute path.
    pub workspace: PathBuf,
    /// The queue of its notifications.
    pub queue: String,
    /// The label that its client gave it.
    pub label: Option<String>,
    /// The command, as displayed.
    pub command: String,
    /// Its working directory.
    pub cwd: PathBuf,
    /// When it was requested.
    pub created_at: Timestamp,
    /// How long it may run; `None`: without limit. Stored in milliseconds.
    pub deadline: Option<Duration>,
    /// How long it may run with no daemon attached; `None`: without limit. Stored in milliseconds.
    pub linger: Option<Duration>,
    /// Its standard input.
    pub stdin: Stdin,
    /// Patterns to watch its output for.
    pub watches: Vec<Watch>,
    /// A repeated spawn with this token returns the same task.
    pub client_token: Option<String>,
    /// Whether it is a server.
    pub service: bool,
    /// Whether an agent runs it in the foreground, as a step of its turn.
    pub is_step: bool,
    /// The place where it runs; `None`: this machine.
    pub place: Option<String>,
    /// The slot it takes. Not in the ledger: it is only needed while the task's files exist.
    pub slot: Option<String>,
    /// The tasks that must end first. Not in the ledger either.
    pub after: Vec<TaskId>,
}

impl NewTask {
    /// Whether it may have to wait before it starts.
    pub fn waits(&self) -> bool {
        self.slot.is_some() || !self.after.is_empty() || self.place.is_some()
    }

    /// The task's state before its leader is known.
    pub fn to_task(&self) -> Task {
        Task {
            id: self.id,
            workspace: self.workspace.clone(),
            queue: self.queue.clone(),
            label: self.label.clone(),
            command: self.command.clone(),
            cwd: self.cwd.clone(),
            pid: None,
            state: State::Running,
            created_at: self.created_at,
            deadline: self.deadline,
            output: OutputStat::default(),
            progress: None,
            survivors: Vec::new(),
            delivered: None,
            serving: Serving { service: self.service, ..Serving::default() },
            waits_for_input: false,
            is_step: self.is_step,
            on: self.place.clone(),
            contact: None,
            job: None,
        }
    }
}

/// The end of a task, according to its shim's record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finish {
    /// The task. Its row is created if the process that started it died before doing so.
    pub task: NewTask,
    /// The leader's pid.
    pub pid: Option<u32>,
    /// How it ended. The duration is stored in microseconds.
    pub end: End,
    /// How much output it wrote.
    pub output: OutputStat,
    /// The progress that its output reported last.
    pub progress: Option<Progress>,
    /// Descendants that were alive at the end.
    pub survivors: Vec<Survivor>,
    /// The beginning and end of its output.
    pub preview: Preview,
    /// Lines matched by its watches that may not be queued yet: queued before the end.
    pub matches: Vec<Match>,
    /// What the batch system of its place called it, where one ran it.
    pub job: Option<Job>,
}

/// The result of recording a [`Finish`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finished {
    /// This call recorded the end.
    Fresh,
    /// The end had already been recorded, perhaps by another process.
    Known,
    /// The end had already been recorded, and the task has since been removed. No notification is due.
    Removed,
}

/// A notification about a running task, to be queued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The task. Its row is created if it is missing.
    pub task: NewTask,
    /// What the notification is about.
    pub about: About,
    /// The leader's pid.
    pub pid: Option<u32>,
    /// Who stops it and why, if it is being stopped.
    pub stopping: Option<Cause>,
    /// How much output it has written.
    pub output: OutputStat,
    /// The progress that its output reported last.
    pub progress: Option<Progress>,
    /// The beginning and end of its output so far.
    pub preview: Preview,
}

/// What a [`Notice`] is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum About {
    /// A watch matched a line. Queued once per watch and offset, up to the watch's limit.
    Matched(Match),
    /// The task waits for input. Queued once per offset.
    Stalled {
        /// The size of the output at which it waits.
        offset: u64,
    },
}

/// A connection to the store, for one thread; each thread opens its own.
#[derive(Debug)]
pub struct Ledger {
    connection: Connection,
    state_dir: PathBuf,
    sync: bool,
    file: FileId,
}

/// Device and inode of the store's file.
type FileId = (u64, u64);

impl Ledger {
    /// Opens the store in `state_dir` (which must exist), creating or migrating it. With `sync` every
    /// transaction is flushed to disk; without, it survives the death of any process but perhaps not a power
    /// loss.
    pub fn open(state_dir: &Path, sync: bool) -> Result<Self, LedgerError> {
        let path = state_dir.join(FILE);
        make_private(&path)?;
        let opened = Self::connect(&path, sync).map(|connection| Self {
            connection,
            state_dir: state_dir.to_owned(),
            sync,
            file: file_id(&path).unwrap_or_default(),
        });
        opened.map_err(|error| match error {
            LedgerError::Other(reason) => LedgerError::CannotOpen { path, reason },
            LedgerError::Full
            | LedgerError::Busy
            | LedgerError::ReadOnly
            | LedgerError::CannotOpen { .. }
            | LedgerError::NewerVersion { .. }
            | LedgerError::Damaged(_) => error,
        })
    }

    fn connect(path: &Path, sync: bool) -> Result<Connection, LedgerError> {
        let mut connection = Connection::open(path)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        // Only affects a new store: a file keeps its page size.
        connection.pragma_update(None, "page_size", PAGE_BYTES)?;
        // By default the last connection copies the log into the file on closing, flushes both to disk and
        // deletes the log: five waits for the disk in every command that runs without a daemon, including the
        // next opening. The log is as safe as the file; `checkpoint` and `wal_autocheckpoint` keep it short.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        write_ahead(&connection)?;
        connection.pragma_update(None, "wal_autocheckpoint", WAL_BYTES_MAX / FRAME_BYTES)?;
        connection.pragma_update(None, "synchronous", if sync { "FULL" } else { "NORMAL" })?;
        connection.pragma_update(None, "cache_size", CACHE_KIB)?;
        connection.pragma_update(None, "temp_store", "MEMORY")?;
        connection.query_row(
            &format!("PRAGMA journal_size_limit = {WAL_BYTES}"),
            [],
            |_| Ok(()),
        )?;
        schema::migrate(&mut connection)?;
        Ok(connection)
    }

    /// Reopens the store if its file, or the whole state directory, has been deleted or replaced: no other
    /// process sees writes to a deleted file.
    pub fn follow(&mut self) -> Result<(), LedgerError> {
        if file_id(&self.state_dir.join(FILE)) != Some(self.file) {
            // If the directory cannot be created, opening the store reports why.
            let _ = fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.state_dir);
            *self = Self::open(&self.state_dir, self.sync)?;
        }
        Ok(())
    }

    /// Copies the write-ahead log into the file as far as no reader needs it, and truncates the log if it
    /// exceeds 4 MiB and no process uses it. Waits for the disk, but not for other processes. For an idle
    /// daemon: skipping it loses nothing.
    pub fn checkpoint(&mut self) -> Result<(), LedgerError> {
        if self.wal_checkpoint("PASSIVE")?.saturating_mul(FRAME_BYTES) <= WAL_BYTES {
            return Ok(());
        }
        self.connection.busy_timeout(Duration::ZERO)?;
        let cut = self.wal_checkpoint("TRUNCATE");
        self.connection.busy_timeout(BUSY_TIMEOUT)?;
        cut.map(|_| ())
    }

    /// Returns the number of frames in the log. It is not an error if other processes prevented a part of the
    /// checkpoint: the next one does it.
    fn wal_checkpoint(&self, mode: &str) -> Result<i64, LedgerError> {
        let sql = format!("PRAGMA wal_checkpoint({mode})");
        Ok(self.connection.query_row(&sql, [], |row| row.get(1))?)
    }

    /// Makes every write fail, or succeed again.
    #[cfg(test)]
    pub(crate) fn refuse_writes(&mut self, on: bool) -> Result<(), LedgerError> {
        Ok(self.connection.pragma_update(None, "query_only", on)?)
    }

    /// Runs `work` as one write transaction, rolled back if it fails.
    fn write<T>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, LedgerError>,
    ) -> Result<T, LedgerError> {
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let result = work(&transaction)?;
        transaction.commit()?;
        Ok(result)
    }

    /// Runs `work` on one snapshot of the store.
    fn read<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, LedgerError>,
    ) -> Result<T, LedgerError> {
        let transaction = self.connection.unchecked_transaction()?;
        let result = work(&transaction)?;
        transaction.commit()?;
        Ok(result)
    }
}

/// The version of the schema of the store in `state_dir`. Reads it through SQLite, because a new version may
/// still be only in the write-ahead log. Changes nothing in the store.
pub fn schema_version(state_dir: &Path) -> Result<usize, LedgerError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(state_dir.join(FILE), flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    schema::read_version(&connection)
}

fn file_id(path: &Path) -> Option<FileId> {
    fs::metadata(path).map(|file| (file.dev(), file.ino())).ok()
}

/// Creates the file with mode 0600 before SQLite would create it with the umask's; the log and its index copy
/// the mode. Does not open it: closing any descriptor of the file would drop the locks that other connections
/// of this process hold on it (fcntl(2)), and SQLite relies on them.
fn make_private(path: &Path) -> Result<(), LedgerError> {
    let refused = |error: std::io::Error| {
        let kind = error.kind();
        if matches!(kind, ErrorKind::StorageFull | ErrorKind::QuotaExceeded) {
            LedgerError::Full
        } else if kind == ErrorKind::ReadOnlyFilesystem {
            LedgerError::ReadOnly
        } else {
            LedgerError::CannotOpen { path: path.to_owned(), reason: error.to_string() }
        }
    };
    match mknod(path, SFlag::S_IFREG, Mode::S_IRUSR | Mode::S_IWUSR, 0) {
        Ok(()) | Err(Errno::EEXIST) => {}
        Err(errno) => return Err(refused(errno.into())),
    }
    if fs::metadata(path).map_err(refused)?.permissions().mode() & 0o777 != 0o600 {
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(refused)?;
    }
    Ok(())
}

/// Switches to the write-ahead log. The switch needs exclusive access, for which SQLite does not wait as it
/// does for a transaction, so two processes that create the store at once would fail.
fn write_ahead(connection: &Connection) -> Result<(), LedgerError> {
    let until = Instant::now() + BUSY_TIMEOUT;
    loop {
        let mode = connection
            .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0));
        match mode.map_err(LedgerError::from) {
            Ok(mode) if mode == "wal" => return Ok(()),
            Ok(mode) => {
                return Err(LedgerError::Other(format!(
                    "its file system does not support SQLite's write-ahead log (journal mode `{mode}`)"
                )));
            }
            Err(LedgerError::Busy) if Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(2));
            }
            Err(error) => return Err(error),
        }
    }
}
