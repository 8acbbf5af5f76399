//! `session/set_mode`: sets the permissions of a session, for clients without support for config options.

use meanwhile_core::agent::session::Choice;

use super::{Result, open, refused};
use crate::convert::options;
use crate::desk::Desk;
use crate::peer::Answer;
use crate::wire::acp;

/// Answers once the permissions apply.
pub(crate) async fn run(
    desk: &Desk,
    params: acp::SetSessionModeRequest,
) -> Result<Answer<acp::SetSessionModeResponse>> {
    let permissions = options::permissions("modeId", &params.mode_id.0)?;
    let open = open(desk, &params.session_id)?;
    open.session.choose(Choice::Permissions(permissions)).await.map_err(refused)?;
    // For clients that show options.
    let options = options::of(&open.session, desk.models());
    let update = acp::SessionUpdate::ConfigOptionUpdate(acp::ConfigOptionUpdate::new(options));
    desk.tell(&params.session_id.0, update);
    Ok(acp::SetSessionModeResponse::new().into())
}
