//! What happened while no daemon looked.

use super::Supervisor;
use crate::background::executor::{Archive, Request};
use crate::background::ledger::{Finish, NewTask};
use crate::background::store::Store;
use crate::background::task::{
    Actor, Cause, End, Exit, Outcome, OutputStat, Preview, TaskId, Timestamp,
};
use crate::error::Error;

impl Supervisor {
    /// Finds the tasks of the workspace that are under way.
    pub(super) fn recover(&mut self) {
        self.picture_wanted = true;
        self.executor.ask(Request::List(None));
        self.take_reports();
    }

    /// Ends the tasks that the ledger calls running, and of which there is no trace.
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

    /// Tasks whose files still call them steps.
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

/// Those of the steps that are tasks by now. A step whose agent has died is one from now on: the ledger says so
/// before anything else does, as the next holder of the session would make it seem a step again.
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
    // What cannot be written now stays a step until the next look.
    Ok(written.await.unwrap_or_default())
}

/// The end of a task that left no trace.
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
    }
}
