//! Errors of the store, by what the user can do about them.

use std::path::PathBuf;

use rusqlite::ffi;

use crate::error::{Error, StoreFaultKind};

/// Why the store did not carry out a call. The transaction was rolled back: nothing was stored, and the same
/// call may be repeated.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// No space left, a quota reached, or a write to the disk failed.
    #[error("the disk of the state directory is full, over quota or fails to write")]
    Full,
    /// Another process kept the store locked for longer than 10 s.
    #[error(
        "another process has kept the store locked for {} s",
        super::BUSY_TIMEOUT.as_secs()
    )]
    Busy,
    /// The file cannot be written.
    #[error("the store is read-only")]
    ReadOnly,
    /// The file cannot be opened or created.
    #[error("cannot open `{}`: {reason}", path.display())]
    CannotOpen {
        /// The ledger file's path.
        path: PathBuf,
        /// The error message of the system or of SQLite.
        reason: String,
    },
    /// A newer version of this program has written the file.
    #[error(
        "the store has version {found} and this program supports versions up to {}",
        super::schema::VERSION
    )]
    NewerVersion {
        /// The schema version in the file.
        found: i64,
    },
    /// The file is not a store, or is damaged.
    #[error("the store is damaged: {0}")]
    Damaged(String),
    /// An error of no other kind.
    #[error("{0}")]
    Other(String),
}

impl From<rusqlite::Error> for LedgerError {
    fn from(error: rusqlite::Error) -> Self {
        if matches!(
            error,
            rusqlite::Error::FromSqlConversionFailure(..)
                | rusqlite::Error::InvalidColumnType(..)
                | rusqlite::Error::IntegralValueOutOfRange(..)
        ) {
            return Self::Damaged(error.to_string());
        }
        let Some(code) = error.sqlite_error().map(|inner| inner.extended_code) else {
            return Self::Other(error.to_string());
        };
        match code {
            // SQLite returns IOERR_WRITE for EDQUOT and EIO; extending the WAL's index is a write too.
            ffi::SQLITE_IOERR_WRITE | ffi::SQLITE_IOERR_SHMSIZE => Self::Full,
            _ => match code & 0xff {
                ffi::SQLITE_FULL => Self::Full,
                ffi::SQLITE_BUSY | ffi::SQLITE_LOCKED => Self::Busy,
                ffi::SQLITE_READONLY | ffi::SQLITE_PERM => Self::ReadOnly,
                ffi::SQLITE_CORRUPT | ffi::SQLITE_NOTADB => Self::Damaged(error.to_string()),
                _ => Self::Other(error.to_string()),
            },
        }
    }
}

impl From<LedgerError> for Error {
    fn from(error: LedgerError) -> Self {
        let kind = match error {
            LedgerError::Full => StoreFaultKind::LedgerFull,
            LedgerError::Busy => StoreFaultKind::Locked,
            LedgerError::ReadOnly => StoreFaultKind::ReadOnly,
            LedgerError::CannotOpen { .. } => StoreFaultKind::Inaccessible,
            LedgerError::NewerVersion { .. } => StoreFaultKind::Newer,
            LedgerError::Damaged(_) => StoreFaultKind::Damaged,
            LedgerError::Other(_) => StoreFaultKind::Other,
        };
        Self::unavailable(kind, error.to_string())
    }
}
