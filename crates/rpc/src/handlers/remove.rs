//! `task/remove`: removes finished tasks and their output.

use super::{Result, refused};
use crate::convert::from_wire;
use crate::desk::Desk;
use crate::peer::Answer;
use crate::wire::{RemoveParams, RemoveResult};

/// Returns how many tasks were removed; running tasks are kept.
pub(crate) async fn run(desk: &Desk, params: RemoveParams) -> Result<Answer<RemoveResult>> {
    let what = from_wire::remove(params)?;
    let removed = desk.engine().await?.remove(what).await.map_err(refused)?;
    Ok(RemoveResult { removed }.into())
}
