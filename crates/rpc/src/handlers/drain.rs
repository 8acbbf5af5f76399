//! `task/drain`: takes notifications out of a queue, oldest first.

use super::{Result, refused};
use crate::convert::{from_wire, to_wire};
use crate::desk::Desk;
use crate::peer::{After, Answer};
use crate::wire::{DrainParams, DrainResult};

/// Returns the waiting notifications. With `ack: auto` they are acknowledged once the reply is written; if it is not
/// written, they can be drained again.
pub(crate) async fn run(desk: &Desk, params: DrainParams) -> Result<Answer<DrainResult>> {
    let (queue, max, ack) = from_wire::drain(params, desk.defaults()?)?;
    let drained = desk.engine().await?.drain(queue, max, ack).await.map_err(refused)?;
    let result = to_wire::drained(&drained);
    let after = drained.lease.map(Box::new).map(After::Ack).into_iter().collect();
    Ok(Answer { result, after })
}
