//! `session/resume`: opens an existing session without sending its conversation.

use meanwhile_core::agent::session::Session;

use super::{Result, about, again, place, refused};
use crate::convert::options;
use crate::desk::{Desk, Start};
use crate::peer::{After, Answer};
use crate::wire::acp;
use tokio::sync::oneshot;

/// Answers once the session is open. Its updates follow the reply.
pub(crate) async fn run(
    desk: &Desk,
    params: acp::ResumeSessionRequest,
) -> Result<Answer<acp::ResumeSessionResponse>> {
    place(desk, &params.cwd, &params.additional_directories)?;
    let id = params.session_id;
    let (engine, terms) = again(desk, &id, params.mcp_servers, params.meta.as_ref()).await?;
    // If the session cannot be opened, the watch continues.
    let held = desk.watches().hold(&id.0).await;
    let (session, updates) = Session::resume(engine, terms, &id.0).await.map_err(refused)?;
    if let Some(held) = held {
        desk.watches().end_before(held, &session).await;
    }
    let past = session.past().await.map_err(refused)?;
    let result = acp::ResumeSessionResponse::new()
        .modes(options::modes(&session))
        .config_options(options::of(&session, desk.models()))
        .meta(about(&session));
    let (replied, begin) = oneshot::channel();
    desk.take_in(session, updates, past, Start::New(begin));
    Ok(Answer { result, after: vec![After::Begin(replied)] })
}
