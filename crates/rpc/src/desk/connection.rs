//! What the handshake of a connection settled.

use std::path::PathBuf;

use crate::convert::from_wire::Defaults;

/// One connection, after its handshake.
#[derive(Debug)]
pub(crate) struct Connection {
    /// The directory it is about.
    pub(crate) workspace: PathBuf,
    /// What its requests mean where they say nothing.
    pub(crate) defaults: Defaults,
    /// The client shows the progress of each task it spawns.
    pub(crate) shows_progress: bool,
}
