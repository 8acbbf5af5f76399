//! The commands of the command line.
//!
//! Every command works on the same store as the daemons, and does not need a daemon. This module owns the input and
//! output for people; the background manager does the work. Standard output is for results and is only written
//! through `Out`; all other messages go to standard error.
//! error.

use std::process::ExitCode;

use clap::Parser;

mod agent;
mod args;
mod chat;
mod demo;
mod doctor;
mod drain;
mod failure;
mod files;
mod follow;
mod generate;
mod hook;
mod ids;
mod json;
mod learn;
mod live;
mod logs;
mod out;
mod places;
mod ps;
mod restart;
mod run;
mod serve;
mod session;
mod sessions;
mod setup;
mod show;
mod signal;
mod spawn;
mod stop;
mod table;
mod wait;

use args::{Cli, Command};
use failure::Failure;
use out::Out;

/// Runs the command that the command line names.
pub(crate) fn main() -> ExitCode {
    let cli = match Cli::try_parse_from(run::with_prompt(std::env::args_os().collect())) {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    match run(cli) {
        Ok(code) => code,
        Err(failure) => {
            failure.tell();
            failure.exit_code()
        }
    }
}

/// Prints why the arguments are invalid, or the requested help. A quoted argument must not move the cursor, so such a
/// message is printed without styles.
fn refuse(error: &clap::Error) -> ExitCode {
    if error.use_stderr() && std::env::args_os().nth(1).is_some_and(|word| word == "hook") {
        // For an agent, exit code 2 of a hook means "do not continue": settings for another version would block each
        // turn.
        out::note(show::harmless(&error.render().to_string()).trim_end());
        return ExitCode::from(failure::FAILED);
    }
    let is_odd = |text: &str| show::harmless(text) != text;
    if !std::env::args_os().any(|argument| is_odd(&argument.to_string_lossy())) {
        error.exit();
    }
    out::note(show::harmless(&error.render().to_string()).trim_end());
    ExitCode::from(failure::USAGE)
}

fn run(Cli { workspace, command }: Cli) -> Result<ExitCode, Failure> {
    let code = match command {
        Command::Spawn(args) => {
            if !args.wait {
                session::must_outlive_command()?;
            }
            session::run(workspace, async |it| spawn::run(it, *args).await)
        }
        Command::Ps(args) => session::run(workspace, async |it| ps::run(it, args).await),
        Command::Logs(args) => session::run(workspace, async |it| logs::run(it, args).await),
        Command::Wait(args) => session::run(workspace, async |it| wait::run(it, args).await),
        Command::Stop(args) => session::run(workspace, async |it| stop::run(it, args).await),
        Command::Restart(args) => {
            session::must_outlive_command()?;
            session::run(workspace, async |it| restart::run(it, args).await)
        }
        Command::Signal(args) => session::run(workspace, async |it| signal::run(it, args).await),
        Command::Drain(args) => session::run(workspace, async |it| drain::run(it, args).await),
        Command::Hook(args) => hook::run(&args),
        Command::Setup(args) => written(|out| setup::run(out, &args)),
        Command::Run(args) => {
            let workspace = agent::workspace(workspace, &args.agent)?;
            session::stay(workspace, async |it| run::run(it, args).await)
        }
        Command::Chat(args) => {
            let workspace = agent::workspace(workspace, &args.agent)?;
            session::stay(workspace, async |it| chat::run(it, args).await)
        }
        Command::Sessions(args) => {
            session::run_here(workspace, async |it| sessions::run(it, args).await)
        }
        Command::Demo(args) => session::stay(workspace, async |it| demo::run(it, args).await),
        Command::Learn(args) => learn::run(args),
        Command::Serve(args) => return serve::run(workspace.as_deref(), &args.front),
        Command::Acp(args::Acp {}) => return serve::run(workspace.as_deref(), "acp"),
        Command::Mcp(args::Mcp {}) => return serve::run(workspace.as_deref(), "mcp"),
        Command::Schema => written(generate::schema),
        Command::Doctor(args) => written(|out| doctor::run(out, workspace.as_deref(), &args)),
        Command::Place(args) => written(|out| places::run(out, args)),
        Command::Places(args) => written(|out| places::list(out, args.json)),
        Command::Courier(args) => courier(&args),
        Command::Completions(args) => written(|out| generate::completions(out, args)),
        Command::Man(args) => written(|out| generate::manual(out, args)),
    };
    code.map(ExitCode::from)
}

fn courier(args: &args::Courier) -> Result<u8, Failure> {
    let state = crate::state_dir::find().map_err(Failure::new)?;
    crate::courier::run(&state, &args.place, place_now, args.stay)
        .map(|()| 0)
        .map_err(|error| Failure::new(error.to_string()))
}

/// The current settings of a place.
fn place_now(name: &str) -> Result<meanwhile_core::background::places::Place, String> {
    let mut config = crate::config::load().map_err(|error| error.to_string())?;
    let place = config.store.places.remove(name);
    place.ok_or_else(|| format!("place `{name}` is not in the settings any more"))
}

/// Runs a command that needs no store, and flushes its output.
fn written(command: impl FnOnce(&mut Out) -> Result<u8, Failure>) -> Result<u8, Failure> {
    let mut out = Out::new();
    let code = command(&mut out)?;
    out.flush()?;
    Ok(code)
}
