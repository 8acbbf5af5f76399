//! What the server sends without being asked (contract, section 4).

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Encoding, INTEGER_MAX, Notification, RetryingPush, Task, TracedPush, TurnPush, acp};

/// A push, written as a JSON-RPC notification: its method, and its parameters as they are.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "method", content = "params")]
pub(crate) enum Push {
    /// The leader runs.
    #[serde(rename = "task/started")]
    Started(StartedPush),
    /// Output of a subscribed task.
    #[serde(rename = "task/output")]
    Output(OutputPush),
    /// A task said how far it is.
    #[serde(rename = "task/progress")]
    Progress(ProgressPush),
    /// A watch matched, or the task waits for input.
    #[serde(rename = "task/notified")]
    Notified(NotifiedPush),
    /// A task ended.
    #[serde(rename = "task/exited")]
    Exited(ExitedPush),
    /// What runs and what waits to be drained.
    #[serde(rename = "tasks/changed")]
    Changed(Changed),
    /// Something happened in an agent session.
    #[serde(rename = "session/update")]
    Session(Box<acp::SessionNotification>),
    /// A turn of a session began or ended.
    #[serde(rename = "session/turn")]
    Turn(TurnPush),
    /// A model call failed and is made again.
    #[serde(rename = "session/retrying")]
    Retrying(RetryingPush),
    /// A fact for a session's timeline.
    #[serde(rename = "session/traced")]
    Traced(TracedPush),
}

impl Push {
    /// The methods, in the order of the contract.
    pub(crate) const METHODS: [&'static str; 10] = [
        "task/started",
        "task/output",
        "task/progress",
        "task/notified",
        "task/exited",
        "tasks/changed",
        "session/update",
        "session/turn",
        "session/retrying",
        "session/traced",
    ];
}

/// Parameters of `task/started`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct StartedPush {
    /// The task, with its `pid`.
    pub(crate) task: Task,
}

/// Parameters of `task/output`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct OutputPush {
    /// The task.
    pub(crate) id: String,
    /// Where `data` starts; a jump means that output was skipped, and `task/read` has it.
    #[schemars(range(max = INTEGER_MAX))]
    pub(crate) offset: u64,
    /// The output.
    pub(crate) data: String,
    /// How `data` is to be read.
    pub(crate) encoding: Encoding,
}

/// Parameters of `task/progress`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct ProgressPush {
    /// The task.
    pub(crate) id: String,
    /// 0 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 100))]
    pub(crate) percent: Option<u8>,
    /// The last line that spoke of progress.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<String>,
}

/// Parameters of `task/notified`: kinds `matched` and `stalled`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct NotifiedPush {
    /// What was queued.
    pub(crate) notification: Notification,
}

/// Parameters of `task/exited`: kind `exited`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct ExitedPush {
    /// What was queued.
    pub(crate) notification: Notification,
}

/// Parameters of `tasks/changed`: a full snapshot that replaces the one before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Changed {
    /// The tasks that run in the workspace.
    pub(crate) running: Vec<String>,
    /// How many notifications wait in each queue that has any.
    pub(crate) undelivered: BTreeMap<String, u64>,
}

/// A progress token of the Language Server Protocol: an integer or a string.
#[derive(
    Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(untagged, expecting = "invalid type: expected an integer or a string")]
pub(crate) enum ProgressToken {
    /// A number; LSP has 32 bits.
    Number(i32),
    /// A text.
    Text(String),
}
