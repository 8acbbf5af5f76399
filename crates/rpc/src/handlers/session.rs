//! `session/*`: the methods of agent sessions, one file each.
//!
//! Parameters and results are the Agent Client Protocol's. Its own reading is lenient, as its
//! extensibility wants; what would change the meaning of a request is checked here and refused by
//! name.

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

/// Shows an error of a session.
pub(crate) fn refused(why: session::Error) -> Error {
    error::from_session(&why)
}

/// The session of this name, which has to be open on this connection.
pub(crate) fn open(desk: &Desk, id: &acp::SessionId) -> Result<Open> {
    desk.sessions().get(&id.0).ok_or_else(|| {
        let shown: String = id.0.chars().take(64).collect();
        let message = format!(
            "session `{shown}` is not open on this connection; `session/new` makes one, \
             `session/load` opens one that `session/list` names"
        );
        invalid("sessionId", message)
    })
}

/// What is ours in the answer that names a session.
fn about(session: &Session) -> acp::Meta {
    let mut meta = acp::Meta::new();
    meta.insert("meanwhile".to_owned(), json!({"model": session.model()}));
    meta
}

/// What a session that was there before is opened with, where it is not open on this connection.
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

/// Where a session is to work: in the workspace.
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

/// What a task that ends while the agent is idle is to do, if the client says so.
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

/// For how long a model that cannot be asked for the moment is asked again, if the client says so.
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
