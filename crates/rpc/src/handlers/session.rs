//! `session/*`: the methods of agent sessions, one file each.
//!
//! Parameters and results have the types of the Agent Client Protocol. Its parser ignores much of what it does not
//! know, for extensibility; this module refuses, by name, whatever would change the meaning of a request.

pub(crate) mod cancel;
pub(crate) mod close;
pub(crate) mod delete;
pub(crate) mod list;
pub(crate) mod load;
pub(crate) mod new;
pub(crate) mod prompt;
pub(crate) mod resume;
pub(crate) mod set_config_option;
pub(crate) mod set_mode;
pub(crate) mod trace;
pub(crate) mod watch;

use std::path::{Path, PathBuf};
use std::time::Duration;

use meanwhile_core::agent::session::{self, Session, Terms, Wake};
use meanwhile_core::background::Background;
use meanwhile_core::limits;
use serde_json::json;

use super::Result;
use crate::convert::error::{self, invalid};
use crate::convert::servers;
use crate::desk::{Desk, Open};
use crate::wire::{Error, acp};

/// Converts an error of a session.
pub(crate) fn refused(why: session::Error) -> Error {
    error::from_session(&why)
}

/// The session with this id, which must be open on this connection.
pub(crate) fn open(desk: &Desk, id: &acp::SessionId) -> Result<Open> {
    desk.sessions().get(&id.0).ok_or_else(|| {
        let shown: String = id.0.chars().take(64).collect();
        let message = format!(
            "session `{shown}` is not open on this connection; `session/new` creates a session, \
             `session/load` opens one that `session/list` returns"
        );
        invalid("sessionId", message)
    })
}

/// The project's `_meta` of a response that names a session.
fn about(session: &Session) -> acp::Meta {
    let mut meta = acp::Meta::new();
    meta.insert("meanwhile".to_owned(), json!({"model": session.model()}));
    meta
}

/// The background manager and the terms for opening an existing session, which must not be open on this connection.
async fn again(
    desk: &Desk,
    id: &acp::SessionId,
    servers: Vec<acp::McpServer>,
    meta: Option<&acp::Meta>,
) -> Result<(Background, Terms)> {
    let (wake, servers) = (wake(meta)?, servers::read(servers)?);
    if desk.sessions().get(&id.0).is_some() {
        let message = "is open on this connection already; `session/close` it to open it again";
        return Err(invalid("sessionId", message));
    }
    let engine = desk.engine().await?.clone();
    Ok((engine, Terms { servers, ..desk.terms_of(&id.0, wake).await? }))
}

/// Checks that a session's directory is the workspace.
fn place(desk: &Desk, cwd: &Path, more: &[PathBuf]) -> Result<()> {
    let workspace = desk.workspace()?;
    let real = std::fs::canonicalize(cwd).unwrap_or_else(|_| cwd.to_owned());
    if real != workspace {
        let (cwd, workspace) = (cwd.display(), workspace.display());
        return Err(invalid(
            "cwd",
            format!(
                "`{cwd}` is not the workspace; expected `{workspace}`, or a server started for \
                 that directory"
            ),
        ));
    }
    if !more.is_empty() {
        let message = "is not supported; expected it left out or []";
        return Err(invalid("additionalDirectories", message));
    }
    Ok(())
}

/// What happens when a task ends while the agent is idle, if the client sets it.
fn wake(meta: Option<&acp::Meta>) -> Result<Option<Wake>> {
    let said = meta.and_then(|meta| meta.get("meanwhile")).and_then(|ours| ours.get("wake"));
    match said.map(|said| (said, said.as_str())) {
        None => Ok(None),
        Some((_, Some("on"))) => Ok(Some(Wake::On)),
        Some((_, Some("queue"))) => Ok(Some(Wake::Queue)),
        Some((said, _)) => {
            let shown: String = said.to_string().chars().take(64).collect();
            let message = format!("is {shown}; expected \"on\" or \"queue\"");
            Err(invalid("_meta.meanwhile.wake", message))
        }
    }
}

/// How long to retry while the model is temporarily unavailable, if the client sets it.
fn patience(meta: Option<&acp::Meta>) -> Result<Duration> {
    let said = meta.and_then(|meta| meta.get("meanwhile")).and_then(|ours| ours.get("patienceMs"));
    let Some(said) = said else { return Ok(Duration::ZERO) };
    match said.as_u64().map(Duration::from_millis).filter(|time| *time <= limits::TIME_MAX) {
        Some(patience) => Ok(patience),
        None => {
            let shown: String = said.to_string().chars().take(64).collect();
            let most = limits::TIME_MAX.as_millis();
            let message = format!("is {shown}; expected a whole number from 0 to {most}");
            Err(invalid("_meta.meanwhile.patienceMs", message))
        }
    }
}
