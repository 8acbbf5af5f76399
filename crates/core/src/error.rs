//! What can go wrong, one kind an error code of the contract.

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
    #[error("no task `{0}` in this workspace; `task/check` without an id lists them")]
    UnknownTask(TaskId),
    /// The command cannot be started (1002).
    #[error("cannot start `{command}`: {}", describe_errno(*.errno, path.as_deref()))]
    SpawnFailed {
        /// The program, or the whole command line.
        command: String,
        /// The directory that cannot be entered, where that is the reason.
        path: Option<PathBuf>,
        /// The system's error number, errno(3).
        errno: i32,
    },
    /// A limit of this machine or of the store is reached (1003).
    #[error("limit reached: {message}")]
    LimitReached {
        /// The limit's name (`openFiles`, `processes`, `runningTasks`, `storeQuota`).
        limit: &'static str,
        /// What is full and what to do.
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
    #[error("store unavailable: {0}")]
    StoreUnavailable(String),
}

fn describe_errno(errno: i32, path: Option<&std::path::Path>) -> String {
    let text = crate::background::words::reason(&std::io::Error::from_raw_os_error(errno));
    match path {
        Some(path) => format!("{text}: `{}`", path.display()),
        None => text,
    }
}
