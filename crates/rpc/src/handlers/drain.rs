//! `task/drain`: takes notifications out of a queue, oldest first.

use serde_json::Value;

use super::{Result, params, refused};
use crate::after::{self, After};
use crate::convert::{from_wire, to_wire};
use crate::session::Server;
use crate::wire::{DrainParams, DrainResult};

/// Answers with what waits. With `ack: auto` it is acknowledged once the reply is written; a reply
/// that does not get that far leaves it to be drained again.
pub(crate) async fn run(server: &Server, params: Value) -> Result<DrainResult> {
    let params: DrainParams = params::parse(params)?;
    let (queue, max, ack) = from_wire::drain(params, server.defaults()?)?;
    let drained = server.background().await?.drain(queue, max, ack).await.map_err(refused)?;
    let result = to_wire::drained(&drained);
    if let Some(lease) = drained.lease {
        after::leave(After::Ack(lease));
    }
    Ok(result)
}
