//! `session/cancel`: ends the running turn. Background tasks keep running.

use super::{Result, open, refused};
use crate::desk::Desk;
use crate::peer::Answer;
use crate::wire::{Empty, acp};

/// A notification in the Agent Client Protocol; if it is sent as a request, it is answered.
pub(crate) async fn run(desk: &Desk, params: acp::CancelNotification) -> Result<Answer<Empty>> {
    open(desk, &params.session_id)?.session.cancel().await.map_err(refused)?;
    Ok(Empty {}.into())
}
