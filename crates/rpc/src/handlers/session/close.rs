//! `session/close`: closes a session. Its tasks go on, and their results wait in its queue.

use serde_json::Value;

use super::{Result, open};
use crate::handlers::params;
use crate::session::Server;
use crate::wire::acp;

/// Answers when the turn that ran has ended and everything was told.
pub(crate) async fn run(server: &Server, params: Value) -> Result<acp::CloseSessionResponse> {
    let params: acp::CloseSessionRequest = params::parse(params)?;
    let open = open(server, &params.session_id)?;
    open.session.close().await;
    open.told().await;
    // Whoever closed it at the same time may have taken it out already, and loaded it again since.
    server.sessions().take(&params.session_id.0, &open);
    Ok(acp::CloseSessionResponse::new())
}
