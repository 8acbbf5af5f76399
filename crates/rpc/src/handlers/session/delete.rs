//! `session/delete`: deletes a session with everything that was said in it. Its tasks stay.

use meanwhile_core::agent::session::Session;

use super::{Result, close, refused};
use crate::desk::Desk;
use crate::peer::Answer;
use crate::wire::acp;

/// One that is open on this connection is closed first.
pub(crate) async fn run(
    desk: &Desk,
    params: acp::DeleteSessionRequest,
) -> Result<Answer<acp::DeleteSessionResponse>> {
    let id = params.session_id;
    let engine = desk.engine().await?;
    if desk.sessions().get(&id.0).is_some() {
        close::run(desk, acp::CloseSessionRequest::new(id.clone())).await?;
    }
    Session::delete(engine, &id.0).await.map_err(refused)?;
    Ok(acp::DeleteSessionResponse::new().into())
}
