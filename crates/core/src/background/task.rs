//! The data types of a task, used by every other module.
//!
//! Owns no resource and does no I/O. The wire has its own types (`crates/rpc`), so a change here never changes
//! the protocol by accident.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A task's id: 8 lowercase hex digits, unique in the store.
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

    /// The id as its 8 ASCII digits.
    pub fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("an id is made of hex digits only")
    }
}

/// The error for a text that is not a task id.
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

/// A time on the wall clock, in milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The current time.
    pub fn now() -> Self {
        Self::from(SystemTime::now())
    }

    /// The time since `earlier`; zero if the clock was set back.
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

/// A snapshot of one background command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// The task's id.
    pub id: TaskId,
    /// The workspace it belongs to, an absolute path.
    pub workspace: PathBuf,
    /// The queue of its notifications, fixed at spawn.
    pub queue: String,
    /// The label that its client gave it.
    pub label: Option<String>,
    /// The command as given; an argv is shown shell-quoted.
    pub command: String,
    /// Its working directory.
    pub cwd: PathBuf,
    /// The leader's pid, which is also its process group; `None` before its start.
    pub pid: Option<u32>,
    /// Whether it is queued, running, being stopped or ended.
    pub state: State,
    /// When it was requested.
    pub created_at: Timestamp,
    /// How long it may run; `None`: without limit.
    pub deadline: Option<Duration>,
    /// How much output it has written.
    pub output: OutputStat,
    /// The progress that its output reported last.
    pub progress: Option<Progress>,
    /// Descendants that were alive after the leader's end.
    pub survivors: Vec<Survivor>,
    /// When and how its end was delivered to the owner of its queue; `None`: not yet.
    pub delivered: Option<Delivered>,
    /// Its ports and readiness.
    pub serving: Serving,
    /// Whether it has started to read its terminal or input and has written nothing since.
    pub waits_for_input: bool,
    /// Whether an agent runs it in the foreground, as a step of its turn.
    pub is_step: bool,
    /// The place where it runs; `None`: this machine. `cwd` and `pid` are those at the place.
    pub on: Option<String>,
    /// Whether this place can be reached, if known. `None` for a task that has ended.
    pub contact: Option<Box<Contact>>,
    /// What is known of it at that place.
    pub job: Option<Box<Job>>,
}

/// A task as its place knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Which batch system: `slurm`; empty: none.
    pub engine: String,
    /// Its number of the task; empty: not known yet.
    pub id: String,
    /// The node it is on; empty: none yet.
    pub node: String,
    /// How its sources there differ from those here; empty: they do not, or were not compared.
    pub warning: String,
}

/// Whether a place can be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contact {
    /// Since when it cannot be reached; `None`: it can be.
    pub lost_since: Option<Timestamp>,
    /// Why it cannot be reached: the message of the program that connects to it.
    pub why: String,
    /// Whether a person has to sign in or accept a key.
    pub needs_you: bool,
    /// The version of `meanwhile` there, once it has answered.
    pub version: Option<String>,
}

impl Notification {
    /// The task to show for this notification: for a stall, marked as waiting for input.
    pub fn told(&self) -> Task {
        let waits = self.kind == NotificationKind::Stalled;
        Task { waits_for_input: self.task.waits_for_input || waits, ..self.task.clone() }
    }
}

/// A task's state as a server.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Serving {
    /// Whether its spawn declared it to be a server.
    pub service: bool,
    /// The TCP ports that its processes listen on, ascending, as of the last check. Empty once it has ended.
    pub ports: Vec<u16>,
    /// Whether such a port has been stable for a while, or a watch matched.
    pub ready: bool,
}

/// A TCP port that a task listens on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Port {
    /// The port number.
    pub number: u16,
    /// Whether it is outside the range from which the kernel assigns ports (`ip_local_port_range`, ip(7)).
    pub chosen: bool,
}

impl Task {
    /// The end, if the task has ended.
    pub fn end(&self) -> Option<&End> {
        match &self.state {
            State::Queued(_) | State::Running | State::Stopping { .. } => None,
            State::Ended(end) => Some(end),
        }
    }
}

/// A task's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It waits for its turn; it has no leader yet.
    Queued(Queued),
    /// The leader runs or is starting.
    Running,
    /// Its tree is being stopped.
    Stopping {
        /// Who requested the stop, and why.
        cause: Cause,
    },
    /// The leader has exited, with a known status or an unknown one (lost).
    Ended(End),
}

/// The wait of a queued task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queued {
    /// When it was queued.
    pub since: Timestamp,
    /// What it waits for.
    pub reason: Wait,
    /// The estimated remaining wait, from past durations of the commands ahead; `None`: unknown.
    pub left: Option<Duration>,
}

/// What a queued task waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wait {
    /// Room in a slot.
    Slot {
        /// The slot's name.
        name: String,
        /// Its position among the tasks that wait for the slot, from 1.
        position: u32,
        /// The task right ahead of it, which holds the slot or waits for it; `None`: there is none.
        behind: Option<Ahead>,
    },
    /// The ends of these tasks.
    After(Vec<TaskId>),
    /// The task's place, which has not received the task, cannot be reached, or lets it wait.
    Place {
        /// The name of the place.
        name: String,
        /// The batch system's reason why the task waits; empty if unknown.
        why: String,
    },
}

/// A task that another one waits for, possibly in another workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ahead {
    /// The id of that task.
    pub id: TaskId,
    /// Its label, or its command if it has none; `None` if it cannot be read any more.
    pub title: Option<String>,
}

/// How a task ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// The kind of end.
    pub outcome: Outcome,
    /// The leader's wait status, as reported by the kernel.
    pub exit: Exit,
    /// Who caused it and why; `None` if the command ended by itself.
    pub cause: Option<Cause>,
    /// The time of the end.
    pub at: Timestamp,
    /// How long it ran, on the monotonic clock.
    pub duration: Duration,
}

/// The kinds of end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It ended by itself, with any exit status.
    Exited,
    /// It was stopped on request.
    Stopped,
    /// It exceeded its deadline.
    TimedOut,
    /// Its shim left no record of the end (power loss, SIGKILL of the shim).
    Lost,
}

/// The leader's wait status, independent of the task's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Exit {
    /// It called `_exit` with this code.
    Code(i32),
    /// It was killed by this signal.
    Signal(i32),
    /// Unknown: it was never started, or its shim was killed.
    Unknown,
}

/// Who ended a task or requested its end, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// Who ended it or requested it.
    pub actor: Actor,
    /// The reason, as a sentence fragment for people.
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
    /// The linger time, because no daemon was attached to the workspace for that long.
    Linger,
    /// A limit of this machine or of the store.
    Limit,
    /// The daemon or the shim itself.
    Daemon,
    /// A failed task that it was to follow.
    Dependency,
    /// The batch system that ran it at its place.
    Engine,
}

/// How much output a task has written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OutputStat {
    /// Bytes written so far.
    pub total: u64,
    /// Bytes of these that are no longer retained.
    pub dropped: u64,
}

/// A task's progress, read from its output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// 0 to 100; `None`: unknown.
    pub percent: Option<u8>,
    /// The last line of output that reported progress.
    pub message: Option<String>,
}

/// A process of a task that is alive after its leader's end, or after a stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survivor {
    /// The process id.
    pub pid: u32,
    /// Its command line, at most 200 bytes.
    pub command: String,
}

/// When and how an end was delivered to the owner of its queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivered {
    /// The time of delivery.
    pub at: Timestamp,
    /// The means of delivery.
    pub by: DeliveredBy,
    /// The number of the agent's model call that carried it; `None`: not an agent's.
    pub turn: Option<u64>,
}

/// How an end was delivered to the owner of its queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeliveredBy {
    /// By `task/drain`, or by the agent's own drain before a model call.
    Drain,
    /// By the agent's own wait.
    Wait,
    /// By the agent's own check.
    Check,
}

/// A notification for the owner of a queue, delivered once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// Its number in its queue, ascending from 1 without gaps.
    pub seq: u64,
    /// The queue's name.
    pub queue: String,
    /// When it was queued.
    pub at: Timestamp,
    /// What it is about.
    pub kind: NotificationKind,
    /// The task's state at the time.
    pub task: Task,
    /// The beginning and end of its output.
    pub preview: Preview,
}

/// What a notification is about.
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
    /// The watch's id, as given at spawn.
    pub id: String,
    /// The line, at most 1 024 bytes.
    pub line: String,
    /// The offset of the line in the output.
    pub offset: u64,
}

/// The beginning and end of an output, at most [`crate::limits::PREVIEW_BYTES`] in all, as lossy UTF-8.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Preview {
    /// The beginning; all of it if nothing is omitted.
    pub head: String,
    /// The end; empty if nothing is omitted.
    pub tail: String,
    /// Bytes omitted between the two.
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
