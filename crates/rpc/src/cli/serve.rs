//! `meanwhile serve`: runs the server on standard input and output.

use std::path::Path;
use std::process::ExitCode;

use meanwhile_core::background::Settings;
use meanwhile_core::background::words::reason;

use super::failure::Failure;
use crate::desk::Options;
use crate::fronts::FRONTS;
use crate::setup::Setup;
use crate::{config, state_dir, wire};

pub(crate) fn run(workspace: Option<&Path>, front: &str) -> Result<ExitCode, Failure> {
    let (_, serve) = FRONTS
        .iter()
        .find(|(name, _)| *name == front)
        .expect("the command line takes only names of fronts");
    if workspace.is_some() {
        // A client that does not name a workspace means the server's working directory.
        let directory = super::session::workspace(workspace)?;
        std::env::set_current_dir(&directory).map_err(|error| {
            Failure::usage(format!("cannot enter `{}`: {}", directory.display(), reason(&error)))
        })?;
    }
    let found = state_dir::found();
    let options = match config::load() {
        Ok(config) => Options {
            state_moved: found.as_ref().ok().and_then(moved),
            state_dir: found.map(|found| found.path),
            agent: Setup::of(&config).with_environment(),
            store: config.store,
        },
        // As with an unusable state directory: the handshake succeeds, and each request reports the error to the
        // client, which shows it to a person.
        Err(error) => Options {
            state_dir: Err(error.to_string()),
            state_moved: None,
            store: Settings::default(),
            agent: Setup::default(),
        },
    };
    serve(options).map_err(|error| {
        Failure::new(format!("cannot use standard input and output: {}", reason(&error)))
    })
}

fn moved(found: &state_dir::Found) -> Option<wire::StateMoved> {
    found.moved.as_ref().map(|moved| wire::StateMoved {
        path: found.path.display().to_string(),
        from: moved.from.display().to_string(),
        file_system: moved.file_system.to_owned(),
    })
}
