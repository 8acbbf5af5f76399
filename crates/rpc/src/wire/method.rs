//! Parameters and results of the methods (docs/protocol.md, "Methods").
//!
//! Parameters refuse members they do not know: a misspelt `deadlineMs` that is silently ignored
//! lets a task run for ever.

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
    /// What to run.
    pub(crate) command: CommandParam,
    /// The program that reads a `command` that is a string, as `SHELL -c LINE`; default `/bin/sh`.
    pub(crate) shell: Option<String>,
    /// Where; relative to the workspace, default the workspace itself.
    pub(crate) cwd: Option<String>,
    /// What to set, or with null to take out, of the environment inherited from the server.
    #[serde(default)]
    pub(crate) env: BTreeMap<String, Option<String>>,
    /// What its owner calls it.
    pub(crate) label: Option<String>,
    /// Where its notifications go; default the connection's queue.
    pub(crate) queue: Option<String>,
    /// How long it may run; default for ever.
    #[schemars(range(min = 1, max = INTEGER_MAX))]
    pub(crate) deadline_ms: Option<u64>,
    /// Where its standard input comes from; default `null`. Not together with `pty`.
    pub(crate) stdin: Option<StdinParam>,
    /// A terminal of this size for standard input, output and error.
    pub(crate) pty: Option<PtyParam>,
    /// Patterns that make a notification of each line they match.
    #[serde(default)]
    pub(crate) watch: Vec<WatchParam>,
    /// The same token in the same workspace returns the task already made.
    pub(crate) client_token: Option<String>,
    /// It is a server, which is not expected to end; default false.
    #[serde(default)]
    pub(crate) service: bool,
    /// How far it is confined; default not at all.
    pub(crate) confine: Option<ConfineMode>,
    /// Whether it has the network although it is confined; only with `work`. Default false.
    #[serde(default)]
    pub(crate) network: bool,
    /// The slot it takes; default the one whose rules fit its command.
    pub(crate) slot: Option<String>,
    /// Tasks of the workspace that are to end first.
    #[serde(default)]
    #[schemars(length(max = limits::AFTER_MAX))]
    pub(crate) after: Vec<String>,
    /// What becomes of it where one of them ends otherwise than with code 0; default `skip`.
    pub(crate) on_failure: Option<OnFailureParam>,
    /// How long it may wait for its turn; default for ever.
    #[schemars(range(min = 1, max = INTEGER_MAX))]
    pub(crate) queue_deadline_ms: Option<u64>,
    /// The place where it runs; default here.
    pub(crate) on: Option<String>,
    /// The token of the `$/progress` that follows the task.
    pub(crate) work_done_token: Option<ProgressToken>,
}

/// What to run: a line for `/bin/sh -c`, or a program with its arguments, executed as is.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[schemars(untagged)]
pub(crate) enum CommandParam {
    /// A line for `/bin/sh -c`.
    Shell(String),
    /// A program and its arguments.
    Argv(#[schemars(length(min = 1))] Vec<String>),
}

/// By hand rather than `untagged`, so that a bad element is named by its path (`command[1]`).
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
    /// `/dev/null`.
    Null,
    /// `task/write`.
    Pipe,
}

/// What becomes of a task where one that it is to follow fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum OnFailureParam {
    /// It runs all the same.
    Run,
    /// It never runs.
    Skip,
}

/// How far a task is confined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum ConfineMode {
    /// It reads the workspace and the system, and changes nothing.
    Look,
    /// It also writes the workspace and caches.
    Work,
}

/// The size of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PtyParam {
    /// Rows.
    #[schemars(range(min = 1, max = limits::PTY_SIDE_MAX))]
    pub(crate) rows: u16,
    /// Columns.
    #[schemars(range(min = 1, max = limits::PTY_SIDE_MAX))]
    pub(crate) cols: u16,
}

/// A pattern to watch the output for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WatchParam {
    /// Its name in the notification; default its place in the list, from 0.
    pub(crate) id: Option<String>,
    /// A regular expression, matched line by line.
    pub(crate) pattern: String,
    /// How many notifications at most; default 1.
    #[schemars(range(min = 1, max = limits::WATCH_LIMIT_MAX))]
    pub(crate) limit: Option<u32>,
}

/// A result that shows one task: of `task/spawn` and `task/stop`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct TaskResult {
    /// The task.
    pub(crate) task: Task,
}

/// Parameters of `task/check`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct CheckParams {
    /// The task to show; without it, tasks are listed.
    pub(crate) id: Option<String>,
    /// Bytes of the end of the output to show with `id`; default 4 096.
    #[schemars(range(max = INTEGER_MAX))]
    pub(crate) tail_bytes: Option<u64>,
    /// Without `id`: only tasks in this state.
    pub(crate) state: Option<TaskState>,
    /// Without `id`: how many at most; default 100.
    #[schemars(range(min = 1, max = limits::LIST_LIMIT_MAX))]
    pub(crate) limit: Option<u32>,
    /// Without `id`: list the steps of agents' turns, too; default false.
    pub(crate) steps: Option<bool>,
}

/// Result of `task/check`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum CheckResult {
    /// With `id`.
    One(Box<OneTask>),
    /// Without.
    Many(TaskList),
}

/// One task and the end of its output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct OneTask {
    /// The task.
    pub(crate) task: Task,
    /// The end of its output.
    pub(crate) tail: TailText,
}

/// The end of an output, as text; bytes that are not UTF-8 show as U+FFFD.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct TailText {
    /// The text.
    pub(crate) text: String,
    /// Where it starts in the output.
    #[schemars(range(max = INTEGER_MAX))]
    pub(crate) offset: u64,
}

/// Tasks: running first, then newest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct TaskList {
    /// The tasks.
    pub(crate) tasks: Vec<Task>,
}

/// Parameters of `task/drain`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DrainParams {
    /// The queue; default the connection's.
    pub(crate) queue: Option<String>,
    /// How many at most; default 100.
    #[schemars(range(min = 1, max = limits::DRAIN_MAX_MAX))]
    pub(crate) max: Option<u32>,
    /// Who acknowledges; default `auto`.
    pub(crate) ack: Option<AckMode>,
}

/// How drained notifications are acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum AckMode {
    /// By the server, once the reply is written.
    Auto,
    /// By the client, with `task/ack`.
    Manual,
}

/// Result of `task/drain`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct DrainResult {
    /// Oldest first.
    pub(crate) notifications: Vec<Notification>,
    /// How many are left in the queue.
    #[schemars(range(max = INTEGER_MAX))]
    pub(crate) remaining: u64,
}

/// Parameters of `task/ack`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AckParams {
    /// The queue; default the connection's.
    pub(crate) queue: Option<String>,
    /// The highest `seq` that was taken in.
    #[schemars(range(max = INTEGER_MAX))]
    pub(crate) through: u64,
}

/// Result of `task/ack`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct AckResult {
    /// How many were acknowledged now.
    #[schemars(range(max = INTEGER_MAX))]
    pub(crate) acked: u64,
}

/// Parameters of `task/wait`: either `ids` or `queue`; neither waits on the connection's queue.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct WaitParams {
    /// The tasks to wait for.
    pub(crate) ids: Option<Vec<String>>,
    /// Wait for the tasks of this queue.
    pub(crate) queue: Option<String>,
    /// When the wait is over; default `any`.
    pub(crate) mode: Option<WaitMode>,
    /// How long at most; default 30 000.
    #[schemars(range(max = INTEGER_MAX))]
    pub(crate) timeout_ms: Option<u64>,
}

/// When a wait is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum WaitMode {
    /// As soon as one of them has ended.
    Any,
    /// When all have.
    All,
}

/// Result of `task/wait`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WaitResult {
    /// The tasks waited for, as they stand now, ended or not.
    pub(crate) tasks: Vec<Task>,
    /// The time was up before the wait was over.
    pub(crate) timed_out: bool,
}

/// Parameters of `task/read`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReadParams {
    /// The task.
    pub(crate) id: String,
    /// Where to begin; default 0.
    #[schemars(range(max = INTEGER_MAX))]
    pub(crate) offset: Option<u64>,
    /// How many bytes at most; default 65 536.
    #[schemars(range(min = 1, max = INTEGER_MAX))]
    pub(crate) limit: Option<u64>,
    /// How to write the bytes; default `utf8`.
    pub(crate) encoding: Option<Encoding>,
}

/// How bytes are written as a JSON string.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Encoding {
    /// As text. Where bytes are not UTF-8 each fault shows as U+FFFD.
    Utf8,
    /// As RFC 4648 base64 with padding; exact.
    Base64,
}

/// Result of `task/read`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ReadResult {
    /// The output.
    pub(crate) data: String,
    /// How `data` is to be read.
    pub(crate) encoding: Encoding,
    /// Where `data` starts.
    #[schemars(range(max = INTEGER_MAX))]
    pub(crate) offset: u64,
    /// Where to read on.
    #[schemars(range(max = INTEGER_MAX))]
    pub(crate) next_offset: u64,
    /// The task has ended and nothing comes after `nextOffset`.
    pub(crate) eof: bool,
    /// Output before `offset`, from the offset asked for, that was not retained.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) gap: Option<Gap>,
}

/// Parameters of `task/stop`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct StopParams {
    /// The task.
    pub(crate) id: String,
    /// The signal to begin with, by name; default `SIGTERM`.
    pub(crate) signal: Option<String>,
    /// How long the tree has before SIGKILL; default 2 000.
    #[schemars(range(max = INTEGER_MAX))]
    pub(crate) grace_ms: Option<u64>,
}

/// Parameters of `task/signal`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignalParams {
    /// The task.
    pub(crate) id: String,
    /// The signal.
    pub(crate) signal: SignalParam,
    /// Who gets it; default `group`.
    pub(crate) to: Option<RecipientParam>,
}

/// Parameters of `task/restart`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RestartParams {
    /// The task.
    pub(crate) id: String,
    /// What to set, or with null to take out, of the environment it was started in.
    #[serde(default)]
    pub(crate) env: BTreeMap<String, Option<String>>,
    /// How long the tree of one that runs has before SIGKILL; default 2 000.
    #[schemars(range(max = INTEGER_MAX))]
    pub(crate) grace_ms: Option<u64>,
}

/// Parameters of `task/resize`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ResizeParams {
    /// The task.
    pub(crate) id: String,
    /// Rows.
    #[schemars(range(min = 1, max = limits::PTY_SIDE_MAX))]
    pub(crate) rows: u16,
    /// Columns.
    #[schemars(range(min = 1, max = limits::PTY_SIDE_MAX))]
    pub(crate) cols: u16,
}

/// A signal: by its name, with or without `SIG`, or by its number.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "invalid type: expected a signal's name or number")]
pub(crate) enum SignalParam {
    /// As in `SIGUSR1`, `HUP`, `SIGRTMIN+3`.
    Name(String),
    /// As the machine numbers it, signal(7).
    Number(#[schemars(range(min = 1, max = 64))] i64),
}

/// Which of a task's processes get a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum RecipientParam {
    /// The process group of the leader, as a terminal does with Ctrl-C.
    Group,
    /// The leader alone.
    Leader,
}

/// Parameters of `task/write`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WriteParams {
    /// The task.
    pub(crate) id: String,
    /// What to write; may be empty with `eof`.
    pub(crate) data: String,
    /// How `data` is to be read; default `utf8`.
    pub(crate) encoding: Option<Encoding>,
    /// Close the task's standard input afterwards.
    pub(crate) eof: Option<bool>,
}

/// A result that says nothing but that it worked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Empty {}

/// The parameters of `place/list`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PlaceListParams {}

/// The places that are set up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct PlaceList {
    /// By their names.
    pub(crate) places: Vec<PlaceInfo>,
}

/// A place where tasks run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct PlaceInfo {
    /// Its name.
    pub(crate) name: String,
    /// The version of `meanwhile` there, once it has answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<String>,
    /// Set while it cannot be reached, as far as is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) contact: Option<super::Contact>,
}

/// Parameters of `task/subscribe`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SubscribeParams {
    /// The task.
    pub(crate) id: String,
    /// Where to begin; default what is written from now on.
    #[schemars(range(max = INTEGER_MAX))]
    pub(crate) offset: Option<u64>,
}

/// Parameters of `task/unsubscribe`. `offset` is accepted for symmetry and means nothing.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UnsubscribeParams {
    /// The task.
    pub(crate) id: String,
    /// Means nothing here.
    #[serde(rename = "offset")]
    #[schemars(range(max = INTEGER_MAX))]
    pub(crate) _offset: Option<u64>,
}

/// Parameters of `task/remove`: `ids`, `endedBefore`, or both.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RemoveParams {
    /// These tasks; one that runs is left.
    pub(crate) ids: Option<Vec<String>>,
    /// Tasks that ended before this moment, RFC 3339.
    #[schemars(extend("format" = "date-time"))]
    pub(crate) ended_before: Option<String>,
}

/// Result of `task/remove`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct RemoveResult {
    /// How many were removed.
    #[schemars(range(max = INTEGER_MAX))]
    pub(crate) removed: u64,
}
