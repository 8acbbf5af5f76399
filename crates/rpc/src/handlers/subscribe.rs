//! `task/subscribe`: begins `task/output` for a task.

use serde_json::Value;

use super::{Result, params, refused};
use crate::convert::from_wire;
use crate::session::Server;
use crate::wire::{Empty, SubscribeParams};

/// Begins at `offset`, or with what is written from now on.
pub(crate) async fn run(server: &Server, params: Value) -> Result<Empty> {
    let params: SubscribeParams = params::parse(params)?;
    let id = from_wire::id("id", &params.id)?;
    let offset = params.offset.map(|offset| from_wire::integer("offset", offset)).transpose()?;
    server.background().await?.subscribe(id, offset).await.map_err(refused)?;
    Ok(Empty {})
}
