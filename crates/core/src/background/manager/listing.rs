//! Lists the tasks of a workspace: live ones from the supervisor, the rest from the ledger.

use super::Background;
use crate::background::demand::Demand;
use crate::background::live::server::PROOF;
use crate::background::ports::ephemeral;
use crate::background::task::{State, Task, TaskId};
use crate::background::{Filter, Look, StateFilter};
use crate::error::Error;
use crate::limits;

impl Background {
    /// Tasks of the workspace: running ones first, then newest first.
    pub async fn list(&self, filter: Filter) -> Result<Vec<Task>, Error> {
        let limit = filter.limit.unwrap_or(limits::LIST_LIMIT);
        let wanted = |task: &Task| match (filter.state, &task.state) {
            _ if task.is_step && !filter.steps => false,
            (None, _)
            | (Some(StateFilter::Queued), State::Queued(_))
            | (Some(StateFilter::Running), State::Running)
            | (Some(StateFilter::NotStopping), State::Queued(_) | State::Running)
            | (Some(StateFilter::Stopping), State::Stopping { .. }) => true,
            (Some(StateFilter::Ended(outcome)), State::Ended(end)) => end.outcome == outcome,
            (Some(_), _) => false,
        };
        let mut live = self.ask(Demand::List).await?;
        self.look_at_steps(&mut live).await?;
        let workspace = self.workspace.clone();
        let Filter { state, steps, .. } = filter;
        let ended = self.store.read(move |l| l.tasks(&workspace, state, limit, steps)).await?;
        let ids: std::collections::HashSet<TaskId> = live.iter().map(|task| task.id).collect();
        // The supervisor's data on live tasks is newer than their rows. Rows that are neither ended nor live
        // belong to tasks that ended between the two queries.
        let mut tasks: Vec<Task> = live.into_iter().filter(wanted).collect();
        let ended = ended.into_iter().filter(|task| !ids.contains(&task.id));
        tasks.extend(ended.map(|task| self.with_living(task)));
        tasks.truncate(limit as usize);
        self.forecast(&mut tasks).await;
        Ok(tasks)
    }

    /// Marks live steps as tasks if another process has promoted them since the supervisor last checked.
    pub(super) async fn look_at_steps(&self, live: &mut [Task]) -> Result<(), Error> {
        let steps = live.iter().filter(|task| task.is_step).map(|task| task.id);
        let mut promoted: Vec<TaskId> = steps.collect();
        if promoted.is_empty() {
            return Ok(());
        }
        let is_alive = self.liveness();
        let read = self.store.read(move |ledger| {
            ledger.keep_promoted(&mut promoted, &is_alive)?;
            Ok(promoted)
        });
        let promoted = read.await?;
        for task in live.iter_mut().filter(|task| promoted.contains(&task.id)) {
            task.is_step = false;
        }
        Ok(())
    }

    /// Like [`Background::list`], for a caller that can wait a moment for the state of servers.
    pub async fn list_after(&self, filter: Filter, look: Look) -> Result<Vec<Task>, Error> {
        let tasks = self.list(filter).await?;
        // A port that the kernel chose makes no task ready.
        let free = ephemeral();
        let may_stand = |task: &Task| {
            !task.serving.ready && task.serving.ports.iter().any(|port| !free.contains(port))
        };
        if look == Look::Twice && tasks.iter().any(may_stand) {
            tokio::time::sleep(PROOF).await;
            return self.list(filter).await;
        }
        Ok(tasks)
    }
}
