//! `session/prompt`: says something, and waits for the turn it makes.

use super::{Result, open, patience, refused};
use crate::convert::{error, prompt, update};
use crate::desk::Desk;
use crate::peer::Answer;
use crate::wire::acp;

/// Answers when the turn is over and everything it said is on its way. Cancelling the request ends
/// the waiting, not the turn.
pub(crate) async fn run(
    desk: &Desk,
    params: acp::PromptRequest,
) -> Result<Answer<acp::PromptResponse>> {
    let patience = patience(params.meta.as_ref())?;
    let text = prompt::text(params.prompt)?;
    let open = open(desk, &params.session_id)?;
    let end = open.session.prompt_for(text, patience).await.map_err(refused)?;
    open.told().await;
    let reason = update::stop_reason(end).map_err(error::model_failed)?;
    Ok(acp::PromptResponse::new(reason).into())
}
