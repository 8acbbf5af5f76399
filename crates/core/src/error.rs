//! What can go wrong: one variant per error code of the protocol.
//!
//! An error says what was wrong and of which kind it is. Advice on what to do names settings and commands,
//! which only `crates/rpc` knows, so that crate adds it.

use std::path::PathBuf;

use crate::background::task::TaskId;

/// Why the background manager did not carry out a request. Nothing was stored.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A field's value cannot be used.
    #[error("`{field}`: {message}")]
    Invalid {
        /// The field, as a path in the request (`watch[0].pattern`).
        field: String,
        /// What was wrong and what was expected.
        message: String,
    },
    /// The workspace has no task with this id (1001).
    #[error("no task `{0}` in this workspace")]
    UnknownTask(TaskId),
    /// The command cannot be started (1002).
    #[error("cannot start `{command}`: {}", .culprit.describe(*.errno))]
    SpawnFailed {
        /// The program, or the whole command line.
        command: String,
        /// What the error is about.
        culprit: Culprit,
        /// The system's error number, errno(3).
        errno: i32,
    },
    /// A limit of this machine or of the store is reached (1003).
    #[error("limit reached: {message}")]
    LimitReached {
        /// Which limit was reached.
        limit: Limit,
        /// What the limit is and what has reached it.
        message: String,
    },
    /// The task is no longer running (1004).
    #[error("task `{id}` is not running: {message}")]
    NotRunning {
        /// The task's id.
        id: TaskId,
        /// Its actual state.
        message: String,
    },
    /// The state directory cannot be used (1005).
    #[error("store unavailable: {}", .0.reason)]
    StoreUnavailable(StoreFault),
    /// The task cannot be confined as requested, and does not run unconfined instead (1009).
    #[error("cannot confine: {0}")]
    CannotConfine(String),
}

/// What prevents a command from starting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Culprit {
    /// The program itself.
    Program,
    /// The working directory.
    Directory(PathBuf),
    /// The interpreter that the program names: the one in a script's first line, or a dynamic program's loader.
    Interpreter(PathBuf),
}

/// The limits of a machine or of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Files that a process may have open.
    OpenFiles,
    /// The user's processes, or memory for another one.
    Processes,
    /// Threads, which the kernel counts as processes.
    Threads,
    /// Tasks of a workspace running at once.
    RunningTasks,
    /// What the store may take up on disk.
    StoreQuota,
}

/// Why the state directory cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreFault {
    /// What kind of fault it is.
    pub kind: StoreFaultKind,
    /// What was wrong, for a person to read.
    pub reason: String,
}

/// The kinds of store fault, by what the user can do about them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreFaultKind {
    /// Too little disk space is left for a new task.
    LittleSpace,
    /// The ledger cannot grow.
    LedgerFull,
    /// A file or directory cannot be written.
    NotWritable,
    /// The state directory belongs to another user.
    Foreign,
    /// The ledger is read-only.
    ReadOnly,
    /// The ledger cannot be opened or made.
    Inaccessible,
    /// Another process keeps the ledger locked.
    Locked,
    /// The ledger was written by a newer version of this program.
    Newer,
    /// The ledger is damaged.
    Damaged,
    /// The background manager was closed.
    Closed,
    /// The system returned another error.
    System,
    /// A fault of no other kind.
    Other,
}

impl Error {
    /// [`Error::StoreUnavailable`] with this kind and reason.
    pub fn unavailable(kind: StoreFaultKind, reason: impl Into<String>) -> Self {
        Self::StoreUnavailable(StoreFault { kind, reason: reason.into() })
    }
}

impl Culprit {
    fn describe(&self, errno: i32) -> String {
        let text = crate::background::words::reason(&std::io::Error::from_raw_os_error(errno));
        match self {
            Self::Program => text,
            Self::Directory(path) => format!("{text}: `{}`", path.display()),
            Self::Interpreter(path) => {
                let name = path.to_string_lossy();
                let why = match name.ends_with('\r') {
                    true => "; the line that names it ends with a carriage return",
                    false => "",
                };
                format!("its interpreter `{}` cannot be executed{why}", name.escape_debug())
            }
        }
    }
}
