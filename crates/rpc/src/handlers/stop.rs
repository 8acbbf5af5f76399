//! `task/stop`: stops a task with its whole process tree.

use super::{Result, refused};
use crate::convert::from_wire;
use crate::desk::Desk;
use crate::peer::Answer;
use crate::wire::{StopParams, TaskResult};
use meanwhile_core::background::task::TaskId;

/// Answers when the process tree has exited. Cancelling the request ends only the waiting.
pub(crate) async fn run(desk: &Desk, params: StopParams) -> Result<Answer<TaskResult>> {
    let id = from_wire::id("id", &params.id)?;
    let how = from_wire::stop(params.signal.as_deref(), params.grace_ms, "stopped by the client")?;
    let task = desk.engine().await?.stop(id, how).await.map_err(refused)?;
    Ok(TaskResult { task: desk.shown(&task) }.into())
}

/// Stops a task like a `task/stop` without options.
pub(crate) async fn whole(desk: &Desk, id: TaskId, why: &str) -> Result<()> {
    let how = from_wire::stop(None, None, why)?;
    desk.engine().await?.stop(id, how).await.map_err(refused).map(drop)
}
