//! `task/signal`: sends a signal to a task's processes.

use super::{Result, refused};
use crate::convert::from_wire;
use crate::desk::Desk;
use crate::peer::Answer;
use crate::wire::{Empty, SignalParams};

/// Answers once the task's supervisor has the order. The effect depends on the task.
pub(crate) async fn run(desk: &Desk, params: SignalParams) -> Result<Answer<Empty>> {
    let id = from_wire::id("id", &params.id)?;
    let what = from_wire::send_signal(&params.signal, params.to)?;
    desk.engine().await?.signal(id, what).await.map_err(refused)?;
    Ok(Empty {}.into())
}
