//! `meanwhile serve`: hands standard input and output to the server.

use std::path::Path;
use std::process::ExitCode;

use meanwhile_core::background::Settings;
use meanwhile_core::background::words::reason;

use super::args;
use super::failure::Failure;
use crate::agent::Setup;
use crate::session::Start;
use crate::{config, serve, state_dir};

pub(crate) fn run(workspace: Option<&Path>, args: &args::Serve) -> Result<ExitCode, Failure> {
    // There is no other transport, so that the word changes nothing.
    let args::Serve { stdio: _ } = args;
    if workspace.is_some() {
        // A client that names no workspace means the directory the server was started in.
        let directory = super::session::workspace(workspace)?;
        std::env::set_current_dir(&directory).map_err(|error| {
            Failure::usage(format!("cannot enter `{}`: {}", directory.display(), reason(&error)))
        })?;
    }
    let start = match config::load() {
        Ok(config) => Start {
            state_dir: state_dir::find(),
            agent: Setup::of(&config).with_environment(),
            settings: config.store,
        },
        // As with a state directory that cannot be used: the handshake works, and each request
        // tells the client what is wrong, where a person sees it.
        Err(error) => Start {
            state_dir: Err(error.to_string()),
            settings: Settings::default(),
            agent: Setup::default(),
        },
    };
    serve::run(start).map_err(|error| {
        Failure::new(format!("cannot use standard input and output: {}", reason(&error)))
    })
}
