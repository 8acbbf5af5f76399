//! What happened while nobody looked.

use std::fs::File;

use meanwhile_shim::record::{self, Record};
use tokio::time::Instant;

use super::Supervisor;
use crate::background::Role;
use crate::background::convert;
use crate::background::ledger::{Finish, NewTask};
use crate::background::task::{
    Actor, Cause, End, Exit, Outcome, OutputStat, Preview, TaskId, Timestamp,
};
use crate::error::Error;

impl Supervisor {
    /// Finds the tasks of the workspace in the state directory.
    pub(super) fn recover(&mut self) {
        if self.role == Role::Daemon {
            self.home.remove_strays();
            self.home.remove_old_shims();
        }
        self.picture_wanted = true;
        for id in self.home.live_ids().unwrap_or_default() {
            let Some(live) = self.load(id) else { continue };
            live.started = true;
            live.arm_at = Some(Instant::now());
            match self.home.record(id) {
                Ok(record) if record.end.is_some() => self.ended(id),
                Ok(record) => {
                    if let Some(live) = self.tasks.get_mut(&id) {
                        live.started = record.leader_pid != 0;
                        live.leader = (record.leader_pid != 0).then_some(record.leader_pid);
                    }
                    if !self.home.is_supervised(id) {
                        self.suspect(id);
                    }
                }
                // Without a record it is either being settled by somebody else or damaged.
                Err(_) => self.suspect(id),
            }
        }
    }

    /// Ends the tasks that the ledger calls running, and of which there is no trace.
    pub(super) async fn recover_traceless(&mut self) -> Result<(), Error> {
        let workspace = self.workspace.clone();
        let running = self.store.read(move |ledger| ledger.running_ids(Some(&workspace))).await?;
        for id in running {
            if self.tasks.contains_key(&id) || self.home.live(id).exists() {
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

    fn finish_of_done(&self, id: TaskId, task: &NewTask) -> Option<Finish> {
        let file = File::open(self.home.done(id)).ok()?;
        finish(task.clone(), &file, &record::read(&file).ok()?)
    }
}

/// The end of a task as its record tells it; `None` if it has not ended.
pub(super) fn finish(task: NewTask, file: &File, record: &Record) -> Option<Finish> {
    Some(Finish {
        task,
        pid: (record.leader_pid != 0).then_some(record.leader_pid),
        end: convert::end(record.end.as_ref()?),
        output: convert::output(record),
        progress: None,
        survivors: convert::survivors(record),
        preview: convert::preview(file, record),
        matches: Vec::new(),
    })
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
