//! The supervisor of one background task.
