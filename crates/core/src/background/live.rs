//! A task under way, as the supervisor sees it.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::unix::pipe;
use tokio::sync::{Mutex, oneshot};
use tokio::time::Instant;

use crate::background::Stop;
use crate::background::home::Home;
use crate::background::ledger::NewTask;
use crate::background::task::{Progress, State, Task};
use crate::background::watch::Scanner;
use crate::background::{Spawned, convert};
use crate::error::Error;

/// The way into a task's standard input. Held while somebody writes, so that two writes never mix.
pub type Input = Arc<Mutex<InputState>>;

/// How far a task's standard input is.
#[derive(Debug)]
pub enum InputState {
    /// Nobody wrote yet.
    Unopened,
    /// Open.
    Open(pipe::Sender),
    /// Its end was said.
    Ended,
}

/// Where a live task is between its shim, the ledger and whoever asked for it.
#[derive(Debug)]
pub enum Stage {
    /// Handed over; its spawner waits to hear whether the program could be executed.
    Checked(oneshot::Sender<Result<Spawned, Error>>),
    /// Running, as far as is known.
    Running,
    /// Its end is on its way into the ledger.
    Recording,
    /// Its end is told; survivors keep its shim at work.
    Survived,
}

/// An order to stop.
#[derive(Debug)]
pub struct Stopping {
    /// How.
    pub how: Stop,
    /// Since when.
    pub since: Instant,
    /// The shim has it.
    pub delivered: bool,
}

/// A task under way.
#[derive(Debug)]
pub struct Live {
    /// What is known of it since its spawn.
    pub facts: NewTask,
    /// Where it is.
    pub stage: Stage,
    /// Its shim, where that is our child.
    pub shim: Option<u32>,
    /// Its shim was our child from the start: if that is killed, the leader becomes our child.
    pub was_ours: bool,
    /// Its leader.
    pub leader: Option<u32>,
    /// `task/started` was told.
    pub started: bool,
    /// How far it says it is.
    pub progress: Option<Progress>,
    /// Looks for watched lines.
    pub scanner: Option<Scanner>,
    /// Its standard input.
    pub input: Input,
    /// Somebody subscribes to its output.
    pub subscribed: bool,
    /// When to ask its shim to be told of output.
    pub arm_at: Option<Instant>,
    /// How much of its output was looked at.
    pub seen: u64,
    /// An order to stop, until its end.
    pub stopping: Option<Stopping>,
    /// Who waits for its whole tree to be gone.
    pub stop_waiters: Vec<oneshot::Sender<()>>,
    /// Others of its tree were alive at its end.
    pub survives: bool,
    /// Its output while it has no shim: a pipe that nobody holds open forgets what is in it.
    pub pipe: Option<std::fs::File>,
    /// Its shim is dead; another one is to take over at this time.
    pub orphaned: Option<Instant>,
    /// The leader's status, reaped by us, for the shim that took over.
    pub reaped: Option<i32>,
    /// How many sweeps in its life found no record of it.
    pub missed: u32,
}

impl Live {
    /// A task that was just handed over, or found.
    pub fn new(facts: NewTask, stage: Stage, shim: Option<u32>) -> Self {
        let scanner = (!facts.watches.is_empty()).then(|| Scanner::new(&facts.watches).ok());
        Self {
            scanner: scanner.flatten(),
            facts,
            stage,
            shim,
            was_ours: shim.is_some(),
            leader: None,
            started: false,
            progress: None,
            input: Arc::new(Mutex::new(InputState::Unopened)),
            subscribed: false,
            arm_at: None,
            seen: 0,
            stopping: None,
            stop_waiters: Vec::new(),
            survives: false,
            pipe: None,
            orphaned: None,
            reaped: None,
            missed: 0,
        }
    }

    /// Whether its end is told.
    pub fn has_ended(&self) -> bool {
        match self.stage {
            Stage::Checked(_) | Stage::Running | Stage::Recording => false,
            Stage::Survived => true,
        }
    }

    /// Whether anybody but its spawner may hear of it: it is sure to exist, and has not ended.
    pub fn is_listed(&self) -> bool {
        match self.stage {
            Stage::Running | Stage::Recording => true,
            Stage::Checked(_) | Stage::Survived => false,
        }
    }

    /// The task as it stands. One whose end is not in the ledger yet still runs, as far as anybody
    /// may know: what is told must be durable.
    pub fn task(&self, home: &Home) -> Task {
        let mut task = self.facts.to_task();
        task.pid = self.leader;
        task.progress = self.progress.clone();
        if let Ok(record) = home.record(self.facts.id) {
            task.pid = (record.leader_pid != 0).then_some(record.leader_pid);
            task.output = convert::output(&record);
            if let Some(stop) = &record.stop {
                task.state = State::Stopping { cause: convert::cause(stop) };
            }
        }
        if let (State::Running, Some(stopping)) = (&task.state, &self.stopping) {
            task.state = State::Stopping { cause: stopping.how.cause.clone() };
        }
        task
    }

    /// How soon to look at its output again.
    pub fn round(&self) -> Duration {
        if self.subscribed || self.scanner.as_ref().is_some_and(|scanner| !scanner.is_done()) {
            crate::background::events::SUBSCRIBED_ROUND
        } else {
            crate::limits::PROGRESS_INTERVAL
        }
    }
}
