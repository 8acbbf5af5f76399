//! `session/load`: opens an existing session.

use meanwhile_core::agent::session::Session;
use tokio::sync::oneshot;

use super::{Result, about, again, place, refused};
use crate::convert::options;
use crate::desk::{Desk, Start};
use crate::peer::{After, Answer};
use crate::wire::acp;

/// Answers once the whole conversation is queued for the client.
pub(crate) async fn run(
    desk: &Desk,
    params: acp::LoadSessionRequest,
) -> Result<Answer<acp::LoadSessionResponse>> {
    place(desk, &params.cwd, &params.additional_directories)?;
    let id = params.session_id;
    let (engine, terms) = again(desk, &id, params.mcp_servers, params.meta.as_ref()).await?;
    let (session, updates) = Session::load(engine, terms, &id.0).await.map_err(refused)?;
    // From here on updates come from the session itself, so the watch ends.
    desk.watches().end(&id.0).await;
    let past = session.past().await.map_err(refused)?;
    let (told, all_told) = oneshot::channel();
    let (replied, begin) = oneshot::channel();
    let open = desk.take_in(session, updates, past, Start::Loaded(told, begin));
    // Whether it was sent or dropped does not matter.
    let _ = all_told.await;
    let session = &open.session;
    let result = acp::LoadSessionResponse::new()
        .modes(options::modes(session))
        .config_options(options::of(session, desk.models()))
        .meta(about(session));
    Ok(Answer { result, after: vec![After::Begin(replied)] })
}
