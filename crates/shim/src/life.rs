//! The state of a task in its shim.

use std::time::{Duration, Instant};

use meanwhile_shim::identity::Process;
use meanwhile_shim::record::{Actor, Cause, Exit, Outcome};

/// A process that SIGKILL has not ended after this time hangs in the kernel (state D); it is named as a
/// survivor, and the task's end is recorded.
const KILL_PATIENCE: Duration = Duration::from_secs(5);

/// The state of the task.
#[derive(Clone, Copy)]
pub enum Life {
    /// The leader runs.
    Running,
    /// The leader has exited; other processes of its tree may still write.
    Draining {
        /// The leader's status.
        exit: Exit,
        /// When the shim stops waiting for the others.
        until: Instant,
    },
    /// The end is recorded.
    Ended {
        /// Whether other processes of the tree still ran then.
        survived: bool,
    },
}

/// A process tree that the shim is ending.
pub struct Stopping {
    /// Who asked for it, and why.
    pub cause: Cause,
    /// When SIGKILL follows.
    pub kill_at: Instant,
    /// The first signal.
    pub signal: i32,
    /// The processes that were sent the first signal.
    pub signalled: Vec<Process>,
    /// Processes that SIGKILL has not ended: those of another user, or ones that hang in the kernel.
    pub stuck: Vec<Process>,
}

impl Stopping {
    /// How the task ends. It follows from the actor in the record, so a shim that took the task over knows it too.
    pub fn outcome(&self) -> Outcome {
        match self.cause.actor {
            Actor::Deadline => Outcome::TimedOut,
            Actor::Client
            | Actor::Agent
            | Actor::Linger
            | Actor::Limit
            | Actor::Daemon
            | Actor::Dependency
            | Actor::Engine => Outcome::Stopped,
        }
    }

    /// When the shim stops trying to end processes that SIGKILL has not ended.
    pub fn give_up_at(&self) -> Instant {
        self.kill_at + KILL_PATIENCE
    }
}
