//! `task/spawn`: runs a command in the background.

use serde_json::Value;

use super::{Result, params, refused};
use crate::after::{self, After};
use crate::convert::{from_wire, to_wire};
use crate::progress::Follow;
use crate::session::Server;
use crate::wire::{SpawnParams, TaskResult};

/// Answers once the task is recorded and in its supervisor's hands. Its pushes, and its progress,
/// follow the reply.
pub(crate) async fn run(server: &Server, params: Value) -> Result<TaskResult> {
    let mut params: SpawnParams = params::parse(params)?;
    let token = params.work_done_token.take();
    let wish = from_wire::spawn(params, server.defaults()?)?;
    let spawned = server.background().await?.spawn(wish).await.map_err(refused)?;
    if (token.is_some() || server.shows_progress())
        && let Some(follow) = Follow::new(&spawned.task, token)
    {
        after::leave(After::Follow(follow));
    }
    after::leave(After::Release(spawned.hold));
    Ok(TaskResult { task: to_wire::task(&spawned.task) })
}
