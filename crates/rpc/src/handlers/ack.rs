//! `task/ack`: acknowledges notifications that were drained with `ack: manual`.

use super::{Result, refused};
use crate::convert::from_wire;
use crate::desk::Desk;
use crate::peer::Answer;
use crate::wire::{AckParams, AckResult};

/// Acknowledges every notification up to a number. Repeating it has no effect.
pub(crate) async fn run(desk: &Desk, params: AckParams) -> Result<Answer<AckResult>> {
    let through = from_wire::integer("through", params.through)?;
    let queue = from_wire::queue(params.queue, desk.defaults()?)?;
    let acked = desk.engine().await?.ack(queue, through).await.map_err(refused)?;
    Ok(AckResult { acked }.into())
}
