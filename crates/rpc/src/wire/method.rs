//! Parameters and results of the methods (docs/protocol.md, "Methods").
//!
//! Unknown members are refused: a misspelt `deadlineMs` that was ignored would let a task run without a limit.

use std::collections::BTreeMap;
use std::fmt;

use meanwhile_core::limits;
use schemars::JsonSchema;
use serde::de::value::SeqAccessDeserializer;
use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::{Gap, INTEGER_MAX, Notification, ProgressToken, Task, TaskState};

/// Parameters of `task/spawn`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct SpawnParams {
    /// The command to run.
    pub(crate) command: CommandParam,
    /// The program that reads a `command` that is a string, as `SHELL -c LINE`; default `/bin/sh`.
    pub(crate) shell: Option<String>,
    /// The directory to run it in, relative to the workspace; default the workspace itself.
    pub(crate) cwd: Option<String>,
    /// Environment variables to set, or to remove with null, in the environment inherited from the server.
    #[serde(default)]
    pub(crate) env: BTreeMap<String, Option<String>>,
    /// A name for people.
    pub(crate) label: Option<String>,
    /// The queue that its notifications go to; default the connection's queue.
    pub(crate) queue: Option<String>,
    /// How long it may run, in milliseconds from its start; default without limit.
    #[schemars(range(min = 1, max = INTEGER_MAX))]
    pub(crate) deadline_ms: Option<u64>,
    /// Where its standard input comes from; default `null`. Cannot be combined with `pty`.
    pub(crate) stdin: Option<StdinParam>,
    /// The size of a terminal to run it in, which is its standard input, output and error.
    pub(crate) pty: Option<PtyParam>,
    /// Patterns to match its output against; each matching line makes a notification.
    #[serde(default)]
    pub(crate) watch: Vec<WatchParam>,
    /// Makes the request idempotent: the same token in the same workspace returns the existing task.
    pub(crate) client_token: Option<String>,
    /// True if it is a server, which is not expected to end; default false.
    #[serde(default)]
    pub(crate) service: bool,
    /// How to confine it; default not at all.
    pub(crate) confine: Option<ConfineMode>,
    /// Whether a confined task may use the network; only with `work`. Default false.
    #[serde(default)]
    pub(crate) network: bool,
    /// The name of the slot that it takes; default the slot whose rules match its command.
    pub(crate) slot: Option<String>,
    /// The ids of tasks of the workspace that must end first.
    #[serde(default)]
    #[schemars(length(max = limits::AFTER_MAX))]
    pub(crate) after: Vec<String>,
    /// What to do if one of them ends other than with code 0; default `skip`.
    pub(crate) on_failure: Option<OnFailureParam>,
    /// How long it may wait for its turn, in milliseconds; default without limit.
    #[schemars(range(min = 1, max = INTEGER_MAX))]
    pub(crate) queue_deadline_ms: Option<u64>,
    /// The place where it runs; default this machine.
    pub(crate) on: Option<String>,
    /// What it asks the batch system of that place for; only with `on`.
    pub(crate) resources: Option<ResourcesParam>,
    /// The token for the `$/progress` notifications about the task.
    pub(crate) work_done_token: Option<ProgressToken>,
}

/// The resources that a task requests from a batch system. The system's defaults apply to what is left out.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ResourcesParam {
    /// The number of processors.
    #[schemars(range(min = 1))]
    pub(crate) cpus: Option<u32>,
    /// The amount of memory, in bytes.
    #[schemars(range(min = 1, max = INTEGER_MAX))]
    pub(crate) memory: Option<u64>,
    /// The number of graphics processors.
    #[schemars(range(min = 1))]
    pub(crate) gpus: Option<u32>,
    /// How long it may run, in milliseconds.
    #[schemars(range(min = 1, max = INTEGER_MAX))]
    pub(crate) time: Option<u64>,
    /// The partition of the cluster.
    pub(crate) partition: Option<String>,
    /// Further options of the batch system, such as `--qos=high`.
    #[serde(default)]
    pub(crate) extra: Vec<String>,
}

/// What to run: a line for `/bin/sh -c`, or a program with its arguments, executed directly.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[schemars(untagged)]
pub(crate) enum CommandParam {
    /// A command line for `/bin/sh -c`.
    Shell(String),
    /// A program and its arguments, executed without a shell.
    Argv(#[schemars(length(min = 1))] Vec<String>),
}

/// Written by hand instead of `untagged`, so that an error names a bad element by its path (`command[1]`).
impl<'de> Deserialize<'de> for CommandParam {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = CommandParam;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string for `/bin/sh -c`, or an array of strings to execute as is")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<CommandParam, E> {
                Ok(CommandParam::Shell(text.to_owned()))
            }

            fn visit_string<E: de::Error>(self, text: String) -> Result<CommandParam, E> {
                Ok(CommandParam::Shell(text))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<CommandParam, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(seq)).map(CommandParam::Argv)
            }
        }

        input.deserialize_any(Either)
    }
}

/// Where a task's standard input comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum StdinParam {
    /// From `/dev/null`: it reads the end of input at once.
    Null,
    /// From a pipe that `task/write` writes to.
    Pipe,
}

/// What to do with a task if one that it runs after fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum OnFailureParam {
    /// It runs anyway.
    Run,
    /// It is skipped, and ends without having run.
    Skip,
}

/// How a task is confined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum ConfineMode {
    /// It can read the workspace and the system, and cannot change anything.
    Look,
    /// It can also write to the workspace and to caches.
    Work,
}

/// The size of a terminal, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PtyParam {
    /// The number of rows.
    #[schemars(range(min = 1, max = limits::PTY_SIDE_MAX))]
    pub(crate) rows: u16,
    /// The number of columns.
    #[schemars(range(min = 1, max = limits::PTY_SIDE_MAX))]
    pub(crate) cols: u16,
}

/// A pattern to match the output against.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WatchParam {
    /// Its name in the notification; default its index in the list, from 0.
    pub(crate) id: Option<String>,
    /// The regular expression, matched against each line.
    pub(crate) pattern: String,
    /// The maximum number of notifications that it makes; default 1.
    #[schemars(range(min = 1, max = limits::WATCH_LIMIT_MAX))]
    pub(crate) limit: Option<u32>,
}

/// A result with one task: of `task/spawn`, `task/stop` and `task/restart`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct TaskResult {
    /// The task in its current state.
    pub(crate) task: Task,
}

/// Parameters of `task/check`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct CheckParams {
    /// The task to show; without it, the result lists tasks.
    pub(crate) id: Option<String>,
    /// With `id`: how many bytes of the end of the output to return; default 4 096.
    #[schemars(range(max = INTEGER_MAX))]
    pub(crate) tail_bytes: Option<u64>,
    /// Without `id`: list only tasks in this state.
    pub(crate) state: Option<TaskState>,
    /// Without `id`: the maximum number of tasks to list; default 100.
    #[schemars(range(min = 1, max = limits::LIST_LIMIT_MAX))]
    pub(crate) limit: Option<u32>,
    /// Without `id`: whether to include the foreground steps of agents' turns; default false.
    pub(crate) steps: Option<bool>,
}

/// Result of `task/check`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum CheckResult {
    /// The result with `id`.
    One(Box<OneTask>),
    /// The result without `id`.
    Many(TaskList),
}

/// One task and the end of its output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct OneTask {
    /// The task in its current state.
    pub(crate) task: Task,
    /// The end of its output, as text.
    pub(crate) tail: TailText,
}

/// The end of an output, as text; bytes that are not UTF-8 show as U+FFFD.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct TailText {
    /// The output as text.
    pub(crate) text: String,
    /// The offset in the output at which `text` starts.
    #[schemars(range(max = INTEGER_MAX))]
    pub(crate) offset: u64,
}

/// A list of tasks: running ones first, then the newest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct TaskList {
    /// The tasks in their current states.
    pub(crate) tasks: Vec<Task>,
}

/// Parameters of `task/drain`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DrainParams {
    /// The queue to drain; default the connection's queue.
    pub(crate) queue: Option<String>,
    /// The maximum number of notifications to return; default 100.
    #[schemars(range(min = 1, max = limits::DRAIN_MAX_MAX))]
    pub(crate) max: Option<u32>,
    /// Who acknowledges the notifications; default `auto`.
    pub(crate) ack: Option<AckMode>,
}

/// Who acknowledges drained notifications.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum AckMode {
    /// The server, once the reply is written.
    Auto,
    /// The client, with `task/ack`.
    Manual,
}

/// Result of `task/drain`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct DrainResult {
    /// The notifications, oldest first.
    pub(crate) notifications: Vec<Notification>,
    /// How many notifications remain in the queue.
    #[schemars(range(max = INTEGER_MAX))]
    pub(crate) remaining: u64,
}

/// Parameters of `task/ack`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AckParams {
    /// The queue; default the connection's queue.
    pub(crate) queue: Option<String>,
    /// The highest `seq` that the client has processed.
    #[schemars(range(max = INTEGER_MAX))]
    pub(crate) through: u64,
}

/// Result of `task/ack`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct AckResult {
    /// How many notifications this request acknowledged.
    #[schemars(range(max = INTEGER_MAX))]
    pub(crate) acked: u64,
}

/// Parameters of `task/wait`: either `ids` or `queue`; default the connection's queue.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct WaitParams {
    /// The ids of the tasks to wait for.
    pub(crate) ids: Option<Vec<String>>,
    /// The queue whose tasks to wait for.
    pub(crate) queue: Option<String>,
    /// Which of the tasks have to end; default `any`.
    pub(crate) mode: Option<WaitMode>,
    /// The longest time to wait, in milliseconds; default 30 000.
    #[schemars(range(max = INTEGER_MAX))]
    pub(crate) timeout_ms: Option<u64>,
}

/// Which of the tasks have to end before a wait returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum WaitMode {
    /// At least one task has ended.
    Any,
    /// All tasks have ended.
    All,
}

/// Result of `task/wait`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WaitResult {
    /// The tasks waited for, in their current states, ended or not.
    pub(crate) tasks: Vec<Task>,
    /// True if the timeout passed first.
    pub(crate) timed_out: bool,
}

/// Parameters of `task/read`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReadParams {
    /// The id of the task.
    pub(crate) id: String,
    /// The offset of the first byte to return; default 0.
    #[schemars(range(max = INTEGER_MAX))]
    pub(crate) offset: Option<u64>,
    /// The maximum number of bytes to return; default 65 536.
    #[schemars(range(min = 1, max = INTEGER_MAX))]
    pub(crate) limit: Option<u64>,
    /// How to encode `data`; default `utf8`.
    pub(crate) encoding: Option<Encoding>,
}

/// How bytes are encoded as a JSON string.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Encoding {
    /// As text. Each invalid UTF-8 sequence becomes U+FFFD.
    Utf8,
    /// As base64 with padding (RFC 4648), without loss.
    Base64,
}

/// Result of `task/read`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ReadResult {
    /// The output, encoded as `encoding` says.
    pub(crate) data: String,
    /// How `data` is encoded.
    pub(crate) encoding: Encoding,
    /// The offset in the output at which `data` starts.
    #[schemars(range(max = INTEGER_MAX))]
    pub(crate) offset: u64,
    /// The offset to continue reading from.
    #[schemars(range(max = INTEGER_MAX))]
    pub(crate) next_offset: u64,
    /// True if the task has ended and no output follows `nextOffset`.
    pub(crate) eof: bool,
    /// The output between the requested offset and `offset`, if it was not retained.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) gap: Option<Gap>,
}

/// Parameters of `task/stop`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct StopParams {
    /// The id of the task.
    pub(crate) id: String,
    /// The name of the signal to send first; default `SIGTERM`.
    pub(crate) signal: Option<String>,
    /// How long the process tree has before SIGKILL, in milliseconds; default 2 000.
    #[schemars(range(max = INTEGER_MAX))]
    pub(crate) grace_ms: Option<u64>,
}

/// Parameters of `task/signal`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignalParams {
    /// The id of the task.
    pub(crate) id: String,
    /// The signal to send, as a name or a number.
    pub(crate) signal: SignalParam,
    /// Which processes receive it; default `group`.
    pub(crate) to: Option<RecipientParam>,
}

/// Parameters of `task/restart`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RestartParams {
    /// The id of the task.
    pub(crate) id: String,
    /// Environment variables to set, or to remove with null, in the environment that the task was started with.
    #[serde(default)]
    pub(crate) env: BTreeMap<String, Option<String>>,
    /// How long the process tree of a running task has before SIGKILL, in milliseconds; default 2 000.
    #[schemars(range(max = INTEGER_MAX))]
    pub(crate) grace_ms: Option<u64>,
}

/// Parameters of `task/resize`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ResizeParams {
    /// The id of the task.
    pub(crate) id: String,
    /// The number of rows.
    #[schemars(range(min = 1, max = limits::PTY_SIDE_MAX))]
    pub(crate) rows: u16,
    /// The number of columns.
    #[schemars(range(min = 1, max = limits::PTY_SIDE_MAX))]
    pub(crate) cols: u16,
}

/// A signal, by name, with or without `SIG`, or by number.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "invalid type: expected a signal's name or number")]
pub(crate) enum SignalParam {
    /// A name such as `SIGUSR1`, `HUP` or `SIGRTMIN+3`.
    Name(String),
    /// The number of the signal on this machine, signal(7).
    Number(#[schemars(range(min = 1, max = 64))] i64),
}

/// Which of a task's processes receive a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum RecipientParam {
    /// The process group of the leader, as for Ctrl-C in a terminal.
    Group,
    /// The leader only.
    Leader,
}

/// Parameters of `task/write`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WriteParams {
    /// The id of the task.
    pub(crate) id: String,
    /// The input to write, encoded as `encoding` says; may be empty with `eof`.
    pub(crate) data: String,
    /// How `data` is encoded; default `utf8`.
    pub(crate) encoding: Option<Encoding>,
    /// Whether to close the task's standard input afterwards; default false.
    pub(crate) eof: Option<bool>,
}

/// A result without members: the request succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Empty {}

/// The parameters of `place/list`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PlaceListParams {}

/// The configured places.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct PlaceList {
    /// The places, sorted by name.
    pub(crate) places: Vec<PlaceInfo>,
}

/// A machine on which tasks can run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct PlaceInfo {
    /// The name of the place.
    pub(crate) name: String,
    /// The version of `meanwhile` there; left out until the place has answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<String>,
    /// Set while the place is known to be unreachable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) contact: Option<super::Contact>,
}

/// The parameters of `workspace/sources`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SourcesParams {
    /// A directory of the working tree, absolute or relative to the workspace; default the workspace.
    pub(crate) cwd: Option<String>,
}

/// The state of a Git working tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct SourcesResult {
    /// The commit that is checked out; left out if there is none yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) head: Option<String>,
    /// A checksum of the files that differ from this commit, with those that are new and not ignored; left out if none
    /// differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) changes: Option<String>,
}

/// Parameters of `task/subscribe`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SubscribeParams {
    /// The id of the task.
    pub(crate) id: String,
    /// The offset of the first byte to send; default the current end of the output.
    #[schemars(range(max = INTEGER_MAX))]
    pub(crate) offset: Option<u64>,
}

/// Parameters of `task/unsubscribe`. `offset` is accepted for symmetry and ignored.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UnsubscribeParams {
    /// The id of the task.
    pub(crate) id: String,
    /// Accepted for symmetry with `task/subscribe`, and ignored.
    #[serde(rename = "offset")]
    #[schemars(range(max = INTEGER_MAX))]
    pub(crate) _offset: Option<u64>,
}

/// Parameters of `task/remove`: `ids`, `endedBefore`, or both.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RemoveParams {
    /// The ids of tasks to remove; running ones are kept.
    pub(crate) ids: Option<Vec<String>>,
    /// Removes tasks that ended before this time, RFC 3339.
    #[schemars(extend("format" = "date-time"))]
    pub(crate) ended_before: Option<String>,
}

/// Result of `task/remove`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct RemoveResult {
    /// How many tasks were removed.
    #[schemars(range(max = INTEGER_MAX))]
    pub(crate) removed: u64,
}
