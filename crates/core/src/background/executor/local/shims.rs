//! Starting tasks: the shims that are kept ready, and the tasks that wait for a shim.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use meanwhile_shim::layout;
use meanwhile_shim::spec::Spec;
use nix::sys::resource::{Resource, getrlimit};
use tokio::time::Instant;

use super::{Local, Origin, SWEEP, Start};
use crate::background::Role;
use crate::background::convert;
use crate::background::executor::{Report, What};
use crate::background::home::{Home, io_error};
use crate::background::pool::Pool;
use crate::background::task::TaskId;
use crate::error::{Error, Limit, StoreFaultKind};
use crate::limits;

/// Minimum number of idle shims that a daemon keeps. One is used while the next one starts.
const POOL_MIN: usize = 2;
/// Maximum number of idle shims, kept while spawns come in bursts.
const POOL_MAX: usize = 8;
/// Shims that start at the same time: more would only compete for the processors.
const STARTING_MAX: usize = 4;
/// Shims that may be killed in a row before they are ready, until waiting starts are refused.
const DEATHS_MAX: u32 = 3;
/// Delay between a spawn and refilling the pool, so that the new task and the reply to its spawner get the
/// processors first.
const REFILL_DELAY: Duration = Duration::from_millis(1);
/// Descriptors that this process holds for an idle shim: its spec, its orders and its record.
const IDLE_DESCRIPTORS: usize = 3;
/// Descriptors that idle shims must leave free for the store, tasks' files and requests: a read of the ledger
/// opens two, the reply to a check one or two, and a dozen may run at once.
const DESCRIPTORS_KEPT: usize = 24;

/// Shims for future tasks, and the starts that wait for one.
#[derive(Debug)]
pub(super) struct Shims {
    pub(super) pool: Pool,
    role: Role,
    target: usize,
    /// Why the last shim could not start.
    failure: Option<io::Error>,
    /// Shims that died in a row before they were ready.
    deaths: u32,
    refill_at: Option<Instant>,
    waiting: VecDeque<(TaskId, Box<Spec>)>,
}

impl Shims {
    pub(super) fn new(home: Home, bell: String, role: Role) -> io::Result<Self> {
        let (target, refill_at) = match role {
            Role::Daemon => (POOL_MIN, Some(Instant::now())),
            Role::Visitor => (0, None),
        };
        let pool = Pool::new(home, bell)?;
        Ok(Self {
            pool,
            role,
            target,
            failure: None,
            deaths: 0,
            refill_at,
            waiting: VecDeque::new(),
        })
    }

    /// A shim has reported that it is ready.
    pub(super) fn ready(&mut self, id: TaskId) {
        self.deaths = 0;
        if let Err(error) = self.pool.ready(id) {
            self.failure = Some(error);
        }
    }

    /// An idle shim has died or could not start; `error` says what it lacked.
    pub(super) fn failed(&mut self, error: Option<io::Error>) {
        self.deaths += 1;
        let dead = || {
            let message =
                format!("{DEATHS_MAX} supervisors were killed as soon as they were started");
            (self.deaths >= DEATHS_MAX).then(|| io::Error::other(message))
        };
        self.failure = error.or(self.failure.take()).or_else(dead);
        self.refill_at.get_or_insert_with(|| Instant::now() + SWEEP);
    }

    /// The keeper has exited.
    pub(super) fn keeper_gone(&mut self, worked: bool) {
        self.refill_at = Some(Instant::now() + SWEEP);
        if !worked {
            let error = io::Error::other("the keeper ended as soon as it was started");
            self.failure.get_or_insert(error);
        }
    }

    /// A child of this process has exited.
    pub(super) fn reap(&mut self) {
        self.failure = self.pool.reap().or(self.failure.take());
    }

    /// Drops a waiting start. Returns whether there was one.
    pub(super) fn withdraw(&mut self, id: TaskId) -> bool {
        let before = self.waiting.len();
        self.waiting.retain(|(waiting, _)| *waiting != id);
        self.waiting.len() < before
    }

    /// Moves the files of an ended task to `done/` and keeps its folder for reuse. Returns `false` if that failed or
    /// enough folders are kept.
    pub(super) fn settle(&mut self, id: TaskId) -> bool {
        self.pool.settle(id)
    }

    pub(super) fn timer(&self) -> Option<Instant> {
        self.refill_at
    }

    pub(super) fn close(&mut self) {
        self.pool.close();
    }

    /// Starts as many shims as are needed.
    fn fill(&mut self, now: Instant) -> io::Result<()> {
        let (ready, starting) = self.pool.level();
        let wanted = self.waiting.len();
        if wanted > starting {
            self.target = (self.target * 2).clamp(POOL_MIN, POOL_MAX);
        }
        let due = self.refill_at.is_some_and(|at| now >= at);
        if due {
            self.refill_at = None;
        }
        let target = match self.role {
            // Shims that no task waits for must leave enough descriptors to read the running tasks.
            Role::Daemon if due => self.target.min(ready + room_for_idle()).max(wanted),
            Role::Daemon | Role::Visitor => wanted,
        };
        for _ in (ready + starting)..target.min(ready + STARTING_MAX) {
            self.pool.start_one()?;
        }
        let (ready, starting) = self.pool.level();
        if due && ready + starting < target {
            self.refill_at = Some(now + REFILL_DELAY);
        }
        Ok(())
    }
}

impl Local {
    pub(super) fn start(&mut self, id: TaskId, spec: Box<Spec>) {
        if let Some(free) = self.home.free_bytes().filter(|free| *free < limits::FREE_MIN) {
            let reason = format!(
                "only {free} bytes are free in the state directory `{}`, and a task needs {}",
                self.home.root().display(),
                limits::FREE_MIN
            );
            let error = Error::unavailable(StoreFaultKind::LittleSpace, reason);
            return self.reports.push_back(Report::Refused(id, What::Start, error));
        }
        self.look_at_house();
        if let Some(name) = spec.place.clone() {
            return self.send(id, &spec, &name);
        }
        self.shims.waiting.push_back((id, spec));
    }

    /// Gives shims to the tasks that wait for one, and starts further shims.
    pub(super) fn serve_starts(&mut self, now: Instant) {
        self.hand_over_all();
        let failure = self.shims.failure.take();
        if let Some(error) = failure.or_else(|| self.shims.fill(now).err()) {
            // A resource is short: refuse the spawns that wait for a shim, instead of letting them wait for it.
            for (id, _) in std::mem::take(&mut self.shims.waiting) {
                let refused = Report::Refused(id, What::Start, shim_error(&self.home, &error));
                self.reports.push_back(refused);
            }
            self.shims.refill_at = Some(now + SWEEP);
        }
    }

    fn hand_over_all(&mut self) {
        while let Some((id, spec)) = self.shims.waiting.pop_front() {
            let Some(result) = self.shims.pool.hand_over(id, &spec) else {
                self.shims.waiting.push_front((id, spec));
                return;
            };
            let report = match result {
                Ok(record) => {
                    self.shims.refill_at = Some(Instant::now() + REFILL_DELAY);
                    self.hold(id, convert::stdin_of(&spec), Origin::Ours);
                    if let Some(hand) = self.hands.get_mut(&id).filter(|_| spec.checked) {
                        hand.start = Some(Start { record, spec });
                    }
                    Report::Acknowledged(id, What::Start)
                }
                Err(error) => Report::Refused(id, What::Start, io_error(self.home.root(), &error)),
            };
            self.reports.push_back(report);
        }
    }
}

/// How many more idle shims this process has descriptors for.
fn room_for_idle() -> usize {
    let Ok((limit, _)) = getrlimit(Resource::RLIMIT_NOFILE) else { return POOL_MAX };
    let Ok(open) = std::fs::read_dir("/proc/self/fd") else { return 0 };
    let free = usize::try_from(limit).unwrap_or(usize::MAX).saturating_sub(open.count());
    free.saturating_sub(DESCRIPTORS_KEPT) / IDLE_DESCRIPTORS
}

/// The error for a shim that could not start.
pub(super) fn shim_error(home: &Home, error: &io::Error) -> Error {
    match error.raw_os_error() {
        Some(libc::EAGAIN | libc::ENOMEM) => Error::LimitReached {
            limit: Limit::Processes,
            message: format!("no process can be started ({error})"),
        },
        Some(_) => io_error(&home.root().join(layout::LIVE), error),
        None => Error::unavailable(StoreFaultKind::System, error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_supervisor_that_dies_each_time_is_not_started_for_ever() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let home = Home::open(dir.path()).expect("a new store");
        let mut shims = Shims::new(home, "b".repeat(32), Role::Visitor).expect("no shim yet");
        for deaths in 1..DEATHS_MAX {
            shims.failed(None);
            assert!(shims.failure.is_none(), "{deaths} may be a coincidence");
        }
        shims.failed(None);
        let failure = shims.failure.take().expect("the start that waits is refused");
        assert!(failure.to_string().contains("were killed as soon as"), "{failure}");
        shims.deaths = 0;
        shims.failed(Some(io::ErrorKind::OutOfMemory.into()));
        assert!(shims.failure.is_some(), "what it was short of is told at once");
    }
}
