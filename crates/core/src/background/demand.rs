//! Requests to the supervisor. Each demand is one complete change, because its sender may exit at any time.

use std::collections::BTreeMap;

use meanwhile_shim::spec::Spec;
use tokio::sync::{oneshot, watch};

use crate::background::executor::{Input, SendSignal, Size};
use crate::background::ledger::NewTask;
use crate::background::task::{Survivor, Task, TaskId};
use crate::background::{Mode, Spawned, Stop};
use crate::error::Error;

/// A query or a change.
#[derive(Debug)]
pub enum Demand {
    /// Run a task.
    Spawn {
        /// What to run; its id is set if a client's token claimed one.
        spec: Box<Spec>,
        reply: oneshot::Sender<Result<Spawned, Error>>,
    },
    /// The current state of a live task; `None` if it is not live.
    Get(TaskId, oneshot::Sender<Option<Task>>),
    /// The live tasks that have not ended, newest first.
    List(oneshot::Sender<Vec<Task>>),
    /// Wait until those of these tasks that are live have ended.
    Wait {
        ids: Vec<TaskId>,
        /// Whether to wait for any of them or for all.
        mode: Mode,
        /// Sent once the wait is over.
        done: oneshot::Sender<()>,
    },
    /// The live tasks of a queue.
    InQueue(String, oneshot::Sender<Vec<TaskId>>),
    /// Stop the tree of a live task. `None`: it is not live.
    Stop {
        id: TaskId,
        how: Stop,
        /// Receives the processes that could not be ended, once the stop is over.
        reply: oneshot::Sender<Option<oneshot::Receiver<Vec<Survivor>>>>,
    },
    /// Send a signal to a live task.
    Signal {
        id: TaskId,
        /// The signal, its recipients, and the cause.
        what: SendSignal,
        reply: oneshot::Sender<Result<(), Error>>,
    },
    /// Change the size of a live task's terminal.
    Resize { id: TaskId, size: Size, reply: oneshot::Sender<Result<(), Error>> },
    /// The standard input of a live task.
    Input(TaskId, oneshot::Sender<Option<(NewTask, Input)>>),
    /// Report output from this offset on; `None`: from the current end.
    Subscribe(TaskId, Option<u64>, oneshot::Sender<()>),
    /// Stop reporting output.
    Unsubscribe(TaskId, oneshot::Sender<()>),
    /// A step has become a task in the ledger.
    Promoted(TaskId),
    /// The number of notifications in a queue, now and at each change.
    Queued(String, oneshot::Sender<watch::Receiver<u64>>),
    /// Notifies of new messages in sessions of the workspace that another process has open.
    Said(oneshot::Sender<watch::Receiver<()>>),
    /// This process changed the ledger: notify the other processes and this process's client.
    Changed,
    /// Replies once the state of every task is known: a task that died without its supervisor counts as lost by
    /// then. Replies also if that takes too long.
    Settle(oneshot::Sender<()>),
    /// Close the supervisor.
    Close(oneshot::Sender<()>),
}

/// The number of notifications in each queue.
pub type Undelivered = BTreeMap<String, u64>;
