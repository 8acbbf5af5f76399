//! `meanwhile`: background work for coding agents.

mod after;
mod agent;
mod cli;
mod config;
mod convert;
mod handlers;
mod log;
mod methods;
mod outbox;
mod parent;
mod progress;
mod push;
mod reply;
mod schema;
mod serve;
mod session;
mod sessions;
mod state_dir;
mod transport;
mod wire;
mod workspace;

use std::process::ExitCode;

fn main() -> ExitCode {
    log::init();
    cli::main()
}
