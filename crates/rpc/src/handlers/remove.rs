//! `task/remove`: removes finished tasks and their output.

use serde_json::Value;

use super::{Result, params, refused};
use crate::convert::from_wire;
use crate::session::Server;
use crate::wire::{RemoveParams, RemoveResult};

/// Answers with how many were removed; a running task never is.
pub(crate) async fn run(server: &Server, params: Value) -> Result<RemoveResult> {
    let params: RemoveParams = params::parse(params)?;
    let what = from_wire::remove(params)?;
    let removed = server.background().await?.remove(what).await.map_err(refused)?;
    Ok(RemoveResult { removed })
}
