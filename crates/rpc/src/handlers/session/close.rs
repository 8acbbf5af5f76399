//! `session/close`: closes a session. Its tasks go on, and their results wait in its queue.

use super::{Result, open};
use crate::desk::Desk;
use crate::peer::Answer;
use crate::wire::acp;

/// Answers when the turn that ran has ended and everything was told.
pub(crate) async fn run(
    desk: &Desk,
    params: acp::CloseSessionRequest,
) -> Result<Answer<acp::CloseSessionResponse>> {
    let open = open(desk, &params.session_id)?;
    open.session.close().await;
    open.told().await;
    // Another request that closed it at the same time may have taken it out already, and loaded it again since.
    desk.sessions().take(&params.session_id.0, &open);
    Ok(acp::CloseSessionResponse::new().into())
}
