//! `session/close`: closes a session. Its tasks keep running, and their results wait in its queue.

use super::{Result, open};
use crate::desk::Desk;
use crate::peer::Answer;
use crate::wire::acp;

/// Answers when the running turn has ended and all updates were sent.
pub(crate) async fn run(
    desk: &Desk,
    params: acp::CloseSessionRequest,
) -> Result<Answer<acp::CloseSessionResponse>> {
    let open = open(desk, &params.session_id)?;
    open.session.close().await;
    open.told().await;
    // A second close at the same time may have removed it already, and the client may have loaded it again since.
    desk.sessions().take(&params.session_id.0, &open);
    Ok(acp::CloseSessionResponse::new().into())
}
