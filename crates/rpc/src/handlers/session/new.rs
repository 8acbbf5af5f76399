//! `session/new`: makes a session.

use meanwhile_core::agent::session::Session;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::{Result, place, refused, wake};
use crate::after::{self, After};
use crate::handlers::params;
use crate::session::Server;
use crate::sessions::Start;
use crate::wire::acp;

/// Answers once the session is recorded. What it says follows the reply.
pub(crate) async fn run(server: &Server, params: Value) -> Result<acp::NewSessionResponse> {
    let params: acp::NewSessionRequest = params::parse(params)?;
    place(server, &params.cwd, &params.additional_directories, &params.mcp_servers)?;
    let wake = wake(params.meta.as_ref())?;
    let background = server.background().await?.clone();
    let terms = server.session_terms(wake).await?;
    let (session, updates) = Session::create(background, terms).await.map_err(refused)?;
    let about = json!({"model": session.model()});
    let id = acp::SessionId::new(session.id().as_str());
    let (replied, begin) = oneshot::channel();
    server.take_in(session, updates, Start::New(begin));
    after::leave(After::Begin(replied));
    let mut meta = acp::Meta::new();
    meta.insert("meanwhile".to_owned(), about);
    Ok(acp::NewSessionResponse::new(id).meta(meta))
}
