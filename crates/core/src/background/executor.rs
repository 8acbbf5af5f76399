//! Where tasks run: one set of requests and reports for every kind of place.
//!
//! An executor starts tasks, passes orders to them, and reports what happens to them. The supervisor uses only
//! [`Request`] and [`Report`]; the files, FIFOs, locks and processes of a task are internal to the executor. A
//! request never blocks: its result is a report. The report of a request that can be carried out at once is
//! queued at once, without a channel or a tokio task in between.
//!
//! Stored records and output are read through the [`Archive`], from any thread.

mod input;
pub mod local;
pub mod reading;
#[cfg(test)]
pub mod scripted;

use std::io;
use std::path::Path;
use std::time::Duration;

use meanwhile_shim::bell::{self, Kind, Message};
use meanwhile_shim::confine::Plan;
use meanwhile_shim::ctl::Order;
use meanwhile_shim::layout;
use meanwhile_shim::spec::{Kept, Spec};
use tokio::time::Instant;

use crate::background::executor::local::{Local, Woken};
use crate::background::executor::reading::Reading;
pub use crate::background::home::InLine;
use crate::background::home::{Home, io_error};
use crate::background::ledger::NewTask;
use crate::background::places;
use crate::background::task::{Cause, Contact, Port, Survivor, TaskId, Wait};
use crate::background::{Recipient, Stop};
use crate::error::Error;

pub use crate::background::executor::input::Input;

/// A request to an executor.
#[derive(Debug)]
pub enum Request {
    /// Run a task. Answered by [`Report::Acknowledged`] once the task exists, or by [`Report::Refused`].
    Start(TaskId, Box<Spec>),
    /// No client wants this start any more: drop it if it is still waiting. The executor reports nothing more
    /// about a task whose end another process has recorded.
    Release(TaskId),
    /// Stop the task's tree. Acknowledged once the task's shim has the order.
    Stop(TaskId, Stop),
    /// Send a signal. Acknowledged or refused.
    Signal(TaskId, Number, SendSignal),
    /// Change the size of the task's terminal. Acknowledged or refused.
    Resize(TaskId, Number, Size),
    /// Report once when there is output after this offset.
    Arm(TaskId, u64),
    /// A client follows the output of this task at a place.
    Follow(TaskId),
    /// Report the TCP ports that these tasks currently listen on.
    Look(Vec<TaskId>),
    /// Start another shim that takes the task over. Acknowledged once one has it.
    Adopt(TaskId),
    /// The task's shim does not answer: kill it.
    Replace(TaskId),
    /// The task's end has been recorded: put its folder away, keep its output.
    Settle(TaskId),
    /// Report the live tasks of the workspace, or only this one if it is live.
    List(Option<TaskId>),
    /// This process changed the ledger: notify other processes.
    Announce,
}

/// Identifies a request whose caller waits for the result.
pub type Number = u64;

/// A signal for a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendSignal {
    /// The signal, signal(7).
    pub signal: i32,
    /// Which of the task's processes get it.
    pub to: Recipient,
    /// Who requested it, and why.
    pub cause: Cause,
}

/// The size of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Number of rows.
    pub rows: u16,
    /// Number of columns.
    pub cols: u16,
}

/// A report from an executor.
#[derive(Debug)]
pub enum Report {
    /// A live task that another process started.
    Found {
        /// The task's parameters.
        task: Box<NewTask>,
        /// Its leader's pid, if it already runs.
        pid: Option<u32>,
        /// Whether it certainly exists or may still be refused.
        certainty: Certainty,
    },
    /// A request was carried out.
    Acknowledged(TaskId, What),
    /// A request cannot be carried out. Nothing remains of a refused start.
    Refused(TaskId, What, Error),
    /// The leader runs under this pid.
    Started(TaskId, u32),
    /// The task has output after the armed offset.
    Output(TaskId),
    /// The task waits for input.
    Stalled(TaskId),
    /// The task no longer waits for input, or the contact with its place was lost or restored.
    Changed(TaskId),
    /// The TCP ports that tasks listen on, ascending.
    Ports(Vec<(TaskId, Vec<Port>)>),
    /// The task has ended, with this record. May be reported more than once.
    Ended(TaskId, Box<Reading>),
    /// The executor no longer has the task: another process has recorded its end. Repeated until the supervisor
    /// settles the task.
    RecordedElsewhere(TaskId),
    /// A stop has done all it can, and these processes are still alive. May be reported more than once.
    Left(TaskId, Vec<Survivor>),
    /// The last process of the task's tree has exited.
    Gone(TaskId),
    /// The task's shim is dead.
    Lost {
        id: TaskId,
        /// How long to leave the adoption to other processes first.
        patience: Duration,
    },
    /// Another process changed the ledger.
    LedgerChanged,
    /// An agent session that another process has open has a new message.
    Said,
}

/// Whether a task certainly exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Certainty {
    Exists,
    /// Its spawner still waits to learn whether the program could be executed. If not, the task never existed.
    MayBeRefused,
}

/// Which request a report answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// The start of the task.
    Start,
    /// The stop of the task.
    Stop,
    /// The adoption of the task.
    Adopt,
    /// The request with this number.
    Numbered(Number),
}

/// An executor: a place where tasks run.
#[derive(Debug)]
pub enum Executor {
    /// This machine, with a shim for each task.
    Local(Box<Local>),
    /// A test's script.
    #[cfg(test)]
    Scripted(scripted::Scripted),
}

impl Executor {
    /// Makes a request.
    pub fn ask(&mut self, request: Request) {
        match self {
            Self::Local(local) => local.ask(request),
            #[cfg(test)]
            Self::Scripted(scripted) => scripted.ask(request),
        }
    }

    /// Waits until there is something for [`Executor::take`] to process. Cancel-safe.
    pub async fn wait(&mut self) -> Woken {
        match self {
            Self::Local(local) => local.wait().await,
            #[cfg(test)]
            Self::Scripted(scripted) => scripted.wait().await,
        }
    }

    /// Processes the event that `wait` returned.
    pub fn take(&mut self, woken: Woken) {
        match self {
            Self::Local(local) => local.take(woken),
            #[cfg(test)]
            Self::Scripted(_) => {}
        }
    }

    /// Does the work that is due at `now`.
    pub fn go_on(&mut self, now: Instant) {
        match self {
            Self::Local(local) => local.go_on(now),
            #[cfg(test)]
            Self::Scripted(_) => {}
        }
    }

    /// The next report, if there is one.
    pub fn report(&mut self) -> Option<Report> {
        match self {
            Self::Local(local) => local.report(),
            #[cfg(test)]
            Self::Scripted(scripted) => scripted.report(),
        }
    }

    /// Whether each live task that was found is in the state that was reported. Starts a check of those that
    /// are not.
    pub fn is_settled(&mut self) -> bool {
        match self {
            Self::Local(local) => local.is_settled(),
            #[cfg(test)]
            Self::Scripted(scripted) => scripted.is_settled(),
        }
    }

    /// Whether folders of settled tasks are still to be put away.
    pub fn is_untidy(&self) -> bool {
        match self {
            Self::Local(local) => local.is_untidy(),
            #[cfg(test)]
            Self::Scripted(_) => false,
        }
    }

    /// Puts away settled tasks' folders. Called once the events about their ends have been sent.
    pub fn tidy_up(&mut self) {
        match self {
            Self::Local(local) => local.tidy_up(),
            #[cfg(test)]
            Self::Scripted(_) => {}
        }
    }

    /// Access to a task's standard input; `None` if the executor does not have the task.
    pub fn input(&self, id: TaskId) -> Option<Input> {
        match self {
            Self::Local(local) => local.input(id),
            #[cfg(test)]
            Self::Scripted(_) => None,
        }
    }

    /// Access to stored records and output.
    pub fn archive(&self) -> Archive {
        match self {
            Self::Local(local) => local.archive(),
            #[cfg(test)]
            Self::Scripted(scripted) => Archive::Scripted(scripted.shelf()),
        }
    }

    /// Ends the idle shims and finishes pending work. Tasks keep running.
    pub async fn close(self) {
        match self {
            Self::Local(local) => local.close().await,
            #[cfg(test)]
            Self::Scripted(_) => {}
        }
    }
}

/// The stored records and output of live and ended tasks. Cheap to clone.
#[derive(Debug, Clone)]
pub enum Archive {
    /// The state directory on this machine.
    Local(Home),
    /// A test's records, in memory.
    #[cfg(test)]
    Scripted(scripted::Shelf),
}

impl Archive {
    /// A task's current record and output.
    pub fn read(&self, id: TaskId) -> io::Result<Reading> {
        match self {
            Self::Local(home) => home.record_file(id).and_then(Reading::of_file),
            #[cfg(test)]
            Self::Scripted(shelf) => shelf.read(id),
        }
    }

    /// The state directory, which no confined task may read.
    pub fn root(&self) -> &Path {
        match self {
            Self::Local(home) => home.root(),
            #[cfg(test)]
            Self::Scripted(_) => Path::new(""),
        }
    }

    /// What a task that has not started waits for; `None`: nothing any more.
    pub fn wait_of(&self, task: &NewTask) -> Option<Wait> {
        match self {
            Self::Local(home) => home.wait_of(task),
            #[cfg(test)]
            Self::Scripted(_) => None,
        }
    }

    /// The tasks that hold or wait for a slot, and the slot's limit.
    pub fn in_line(&self, slot: &str) -> (Vec<InLine>, usize) {
        match self {
            Self::Local(home) => home.in_line(slot),
            #[cfg(test)]
            Self::Scripted(_) => (Vec::new(), 1),
        }
    }

    /// The entry of one task that runs or waits.
    pub fn one_in_line(&self, id: TaskId) -> Option<InLine> {
        match self {
            Self::Local(home) => home.one_in_line(id),
            #[cfg(test)]
            Self::Scripted(_) => None,
        }
    }

    /// Whether a place can be reached, according to its courier.
    pub fn contact(&self, place: &str) -> Option<Contact> {
        match self {
            Self::Local(home) => places::contact(home.root(), place),
            #[cfg(test)]
            Self::Scripted(_) => None,
        }
    }

    /// Orders the courier to fetch the output of a task at a place. It fails if the courier is not running.
    pub fn fetch(&self, id: TaskId) -> io::Result<()> {
        match self {
            Self::Local(home) => home.order(id, &Order::Fetch),
            #[cfg(test)]
            Self::Scripted(_) => Ok(()),
        }
    }

    /// The parameters a task was started with.
    pub fn kept(&self, id: TaskId) -> io::Result<Kept> {
        match self {
            Self::Local(home) => home.kept(id),
            #[cfg(test)]
            Self::Scripted(_) => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// The confinement plan of a live task; `None`: it is not confined.
    pub fn plan(&self, id: TaskId) -> io::Result<Option<Plan>> {
        match self {
            Self::Local(home) => home.plan(id),
            #[cfg(test)]
            Self::Scripted(_) => Ok(None),
        }
    }

    /// Whether this id is unused.
    pub fn is_free(&self, id: TaskId) -> bool {
        match self {
            Self::Local(home) => home.is_free(id),
            #[cfg(test)]
            Self::Scripted(shelf) => shelf.read(id).is_err(),
        }
    }

    /// Whether a task is live or its folder is being put away.
    pub fn is_under_way(&self, id: TaskId) -> bool {
        match self {
            Self::Local(home) => home.live(id).exists(),
            #[cfg(test)]
            Self::Scripted(shelf) => shelf.read(id).is_ok_and(|reading| !reading.has_ended()),
        }
    }

    /// Deletes a task's stored files.
    pub fn delete(&self, id: TaskId) {
        match self {
            Self::Local(home) => home.delete(id),
            #[cfg(test)]
            Self::Scripted(shelf) => shelf.delete(id),
        }
    }

    /// Ended tasks whose stored files are older than this.
    pub fn older_than(&self, age: Duration) -> Vec<TaskId> {
        match self {
            Self::Local(home) => home.done_older_than(age),
            #[cfg(test)]
            Self::Scripted(_) => Vec::new(),
        }
    }

    /// Bytes that the store takes up on disk.
    pub fn usage(&self) -> u64 {
        match self {
            Self::Local(home) => home.disk_usage(),
            #[cfg(test)]
            Self::Scripted(_) => 0,
        }
    }

    /// Whether the process of this name, a holder of leases, is alive.
    pub fn is_alive(&self, holder: &str) -> bool {
        match self {
            Self::Local(home) => home.is_bell_alive(holder),
            #[cfg(test)]
            Self::Scripted(_) => false,
        }
    }

    /// Notifies the workspace's other processes of a new message in a session of `holder`, which is not
    /// notified.
    pub fn tell_said(&self, workspace: &Path, holder: &str) {
        match self {
            Self::Local(home) => {
                let workspace = layout::workspace_hash(workspace);
                let message = Message { kind: Kind::Said, id: [0; 8], workspace };
                bell::ring(&home.bells(), message, Some(holder));
            }
            #[cfg(test)]
            Self::Scripted(_) => {}
        }
    }

    /// The store's directory, if there is one.
    pub fn folder(&self) -> Option<&std::path::Path> {
        match self {
            Self::Local(home) => Some(home.root()),
            #[cfg(test)]
            Self::Scripted(_) => None,
        }
    }

    /// Converts an error of [`Archive::read`] for the caller.
    pub fn error(&self, id: TaskId, error: &io::Error) -> Error {
        match self {
            Self::Local(home) => io_error(&home.done(id), error),
            #[cfg(test)]
            Self::Scripted(_) => Error::UnknownTask(id),
        }
    }
}
