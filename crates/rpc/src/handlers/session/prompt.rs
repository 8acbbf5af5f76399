//! `session/prompt`: says something, and waits for the turn it makes.

use serde_json::Value;

use super::{Result, open, refused};
use crate::convert::{error, prompt, update};
use crate::handlers::params;
use crate::session::Server;
use crate::wire::acp;

/// Answers when the turn is over and everything it said is on its way. Cancelling the request ends
/// the waiting, not the turn.
pub(crate) async fn run(server: &Server, params: Value) -> Result<acp::PromptResponse> {
    let params: acp::PromptRequest = params::parse(params)?;
    let text = prompt::text(params.prompt)?;
    let open = open(server, &params.session_id)?;
    let end = open.session.prompt(text).await.map_err(refused)?;
    open.told().await;
    let reason = update::stop_reason(end).map_err(error::model_failed)?;
    Ok(acp::PromptResponse::new(reason))
}
