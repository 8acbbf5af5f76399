//! `session/prompt`: sends a prompt, and waits for its turn to end.

use super::{Result, open, patience, refused};
use crate::convert::{error, prompt, update};
use crate::desk::Desk;
use crate::peer::Answer;
use crate::wire::acp;

/// Answers when the turn has ended and its updates are queued for the client. Cancelling the request ends the waiting,
/// not the turn.
pub(crate) async fn run(
    desk: &Desk,
    params: acp::PromptRequest,
) -> Result<Answer<acp::PromptResponse>> {
    let patience = patience(params.meta.as_ref())?;
    let prompt = prompt::read(params.prompt)?;
    let open = open(desk, &params.session_id)?;
    if let Some(place) = prompt.image.filter(|_| !open.session.takes_images()) {
        let model = open.session.model();
        let message = format!(
            "is an image, but `{model}` is not known to accept images; expected another model or, if it \
             accepts them, `images = true` in section `[agent]` of config.toml"
        );
        return Err(error::invalid(format!("prompt[{place}]"), message));
    }
    let end = open.session.prompt_for(prompt.said, patience).await.map_err(refused)?;
    open.told().await;
    let reason = update::stop_reason(end).map_err(error::model_failed)?;
    Ok(acp::PromptResponse::new(reason).into())
}
