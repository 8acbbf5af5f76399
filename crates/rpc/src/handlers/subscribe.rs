//! `task/subscribe`: begins `task/output` for a task.

use serde_json::Value;

use super::{Result, params, refused};
use crate::after::{self, After};
use crate::convert::from_wire;
use crate::session::Server;
use crate::wire::{Empty, SubscribeParams};

/// Begins at `offset`, or with what is written from now on. The reply comes before the first push.
pub(crate) async fn run(server: &Server, params: Value) -> Result<Empty> {
    let params: SubscribeParams = params::parse(params)?;
    let id = from_wire::id("id", &params.id)?;
    let offset = params.offset.map(|offset| from_wire::integer("offset", offset)).transpose()?;
    let background = server.background().await?;
    let held = server.output_gate().read_owned().await;
    background.subscribe(id, offset).await.map_err(refused)?;
    after::leave(After::Flow(held));
    Ok(Empty {})
}
