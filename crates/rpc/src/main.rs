//! `meanwhile`: background work for coding agents.

use std::process::ExitCode;

mod cli;
mod config;
mod convert;
mod serve;
mod wire;

fn main() -> ExitCode {
    cli::main()
}
