//! `task/stop`: ends a task's whole tree.

use meanwhile_core::background::task::TaskId;
use serde_json::Value;

use super::{Result, params, refused};
use crate::convert::{from_wire, to_wire};
use crate::session::Server;
use crate::wire::{StopParams, TaskResult};

/// Answers when the tree is gone. Cancelling the request ends the waiting, not the stop.
pub(crate) async fn run(server: &Server, params: Value) -> Result<TaskResult> {
    let params: StopParams = params::parse(params)?;
    let id = from_wire::id("id", &params.id)?;
    let how = from_wire::stop(params.signal.as_deref(), params.grace_ms, "stopped by the client")?;
    let task = server.background().await?.stop(id, how).await.map_err(refused)?;
    Ok(TaskResult { task: to_wire::task(&task) })
}

/// Stops a task as `task/stop` does where it is told no more than the task.
pub(crate) async fn whole(server: &Server, id: TaskId, why: &str) -> Result<()> {
    let how = from_wire::stop(None, None, why)?;
    server.background().await?.stop(id, how).await.map_err(refused).map(drop)
}
