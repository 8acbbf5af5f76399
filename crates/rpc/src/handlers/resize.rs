//! `task/resize`: changes the size of a task's terminal.

use super::{Result, refused};
use crate::convert::from_wire;
use crate::desk::Desk;
use crate::peer::Answer;
use crate::wire::{Empty, ResizeParams};

/// Answers once the task's supervisor has the order; the task is notified by SIGWINCH.
pub(crate) async fn run(desk: &Desk, params: ResizeParams) -> Result<Answer<Empty>> {
    let id = from_wire::id("id", &params.id)?;
    let size = from_wire::size(params.rows, params.cols)?;
    desk.engine().await?.resize(id, size).await.map_err(refused)?;
    Ok(Empty {}.into())
}
