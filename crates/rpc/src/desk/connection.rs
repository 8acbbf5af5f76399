//! What the handshake of a connection settled.

use std::path::PathBuf;

use meanwhile_core::agent::ModelChoice;

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
    /// What the client says about models, before the environment and the settings file.
    pub(crate) model: ModelChoice,
}

impl Connection {
    /// One whose client shows no progress and says nothing about models.
    pub(crate) fn of(workspace: PathBuf, defaults: Defaults) -> Self {
        Self { workspace, defaults, shows_progress: false, model: ModelChoice::default() }
    }
}
