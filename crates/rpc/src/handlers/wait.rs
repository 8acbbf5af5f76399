//! `task/wait`: waits until tasks end. Takes nothing out of a queue.

use super::{Result, refused};
use crate::convert::from_wire;
use crate::desk::Desk;
use crate::peer::Answer;
use crate::wire::{WaitParams, WaitResult};

/// Answers when the tasks have ended or the timeout has passed; cancelling it changes nothing.
pub(crate) async fn run(desk: &Desk, params: WaitParams) -> Result<Answer<WaitResult>> {
    let (which, mode, timeout) = from_wire::wait(params, desk.defaults()?)?;
    let engine = desk.engine().await?;
    let waited = engine.wait(which, mode, timeout).await.map_err(refused)?;
    let tasks = waited.tasks.iter().map(|task| desk.shown(task)).collect();
    Ok(WaitResult { tasks, timed_out: waited.timed_out }.into())
}
