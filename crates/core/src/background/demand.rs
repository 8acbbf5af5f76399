//! What the supervisor can be asked. One demand is one whole change: its sender may go away.

use std::collections::BTreeMap;

use meanwhile_shim::spec::Spec;
use tokio::sync::{oneshot, watch};

use crate::background::executor::{Input, SendSignal, Size};
use crate::background::ledger::NewTask;
use crate::background::task::{Survivor, Task, TaskId};
use crate::background::{Mode, Spawned, Stop};
use crate::error::Error;

/// A question or a change.
#[derive(Debug)]
pub enum Demand {
    /// Run this.
    Spawn {
        /// What; its id is set if a client's token claimed one.
        spec: Box<Spec>,
        /// The outcome.
        reply: oneshot::Sender<Result<Spawned, Error>>,
    },
    /// A live task as it stands; `None` if it is not live.
    Get(TaskId, oneshot::Sender<Option<Task>>),
    /// The live tasks that have not ended, newest first.
    List(oneshot::Sender<Vec<Task>>),
    /// Wait until live ones of these have ended; those that are not live have.
    Wait {
        /// Which.
        ids: Vec<TaskId>,
        /// Any of them, or all.
        mode: Mode,
        /// Told when it is so.
        done: oneshot::Sender<()>,
    },
    /// The live tasks of a queue.
    InQueue(String, oneshot::Sender<Vec<TaskId>>),
    /// End the tree of a live task. `None`: it is not live.
    Stop {
        /// Which.
        id: TaskId,
        /// How.
        how: Stop,
        /// What to wait for: who could not be ended.
        reply: oneshot::Sender<Option<oneshot::Receiver<Vec<Survivor>>>>,
    },
    /// Send a signal to a live task.
    Signal {
        /// Which.
        id: TaskId,
        /// What, to whom, and why.
        what: SendSignal,
        /// What came of it.
        reply: oneshot::Sender<Result<(), Error>>,
    },
    /// Give the terminal of a live task another size.
    Resize {
        /// Which.
        id: TaskId,
        /// The size.
        size: Size,
        /// What came of it.
        reply: oneshot::Sender<Result<(), Error>>,
    },
    /// The standard input of a live task.
    Input(TaskId, oneshot::Sender<Option<(NewTask, Input)>>),
    /// Tell of output.
    Subscribe(TaskId, Option<u64>, oneshot::Sender<()>),
    /// No longer.
    Unsubscribe(TaskId, oneshot::Sender<()>),
    /// A step is a task from now on, as the ledger has it.
    Promoted(TaskId),
    /// How many notifications wait in a queue, now and from now on.
    Queued(String, oneshot::Sender<watch::Receiver<u64>>),
    /// When something is said in a session of the workspace that another process has open.
    Said(oneshot::Sender<watch::Receiver<()>>),
    /// The ledger was changed from here: tell the other processes, and our client.
    Changed,
    /// Tell when each task stands as it is shown: one that died without its supervisor is known to be lost,
    /// or when that takes too long.
    Settle(oneshot::Sender<()>),
    /// End.
    Close(oneshot::Sender<()>),
}

/// How many notifications wait in each queue.
pub type Undelivered = BTreeMap<String, u64>;
