//! `session/cancel`: ends the turn that runs. Background tasks go on.

use serde_json::Value;

use super::{Result, open, refused};
use crate::handlers::params;
use crate::session::Server;
use crate::wire::{Empty, acp};

/// A notification in the Agent Client Protocol; sent as a request it is answered.
pub(crate) async fn run(server: &Server, params: Value) -> Result<Empty> {
    let params: acp::CancelNotification = params::parse(params)?;
    open(server, &params.session_id)?.session.cancel().await.map_err(refused)?;
    Ok(Empty {})
}
