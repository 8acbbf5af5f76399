//! `task/spawn`: runs a command in the background.

use super::{Result, refused};
use crate::convert::from_wire;
use crate::desk::Desk;
use crate::peer::{After, Answer, Follow};
use crate::wire::{ProgressToken, SpawnParams, TaskResult};
use meanwhile_core::background::Spawned;

/// Answers once the task is recorded and has a supervisor. The pushes about it, and its progress, follow the reply.
pub(crate) async fn run(desk: &Desk, mut params: SpawnParams) -> Result<Answer<TaskResult>> {
    let token = params.work_done_token.take();
    let wish = from_wire::spawn(params, desk.defaults()?)?;
    let spawned = desk.engine().await?.spawn(wish).await.map_err(refused)?;
    Ok(answer(desk, spawned, token))
}

/// The answer with a task, and the actions that follow it.
pub(super) fn answer(
    desk: &Desk,
    spawned: Spawned,
    token: Option<ProgressToken>,
) -> Answer<TaskResult> {
    let mut after = Vec::new();
    if token.is_some() || desk.shows_progress() {
        after.extend(Follow::new(&spawned.task, token).map(After::Follow));
    }
    after.push(After::Release(spawned.hold));
    Answer { result: TaskResult { task: desk.shown(&spawned.task) }, after }
}
