//! The objects that the protocol sends (docs/protocol.md, "Objects").

use schemars::JsonSchema;
use serde::Serialize;

use super::INTEGER_MAX;

/// A point in time: RFC 3339, UTC, with milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(transparent)]
pub(crate) struct DateTime(#[schemars(extend("format" = "date-time"))] pub(crate) String);

/// The state of one background command at one point in time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Task {
    /// 8 lowercase hex digits, unique in the store.
    #[schemars(regex(pattern = "^[0-9a-f]{8}$"))]
    pub(crate) id: String,
    /// The workspace it belongs to, an absolute path.
    pub(crate) workspace: String,
    /// The queue that its notifications go to, fixed at spawn.
    pub(crate) queue: String,
    /// A name that its owner chose for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) label: Option<String>,
    /// The command as given; an argv is shown shell-quoted.
    pub(crate) command: String,
    /// The directory it was started in.
    pub(crate) cwd: String,
    /// The process id of the leader, which is also its process group id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pid: Option<u32>,
    /// The stage that the task has reached.
    pub(crate) state: TaskState,
    /// What it waits for before it starts; left out once it has started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) queued: Option<Queued>,
    /// The leader's wait status, once it has ended; left out if it never ran.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) exit: Option<Exit>,
    /// Who ended it and why; left out if the command ended by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cause: Option<Cause>,
    /// When the spawn was requested.
    pub(crate) created_at: DateTime,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ended_at: Option<DateTime>,
    /// How long it ran, on the monotonic clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = INTEGER_MAX))]
    pub(crate) duration_ms: Option<u64>,
    /// How long it may run, from its start; left out if it has no deadline.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = INTEGER_MAX))]
    pub(crate) deadline_ms: Option<u64>,
    /// How many bytes it has written.
    pub(crate) output: Output,
    /// The progress that the command last reported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) progress: Option<Progress>,
    /// Descendants that were alive after the leader ended.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) survivors: Vec<Survivor>,
    /// When and how the owner of its queue was notified of its end; left out until then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) delivered: Option<Delivered>,
    /// True if its spawn declared it to be a server, which is not expected to end.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) service: bool,
    /// The TCP ports that its processes listen on, ascending, as of the last check.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) ports: Vec<u16>,
    /// True if it is ready to serve: one of these ports has been open for 300 ms, or a watch matched.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) ready: bool,
    /// True if it reads its terminal or standard input and has written nothing for 15 s.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) waits_for_input: bool,
    /// True if an agent session started it; its queue is the session's.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) agent: bool,
    /// What the task is for, if it is not background work. Lists leave such tasks out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) role: Option<TaskRole>,
    /// The place where it runs; left out for this machine. `cwd` and `pid` are valid at that place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) on: Option<String>,
    /// Set while that place cannot be reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) contact: Option<Contact>,
    /// The task's job at the batch system of its place, if that has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) place: Option<TaskPlace>,
    /// How its sources at that place differ from those here, if they were compared and do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) warning: Option<String>,
    /// Texts about the task that a client shows to people.
    pub(crate) shown: Shown,
}

/// The job of a task at a batch system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct TaskPlace {
    /// The name of the batch system: `slurm`.
    pub(crate) engine: String,
    /// The id of the job, once it was submitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) job: Option<String>,
    /// The node on which the job runs, once it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) node: Option<String>,
}

/// Describes why a place cannot be reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Contact {
    /// When contact was lost.
    pub(crate) lost_since: DateTime,
    /// The reason, in the words of the program that connects to the place.
    pub(crate) reason: String,
    /// True if a person has to sign in or accept a key: `meanwhile place connect NAME`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) needs_you: bool,
}

/// Texts about a task for people, worded by the server so that every client shows the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Shown {
    /// Its label, else its command, on one line of at most 240 bytes, without control characters.
    pub(crate) title: String,
    /// How the task ended, or that it has not: for an icon, a colour or a filter.
    pub(crate) outcome: Standing,
    /// Its status in a few words: `running`, `queued, 2nd for build`, `exit 1`, `stopped by client`.
    pub(crate) stands: String,
    /// Its end, as the rest of a sentence that starts with the title: `exited 1 after 4.0s`. Left out until it has
    /// ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ended: Option<String>,
    /// How long it ran, such as `1m 32s`. Left out until it has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) took: Option<String>,
    /// Its place in a list: lists are sorted by this text, ascending.
    pub(crate) order: String,
    /// How urgently to notify a person who does not see the task. Left out if its state needs no notice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) notice: Option<NoticeLevel>,
}

/// How urgent a notice to a person is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum NoticeLevel {
    /// It succeeded, or a client or the agent stopped it.
    Info,
    /// It waits for input, or was stopped by neither a client nor the agent.
    Warning,
    /// It failed, timed out or was lost.
    Error,
}

/// The status of a task for display; a client has one icon and one colour for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Standing {
    /// It waits for its turn, even where `state` is `running` for a client of version 0.1.0.
    Queued,
    /// The task is running.
    Running,
    /// The task is being stopped.
    Stopping,
    /// It exited with code 0.
    Succeeded,
    /// It exited with another code, or a signal ended it.
    Failed,
    /// A client, the agent or the daemon stopped it.
    Stopped,
    /// It reached a deadline.
    TimedOut,
    /// How it ended is unknown.
    Lost,
}

/// What a task is for, if it is not background work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum TaskRole {
    /// An agent runs it in the foreground, as a step of its turn.
    Step,
}

/// The stage that a task has reached. In the last four it has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum TaskState {
    /// It waits for its turn. Sent only to a client that declares this state; others get `running`.
    Queued,
    /// The leader is running or about to start.
    Running,
    /// Its process tree is being stopped.
    Stopping,
    /// It ended by itself, with any exit status.
    Exited,
    /// A client, the agent or the daemon stopped it.
    Stopped,
    /// It reached its deadline.
    TimedOut,
    /// Its supervisor left no exit record, so how it ended is unknown.
    Lost,
}

/// What a task waits for, and since when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Queued {
    /// When the task began to wait.
    pub(crate) since: DateTime,
    /// What the task waits for.
    pub(crate) reason: QueuedReason,
    /// Its position among the tasks that wait for the slot, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub(crate) position: Option<u32>,
    /// The estimated remaining wait in milliseconds, from how long these commands took before. Left out if unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = INTEGER_MAX))]
    pub(crate) left_ms: Option<u64>,
}

/// What a task waits for: a slot, other tasks, or a place.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, JsonSchema)]
pub(crate) struct QueuedReason {
    /// The name of the slot that it waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) slot: Option<String>,
    /// The id of the task directly ahead, which holds the slot or waits for it; possibly of another workspace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) behind: Option<String>,
    /// The label of that task, or else its command, on one line and shortened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) title: Option<String>,
    /// The ids of the tasks that must end first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) after: Vec<String>,
    /// The place that has not accepted the task, or has accepted and not started it yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) place: Option<String>,
    /// Why the task waits there, as the place or its batch system says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) why: Option<String>,
}

impl Task {
    /// The task as sent to a client that does not know the state `queued`.
    pub(crate) fn without_queued_state(mut self) -> Self {
        if let TaskState::Queued = self.state {
            self.state = TaskState::Running;
        }
        self
    }
}

/// The leader's wait status. Both are null if it is unknown.
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
    /// Which kind of actor ended it.
    pub(crate) actor: Actor,
    /// The reason, as a text for people.
    pub(crate) message: String,
}

/// The kinds of actors that can end a task.
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
    /// A task that this one was to run after has failed.
    Dependency,
    /// The batch system that ran it at its place.
    Engine,
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

/// The progress that a task reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Progress {
    /// Percent, from 0 to 100; left out if the task reports none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 100))]
    pub(crate) percent: Option<u8>,
    /// The last line that reported progress.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<String>,
}

/// A descendant that was alive after its task's leader ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Survivor {
    /// Its process id.
    pub(crate) pid: u32,
    /// Its command line, cut to 200 bytes.
    pub(crate) command: String,
}

/// When and how the owner of the queue was notified of an end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Delivered {
    /// When the owner was notified.
    pub(crate) at: DateTime,
    /// The operation that notified the owner.
    pub(crate) by: DeliveredBy,
    /// The number of the agent's turn that received it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = INTEGER_MAX))]
    pub(crate) turn: Option<u64>,
}

/// The operation that notified the owner of a queue of an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum DeliveredBy {
    /// `task/drain`, or the agent's own drain before a model call.
    Drain,
    /// The agent waited for the task.
    Wait,
    /// The agent checked the task.
    Check,
}

/// An event that is reported to the owner of a queue once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Notification {
    /// Its number in its queue: ascending from 1, without gaps.
    #[schemars(range(min = 1, max = INTEGER_MAX))]
    pub(crate) seq: u64,
    /// The name of the queue.
    pub(crate) queue: String,
    /// Which kind of event it is.
    pub(crate) kind: NotificationKind,
    /// When it was queued.
    pub(crate) at: DateTime,
    /// The task at that time.
    pub(crate) task: Task,
    /// The start and the end of its output, at most 4 096 bytes together.
    pub(crate) preview: Preview,
    /// The line that matched; with kind `matched` only.
    #[serde(rename = "match", skip_serializing_if = "Option::is_none")]
    pub(crate) matched: Option<Match>,
}

/// The kind of event that a notification reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum NotificationKind {
    /// The task ended, in any way.
    Exited,
    /// A watch matched a line of output.
    Matched,
    /// The task waits for input.
    Stalled,
}

/// The start and the end of an output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Preview {
    /// The start of the output, as text.
    pub(crate) head: String,
    /// The end of the output, as text.
    pub(crate) tail: String,
    /// How many bytes between the two are left out.
    #[schemars(range(max = INTEGER_MAX))]
    pub(crate) omitted: u64,
}

/// A line that a watch matched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Match {
    /// The id of the watch, as given at spawn.
    pub(crate) id: String,
    /// The line, truncated to 1 024 bytes.
    pub(crate) line: String,
    /// The offset in the output at which the line starts.
    #[schemars(range(max = INTEGER_MAX))]
    pub(crate) offset: u64,
}

/// Output that was not retained: the bytes from `from` to `to`, without the byte at `to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Gap {
    /// The offset of the first missing byte.
    #[schemars(range(max = INTEGER_MAX))]
    pub(crate) from: u64,
    /// The offset of the first byte that is available again.
    #[schemars(range(max = INTEGER_MAX))]
    pub(crate) to: u64,
}
