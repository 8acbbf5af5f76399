//! The values that the handshake of a connection has set.

use std::path::PathBuf;

use meanwhile_core::agent::ModelChoice;

use crate::convert::from_wire::Defaults;

/// A connection after its handshake.
#[derive(Debug)]
pub(crate) struct Connection {
    /// The client's workspace.
    pub(crate) workspace: PathBuf,
    /// Values for parameters that a request leaves out.
    pub(crate) defaults: Defaults,
    /// Whether the client shows the progress of each task that it spawns.
    pub(crate) shows_progress: bool,
    /// The client's choice of a model, which overrides the environment and the settings file.
    pub(crate) model: ModelChoice,
}

impl Connection {
    /// A connection whose client shows no progress and chooses no model.
    pub(crate) fn of(workspace: PathBuf, defaults: Defaults) -> Self {
        Self { workspace, defaults, shows_progress: false, model: ModelChoice::default() }
    }
}
