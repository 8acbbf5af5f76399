//! The ledger: tasks, queues, notifications, past durations and the agent's sessions, in one SQLite
//! file a user.
//!
//! Owns `meanwhile.db` in the state directory and every transaction on it. Never starts, signals or
//! looks at a process, never touches a task's files, and keeps nothing in memory between calls.
//!
//! Several daemons and commands share the file at once, each seeing the same ends. So every mutation
//! is one `BEGIN IMMEDIATE` transaction that first reads what is already there, and doing it twice,
//! from anywhere, changes nothing. `exited` being unique a task, and the numbers of a queue having
//! no gap, follow from that and from nothing else.
//!
//! Synchronous: `crate::store` gives it threads of its own.

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
    Cause, End, Match, OutputStat, Preview, Progress, Serving, State, Survivor, Task, TaskId,
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

/// How long a call waits for another process's transaction. Ours take a millisecond; ten seconds
/// are a machine that swaps, or a suspended process that holds the lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// Page cache of a connection in KiB (negative: KiB rather than pages). The default, 2 MB, twice,
/// would be most of what an idle daemon may take; the kernel caches the file anyway.
const CACHE_KIB: i64 = -512;
/// Bytes of a page, SQLite's default. With 1 024 an end is told no sooner, and questions to a large
/// store take half as long again.
const PAGE_BYTES: i64 = 4_096;
/// Size the write-ahead log is cut to after a checkpoint, in bytes.
const WAL_BYTES: i64 = 4 << 20;
/// Size of the log at which a commit writes it back itself, and waits for the disk. Daemons do it
/// sooner, when no request waits; this bounds the log where only commands use the store.
const WAL_BYTES_MAX: i64 = 16 << 20;
/// What a page takes in the log: the page and its frame's header (fileformat2.html).
const FRAME_BYTES: i64 = PAGE_BYTES + 24;
/// Prepared statements kept: all of this module's.
const STATEMENTS: usize = 128;

/// What is known of a task before it runs, and does not change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTask {
    /// Its name.
    pub id: TaskId,
    /// The workspace it belongs to, an absolute path.
    pub workspace: PathBuf,
    /// Where its notifications go.
    pub queue: String,
    /// What its owner calls it.
    pub label: Option<String>,
    /// The command as shown.
    pub command: String,
    /// The directory it is started in.
    pub cwd: PathBuf,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// How long it may run. Kept to the millisecond.
    pub deadline: Option<Duration>,
    /// How long it may run with no daemon attached; `None`: for ever. Kept to the millisecond.
    pub linger: Option<Duration>,
    /// Its standard input.
    pub stdin: Stdin,
    /// Patterns to watch its output for.
    pub watches: Vec<Watch>,
    /// What makes its spawn idempotent.
    pub client_token: Option<String>,
    /// It is a server.
    pub service: bool,
    /// An agent runs it in the foreground, as a step of its turn.
    pub is_step: bool,
    /// The place where it runs; `None`: this machine.
    pub place: Option<String>,
    /// The slot it takes. Not in the ledger: it matters while its files are there.
    pub slot: Option<String>,
    /// The tasks that are to end first. Not in the ledger either.
    pub after: Vec<TaskId>,
}

impl NewTask {
    /// Whether it waits for anything before it starts.
    pub fn waits(&self) -> bool {
        self.slot.is_some() || !self.after.is_empty() || self.place.is_some()
    }

    /// The task as it stands before its leader is known.
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
        }
    }
}

/// The end of a task, as its supervisor's record tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finish {
    /// The task. Its row is made if the program that started it died before it could.
    pub task: NewTask,
    /// The leader's process id.
    pub pid: Option<u32>,
    /// How it ended. The duration is kept to the microsecond.
    pub end: End,
    /// How much it has written.
    pub output: OutputStat,
    /// How far it said it was.
    pub progress: Option<Progress>,
    /// Descendants alive after the end.
    pub survivors: Vec<Survivor>,
    /// The two ends of its output.
    pub preview: Preview,
    /// Lines its watches matched that were perhaps not told yet: told before the end.
    pub matches: Vec<Match>,
}

/// What became of a [`Finish`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finished {
    /// This call recorded the end.
    Fresh,
    /// The end was recorded before, perhaps by another process.
    Known,
    /// The end was recorded, and the task removed since. There is nothing to tell.
    Removed,
}

/// Something to tell about a task that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The task. Its row is made if it is missing.
    pub task: NewTask,
    /// What is told.
    pub about: About,
    /// The leader's process id.
    pub pid: Option<u32>,
    /// Who stops it, if it is being stopped.
    pub stopping: Option<Cause>,
    /// How much it has written.
    pub output: OutputStat,
    /// The progress that the command reports.
    pub progress: Option<Progress>,
    /// The two ends of its output so far.
    pub preview: Preview,
}

/// What a [`Notice`] tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum About {
    /// A watch matched a line. Told once for a watch and an offset, within the watch's limit.
    Matched(Match),
    /// The task waits for input. Told once for an offset.
    Stalled {
        /// The size of the output at which it waits.
        offset: u64,
    },
}

/// A connection to the store. One thread's; open another for another thread.
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
    /// Opens the store in `state_dir` (which must exist), making or migrating it. With `sync` every
    /// transaction is forced to the disk; without, it survives every death of a process but perhaps
    /// not a loss of power.
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
        // Of a new store only: a file keeps the size it was made with.
        connection.pragma_update(None, "page_size", PAGE_BYTES)?;
        // The last connection would copy the log into the file, force both to the disk and delete
        // the log: five waits for the disk in every command where no daemon runs, its next opening
        // included. The log is as safe as the file; `checkpoint` and every thousandth page, SQLite's
        // default, keep it short.
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

    /// Opens the store again if its file, or the whole state directory, was taken away or replaced since:
    /// what is written to a file without a name is lost to every other process.
    pub fn follow(&mut self) -> Result<(), LedgerError> {
        if file_id(&self.state_dir.join(FILE)) != Some(self.file) {
            // Where it cannot be made, the opening says why.
            let _ = fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.state_dir);
            *self = Self::open(&self.state_dir, self.sync)?;
        }
        Ok(())
    }

    /// Copies the write-ahead log into the file as far as no reader needs it, and cuts the log if
    /// it has grown beyond 4 MiB and no process uses it. Waits for the disk, but not for other
    /// processes. For a daemon with nothing better to do: a log left alone is as safe.
    pub fn checkpoint(&mut self) -> Result<(), LedgerError> {
        if self.wal_checkpoint("PASSIVE")?.saturating_mul(FRAME_BYTES) <= WAL_BYTES {
            return Ok(());
        }
        self.connection.busy_timeout(Duration::ZERO)?;
        let cut = self.wal_checkpoint("TRUNCATE");
        self.connection.busy_timeout(BUSY_TIMEOUT)?;
        cut.map(|_| ())
    }

    /// Returns how many frames are in the log. That others held the store is not an error here: what
    /// they kept from being done is done the next time.
    fn wal_checkpoint(&self, mode: &str) -> Result<i64, LedgerError> {
        let sql = format!("PRAGMA wal_checkpoint({mode})");
        Ok(self.connection.query_row(&sql, [], |row| row.get(1))?)
    }

    /// Makes every write fail, or no longer.
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

/// The version of the schema of the store in `state_dir`. SQLite is asked, because a new version may
/// still be in the write-ahead log alone. Changes nothing in the store.
pub fn schema_version(state_dir: &Path) -> Result<usize, LedgerError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(state_dir.join(FILE), flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    schema::read_version(&connection)
}

fn file_id(path: &Path) -> Option<FileId> {
    fs::metadata(path).map(|file| (file.dev(), file.ino())).ok()
}

/// Makes the file with mode 0600 before SQLite does with the umask's; the log and its index take
/// their mode from it. Without opening it: closing any descriptor of the file would drop the locks
/// that other connections of this process hold on it (fcntl(2)), and SQLite relies on them.
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

/// Turns the write-ahead log on. The turn needs the file alone, and SQLite does not wait for that
/// as it waits for a transaction, so two processes that make the store at once would fail.
fn write_ahead(connection: &Connection) -> Result<(), LedgerError> {
    let until = Instant::now() + BUSY_TIMEOUT;
    loop {
        let mode = connection
            .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0));
        match mode.map_err(LedgerError::from) {
            Ok(mode) if mode == "wal" => return Ok(()),
            Ok(mode) => {
                return Err(LedgerError::Other(format!(
                    "its file system does not take SQLite's write-ahead log (journal mode `{mode}`)"
                )));
            }
            Err(LedgerError::Busy) if Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(2));
            }
            Err(error) => return Err(error),
        }
    }
}
