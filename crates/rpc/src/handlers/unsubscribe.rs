//! `task/unsubscribe`: ends `task/output` for a task.

use super::{Result, refused};
use crate::convert::from_wire;
use crate::desk::Desk;
use crate::peer::Answer;
use crate::wire::{Empty, UnsubscribeParams};

/// Ends the subscription; without one, this has no effect.
pub(crate) async fn run(desk: &Desk, params: UnsubscribeParams) -> Result<Answer<Empty>> {
    let id = from_wire::id("id", &params.id)?;
    desk.engine().await?.unsubscribe(id).await.map_err(refused)?;
    Ok(Empty {}.into())
}
