//! `session/trace`: what a timeline draws, of a session that is open or not.

use meanwhile_core::agent::session::Session;

use super::{Result, refused};
use crate::convert::trace;
use crate::desk::Desk;
use crate::peer::Answer;
use crate::wire::{TraceParams, TraceResult};

/// Answers with the facts after one, and every task of the session as it stands.
pub(crate) async fn run(desk: &Desk, params: TraceParams) -> Result<Answer<TraceResult>> {
    let engine = desk.engine().await?;
    let found = Session::trace(engine, &params.session_id, params.after.unwrap_or(0));
    Ok(trace::result(params.session_id.clone(), found.await.map_err(refused)?).into())
}
