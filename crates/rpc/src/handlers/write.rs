//! `task/write`: writes to a task's standard input.

use serde_json::Value;

use super::{Result, params, refused};
use crate::convert::from_wire;
use crate::session::Server;
use crate::wire::{Empty, WriteParams};

/// Answers when the task's pipe has taken all of it, which a task that does not read delays.
pub(crate) async fn run(server: &Server, params: Value) -> Result<Empty> {
    let params: WriteParams = params::parse(params)?;
    let id = from_wire::id("id", &params.id)?;
    let data = from_wire::data(params.data, params.encoding)?;
    let eof = params.eof.unwrap_or(false);
    server.background().await?.write(id, data, eof).await.map_err(refused)?;
    Ok(Empty {})
}
