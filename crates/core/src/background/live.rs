//! A task under way, as the supervisor sees it: three machines side by side, and what is told of it.
//!
//! [`life`] is what a client can see, [`supervision`] who looks after the task, [`stop`] how far an
//! order to end it is. Each is a state and a pure function of what happens to it; the supervisor
//! carries out what they say.

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

/// How a spawner is answered.
pub type Reply = oneshot::Sender<Result<Spawned, Error>>;

/// A task under way.
#[derive(Debug)]
pub struct Live {
    /// What is known of it since its spawn.
    pub facts: NewTask,
    /// Where it is in its life.
    pub life: Life<Reply>,
    /// Whether the ledger has heard of it.
    pub row: Row,
    /// Who looks after it.
    pub supervision: Supervision,
    /// How far an order to stop it is.
    pub stop: StopOrder,
    /// Who waits for its whole tree to be gone, or to hear who is left.
    pub stop_waiters: Vec<oneshot::Sender<Vec<Survivor>>>,
    /// The progress that the command reports.
    pub progress: Option<Progress>,
    /// Looks for watched lines.
    pub scanner: Option<Scanner>,
    /// Whether the client wants its output.
    pub audience: Audience,
    /// When to ask its executor to tell of output.
    pub arm_at: Option<Instant>,
    /// How much of its output was looked at.
    pub seen: u64,
    /// What it serves.
    pub server: Server,
    /// When a line that it has not ended is looked at all the same.
    pub silent_at: Option<Instant>,
    /// It was seen to wait for its turn.
    pub waited: bool,
}

/// Whether the ledger has heard of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Row {
    /// Not yet: it may be refused, and then there was none.
    Missing,
    /// Its row was sent there.
    Sent,
}

/// Whether the client wants a task's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// It does not.
    None,
    /// It subscribes.
    Subscriber,
}

impl Live {
    /// A task at this point of its life.
    pub fn new(facts: NewTask, life: Life<Reply>) -> Self {
        let scanner = (!facts.watches.is_empty()).then(|| Scanner::new(&facts.watches).ok());
        Self {
            scanner: scanner.flatten(),
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

    /// The task as it stands. One whose end is not in the ledger yet still runs, as far as anybody
    /// may know: what is told must be durable.
    pub fn task(&self, standing: Option<Standing>) -> Task {
        let mut task = self.facts.to_task();
        task.progress = self.progress.clone();
        task.serving = self.serving();
        if let Some(standing) = standing {
            task.pid = standing.pid;
            task.output = standing.output;
            task.survivors = standing.left;
            task.waits_for_input = standing.waits;
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

    /// What it serves.
    pub fn serving(&self) -> Serving {
        Serving {
            service: self.facts.service,
            ports: self.server.ports(),
            ready: self.server.is_ready(),
        }
    }

    /// Whether a watch may match more of its output.
    pub fn is_watched(&self) -> bool {
        self.scanner.as_ref().is_some_and(|scanner| !scanner.is_done())
    }

    /// When its ports are to be looked at next, where a client waits for it or not.
    pub fn next_look(&self, now: Instant, waited_for: bool) -> Option<Instant> {
        if self.life.may_write() { self.server.next_look(now, waited_for) } else { None }
    }

    /// How soon to look at its output again.
    pub fn round(&self) -> Duration {
        match self.audience {
            Audience::None if !self.is_watched() => crate::limits::PROGRESS_INTERVAL,
            Audience::None | Audience::Subscriber => crate::background::events::SUBSCRIBED_ROUND,
        }
    }

    /// When it is to be looked at again.
    pub fn timer(&self) -> Option<Instant> {
        let stop = match self.supervision {
            // There is no supervisor to take an order.
            Supervision::Orphaned { .. } => None,
            Supervision::Shim | Supervision::Adopted => self.stop.timer(),
        };
        [self.arm_at, self.silent_at, self.supervision.timer(), stop].into_iter().flatten().min()
    }
}
