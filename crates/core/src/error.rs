//! What can go wrong, one kind an error code of the protocol.
//!
//! An error says what was wrong and of what kind it is. What a person can do about it names settings
//! and commands that only the edge knows: it adds that.

use std::path::PathBuf;

use crate::background::task::TaskId;

/// Why a request of the background manager was not carried out. Nothing was recorded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A field's value cannot be used.
    #[error("`{field}`: {message}")]
    Invalid {
        /// The field, as a path in the request (`watch[0].pattern`).
        field: String,
        /// What was wrong, what was expected.
        message: String,
    },
    /// No task of this name in this workspace (1001).
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
        /// Which.
        limit: Limit,
        /// What is full.
        message: String,
    },
    /// The task does not run any more (1004).
    #[error("task `{id}` is not running: {message}")]
    NotRunning {
        /// The task.
        id: TaskId,
        /// What it is instead.
        message: String,
    },
    /// The state directory cannot be used (1005).
    #[error("store unavailable: {}", .0.reason)]
    StoreUnavailable(StoreFault),
    /// The task cannot be confined as was asked for, and does not run open (1009).
    #[error("cannot confine: {0}")]
    CannotConfine(String),
}

/// What keeps a command from being started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Culprit {
    /// The program.
    Program,
    /// The directory to run it in.
    Directory(PathBuf),
    /// The interpreter that the program names: a script in its first line, a dynamic program its loader.
    Interpreter(PathBuf),
}

/// The limits of a machine or of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Files a process may have open.
    OpenFiles,
    /// Processes of the user, or memory for one more.
    Processes,
    /// Threads, which the kernel counts as processes.
    Threads,
    /// Tasks of a workspace that run at once.
    RunningTasks,
    /// What the store may take on disk.
    StoreQuota,
}

/// Why the state directory cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreFault {
    /// What kind of fault it is.
    pub kind: StoreFaultKind,
    /// What was wrong.
    pub reason: String,
}

/// The kinds of fault of a store, told apart by what its user can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreFaultKind {
    /// Too little space is left for a new task.
    LittleSpace,
    /// The ledger cannot grow.
    LedgerFull,
    /// A file or directory cannot be written.
    NotWritable,
    /// It is another user's.
    Foreign,
    /// The ledger is read-only.
    ReadOnly,
    /// The ledger cannot be opened or made.
    Inaccessible,
    /// Another process keeps the ledger locked.
    Locked,
    /// A newer program has written the ledger.
    Newer,
    /// The ledger is damaged.
    Damaged,
    /// The background manager was closed.
    Closed,
    /// The system refused something else.
    System,
    /// Anything else.
    Other,
}

impl Error {
    /// The state directory cannot be used.
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
