//! What a task is: the words every other module uses.
//!
//! Owns no resource and does no I/O. The wire has types of its own (`crates/rpc`), so a change
//! here never changes the protocol by accident.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The name of a task: 8 lowercase hex digits, unique in the store.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId([u8; 8]);

impl TaskId {
    /// A new random id, the first 32 bits of a version 4 UUID.
    pub fn random() -> Self {
        let (high, ..) = uuid::Uuid::new_v4().as_fields();
        let mut text = [0; 8];
        for (i, digit) in text.iter_mut().enumerate() {
            *digit = b"0123456789abcdef"[(high >> (28 - 4 * i)) as usize & 0xf];
        }
        Self(text)
    }

    /// The id as the 8 ASCII bytes it is written with.
    pub fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("an id is made of hex digits only")
    }
}

/// The text is not a task id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a task id: expected 8 lowercase hex digits")]
pub struct BadTaskId(pub String);

impl FromStr for TaskId {
    type Err = BadTaskId;

    fn from_str(text: &str) -> Result<Self, BadTaskId> {
        match <[u8; 8]>::try_from(text.as_bytes()) {
            Ok(bytes) if bytes.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) => {
                Ok(Self(bytes))
            }
            Ok(_) | Err(_) => Err(BadTaskId(text.chars().take(64).collect())),
        }
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A moment on the wall clock, in milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// This moment.
    pub fn now() -> Self {
        Self::from(SystemTime::now())
    }

    /// How long after `earlier` this is; zero if the clock was stepped back.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0 - earlier.0).unwrap_or(0))
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

impl From<Timestamp> for SystemTime {
    fn from(time: Timestamp) -> Self {
        UNIX_EPOCH + Duration::from_millis(u64::try_from(time.0).unwrap_or(0))
    }
}

/// One background command, as it stands at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// Its name.
    pub id: TaskId,
    /// The workspace it belongs to, an absolute path.
    pub workspace: PathBuf,
    /// Where its notifications go, fixed at spawn.
    pub queue: String,
    /// What its owner calls it.
    pub label: Option<String>,
    /// The command as given; an argv is shown shell-quoted.
    pub command: String,
    /// The directory it was started in.
    pub cwd: PathBuf,
    /// The leader's process id, also its process group; known once it was started.
    pub pid: Option<u32>,
    /// Where it is in its life.
    pub state: State,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// How long it may run.
    pub deadline: Option<Duration>,
    /// How much it has written.
    pub output: OutputStat,
    /// The progress that the command reports.
    pub progress: Option<Progress>,
    /// Descendants that were alive after the leader ended.
    pub survivors: Vec<Survivor>,
    /// When and how its end reached the owner of its queue.
    pub delivered: Option<Delivered>,
    /// What it serves.
    pub serving: Serving,
    /// It reads its terminal or its input, and has been silent since.
    pub waits_for_input: bool,
    /// An agent runs it in the foreground, as a step of its turn.
    pub is_step: bool,
    /// The place where it runs; `None`: this machine. `cwd` and `pid` are the place's.
    pub on: Option<String>,
    /// Whether that place can be reached, as far as is known. Not of one that has ended.
    pub contact: Option<Box<Contact>>,
}

/// Whether a place can be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contact {
    /// Since when it cannot be reached; `None`: it can.
    pub lost_since: Option<Timestamp>,
    /// Why it cannot be reached, in the words of the program that is to reach it.
    pub why: String,
    /// A person has to sign in, or to accept a key.
    pub needs_you: bool,
    /// The version of `meanwhile` there, once it has answered.
    pub version: Option<String>,
}

impl Notification {
    /// The task as it is told: of one that waits for input that is the news.
    pub fn told(&self) -> Task {
        let waits = self.kind == NotificationKind::Stalled;
        Task { waits_for_input: self.task.waits_for_input || waits, ..self.task.clone() }
    }
}

/// A task as a server.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Serving {
    /// Its spawn said that it is one.
    pub service: bool,
    /// The TCP ports its processes listen on, ascending, as of the last look. None once it has ended.
    pub ports: Vec<u16>,
    /// Such a port has stood for a while, or a watch matched.
    pub ready: bool,
}

/// A TCP port that a task listens on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Port {
    /// Its number.
    pub number: u16,
    /// It is none of those that the kernel hands out by itself (`ip_local_port_range`, ip(7)).
    pub chosen: bool,
}

impl Task {
    /// The end, if it has ended.
    pub fn end(&self) -> Option<&End> {
        match &self.state {
            State::Queued(_) | State::Running | State::Stopping { .. } => None,
            State::Ended(end) => Some(end),
        }
    }
}

/// Where a task is in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It waits for its turn; there is no leader yet.
    Queued(Queued),
    /// The leader runs, or is about to.
    Running,
    /// Its tree is being ended.
    Stopping {
        /// Who asked for the end, and why.
        cause: Cause,
    },
    /// The leader is gone and its status is known, or known to be lost.
    Ended(End),
}

/// What a task waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queued {
    /// Since when.
    pub since: Timestamp,
    /// For what.
    pub reason: Wait,
    /// About how long it still waits, by how long commands took before; `None`: not known.
    pub left: Option<Duration>,
}

/// What there is to wait for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wait {
    /// A slot.
    Slot {
        /// Its name.
        name: String,
        /// Its place among those that wait for it, from 1.
        position: u32,
        /// A task that holds the slot, or waits for it right ahead.
        behind: Option<Ahead>,
    },
    /// The ends of these tasks.
    After(Vec<TaskId>),
    /// A place, to take it or to be reached.
    Place(String),
}

/// A task that another one waits for. It may be another workspace's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ahead {
    /// Its id.
    pub id: TaskId,
    /// Its label, or else its command; `None` where that cannot be read any more.
    pub title: Option<String>,
}

/// How a task ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// What kind of end it was.
    pub outcome: Outcome,
    /// The kernel's word on the leader.
    pub exit: Exit,
    /// Why, on every end that was not the command's own.
    pub cause: Option<Cause>,
    /// When.
    pub at: Timestamp,
    /// How long it ran, on the monotonic clock.
    pub duration: Duration,
}

/// The kinds of end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// By itself, whatever the exit status.
    Exited,
    /// An order stopped it.
    Stopped,
    /// It ran into its deadline.
    TimedOut,
    /// Its supervisor left no exit record (power loss, SIGKILL of the supervisor).
    Lost,
}

/// The leader's wait status, never folded into the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Exit {
    /// It called `_exit` with this code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
    /// Not known: it was never started, or its supervisor was killed.
    Unknown,
}

/// Who ended a task or asked for its end, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// Who.
    pub actor: Actor,
    /// Why, as a sentence fragment for people.
    pub message: String,
}

/// Who may end a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Actor {
    /// A person or program, through the protocol or the command line.
    Client,
    /// A model, through its tools.
    Agent,
    /// The task's own deadline.
    Deadline,
    /// No daemon was attached to the workspace for longer than the linger time.
    Linger,
    /// A limit of this machine or of the store.
    Limit,
    /// The daemon or the supervisor itself.
    Daemon,
    /// A task that it was to follow, which failed.
    Dependency,
}

/// How much a task has written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OutputStat {
    /// Bytes written so far.
    pub total: u64,
    /// Bytes of these that are no longer kept.
    pub dropped: u64,
}

/// How far a task says it is, read from its output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// 0 to 100.
    pub percent: Option<u8>,
    /// The last line that spoke of progress.
    pub message: Option<String>,
}

/// A process of a task that is alive though its leader ended, or though the task was to be stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survivor {
    /// Its process id.
    pub pid: u32,
    /// Its command line, cut to 200 bytes.
    pub command: String,
}

/// When and how an end was told to the owner of its queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivered {
    /// When.
    pub at: Timestamp,
    /// Through what.
    pub by: DeliveredBy,
    /// The agent's turn that saw it.
    pub turn: Option<u64>,
}

/// What told an end to the owner of its queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeliveredBy {
    /// `task/drain`, or the agent's own drain before a model call.
    Drain,
    /// The agent's own wait.
    Wait,
    /// The agent's own check.
    Check,
}

/// Something the owner of a queue is told, once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// Its number: gapless and ascending within its queue, from 1.
    pub seq: u64,
    /// The queue.
    pub queue: String,
    /// When it was queued.
    pub at: Timestamp,
    /// What happened.
    pub kind: NotificationKind,
    /// The task as it stood.
    pub task: Task,
    /// The two ends of its output.
    pub preview: Preview,
}

/// What a notification tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotificationKind {
    /// The task ended.
    Exited,
    /// A watch pattern matched a line of output.
    Matched(Match),
    /// The task waits for input.
    Stalled,
}

/// A line that a watch pattern matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// The watch, as named at spawn.
    pub id: String,
    /// The line, cut to 1 024 bytes.
    pub line: String,
    /// Where the line starts in the output.
    pub offset: u64,
}

/// The two ends of an output, at most [`crate::limits::PREVIEW_BYTES`] in all, as lossy UTF-8.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Preview {
    /// The beginning.
    pub head: String,
    /// The end.
    pub tail: String,
    /// Bytes between the two that are left out.
    pub omitted: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_eight_hex_digits_and_parse_back() {
        for _ in 0..100 {
            let id = TaskId::random();
            assert_eq!(id.to_string().parse(), Ok(id));
        }
    }

    #[test]
    fn anything_else_is_not_an_id() {
        for bad in ["", "b3f9c2a", "b3f9c2a11", "B3F9C2A1", "b3f9c2ag", "../../..", "ééé12"] {
            assert_eq!(bad.parse::<TaskId>(), Err(BadTaskId(bad.to_owned())));
        }
    }
}
