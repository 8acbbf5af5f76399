//! `task/read`: returns a piece of a task's output. Takes nothing out of a queue.

use super::{Result, refused};
use crate::convert::{from_wire, to_wire};
use crate::desk::Desk;
use crate::peer::Answer;
use crate::wire::{Encoding, ReadParams, ReadResult};

/// Returns the output that is there now; does not wait for more.
pub(crate) async fn run(desk: &Desk, params: ReadParams) -> Result<Answer<ReadResult>> {
    let id = from_wire::id("id", &params.id)?;
    let offset = from_wire::integer("offset", params.offset.unwrap_or(0))?;
    let limit = from_wire::read_limit(params.limit)?;
    let chunk = desk.engine().await?.read(id, offset, limit).await.map_err(refused)?;
    Ok(to_wire::read(chunk, params.encoding.unwrap_or(Encoding::Utf8)).into())
}
