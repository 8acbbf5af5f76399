//! `task/ack`: acknowledges what was drained with `ack: manual`.

use serde_json::Value;

use super::{Result, params, refused};
use crate::convert::from_wire;
use crate::session::Server;
use crate::wire::{AckParams, AckResult};

/// Acknowledges every notification up to a number. Doing it twice acknowledges nothing more.
pub(crate) async fn run(server: &Server, params: Value) -> Result<AckResult> {
    let params: AckParams = params::parse(params)?;
    let through = from_wire::integer("through", params.through)?;
    let queue = from_wire::queue(params.queue, server.defaults()?)?;
    let acked = server.background().await?.ack(queue, through).await.map_err(refused)?;
    Ok(AckResult { acked })
}
