//! How far a task is, as its shim sees it.

use std::time::{Duration, Instant};

use meanwhile_shim::identity::Process;
use meanwhile_shim::record::{Actor, Cause, Exit, Outcome};

/// A process that SIGKILL has not ended by then hangs in the kernel (state D); it is named as a
/// survivor, and the task's end is told.
const KILL_PATIENCE: Duration = Duration::from_secs(5);

/// How far the task is.
#[derive(Clone, Copy)]
pub enum Life {
    /// The leader runs.
    Running,
    /// The leader ended; others of its tree may still write.
    Draining {
        /// Its status.
        exit: Exit,
        /// When we stop waiting for them.
        until: Instant,
    },
    /// The end is recorded.
    Ended {
        /// Others of its tree lived on.
        survived: bool,
    },
}

/// A tree that is being ended.
pub struct Stopping {
    /// Who wants it, and why.
    pub cause: Cause,
    /// When SIGKILL follows.
    pub kill_at: Instant,
    /// The first signal.
    pub signal: i32,
    /// Who got the signal.
    pub signalled: Vec<Process>,
    /// Whom SIGKILL has not ended: processes of another user, or ones that hang in the kernel.
    pub stuck: Vec<Process>,
}

impl Stopping {
    /// How the task ends, by the actor of the order, also for a shim that only took it over.
    pub fn outcome(&self) -> Outcome {
        match self.cause.actor {
            Actor::Deadline => Outcome::TimedOut,
            Actor::Client
            | Actor::Agent
            | Actor::Linger
            | Actor::Limit
            | Actor::Daemon
            | Actor::Dependency => Outcome::Stopped,
        }
    }

    /// When processes that SIGKILL has not ended are left alone.
    pub fn give_up_at(&self) -> Instant {
        self.kill_at + KILL_PATIENCE
    }
}
