//! Opens the store for one command.
//!
//! Owns the runtime, the background manager's handle and the output for as long as a command runs. A command does not
//! attach to the workspace and needs no daemon. Only a command that holds an agent stays attached, like a daemon.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use meanwhile_core::background::task::TaskId;
use meanwhile_core::background::words::reason;
use meanwhile_core::background::{Background, Engine, Events, Role};
use meanwhile_core::hosts::{self, Notes, Owner};

use super::failure::Failure;
use super::ids;
use super::out::Out;
use crate::{config, state_dir};

/// The queue of clients that do not name one.
const DEFAULT_QUEUE: &str = "default";

/// Advice for commands inside an agent's sandbox.
const OUTSIDE: &str = "in an agent's sandbox, use the tools of its MCP server `meanwhile mcp`, which runs outside; \
    `meanwhile setup codex` adds it";

/// Refuses to start a task if the agent's sandbox would end it with this command, although it is to outlive it.
pub(crate) fn must_outlive_command() -> Result<(), Failure> {
    match hosts::ends_with_command() {
        true => Err(Failure::new(
            "no task is started: the agent's sandbox ends all processes with this command",
        )
        .hint("the tool `background_run` of the MCP server `meanwhile mcp` starts it outside; `meanwhile setup codex` adds it")
        .hint("`--wait` runs the task, which ends with this command")),
        false => Ok(()),
    }
}

/// The context of a running command.
pub(crate) struct Session {
    pub(crate) background: Background,
    pub(crate) events: Events,
    pub(crate) out: Out,
    /// The agent's session in whose shell the command runs.
    pub(crate) owner: Option<Owner>,
    /// The current directory, if the workspace is a different one because the owner's tasks are there.
    pub(crate) away: Option<PathBuf>,
    pub(crate) engine: Engine,
    /// Other workspaces that the command has opened.
    others: Vec<Background>,
}

/// Which workspace a command uses if none is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Default {
    /// The current directory.
    Here,
    /// The workspace of the agent's session in whose shell the command runs, in any directory; the current directory
    /// if the session has no task yet.
    OfOwner,
}

impl Session {
    async fn open(named: Option<&Path>, default: Default, role: Role) -> Result<Self, Failure> {
        let state_dir = state_dir::find().map_err(Failure::new)?;
        let owner = match default {
            Default::Here => None,
            Default::OfOwner => Owner::find()
                .map_err(|error| Failure::usage(error.to_string()))?
                .or_else(|| Owner::noted(&Notes::of(&state_dir))),
        };
        let here = self::workspace(named)?;
        let engine = Engine::open(&state_dir, config::load()?.store).await?;
        let known = match (&owner, named) {
            // Every workspace has a queue of this name, so it identifies none.
            (Some(owner), None) if owner.queue != DEFAULT_QUEUE => {
                engine.workspace_of(owner.queue.clone()).await?
            }
            (Some(_) | None, _) => None,
        };
        let (workspace, away) = match known {
            Some(known) if known != here => (known, Some(here)),
            Some(_) | None => (here, None),
        };
        let (background, events) = engine.workspace(workspace, role).await?;
        let (out, others) = (Out::new(), Vec::new());
        Ok(Self { background, events, out, owner, away, engine, others })
    }

    /// The queue to use: the named one, or else the owner's.
    pub(crate) fn queue(&self, named: Option<String>) -> String {
        let owners = || self.owner.as_ref().map(|owner| owner.queue.clone());
        named.or_else(owners).unwrap_or_else(|| DEFAULT_QUEUE.to_owned())
    }

    /// Opens another workspace that contains a task.
    pub(crate) async fn visit(
        &mut self,
        workspace: PathBuf,
    ) -> Result<(Background, Events), Failure> {
        let (background, events) = self.engine.workspace(workspace, Role::Visitor).await?;
        self.others.push(background.clone());
        Ok((background, events))
    }

    /// Opens the workspace of the named task, and returns the task's id.
    pub(crate) async fn enter(&mut self, name: &str) -> Result<TaskId, Failure> {
        let mut places = ids::resolve(self, &[name.to_owned()]).await?;
        let place = places.pop().expect("one was named");
        if let Some((background, events)) = place.elsewhere {
            self.others.push(std::mem::replace(&mut self.background, background));
            self.events = events;
        }
        Ok(place.ids[0])
    }

    async fn close(self) {
        self.background.close().await;
        for other in self.others {
            other.close().await;
        }
        self.engine.close().await;
    }
}

/// Opens the store, runs a command about tasks, and closes the store, whatever the result.
pub(crate) fn run<F>(workspace: Option<PathBuf>, command: F) -> Result<u8, Failure>
where
    F: AsyncFnOnce(&mut Session) -> Result<u8, Failure>,
{
    run_as(Role::Visitor, Default::OfOwner, workspace, command)
}

/// The same for a command about the agent of this workspace.
pub(crate) fn run_here<F>(workspace: Option<PathBuf>, command: F) -> Result<u8, Failure>
where
    F: AsyncFnOnce(&mut Session) -> Result<u8, Failure>,
{
    run_as(Role::Visitor, Default::Here, workspace, command)
}

/// The same for a command that holds an agent: while it runs, linger times in the workspace do not start.
pub(crate) fn stay<F>(workspace: Option<PathBuf>, command: F) -> Result<u8, Failure>
where
    F: AsyncFnOnce(&mut Session) -> Result<u8, Failure>,
{
    run_as(Role::Daemon, Default::Here, workspace, command)
}

fn run_as<F>(
    role: Role,
    default: Default,
    workspace: Option<PathBuf>,
    command: F,
) -> Result<u8, Failure>
where
    F: AsyncFnOnce(&mut Session) -> Result<u8, Failure>,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("cannot start the runtime: {}", reason(&error))))?;
    let result = runtime.block_on(async {
        let opened = Session::open(workspace.as_deref(), default, role).await;
        let advice = hosts::ends_with_command().then_some(OUTSIDE);
        let mut session = opened.map_err(|failure| failure.advise(advice))?;
        let result = command(&mut session).await;
        let flushed = session.out.flush();
        session.close().await;
        result.and_then(|code| flushed.map(|()| code))
    });
    // A read of standard input that is still blocked must not delay the exit.
    runtime.shutdown_background();
    result
}

/// The workspace as an absolute path without symbolic links, so that a directory has only one name.
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

/// Whether standard error, where status lines are drawn, is a terminal.
pub(crate) fn watched() -> bool {
    std::io::stderr().is_terminal()
}
