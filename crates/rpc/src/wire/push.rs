//! What the server sends without a request (docs/protocol.md, "Pushes").

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Encoding, INTEGER_MAX, Notification, RetryingPush, Task, TimelinePush, TracedPush, TurnPush,
    Watched, acp,
};

/// An event that the server reports without a request. It serializes as its parameters; the front chooses the method
/// name.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub(crate) enum Push {
    /// A leader is running.
    Started(StartedPush),
    /// A task that waited for its turn has started.
    Began(BeganPush),
    /// Output of a subscribed task.
    Output(OutputPush),
    /// A task reported progress.
    Progress(ProgressPush),
    /// A task listens on different ports, or its readiness changed.
    Listening(ListeningPush),
    /// A task no longer waits for input, or the contact with its place was lost or restored.
    State(StatePush),
    /// A watch matched, or a task waits for input.
    Notified(NotifiedPush),
    /// A task ended.
    Exited(ExitedPush),
    /// The running tasks, or the counts of notifications to drain, changed.
    Changed(Changed),
    /// An update of an agent session.
    Session(Box<acp::SessionNotification>),
    /// A turn of a session began or ended.
    Turn(TurnPush),
    /// A model call failed and will be repeated.
    Retrying(RetryingPush),
    /// A new event in a session's trace.
    Traced(TracedPush),
    /// Pieces of a session's timeline.
    Timeline(TimelinePush),
    /// A watched session was opened or closed, or its open questions changed.
    Watched(Watched),
}

/// Parameters of `task/started`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct StartedPush {
    /// The task, with its `pid`.
    pub(crate) task: Task,
}

/// Parameters of `task/began`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BeganPush {
    /// The task, with its `pid`.
    pub(crate) task: Task,
    /// How long it waited, in milliseconds.
    #[schemars(range(max = INTEGER_MAX))]
    pub(crate) waited_ms: u64,
}

/// Parameters of `task/output`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct OutputPush {
    /// The id of the task.
    pub(crate) id: String,
    /// The offset of `data` in the output. A jump means that output was skipped; `task/read` returns it.
    #[schemars(range(max = INTEGER_MAX))]
    pub(crate) offset: u64,
    /// The output, encoded as `encoding` says.
    pub(crate) data: String,
    /// How `data` is encoded.
    pub(crate) encoding: Encoding,
}

/// Parameters of `task/progress`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct ProgressPush {
    /// The id of the task.
    pub(crate) id: String,
    /// Percent, from 0 to 100; left out if the task reports none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 100))]
    pub(crate) percent: Option<u8>,
    /// The last line that reported progress.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<String>,
}

/// Parameters of `task/listening`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct ListeningPush {
    /// The id of the task.
    pub(crate) id: String,
    /// The TCP ports its processes listen on, ascending.
    pub(crate) ports: Vec<u16>,
    /// True if it is ready to serve: one of these ports has been open for 300 ms, or a watch matched.
    pub(crate) ready: bool,
}

/// Parameters of `task/state`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct StatePush {
    /// The task as it is now.
    pub(crate) task: Task,
}

/// Parameters of `task/notified`: kinds `matched` and `stalled`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct NotifiedPush {
    /// The notification that was added to the queue.
    pub(crate) notification: Notification,
}

/// Parameters of `task/exited`: kind `exited`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct ExitedPush {
    /// The notification that was added to the queue.
    pub(crate) notification: Notification,
}

/// Parameters of `tasks/changed`: a complete snapshot that replaces the previous one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Changed {
    /// The ids of the running tasks of the workspace.
    pub(crate) running: Vec<String>,
    /// The number of notifications in each queue that is not empty.
    pub(crate) undelivered: BTreeMap<String, u64>,
}

/// A progress token of the Language Server Protocol: an integer or a string.
#[derive(
    Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(untagged, expecting = "invalid type: expected an integer or a string")]
pub(crate) enum ProgressToken {
    /// An integer; LSP allows 32 bits.
    Number(i32),
    /// A string of any length.
    Text(String),
}
