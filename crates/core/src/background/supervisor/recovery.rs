//! What happened while no daemon looked.

use super::Supervisor;
use crate::background::executor::Request;
use crate::background::ledger::{Finish, Ledger, NewTask};
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

    /// Tasks whose files still call them steps. One whose agent has died is a task from now on.
    pub(super) async fn recover_promoted(&mut self) -> Result<(), Error> {
        let mut promoted = self.steps();
        if promoted.is_empty() {
            return Ok(());
        }
        let archive = self.archive.clone();
        let read = self.store.read(move |ledger| {
            ledger.keep_promoted(&mut promoted, &|holder| archive.is_alive(holder))?;
            Ok(promoted)
        });
        let promoted = read.await?;
        for &id in &promoted {
            if let Some(live) = self.tasks.get_mut(&id) {
                live.facts.is_step = false;
            }
        }
        if !promoted.is_empty() {
            // Where it cannot be written now, the next process that opens the workspace does it.
            let write = move |ledger: &mut Ledger| {
                promoted.into_iter().try_for_each(|id| ledger.promote(id))
            };
            let _ = self.store.write(write).await;
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
