//! `meanwhile`: background work for coding agents.

mod cli;
mod config;
mod convert;
mod courier;
mod desk;
mod fronts;
mod handlers;
mod log;
mod methods;
mod peer;
mod setup;
mod state_dir;
#[cfg(test)]
mod storeys;
mod wire;

use std::process::ExitCode;

fn main() -> ExitCode {
    log::init();
    cli::main()
}
