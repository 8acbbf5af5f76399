//! `session/trace`: what a timeline draws, of a session that is open or not.

use meanwhile_core::agent::session::Session;
use serde_json::Value;

use super::{Result, refused};
use crate::convert::trace;
use crate::handlers::params;
use crate::session::Server;
use crate::wire::{TraceParams, TraceResult};

/// Answers with the facts after one, and every task of the session as it stands.
pub(crate) async fn run(server: &Server, params: Value) -> Result<TraceResult> {
    let params: TraceParams = params::parse(params)?;
    let background = server.background().await?;
    let found = Session::trace(background, &params.session_id, params.after.unwrap_or(0));
    Ok(trace::result(params.session_id.clone(), found.await.map_err(refused)?))
}
