//! Recovers what happened while no daemon was running.

use super::Supervisor;
use crate::background::executor::{Archive, Request};
use crate::background::ledger::{Finish, NewTask};
use crate::background::store::Store;
use crate::background::task::{
    Actor, Cause, End, Exit, Outcome, OutputStat, Preview, TaskId, Timestamp,
};
use crate::error::Error;

impl Supervisor {
    /// Finds the live tasks of the workspace.
    pub(super) fn recover(&mut self) {
        self.picture_wanted = true;
        self.executor.ask(Request::List(None));
        self.take_reports();
    }

    /// Records the end of tasks that the ledger lists as running, but that have no folder.
    pub(super) async fn recover_traceless(&mut self) -> Result<(), Error> {
        let workspace = self.workspace.clone();
        let running = self.store.read(move |ledger| ledger.running_ids(Some(&workspace))).await?;
        for id in running {
            if self.tasks.contains_key(&id) || self.archive.is_under_way(id) {
                continue;
            }
            let Some(task) = self.store.read(move |ledger| ledger.facts(id)).await? else {
                continue;
            };
            let finish = self.finish_of_done(id, &task).unwrap_or_else(|| traceless(task));
            self.batch.finishes.push(finish);
        }
        Ok(())
    }

    /// Corrects tasks whose files still call them steps.
    pub(super) async fn recover_promoted(&mut self) -> Result<(), Error> {
        for id in promoted(self.store.clone(), self.archive.clone(), self.steps()).await? {
            if let Some(live) = self.tasks.get_mut(&id) {
                live.facts.is_step = false;
            }
        }
        Ok(())
    }

    /// The live steps of agents' turns.
    pub(super) fn steps(&self) -> Vec<TaskId> {
        let live = self.tasks.values().filter(|live| live.facts.is_step);
        live.map(|live| live.facts.id).collect()
    }

    fn finish_of_done(&self, id: TaskId, task: &NewTask) -> Option<Finish> {
        self.archive.read(id).ok()?.finish(task.clone())
    }
}

/// Those of the steps that are tasks by now. A step whose agent has died becomes one permanently: it is written
/// to the ledger first, because the next holder of the session would make it look like a step again.
pub(super) async fn promoted(
    store: Store,
    archive: Archive,
    mut steps: Vec<TaskId>,
) -> Result<Vec<TaskId>, Error> {
    if steps.is_empty() {
        return Ok(steps);
    }
    let read = store.read(move |ledger| {
        ledger.keep_promoted(&mut steps, &|holder| archive.is_alive(holder))?;
        Ok(steps)
    });
    let steps = read.await?;
    if steps.is_empty() {
        return Ok(steps);
    }
    let written = store.write(move |ledger| {
        steps.iter().try_for_each(|id| ledger.promote(*id))?;
        Ok(steps)
    });
    // If the write fails, they remain steps until the next check.
    Ok(written.await.unwrap_or_default())
}

/// The end of a task whose folder is gone.
pub(super) fn traceless(task: NewTask) -> Finish {
    let message = "its folder is gone from the state directory".to_owned();
    let now = Timestamp::now();
    Finish {
        end: End {
            outcome: Outcome::Lost,
            exit: Exit::Unknown,
            cause: Some(Cause { actor: Actor::Daemon, message }),
            at: now,
            duration: now.since(task.created_at),
        },
        task,
        pid: None,
        output: OutputStat::default(),
        progress: None,
        survivors: Vec::new(),
        preview: Preview::default(),
        matches: Vec::new(),
        job: None,
    }
}
