//! `meanwhile`: background work for coding agents.

mod after;
mod convert;
mod handlers;
mod methods;
mod outbox;
mod parent;
mod progress;
mod push;
mod reply;
mod serve;
mod session;
mod transport;
mod wire;
mod workspace;

use std::process::ExitCode;

fn main() -> anyhow::Result<ExitCode> {
    let state_dir = std::env::var_os("MEANWHILE_STATE_DIR")
        .map(std::path::PathBuf::from)
        .ok_or_else(|| "MEANWHILE_STATE_DIR is not set".to_owned());
    let start =
        session::Start { state_dir, settings: meanwhile_core::background::Settings::default() };
    Ok(serve::run(start)?)
}
