//! Spawning: from a wish to a shim that has it.

use std::io;

use meanwhile_shim::record::Exit;
use meanwhile_shim::spec::Spec;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Supervisor;
use crate::background::convert;
use crate::background::events::Hold;
use crate::background::home::io_error;
use crate::background::live::{Live, Stage};
use crate::background::task::TaskId;
use crate::background::{Event, Spawned};
use crate::error::{Error, Limit, StoreFaultKind};
use crate::limits::{self, RUNNING_MAX};

/// Idle shims a daemon keeps. One is used while the next starts.
pub const POOL_MIN: usize = 2;
/// Idle shims kept while spawns come in bursts.
const POOL_MAX: usize = 8;
/// Shims that start at the same time: more would only wait for the processors.
const STARTING_MAX: usize = 4;
/// How long after a spawn the pool is filled up again, so that the new task and the reply to its
/// spawner have the processors first.
const REFILL_DELAY: std::time::Duration = std::time::Duration::from_millis(1);

/// A spawn that waits for a shim.
pub(super) struct Pending {
    spec: Box<Spec>,
    reply: oneshot::Sender<Result<Spawned, Error>>,
}

impl Pending {
    pub(super) fn refuse(self, error: Error) {
        let _ = self.reply.send(Err(error));
    }
}

impl Supervisor {
    pub(super) fn spawn(
        &mut self,
        spec: Box<Spec>,
        reply: oneshot::Sender<Result<Spawned, Error>>,
    ) {
        let pending = Pending { spec, reply };
        if let Some(error) = self.refusal() {
            return pending.refuse(error);
        }
        self.spawns.push_back(pending);
        self.hand_over_all();
    }

    fn refusal(&self) -> Option<Error> {
        if let Some(fault) = &self.degraded {
            return Some(Error::StoreUnavailable(fault.clone()));
        }
        if let Some(free) = self.home.free_bytes().filter(|free| *free < limits::FREE_MIN) {
            let reason = format!(
                "only {free} bytes are free in the state directory `{}`, and a task wants {}",
                self.home.root().display(),
                limits::FREE_MIN
            );
            return Some(Error::unavailable(StoreFaultKind::LittleSpace, reason));
        }
        if self.over_quota {
            let message = format!(
                "the store takes more than its quota of {} bytes, all of it running or recent \
                 tasks",
                self.settings.quota
            );
            return Some(Error::LimitReached { limit: Limit::StoreQuota, message });
        }
        let running = self.tasks.values().filter(|live| !live.has_ended()).count();
        (running + self.spawns.len() >= RUNNING_MAX).then(|| Error::LimitReached {
            limit: Limit::RunningTasks,
            message: format!("{RUNNING_MAX} tasks run in this workspace"),
        })
    }

    fn hand_over_all(&mut self) {
        while let Some(mut pending) = self.spawns.pop_front() {
            if pending.reply.is_closed() {
                continue;
            }
            let Some(result) = self.pool.hand_over(&mut pending.spec) else {
                self.spawns.push_front(pending);
                return;
            };
            match result {
                Ok(handed) => self.handed(pending, handed.id, handed.shim),
                Err(error) => pending.refuse(io_error(self.home.root(), &error)),
            }
        }
    }

    fn handed(&mut self, pending: Pending, id: TaskId, shim: u32) {
        self.refill_at = Some(Instant::now() + REFILL_DELAY);
        let facts = convert::facts(id, &pending.spec);
        self.batch.insert.push(facts.clone());
        self.picture_wanted = true;
        if pending.spec.checked {
            let live = Live::new(facts, Stage::Checked(pending.reply), Some(shim));
            self.tasks.insert(id, live);
            return;
        }
        let hold = Hold::new(id, self.signals.clone());
        let live = Live::new(facts, Stage::Running, Some(shim));
        let task = live.facts.to_task();
        self.tasks.insert(id, live);
        let _ = pending.reply.send(Ok(Spawned { task, hold }));
    }

    /// Keeps shims ready, and gives them to spawns that wait.
    pub(super) fn serve_spawns(&mut self, now: Instant) {
        self.hand_over_all();
        if let Some(error) = self.pool_failure.take() {
            return self.refuse_all(&error, now);
        }
        let (ready, starting) = self.pool.level();
        let wanted = self.spawns.len();
        if wanted > starting {
            self.pool_target = (self.pool_target * 2).clamp(POOL_MIN, POOL_MAX);
        }
        let due = self.refill_at.is_some_and(|at| now >= at);
        if due {
            self.refill_at = None;
        }
        let target = match self.role {
            crate::background::Role::Daemon if due => self.pool_target.max(wanted),
            crate::background::Role::Daemon | crate::background::Role::Visitor => wanted,
        };
        for _ in (ready + starting)..target.min(ready + STARTING_MAX) {
            if let Err(error) = self.pool.start_one() {
                return self.refuse_all(&error, now);
            }
        }
        let (ready, starting) = self.pool.level();
        if due && ready + starting < target {
            self.refill_at = Some(now + REFILL_DELAY);
        }
    }

    /// A shortage: whoever waits for a shim is told, nobody waits for it to pass.
    fn refuse_all(&mut self, error: &io::Error, now: Instant) {
        for pending in std::mem::take(&mut self.spawns) {
            pending.refuse(shim_error(error));
        }
        self.refill_at = Some(now + super::SWEEP);
    }

    /// An idle shim died, or one that was starting; with what it was short of.
    pub(super) fn pool_reaped(&mut self, status: i32) {
        let code = if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { 0 };
        if code != 0 {
            self.pool_failure = Some(io::Error::from_raw_os_error(code));
        }
        self.refill_at.get_or_insert_with(|| Instant::now() + super::SWEEP);
    }

    /// The leader of a task runs.
    pub(super) fn started(&mut self, id: TaskId) {
        let home = self.home.clone();
        let Ok(record) = home.record(id) else { return };
        let signals = self.signals.clone();
        let Some(live) = self.load(id) else { return };
        live.leader = Some(record.leader_pid);
        if std::mem::replace(&mut live.started, true) {
            return;
        }
        let task = live.task(&home);
        live.arm_at = Some(Instant::now() + live.round());
        if let Stage::Checked(_) = live.stage
            && let Stage::Checked(reply) = std::mem::replace(&mut live.stage, Stage::Running)
        {
            let hold = Hold::new(id, signals);
            let _ = reply.send(Ok(Spawned { task: task.clone(), hold }));
        }
        self.batch.started.push((id, record.leader_pid));
        self.picture_wanted = true;
        self.tell_event(id, Event::Started(task));
    }

    /// Whether a task's program could not be executed, which its spawner waits to hear.
    pub(super) fn refuse_unexecuted(&mut self, id: TaskId, exit: Exit) -> bool {
        let Exit::NotStarted(errno) = exit else { return false };
        if !self.home.spec(id).is_ok_and(|spec| spec.checked) {
            return false;
        }
        // There was no task. Whoever comes upon its folder does the same.
        let live = self.tasks.remove(&id);
        self.batch.insert.retain(|new| new.id != id);
        if let Some(Live { stage: Stage::Checked(reply), facts, .. }) = live {
            let error = match errno {
                libc::EAGAIN | libc::ENOMEM | libc::EMFILE | libc::ENFILE => {
                    shim_error(&io::Error::from_raw_os_error(errno))
                }
                _ => Error::SpawnFailed { command: facts.command, path: None, errno },
            };
            let _ = reply.send(Err(error));
        }
        self.home.delete_refused(id);
        let write = self.store.write(move |ledger| ledger.forget(id));
        drop(write);
        true
    }
}

/// What a shim was short of when it started.
fn shim_error(error: &io::Error) -> Error {
    match error.raw_os_error() {
        Some(libc::EAGAIN | libc::ENOMEM) => Error::LimitReached {
            limit: Limit::Processes,
            message: format!("no process can be started ({error})"),
        },
        _ => io_error(std::path::Path::new("the task's folder"), error),
    }
}
