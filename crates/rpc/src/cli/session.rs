//! One command's hold on the store.
//!
//! Owns the runtime, the background manager's handle and the writer for as long as a command runs.
//! A command is a visitor: it never attaches to the workspace, and no daemon has to be there. Only one
//! that holds an agent stays attached, as a daemon does.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use meanwhile_core::background::words::reason;
use meanwhile_core::background::{Background, Events, Options, Role};

use super::failure::Failure;
use super::out::Out;
use crate::{config, state_dir};

/// What a command works with.
pub(crate) struct Session {
    pub(crate) background: Background,
    pub(crate) events: Events,
    pub(crate) out: Out,
}

impl Session {
    async fn open(workspace: Option<&Path>, role: Role) -> Result<Self, Failure> {
        let options = Options {
            state_dir: state_dir::find().map_err(Failure::new)?,
            workspace: self::workspace(workspace)?,
            role,
            settings: config::load()?.store,
        };
        let (background, events) = Background::open(options).await?;
        Ok(Self { background, events, out: Out::new() })
    }
}

/// Opens the store, runs a command on it and closes it again, whatever came of the command.
pub(crate) fn run<F>(workspace: Option<PathBuf>, command: F) -> Result<u8, Failure>
where
    F: AsyncFnOnce(&mut Session) -> Result<u8, Failure>,
{
    run_as(Role::Visitor, workspace, command)
}

/// The same for a command that holds an agent: while it stays, no task of the workspace lingers.
pub(crate) fn stay<F>(workspace: Option<PathBuf>, command: F) -> Result<u8, Failure>
where
    F: AsyncFnOnce(&mut Session) -> Result<u8, Failure>,
{
    run_as(Role::Daemon, workspace, command)
}

fn run_as<F>(role: Role, workspace: Option<PathBuf>, command: F) -> Result<u8, Failure>
where
    F: AsyncFnOnce(&mut Session) -> Result<u8, Failure>,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("cannot start the runtime: {}", reason(&error))))?;
    let result = runtime.block_on(async {
        let mut session = Session::open(workspace.as_deref(), role).await?;
        let result = command(&mut session).await;
        let flushed = session.out.flush();
        session.background.close().await;
        result.and_then(|code| flushed.map(|()| code))
    });
    // A read of standard input that nobody waits for any more must not hold the end back.
    runtime.shutdown_background();
    result
}

/// The workspace: an absolute path without links, so that a directory has one name only.
pub(crate) fn workspace(named: Option<&Path>) -> Result<PathBuf, Failure> {
    let directory = named.unwrap_or(Path::new("."));
    let problem = |reason: String| {
        Failure::usage(format!("cannot use `{}` as the workspace: {reason}", directory.display()))
            .hint("`--workspace DIR` names one")
    };
    let path = directory.canonicalize().map_err(|error| problem(reason(&error)))?;
    match path.is_dir() {
        true => Ok(path),
        false => Err(problem("it is not a directory".to_owned())),
    }
}

/// Whether a person looks at standard error, where everything that moves is drawn.
pub(crate) fn watched() -> bool {
    std::io::stderr().is_terminal()
}
