//! `task/check`: shows one task with the end of its output, or lists tasks. Never changes anything.

use super::{Result, refused};
use crate::convert::{from_wire, to_wire};
use crate::desk::Desk;
use crate::peer::Answer;
use crate::wire::{CheckParams, CheckResult, OneTask, TaskList};

/// Shows one task or lists tasks.
pub(crate) async fn run(desk: &Desk, params: CheckParams) -> Result<Answer<CheckResult>> {
    match params.id {
        Some(id) => {
            let id = from_wire::id("id", &id)?;
            let bytes = from_wire::tail_bytes(params.tail_bytes);
            let engine = desk.engine().await?;
            // Get the task first: if it has ended, the tail read afterwards is complete.
            let task = engine.get(id).await.map_err(refused)?;
            let tail = engine.tail(id, bytes).await.map_err(refused)?;
            let (task, tail) = (desk.shown(&task), to_wire::tail(&tail));
            Ok(CheckResult::One(Box::new(OneTask { task, tail })).into())
        }
        None => {
            let defaults = desk.defaults()?;
            let filter = from_wire::filter(params.state, params.limit, params.steps, defaults)?;
            let tasks = desk.engine().await?.list(filter).await.map_err(refused)?;
            let tasks = tasks.iter().map(|task| desk.shown(task)).collect();
            Ok(CheckResult::Many(TaskList { tasks }).into())
        }
    }
}
