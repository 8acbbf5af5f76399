//! A live task, as the supervisor sees it: three state machines, and its state as shown to clients.
//!
//! [`life`] is what a client can see, [`supervision`] which shim supervises the task, [`stop`] the progress of
//! a stop. Each is a state and a pure function of events; the supervisor carries out the effects that they
//! return.

pub mod life;
pub mod server;
pub mod stop;
pub mod supervision;

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::background::Spawned;
use crate::background::executor::reading::Standing;
use crate::background::ledger::NewTask;
use crate::background::live::life::Life;
use crate::background::live::server::Server;
use crate::background::live::stop::StopOrder;
use crate::background::live::supervision::Supervision;
use crate::background::task::{Progress, Queued, Serving, State, Survivor, Task};
use crate::background::watch::Scanner;
use crate::error::Error;

/// The channel for the reply to a spawner.
pub type Reply = oneshot::Sender<Result<Spawned, Error>>;

/// A live task.
#[derive(Debug)]
pub struct Live {
    /// Its parameters, fixed at its spawn.
    pub facts: NewTask,
    /// Its state in the life cycle.
    pub life: Life<Reply>,
    /// Whether its row has been sent to the ledger.
    pub row: Row,
    /// Whether it has a shim.
    pub supervision: Supervision,
    /// The progress of a stop.
    pub stop: StopOrder,
    /// Stop requests that wait until the whole tree has exited, or for the survivors.
    pub stop_waiters: Vec<oneshot::Sender<Vec<Survivor>>>,
    /// The progress that its output reported last.
    pub progress: Option<Progress>,
    /// Searches its output for watched lines; `None`: it has no watches.
    pub scanner: Option<Scanner>,
    /// Whether the client subscribes to its output.
    pub audience: Audience,
    /// When to ask the executor to report output again.
    pub arm_at: Option<Instant>,
    /// The offset up to which its output has been scanned.
    pub seen: u64,
    /// Its ports and readiness.
    pub server: Server,
    /// When to check its last line even though the line is incomplete.
    pub silent_at: Option<Instant>,
    /// Whether it has been seen waiting for its turn.
    pub waited: bool,
}

/// Whether a task's row has been sent to the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Row {
    /// Not yet: the task may be refused, and then it never existed.
    Missing,
    /// The row has been sent.
    Sent,
}

/// Whether the client subscribes to a task's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// The client does not subscribe.
    None,
    /// The client subscribes.
    Subscriber,
}

impl Live {
    /// A task in this state of its life. `scanner` is the one for its watches.
    pub fn new(facts: NewTask, scanner: Option<Scanner>, life: Life<Reply>) -> Self {
        Self {
            scanner,
            facts,
            life,
            row: Row::Missing,
            supervision: Supervision::Shim,
            stop: StopOrder::None,
            stop_waiters: Vec::new(),
            progress: None,
            audience: Audience::None,
            arm_at: None,
            seen: 0,
            server: Server::default(),
            silent_at: None,
            waited: false,
        }
    }

    /// The task's current state. A task whose end is not in the ledger yet counts as running, because only
    /// durable facts are reported.
    pub fn task(&self, standing: Option<Standing>) -> Task {
        let mut task = self.facts.to_task();
        task.progress = self.progress.clone();
        task.serving = self.serving();
        if let Some(standing) = standing {
            task.pid = standing.pid;
            task.output = standing.output;
            task.survivors = standing.left;
            task.waits_for_input = standing.waits;
            task.job = standing.job.map(Box::new);
            if let Some(cause) = standing.stopping {
                task.state = State::Stopping { cause };
            } else if let Some(reason) = standing.queued {
                task.state = State::Queued(Queued { since: task.created_at, reason, left: None });
            }
        }
        if let (State::Running | State::Queued(_), Some(how)) = (&task.state, self.stop.how()) {
            task.state = State::Stopping { cause: how.cause.clone() };
        }
        task
    }

    /// Its ports and readiness, as shown to clients.
    pub fn serving(&self) -> Serving {
        Serving {
            service: self.facts.service,
            ports: self.server.ports(),
            ready: self.server.is_ready(),
        }
    }

    /// Whether its watches may match further output.
    pub fn is_watched(&self) -> bool {
        self.scanner.as_ref().is_some_and(|scanner| !scanner.is_done())
    }

    /// When to check its ports next; `waited_for`: a client waits for the task.
    pub fn next_look(&self, now: Instant, waited_for: bool) -> Option<Instant> {
        if self.life.may_write() { self.server.next_look(now, waited_for) } else { None }
    }

    /// How long to wait before its output is checked again.
    pub fn round(&self) -> Duration {
        match self.audience {
            Audience::None if !self.is_watched() => crate::limits::PROGRESS_INTERVAL,
            Audience::None | Audience::Subscriber => crate::background::events::SUBSCRIBED_ROUND,
        }
    }

    /// When the supervisor must handle it next.
    pub fn timer(&self) -> Option<Instant> {
        let stop = match self.supervision {
            // Without a shim, no order can be sent.
            Supervision::Orphaned { .. } => None,
            Supervision::Shim | Supervision::Adopted => self.stop.timer(),
        };
        [self.arm_at, self.silent_at, self.supervision.timer(), stop].into_iter().flatten().min()
    }
}
