//! The background manager: what it can be asked, and what it answers.

pub(crate) mod ansi;
mod convert;
mod demand;
mod doorbell;
mod engine;
mod events;
mod executor;
mod home;
mod interpreter;
pub mod ledger;
pub mod left;
mod live;
mod manager;
pub(crate) mod memory;
pub mod places;
mod pool;
mod ports;
pub mod preview;
pub mod progress;
pub mod quote;
pub mod store;
mod supervisor;
pub mod task;
mod upkeep;
pub mod watch;
pub mod words;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::agent::permission::Rule;
pub use crate::background::manager::usual;
use crate::background::task::{
    Cause, Notification, Outcome, Progress, Serving, Task, TaskId, Timestamp,
};
use crate::confine::Confine;

/// How to open the background manager.
#[derive(Debug, Clone)]
pub struct Options {
    /// The state directory.
    pub state_dir: PathBuf,
    /// The workspace, an absolute path.
    pub workspace: PathBuf,
    /// What the caller is.
    pub role: Role,
    /// Retention and size settings.
    pub settings: Settings,
}

/// A slot: of the tasks that take it, in whichever workspace of the store, no more run at once than fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// Its name.
    pub name: String,
    /// How many run at once, from 1.
    pub limit: u32,
    /// Which commands take it without naming it.
    pub rules: Vec<Rule>,
}

/// What opens the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A daemon: holds the workspace's tasks back from lingering, keeps idle shims ready, prunes.
    Daemon,
    /// A command that comes and goes: never attaches, so it starts no linger time again.
    Visitor,
}

/// Settings of the store (`config.toml`, section `store`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How long a finished task is kept. Default 7 days.
    pub keep_for: Duration,
    /// How many finished tasks of a workspace are kept. Default 500.
    pub keep_count: u32,
    /// Bytes the store may take on disk. Default 2 GiB.
    pub quota: u64,
    /// Bytes of a task's output kept from its beginning. Default 4 MiB.
    pub output_head: u64,
    /// Bytes of a task's output kept from its end. Default 12 MiB.
    pub output_tail: u64,
    /// Whether exit records and the ledger are forced to the disk, so that they survive a loss of
    /// power too. Default no: the kernel's page cache survives every death of a process.
    pub sync: bool,
    /// Slots (`config.toml`, sections `slots`), in the order of their names. Default none.
    pub slots: Vec<Slot>,
    /// Places (`config.toml`, sections `places`). Default none.
    pub places: places::Places,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            keep_for: Duration::from_secs(7 * 24 * 3_600),
            keep_count: 500,
            quota: 2 << 30,
            output_head: 4 << 20,
            output_tail: 12 << 20,
            sync: false,
            slots: Vec::new(),
            places: places::Places::new(),
        }
    }
}

/// What to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// A line for `/bin/sh -c`.
    Shell(String),
    /// A line for another shell, which takes it after `-c` too.
    ShellOf {
        /// The shell: a path, or a name that is looked for in `PATH`.
        shell: PathBuf,
        /// The line.
        line: String,
    },
    /// A program and its arguments, executed as they are. Never empty.
    Argv(Vec<OsString>),
}

/// Where a task's standard input comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stdin {
    /// `/dev/null`.
    Null,
    /// [`Background::write`].
    Pipe,
    /// A terminal of this size, for standard output and error too.
    Pty {
        /// Rows of the terminal.
        rows: u16,
        /// Columns of the terminal.
        cols: u16,
    },
}

/// A pattern that makes a notification of each line it matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watch {
    /// Its name in the notification.
    pub id: String,
    /// A regular expression in the `regex` crate's syntax, matched line by line.
    pub pattern: String,
    /// How many notifications at most.
    pub limit: u32,
}

/// A wish to run a command.
#[derive(Debug, Clone)]
pub struct Spawn {
    /// What to run.
    pub command: Command,
    /// Where, relative to the workspace; default the workspace itself.
    pub cwd: Option<PathBuf>,
    /// What to set (`Some`) or take out (`None`) of the environment inherited from this process.
    pub env: BTreeMap<String, Option<String>>,
    /// What its owner calls it.
    pub label: Option<String>,
    /// Where its notifications go.
    pub queue: String,
    /// How long it may run.
    pub deadline: Option<Duration>,
    /// How long it may run with no daemon attached to its workspace; `None`: for ever.
    pub linger: Option<Duration>,
    /// Its standard input.
    pub stdin: Stdin,
    /// Patterns to watch its output for.
    pub watches: Vec<Watch>,
    /// The same token in the same workspace returns the task already made.
    pub client_token: Option<Token>,
    /// It is a server: it is not expected to end.
    pub service: bool,
    /// How it is confined; `None`: not at all.
    pub confine: Option<Confine>,
    /// An agent runs it in the foreground, as a step of its turn: lists leave it out.
    pub is_step: bool,
    /// What it waits for before it starts.
    pub line: Line,
    /// The place where it runs; `None`: this machine.
    pub on: Option<String>,
}

/// What a task waits for before it starts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Line {
    /// The slot it holds while it runs; `None`: the one whose rules fit its command, if one's do.
    pub slot: Option<String>,
    /// Tasks of the workspace that are to end first.
    pub after: Vec<TaskId>,
    /// What becomes of it where one of them fails: ends otherwise than with code 0.
    pub on_failure: OnFailure,
    /// How long it may wait.
    pub deadline: Option<Duration>,
}

/// A token of the spawning client, unique in its workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    /// To be claimed by the spawn.
    New(String),
    /// Claimed for this task already, in a transaction of the caller's.
    Claimed(String, TaskId),
}

/// A spawned task. Its pushes are held back until `hold` is dropped, so that the reply that names
/// the task can be sent first (docs/protocol.md, guarantee 1).
#[derive(Debug)]
pub struct Spawned {
    /// The task.
    pub task: Task,
    /// Drop it once the reply is queued for the client.
    pub hold: Hold,
}

/// Which tasks [`Background::list`] returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Filter {
    /// Only these states.
    pub state: Option<StateFilter>,
    /// How many at most.
    pub limit: Option<u32>,
    /// The steps of agents' turns, too.
    pub steps: bool,
}

/// How often ports are looked at before tasks are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Once.
    Once,
    /// Again, where a port may be about to have stood for long enough. Nothing may have looked before.
    Twice,
}

/// A state to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateFilter {
    /// Waiting for its turn.
    Queued,
    /// Running.
    Running,
    /// One of the two.
    NotStopping,
    /// Being stopped.
    Stopping,
    /// Ended this way.
    Ended(Outcome),
}

/// A piece of output.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Chunk {
    /// Where `data` starts.
    pub offset: u64,
    /// The bytes. Empty at the end of what is there now.
    pub data: Vec<u8>,
    /// Where to read on.
    pub next_offset: u64,
    /// The task has ended and nothing comes after `next_offset`.
    pub eof: bool,
    /// Output before `offset`, from the offset asked for, that was not retained.
    pub gap: Option<(u64, u64)>,
}

/// Which tasks to wait for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// These.
    Ids(Vec<TaskId>),
    /// Those of this queue that run, and those whose end waits in it undelivered.
    Queue(String),
}

/// When a wait is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// As soon as one of them has ended.
    Any,
    /// When all have.
    All,
}

/// The end of a wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waited {
    /// The tasks waited for, as they stand now, ended or not.
    pub tasks: Vec<Task>,
    /// The time was up before the wait was over.
    pub timed_out: bool,
}

/// How to stop a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    /// The signal to begin with, signal(7).
    pub signal: i32,
    /// How long its tree has before SIGKILL.
    pub grace: Duration,
    /// Who asks, and why.
    pub cause: Cause,
}

/// Who of a task gets a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recipient {
    /// The process group of its leader.
    Group,
    /// Its leader alone.
    Leader,
}

/// How drained notifications are acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ack {
    /// By dropping or calling [`Lease::ack`] once the reply is written. Until then no other drain
    /// sees them, unless this process dies.
    Auto,
    /// By [`Background::ack`]. Until then every drain sees them.
    Manual,
}

/// What a drain returned.
#[derive(Debug)]
pub struct Drained {
    /// Oldest first.
    pub notifications: Vec<Notification>,
    /// How many are left in the queue.
    pub remaining: u64,
    /// With [`Ack::Auto`], what to acknowledge once the reply is written.
    pub lease: Option<Lease>,
}

/// What to remove from the store.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Remove {
    /// These tasks.
    pub ids: Option<Vec<TaskId>>,
    /// Tasks that ended before this moment.
    pub ended_before: Option<Timestamp>,
}

/// Something a client is told. A push tells a person; it never consumes from a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The leader runs, and its pid is known.
    Started(Task),
    /// The turn of a task that waited has come. After [`Event::Started`]; not kept.
    Began {
        /// It.
        task: Task,
        /// How long it waited.
        waited: std::time::Duration,
    },
    /// Output of a subscribed task.
    Output {
        /// The task.
        id: TaskId,
        /// Where `data` starts; a jump means that output was skipped.
        offset: u64,
        /// The bytes.
        data: Vec<u8>,
    },
    /// A task said how far it is.
    Progress {
        /// The task.
        id: TaskId,
        /// How far.
        progress: Progress,
    },
    /// A task listens on other ports than before, or is ready, or no longer.
    Listening {
        /// The task.
        id: TaskId,
        /// What it serves now.
        serving: Serving,
    },
    /// A notification of another kind than an end was queued.
    Notified(Notification),
    /// A task ended, and its notification is durable.
    Exited(Notification),
    /// A full picture that replaces the one before.
    Changed {
        /// The tasks that run in this workspace.
        running: Vec<TaskId>,
        /// How many notifications wait in each queue that has any.
        undelivered: BTreeMap<String, u64>,
    },
}

pub use meanwhile_shim::launch::find as find_program;
pub use meanwhile_shim::slots;
pub use meanwhile_shim::spec::OnFailure;

pub use crate::background::engine::Engine;
pub use crate::background::events::{Events, Hold};
pub use crate::background::executor::{SendSignal, Size};
pub(crate) use crate::background::home::shim_in_memory;
pub use crate::background::manager::{Background, Lease};
pub(crate) use crate::background::pool::own_environment;
