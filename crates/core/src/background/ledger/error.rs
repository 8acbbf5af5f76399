//! What can go wrong with the store, told apart by what its user can do.

use std::path::PathBuf;

use rusqlite::ffi;

use crate::error::{Error, StoreFaultKind};

/// Why the store did not do what it was asked. The transaction was rolled back: nothing was
/// recorded, and the same call may be made again.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// No space left, a quota reached, or the disk does not take a write.
    #[error("the disk of the state directory is full, over quota or does not take writes")]
    Full,
    /// Another process held the store for longer than the busy time-out.
    #[error(
        "another process has kept the store locked for {} s",
        super::BUSY_TIMEOUT.as_secs()
    )]
    Busy,
    /// The file cannot be written.
    #[error("the store is read-only")]
    ReadOnly,
    /// The file cannot be opened or made.
    #[error("cannot open `{}`: {reason}", path.display())]
    CannotOpen {
        /// The file.
        path: PathBuf,
        /// The system's or SQLite's word.
        reason: String,
    },
    /// A newer program has written the file.
    #[error(
        "the store is of version {found} and this program knows versions up to {}",
        super::schema::VERSION
    )]
    NewerVersion {
        /// The file's version.
        found: i64,
    },
    /// The file is not a store, or is damaged.
    #[error("the store is damaged: {0}")]
    Damaged(String),
    /// Anything else.
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
            // EDQUOT and EIO come as IOERR_WRITE; the index of the WAL is extended by a write too.
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
