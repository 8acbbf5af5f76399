//! The background manager's API: its requests, results and events.

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
pub mod sources;
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
pub use meanwhile_shim::spec::Resources;

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
    /// Whether the caller is a daemon or a short-lived command.
    pub role: Role,
    /// The settings of the store.
    pub settings: Settings,
}

/// A slot: at most `limit` of the tasks that take it run at once, across all workspaces of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// The name by which a spawn asks for the slot.
    pub name: String,
    /// How many run at once, from 1.
    pub limit: u32,
    /// Rules for commands that take the slot without naming it.
    pub rules: Vec<Rule>,
}

/// What kind of process opens the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A daemon: while it is attached, the linger time of the workspace's tasks does not run. It keeps idle
    /// shims ready and prunes.
    Daemon,
    /// A short-lived command: it never attaches, so it does not restart the linger time.
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
    /// Whether exit records and the ledger are flushed to disk, so that they survive a power loss too. Default
    /// no: the kernel's page cache survives the death of any process.
    pub sync: bool,
    /// Slots (`config.toml`, sections `slots`), sorted by name. Default none.
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

/// The command of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// A line for `/bin/sh -c`.
    Shell(String),
    /// A line for another shell, also passed after `-c`.
    ShellOf {
        /// The shell: a path, or a name that is searched in `PATH`.
        shell: PathBuf,
        /// The shell command line.
        line: String,
    },
    /// A program and its arguments, executed without a shell. Never empty.
    Argv(Vec<OsString>),
}

/// Where a task's standard input comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stdin {
    /// From `/dev/null`: it is empty.
    Null,
    /// From a pipe that [`Background::write`] fills.
    Pipe,
    /// A terminal of this size, for standard output and error too.
    Pty {
        /// Rows of the terminal.
        rows: u16,
        /// Columns of the terminal.
        cols: u16,
    },
}

/// A pattern: each line that matches it makes a notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watch {
    /// The watch's name in the notification.
    pub id: String,
    /// A regular expression in the `regex` crate's syntax, matched line by line.
    pub pattern: String,
    /// Maximum number of notifications that it makes.
    pub limit: u32,
}

/// A request to run a command.
#[derive(Debug, Clone)]
pub struct Spawn {
    /// The command to run.
    pub command: Command,
    /// The working directory, relative to the workspace; default the workspace itself.
    pub cwd: Option<PathBuf>,
    /// Variables to set (`Some`) or to remove (`None`) in the environment inherited from this process.
    pub env: BTreeMap<String, Option<String>>,
    /// The label that the client gives it.
    pub label: Option<String>,
    /// The queue of its notifications.
    pub queue: String,
    /// How long it may run; `None`: without limit.
    pub deadline: Option<Duration>,
    /// How long it may run with no daemon attached to its workspace; `None`: without limit.
    pub linger: Option<Duration>,
    /// Its standard input.
    pub stdin: Stdin,
    /// Patterns to watch its output for.
    pub watches: Vec<Watch>,
    /// A second spawn with the same token in the same workspace returns the first one's task.
    pub client_token: Option<Token>,
    /// Whether it is a server, which is not expected to end.
    pub service: bool,
    /// How it is confined; `None`: not at all.
    pub confine: Option<Confine>,
    /// Whether an agent runs it in the foreground, as a step of its turn: lists leave such tasks out.
    pub is_step: bool,
    /// What it waits for before it starts.
    pub line: Line,
    /// The place where it runs; `None`: this machine.
    pub on: Option<String>,
    /// What it asks a batch system there for.
    pub resources: Resources,
}

/// What a task waits for before it starts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Line {
    /// The slot that it holds while it runs; `None`: the slot whose rules match its command, if any.
    pub slot: Option<String>,
    /// Tasks of the workspace that must end first.
    pub after: Vec<TaskId>,
    /// What happens if one of them fails, that is, ends other than with exit code 0.
    pub on_failure: OnFailure,
    /// How long it may wait before it starts; `None`: without limit.
    pub deadline: Option<Duration>,
}

/// A client's token for a spawn, unique in its workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    /// Not yet claimed: the spawn claims it.
    New(String),
    /// Already claimed for this task, in a transaction of the caller.
    Claimed(String, TaskId),
}

/// A spawned task. Its pushes are held back until `hold` is dropped, so that the reply that names
/// the task can be sent first (docs/protocol.md, guarantee 1).
#[derive(Debug)]
pub struct Spawned {
    /// The task as it was when the spawn returned.
    pub task: Task,
    /// Drop it once the reply is queued for the client.
    pub hold: Hold,
}

/// Which tasks [`Background::list`] returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Filter {
    /// Only these states.
    pub state: Option<StateFilter>,
    /// Maximum number of tasks to return; `None`: the default.
    pub limit: Option<u32>,
    /// Whether to include the steps of agents' turns.
    pub steps: bool,
}

/// How often ports are checked before tasks are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// A single check.
    Once,
    /// A second check if a port may be about to count as stable. Use it where no earlier check may have been
    /// made.
    Twice,
}

/// A state to filter by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateFilter {
    /// Waiting for its turn.
    Queued,
    /// Running, and not being stopped.
    Running,
    /// Queued or running.
    NotStopping,
    /// Being stopped, not yet ended.
    Stopping,
    /// Ended with this outcome.
    Ended(Outcome),
}

/// A piece of output.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Chunk {
    /// The offset in the output at which `data` starts.
    pub offset: u64,
    /// The bytes; empty if nothing has been written from `offset` on yet.
    pub data: Vec<u8>,
    /// The offset at which to read on.
    pub next_offset: u64,
    /// Whether the task has ended and there is no output after `next_offset`.
    pub eof: bool,
    /// The range of output, from the requested offset to `offset`, that was not retained.
    pub gap: Option<(u64, u64)>,
}

/// Which tasks to wait for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// The tasks with these ids.
    Ids(Vec<TaskId>),
    /// Tasks of this queue that are running, or whose end in it is undelivered.
    Queue(String),
}

/// When a wait is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// As soon as one of them has ended.
    Any,
    /// When all of them have.
    All,
}

/// The result of a wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waited {
    /// The tasks waited for, in their current state, ended or not.
    pub tasks: Vec<Task>,
    /// Whether the wait timed out.
    pub timed_out: bool,
}

/// How to stop a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    /// The first signal to send, signal(7).
    pub signal: i32,
    /// How long its process tree has before SIGKILL.
    pub grace: Duration,
    /// Who requested the stop, and why.
    pub cause: Cause,
}

/// Which processes of a task get a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recipient {
    /// The process group of its leader.
    Group,
    /// Only its leader.
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
    /// The notifications, oldest first.
    pub notifications: Vec<Notification>,
    /// How many notifications are left in the queue.
    pub remaining: u64,
    /// With [`Ack::Auto`], the lease to acknowledge once the reply is written.
    pub lease: Option<Lease>,
}

/// Which tasks to remove from the store.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Remove {
    /// Only these tasks; `None`: any.
    pub ids: Option<Vec<TaskId>>,
    /// Only tasks that ended before this time; `None`: any.
    pub ended_before: Option<Timestamp>,
}

/// An event for a client. A push informs a person; it never takes anything out of a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The leader runs, and its pid is known.
    Started(Task),
    /// The turn of a task that waited has come. Sent after [`Event::Started`]; not stored.
    Began {
        /// The task, now running.
        task: Task,
        /// How long it waited.
        waited: std::time::Duration,
    },
    /// Output of a subscribed task.
    Output {
        /// The task's id.
        id: TaskId,
        /// The offset at which `data` starts; a jump means that output was skipped.
        offset: u64,
        /// The bytes of output.
        data: Vec<u8>,
    },
    /// A task's output reported progress.
    Progress {
        /// The task's id.
        id: TaskId,
        /// The progress reported last.
        progress: Progress,
    },
    /// The ports that a task listens on have changed, or whether it is ready.
    Listening {
        /// The task's id.
        id: TaskId,
        /// What it serves now.
        serving: Serving,
    },
    /// The task no longer waits for input, or the contact with its place was lost or restored.
    State(Task),
    /// A notification other than an end was queued.
    Notified(Notification),
    /// A task ended, and its notification is stored.
    Exited(Notification),
    /// The complete current state, which replaces the one sent before.
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
