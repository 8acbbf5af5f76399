//! `meanwhile`: background work for coding agents.

mod after;
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
mod state_dir;
mod transport;
mod wire;
mod workspace;

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use meanwhile_core::background::Settings;

fn main() -> anyhow::Result<ExitCode> {
    log::init();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["serve"] | ["serve", "--stdio"] => {
            let start =
                session::Start { state_dir: state_dir::find(), settings: Settings::default() };
            serve::run(start).context("cannot use standard input and output")
        }
        ["schema"] => {
            std::io::stdout().lock().write_all(schema::text().as_bytes())?;
            Ok(ExitCode::SUCCESS)
        }
        _ => bail!("usage: meanwhile serve [--stdio] | meanwhile schema"),
    }
}
