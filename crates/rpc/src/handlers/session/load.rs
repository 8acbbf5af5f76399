//! `session/load`: opens a session again.

use meanwhile_core::agent::session::Session;
use serde_json::json;
use tokio::sync::oneshot;

use super::{Result, place, refused, wake};
use crate::convert::error::invalid;
use crate::desk::{Desk, Start};
use crate::peer::Answer;
use crate::wire::acp;

/// Answers once everything that was said in it is on its way to the client.
pub(crate) async fn run(
    desk: &Desk,
    params: acp::LoadSessionRequest,
) -> Result<Answer<acp::LoadSessionResponse>> {
    place(desk, &params.cwd, &params.additional_directories, &params.mcp_servers)?;
    let wake = wake(params.meta.as_ref())?;
    let id = params.session_id;
    if desk.sessions().get(&id.0).is_some() {
        let message = "is open on this connection already; `session/close` it to load it again";
        return Err(invalid("sessionId", message));
    }
    let engine = desk.engine().await?.clone();
    let terms = desk.session_terms(wake).await?;
    let (session, updates) = Session::load(engine, terms, &id.0).await.map_err(refused)?;
    let about = json!({"model": session.model()});
    let (told, all_told) = oneshot::channel();
    desk.take_in(session, updates, Start::Loaded(told));
    // Its end is the news, whichever it is.
    let _ = all_told.await;
    let mut meta = acp::Meta::new();
    meta.insert("meanwhile".to_owned(), about);
    Ok(acp::LoadSessionResponse::new().meta(meta).into())
}
