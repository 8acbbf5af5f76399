//! `task/unsubscribe`: ends `task/output` for a task.

use serde_json::Value;

use super::{Result, params, refused};
use crate::convert::from_wire;
use crate::session::Server;
use crate::wire::{Empty, UnsubscribeParams};

/// Ends it; without a subscription there is nothing to end, and that is fine.
pub(crate) async fn run(server: &Server, params: Value) -> Result<Empty> {
    let params: UnsubscribeParams = params::parse(params)?;
    let id = from_wire::id("id", &params.id)?;
    server.background().await?.unsubscribe(id).await.map_err(refused)?;
    Ok(Empty {})
}
