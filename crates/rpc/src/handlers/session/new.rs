//! `session/new`: makes a session.

use meanwhile_core::agent::session::Session;
use serde_json::json;
use tokio::sync::oneshot;

use super::{Result, place, refused, wake};
use crate::desk::{Desk, Start};
use crate::peer::{After, Answer};
use crate::wire::acp;

/// Answers once the session is recorded. What it says follows the reply.
pub(crate) async fn run(
    desk: &Desk,
    params: acp::NewSessionRequest,
) -> Result<Answer<acp::NewSessionResponse>> {
    place(desk, &params.cwd, &params.additional_directories, &params.mcp_servers)?;
    let wake = wake(params.meta.as_ref())?;
    let engine = desk.engine().await?.clone();
    let terms = desk.session_terms(wake).await?;
    let (session, updates) = Session::create(engine, terms).await.map_err(refused)?;
    let about = json!({"model": session.model()});
    let id = acp::SessionId::new(session.id().as_str());
    let (replied, begin) = oneshot::channel();
    desk.take_in(session, updates, Start::New(begin));
    let mut meta = acp::Meta::new();
    meta.insert("meanwhile".to_owned(), about);
    let result = acp::NewSessionResponse::new(id).meta(meta);
    Ok(Answer { result, after: vec![After::Begin(replied)] })
}
