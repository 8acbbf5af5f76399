//! The objects of docs/protocol.md, "Objects", as they are written.

use schemars::JsonSchema;
use serde::Serialize;

use super::INTEGER_MAX;

/// A moment: RFC 3339, UTC, with milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(transparent)]
pub(crate) struct DateTime(#[schemars(extend("format" = "date-time"))] pub(crate) String);

/// One background command, as it stands at a moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Task {
    /// 8 lowercase hex digits, unique in the store.
    #[schemars(regex(pattern = "^[0-9a-f]{8}$"))]
    pub(crate) id: String,
    /// The workspace it belongs to, an absolute path.
    pub(crate) workspace: String,
    /// Where its notifications go, fixed at spawn.
    pub(crate) queue: String,
    /// What its owner calls it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) label: Option<String>,
    /// The command as given; an argv is shown shell-quoted.
    pub(crate) command: String,
    /// The directory it was started in.
    pub(crate) cwd: String,
    /// The leader; also its process group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pid: Option<u32>,
    /// Where it is in its life.
    pub(crate) state: TaskState,
    /// What it waits for before it starts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) queued: Option<Queued>,
    /// The kernel's word on the leader, once it has ended, if it ever ran.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) exit: Option<Exit>,
    /// Who ended it and why, on every end that was not the command's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cause: Option<Cause>,
    /// When it was asked for.
    pub(crate) created_at: DateTime,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ended_at: Option<DateTime>,
    /// How long it ran, on the monotonic clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = INTEGER_MAX))]
    pub(crate) duration_ms: Option<u64>,
    /// How long it may run.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = INTEGER_MAX))]
    pub(crate) deadline_ms: Option<u64>,
    /// How much it has written.
    pub(crate) output: Output,
    /// The progress that the command reports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) progress: Option<Progress>,
    /// Descendants that were alive after the leader ended.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) survivors: Vec<Survivor>,
    /// When and how its end reached the owner of its queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) delivered: Option<Delivered>,
    /// Its spawn said that it is a server.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) service: bool,
    /// The TCP ports its processes listen on, ascending, as of the last look.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) ports: Vec<u16>,
    /// It serves: such a port has stood for 300 ms, or a watch matched.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) ready: bool,
    /// It reads its terminal or its input, and has been silent for 15 s.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) waits_for_input: bool,
    /// A session of an agent started it: its queue is the session's.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) agent: bool,
    /// What it is for, unless it is background work: lists leave these out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) role: Option<TaskRole>,
    /// The place where it runs, if that is not this machine. `cwd` and `pid` are the place's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) on: Option<String>,
    /// Set while that place cannot be reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) contact: Option<Contact>,
    /// What a person is told of it.
    pub(crate) shown: Shown,
}

/// That a place cannot be reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Contact {
    /// Since when.
    pub(crate) lost_since: DateTime,
    /// Why, in the words of the program that is to reach it.
    pub(crate) reason: String,
    /// A person has to sign in, or to accept a key: `meanwhile place connect NAME`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) needs_you: bool,
}

/// A task in words, so that every client tells the same: what is shown, and nothing to decide.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Shown {
    /// Its label, else its command, on one line of at most 240 bytes, without control characters.
    pub(crate) title: String,
    /// What kind of end it was, or that there is none yet: for an icon, a colour, a filter.
    pub(crate) outcome: Standing,
    /// How it stands: `running`, `queued, 2nd for build`, `exit 1`, `stopped by client`.
    pub(crate) stands: String,
    /// Its end as the rest of a sentence that begins with the title: `exited 1 after 4.0s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ended: Option<String>,
    /// How long it ran, once it has ended: `1m 32s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) took: Option<String>,
}

/// How a task stands, of which a client has one icon and one colour each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Standing {
    /// It waits for its turn, whatever `state` says to a client of version 0.1.0.
    Queued,
    /// It runs.
    Running,
    /// It is being ended.
    Stopping,
    /// It exited with 0.
    Succeeded,
    /// It exited otherwise.
    Failed,
    /// An order stopped it.
    Stopped,
    /// It ran into a deadline.
    TimedOut,
    /// How it ended is not known.
    Lost,
}

/// What a task is for that is not background work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum TaskRole {
    /// An agent runs it in the foreground, as a step of its turn.
    Step,
}

/// Where a task is in its life. The last four are ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum TaskState {
    /// It waits for its turn. Only for a client that declares this state; others see `running`.
    Queued,
    /// The leader runs, or is about to.
    Running,
    /// Its tree is being ended.
    Stopping,
    /// It ended by itself, whatever the exit status.
    Exited,
    /// An order stopped it.
    Stopped,
    /// It ran into its deadline.
    TimedOut,
    /// Its supervisor left no exit record.
    Lost,
}

/// What a task waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Queued {
    /// Since when.
    pub(crate) since: DateTime,
    /// For what.
    pub(crate) reason: QueuedReason,
    /// Its place among those that wait for the slot, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub(crate) position: Option<u32>,
    /// About how long it still waits, in milliseconds, by how long commands took before.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = INTEGER_MAX))]
    pub(crate) left_ms: Option<u64>,
}

/// What there is to wait for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, JsonSchema)]
pub(crate) struct QueuedReason {
    /// The slot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) slot: Option<String>,
    /// The task right ahead, which holds the slot or waits for it. It may be another workspace's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) behind: Option<String>,
    /// That one's label, or else its command, on one line and shortened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) title: Option<String>,
    /// Tasks that end first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) after: Vec<String>,
    /// The place that is to take it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) place: Option<String>,
}

impl Task {
    /// The task as a client sees it that knows no task that waits.
    pub(crate) fn without_queued_state(mut self) -> Self {
        if let TaskState::Queued = self.state {
            self.state = TaskState::Running;
        }
        self
    }
}

/// The leader's wait status. Both are null where it is not known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Exit {
    /// The exit code, if it exited.
    pub(crate) code: Option<i32>,
    /// The signal's name (`SIGKILL`), if a signal ended it.
    pub(crate) signal: Option<String>,
}

/// Who ended a task, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Cause {
    /// Who.
    pub(crate) actor: Actor,
    /// Why, for people.
    pub(crate) message: String,
}

/// Who may end a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Actor {
    /// A person or program, through the protocol or the command line.
    Client,
    /// A model, through its tools.
    Agent,
    /// The task's own deadline.
    Deadline,
    /// No daemon was attached for longer than the linger time.
    Linger,
    /// A limit of the machine or the store.
    Limit,
    /// The daemon or the supervisor itself.
    Daemon,
    /// A task that it was to follow, which failed.
    Dependency,
}

/// How much a task has written, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Output {
    /// Bytes written so far.
    #[schemars(range(max = INTEGER_MAX))]
    pub(crate) total: u64,
    /// Bytes of these that are no longer kept.
    #[schemars(range(max = INTEGER_MAX))]
    pub(crate) dropped: u64,
}

/// How far a task says it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Progress {
    /// 0 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 100))]
    pub(crate) percent: Option<u8>,
    /// The last line that spoke of progress.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<String>,
}

/// A descendant alive after its task's leader ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Survivor {
    /// Its process id.
    pub(crate) pid: u32,
    /// Its command line, cut to 200 bytes.
    pub(crate) command: String,
}

/// When and how an end reached the owner of its queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Delivered {
    /// When.
    pub(crate) at: DateTime,
    /// Through what.
    pub(crate) by: DeliveredBy,
    /// The agent's turn that saw it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = INTEGER_MAX))]
    pub(crate) turn: Option<u64>,
}

/// What told an end to the owner of its queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum DeliveredBy {
    /// `task/drain`, or the agent's own drain before a model call.
    Drain,
    /// The agent's own wait.
    Wait,
    /// The agent's own check.
    Check,
}

/// Something the owner of a queue is told, once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Notification {
    /// Gapless and ascending within its queue, from 1.
    #[schemars(range(min = 1, max = INTEGER_MAX))]
    pub(crate) seq: u64,
    /// The queue.
    pub(crate) queue: String,
    /// What happened.
    pub(crate) kind: NotificationKind,
    /// When it was queued.
    pub(crate) at: DateTime,
    /// The task as it stood.
    pub(crate) task: Task,
    /// The two ends of its output, at most 4 096 bytes in all.
    pub(crate) preview: Preview,
    /// The line that matched; with kind `matched` only.
    #[serde(rename = "match", skip_serializing_if = "Option::is_none")]
    pub(crate) matched: Option<Match>,
}

/// What a notification tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum NotificationKind {
    /// The task ended, in whatever way.
    Exited,
    /// A watch matched a line of output.
    Matched,
    /// The task waits for input.
    Stalled,
}

/// The two ends of an output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Preview {
    /// The beginning.
    pub(crate) head: String,
    /// The end.
    pub(crate) tail: String,
    /// Bytes between the two that are left out.
    #[schemars(range(max = INTEGER_MAX))]
    pub(crate) omitted: u64,
}

/// A line that a watch matched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Match {
    /// The watch, as named at spawn.
    pub(crate) id: String,
    /// The line, cut to 1 024 bytes.
    pub(crate) line: String,
    /// Where the line starts in the output.
    #[schemars(range(max = INTEGER_MAX))]
    pub(crate) offset: u64,
}

/// Output that was not retained: the bytes from `from` up to, not with, `to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Gap {
    /// The first byte that is missing.
    #[schemars(range(max = INTEGER_MAX))]
    pub(crate) from: u64,
    /// The first byte that is there again.
    #[schemars(range(max = INTEGER_MAX))]
    pub(crate) to: u64,
}
