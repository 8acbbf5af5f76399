//! `task/timeline`: the tasks of the workspace as lanes.

mod recording;

use meanwhile_core::agent::story::Timeline;
use meanwhile_core::background::Filter;

use super::{Result, refused};
use crate::convert::timeline;
use crate::desk::Desk;
use crate::peer::Answer;
use crate::wire::{self, TimelineParams};

/// The maximum number of tasks to read: more than are shown, because all running ones are shown.
const TASKS: u32 = 500;

/// Returns the newest tasks and all running ones; a recording of the demo if there are none.
pub(crate) async fn run(desk: &Desk, _params: TimelineParams) -> Result<Answer<wire::Timeline>> {
    let filter = Filter { state: None, limit: Some(TASKS), steps: false };
    let tasks = desk.engine().await?.list(filter).await.map_err(refused)?;
    if tasks.is_empty() {
        let recorded = timeline::whole(&recording::timeline());
        return Ok(wire::Timeline { recorded: true, ..recorded }.into());
    }
    Ok(timeline::whole(&Timeline::of_tasks(&tasks)).into())
}
