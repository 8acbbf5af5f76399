//! `task/restart`: starts a task again with its original parameters.

use super::{Result, refused, spawn};
use crate::convert::from_wire;
use crate::desk::Desk;
use crate::peer::Answer;
use crate::wire::{RestartParams, TaskResult};

/// Answers like `task/spawn`, once the running task has ended.
pub(crate) async fn run(desk: &Desk, params: RestartParams) -> Result<Answer<TaskResult>> {
    let id = from_wire::id("id", &params.id)?;
    let env = from_wire::environment(params.env)?;
    let how = from_wire::stop(None, params.grace_ms, "restarted by the client")?;
    let spawned = desk.engine().await?.restart(id, env, how).await.map_err(refused)?;
    Ok(spawn::answer(desk, spawned, None))
}
