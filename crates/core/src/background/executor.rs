//! Where a task runs: one vocabulary for every place.
//!
//! An executor starts tasks, passes orders on to them, and reports what becomes of them. The
//! supervisor knows it by [`Request`] and [`Report`] alone. Files, FIFOs, locks and processes of a task
//! are its own affair. A request never waits: what comes of it is a report, and a request that can be
//! carried out at once is reported at once, without a channel or a task in between.
//!
//! What outlives the moment is read through the [`Archive`], from wherever it is asked for.

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

/// What an executor is asked.
#[derive(Debug)]
pub enum Request {
    /// Run this. Answered by [`Report::Acknowledged`] once the task exists, or by
    /// [`Report::Refused`].
    Start(TaskId, Box<Spec>),
    /// No client wants this any more: a start that waits is dropped. The executor reports nothing more about
    /// a task whose end another process has told.
    Release(TaskId),
    /// End the task's tree. Acknowledged once its supervisor has the order.
    Stop(TaskId, Stop),
    /// Send a signal. Acknowledged or refused.
    Signal(TaskId, Number, SendSignal),
    /// Give the task's terminal this size. Acknowledged or refused.
    Resize(TaskId, Number, Size),
    /// Report the next output behind this offset, once.
    Arm(TaskId, u64),
    /// A client looks at the output of a task at a place as it comes.
    Follow(TaskId),
    /// Report the TCP ports that these tasks listen on now.
    Look(Vec<TaskId>),
    /// Have another supervisor take the task over. Acknowledged once one has it.
    Adopt(TaskId),
    /// The task's supervisor does not answer: end it.
    Replace(TaskId),
    /// The task's end is told: put it away, keep its output.
    Settle(TaskId),
    /// Report the tasks of the workspace that are under way, or whether this one is.
    List(Option<TaskId>),
    /// The ledger was changed from here: tell other processes.
    Announce,
}

/// Names a request that a caller waits for.
pub type Number = u64;

/// A signal for a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendSignal {
    /// The signal, signal(7).
    pub signal: i32,
    /// Who gets it.
    pub to: Recipient,
    /// Who asks, and why.
    pub cause: Cause,
}

/// The size of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Rows.
    pub rows: u16,
    /// Columns.
    pub cols: u16,
}

/// What an executor reports.
#[derive(Debug)]
pub enum Report {
    /// A task is under way that another process started.
    Found {
        /// What it is.
        task: Box<NewTask>,
        /// Its leader, if it runs already.
        pid: Option<u32>,
        /// Whether it is sure to exist, or may be refused yet.
        certainty: Certainty,
    },
    /// A request was carried out.
    Acknowledged(TaskId, What),
    /// A request cannot be carried out. A refused start leaves nothing behind.
    Refused(TaskId, What, Error),
    /// The leader runs.
    Started(TaskId, u32),
    /// There is output.
    Output(TaskId),
    /// The task waits for input.
    Stalled(TaskId),
    /// The TCP ports that tasks listen on, ascending.
    Ports(Vec<(TaskId, Vec<Port>)>),
    /// The task has ended, as this says. May come more than once.
    Ended(TaskId, Box<Reading>),
    /// The executor does not have the task any more: another process has recorded its end. Comes
    /// again as long as that is not told.
    RecordedElsewhere(TaskId),
    /// An order to stop it has gone as far as it can, and these live on. May come more than once.
    Left(TaskId, Vec<Survivor>),
    /// The last of its tree is gone.
    Gone(TaskId),
    /// Its supervisor is dead.
    Lost {
        /// Which.
        id: TaskId,
        /// How long others have to adopt it first.
        patience: Duration,
    },
    /// Another process changed the ledger.
    LedgerChanged,
    /// Another process has a session of an agent open, in which something was said.
    Said,
}

/// Whether a task is sure to exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Certainty {
    /// It is.
    Exists,
    /// Its program may not be there, which its spawner waits to hear; then there was no task.
    MayBeRefused,
}

/// Which request a report answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// To start a task.
    Start,
    /// To stop it.
    Stop,
    /// To adopt it.
    Adopt,
    /// The one of this number.
    Numbered(Number),
}

/// A place where tasks run.
#[derive(Debug)]
pub enum Executor {
    /// This machine.
    Local(Box<Local>),
    /// A test's script.
    #[cfg(test)]
    Scripted(scripted::Scripted),
}

impl Executor {
    /// Asks for something.
    pub fn ask(&mut self, request: Request) {
        match self {
            Self::Local(local) => local.ask(request),
            #[cfg(test)]
            Self::Scripted(scripted) => scripted.ask(request),
        }
    }

    /// Waits until something is to be taken in with [`Executor::take`]. Cancel-safe.
    pub async fn wait(&mut self) -> Woken {
        match self {
            Self::Local(local) => local.wait().await,
            #[cfg(test)]
            Self::Scripted(scripted) => scripted.wait().await,
        }
    }

    /// Takes in what `wait` returned for.
    pub fn take(&mut self, woken: Woken) {
        match self {
            Self::Local(local) => local.take(woken),
            #[cfg(test)]
            Self::Scripted(_) => {}
        }
    }

    /// Does what is due.
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

    /// Whether each task that was found under way stands as it was reported. Where one does not, a look at it
    /// is under way.
    pub fn is_settled(&mut self) -> bool {
        match self {
            Self::Local(local) => local.is_settled(),
            #[cfg(test)]
            Self::Scripted(scripted) => scripted.is_settled(),
        }
    }

    /// Whether something that was settled is to be put away.
    pub fn is_untidy(&self) -> bool {
        match self {
            Self::Local(local) => local.is_untidy(),
            #[cfg(test)]
            Self::Scripted(_) => false,
        }
    }

    /// Puts away what was settled, once what is told of it is on its way.
    pub fn tidy_up(&mut self) {
        match self {
            Self::Local(local) => local.tidy_up(),
            #[cfg(test)]
            Self::Scripted(_) => {}
        }
    }

    /// The way into a task's standard input; `None` where the executor does not have the task.
    pub fn input(&self, id: TaskId) -> Option<Input> {
        match self {
            Self::Local(local) => local.input(id),
            #[cfg(test)]
            Self::Scripted(_) => None,
        }
    }

    /// What is kept of tasks.
    pub fn archive(&self) -> Archive {
        match self {
            Self::Local(local) => local.archive(),
            #[cfg(test)]
            Self::Scripted(scripted) => Archive::Scripted(scripted.shelf()),
        }
    }

    /// Ends what exists for tasks to come, and what is under way. Tasks go on.
    pub async fn close(self) {
        match self {
            Self::Local(local) => local.close().await,
            #[cfg(test)]
            Self::Scripted(_) => {}
        }
    }
}

/// What an executor keeps of tasks under way and ended. Cheap to clone.
#[derive(Debug, Clone)]
pub enum Archive {
    /// This machine's.
    Local(Home),
    /// A test's.
    #[cfg(test)]
    Scripted(scripted::Shelf),
}

impl Archive {
    /// A task's record and output, as they are now.
    pub fn read(&self, id: TaskId) -> io::Result<Reading> {
        match self {
            Self::Local(home) => home.record_file(id).and_then(Reading::of_file),
            #[cfg(test)]
            Self::Scripted(shelf) => shelf.read(id),
        }
    }

    /// The directory it is kept in, which no confined task reads.
    pub fn root(&self) -> &Path {
        match self {
            Self::Local(home) => home.root(),
            #[cfg(test)]
            Self::Scripted(_) => Path::new(""),
        }
    }

    /// What a task that has not begun waits for; `None`: nothing any more.
    pub fn wait_of(&self, task: &NewTask) -> Option<Wait> {
        match self {
            Self::Local(home) => home.wait_of(task),
            #[cfg(test)]
            Self::Scripted(_) => None,
        }
    }

    /// The tasks that hold a slot or wait for it, and how many it has room for.
    pub fn in_line(&self, slot: &str) -> (Vec<InLine>, usize) {
        match self {
            Self::Local(home) => home.in_line(slot),
            #[cfg(test)]
            Self::Scripted(_) => (Vec::new(), 1),
        }
    }

    /// A task that runs or waits.
    pub fn one_in_line(&self, id: TaskId) -> Option<InLine> {
        match self {
            Self::Local(home) => home.one_in_line(id),
            #[cfg(test)]
            Self::Scripted(_) => None,
        }
    }

    /// Whether a place can be reached, as far as its courier has said.
    pub fn contact(&self, place: &str) -> Option<Contact> {
        match self {
            Self::Local(home) => places::contact(home.root(), place),
            #[cfg(test)]
            Self::Scripted(_) => None,
        }
    }

    /// Has the output of a task at a place fetched. An error: its courier does not listen.
    pub fn fetch(&self, id: TaskId) -> io::Result<()> {
        match self {
            Self::Local(home) => home.order(id, &Order::Fetch),
            #[cfg(test)]
            Self::Scripted(_) => Ok(()),
        }
    }

    /// What a task was started with.
    pub fn kept(&self, id: TaskId) -> io::Result<Kept> {
        match self {
            Self::Local(home) => home.kept(id),
            #[cfg(test)]
            Self::Scripted(_) => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// What a task under way may touch; `None`: it is not confined.
    pub fn plan(&self, id: TaskId) -> io::Result<Option<Plan>> {
        match self {
            Self::Local(home) => home.plan(id),
            #[cfg(test)]
            Self::Scripted(_) => Ok(None),
        }
    }

    /// Whether no task has this id.
    pub fn is_free(&self, id: TaskId) -> bool {
        match self {
            Self::Local(home) => home.is_free(id),
            #[cfg(test)]
            Self::Scripted(shelf) => shelf.read(id).is_err(),
        }
    }

    /// Whether a task is under way, or is being put away.
    pub fn is_under_way(&self, id: TaskId) -> bool {
        match self {
            Self::Local(home) => home.live(id).exists(),
            #[cfg(test)]
            Self::Scripted(shelf) => shelf.read(id).is_ok_and(|reading| !reading.has_ended()),
        }
    }

    /// Deletes what is kept of a task.
    pub fn delete(&self, id: TaskId) {
        match self {
            Self::Local(home) => home.delete(id),
            #[cfg(test)]
            Self::Scripted(shelf) => shelf.delete(id),
        }
    }

    /// Ended tasks of which something is kept for longer than this.
    pub fn older_than(&self, age: Duration) -> Vec<TaskId> {
        match self {
            Self::Local(home) => home.done_older_than(age),
            #[cfg(test)]
            Self::Scripted(_) => Vec::new(),
        }
    }

    /// Bytes that are taken.
    pub fn usage(&self) -> u64 {
        match self {
            Self::Local(home) => home.disk_usage(),
            #[cfg(test)]
            Self::Scripted(_) => 0,
        }
    }

    /// Whether the process of this name, which holds leases, lives.
    pub fn is_alive(&self, holder: &str) -> bool {
        match self {
            Self::Local(home) => home.is_bell_alive(holder),
            #[cfg(test)]
            Self::Scripted(_) => false,
        }
    }

    /// Tells the other processes of a workspace that something was said in a session; not `holder`, whose it is.
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

    /// The directory of the store, where it has one.
    pub fn folder(&self) -> Option<&std::path::Path> {
        match self {
            Self::Local(home) => Some(home.root()),
            #[cfg(test)]
            Self::Scripted(_) => None,
        }
    }

    /// What an error of [`Archive::read`] means to a caller.
    pub fn error(&self, id: TaskId, error: &io::Error) -> Error {
        match self {
            Self::Local(home) => io_error(&home.done(id), error),
            #[cfg(test)]
            Self::Scripted(_) => Error::UnknownTask(id),
        }
    }
}
