//! `task/subscribe`: starts `task/output` for a task.

use super::{Result, refused};
use crate::convert::from_wire;
use crate::desk::Desk;
use crate::peer::{After, Answer};
use crate::wire::{Empty, SubscribeParams};

/// Starts at `offset`, or at the current end of the output. The reply comes before the first push.
pub(crate) async fn run(desk: &Desk, params: SubscribeParams) -> Result<Answer<Empty>> {
    let id = from_wire::id("id", &params.id)?;
    let offset = params.offset.map(|offset| from_wire::integer("offset", offset)).transpose()?;
    let engine = desk.engine().await?;
    let held = desk.hold_output().await;
    engine.subscribe(id, offset).await.map_err(refused)?;
    Ok(Answer { result: Empty {}, after: vec![After::Flow(held)] })
}
