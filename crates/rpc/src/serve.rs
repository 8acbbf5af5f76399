//! The serve loop.

/// Requests that may wait at once.
pub(crate) const WAITING_MAX: usize = 1_024;
