//! What the server sends without being asked (docs/protocol.md, "Pushes").

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Encoding, INTEGER_MAX, Notification, RetryingPush, Task, TimelinePush, TracedPush, TurnPush,
    Watched, acp,
};

/// What happened, of which the client is told without asking. It is written as its parameters; what
/// the message is called is the front's to say.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub(crate) enum Push {
    /// The leader runs.
    Started(StartedPush),
    /// The turn of a task that waited has come.
    Began(BeganPush),
    /// Output of a subscribed task.
    Output(OutputPush),
    /// A task said how far it is.
    Progress(ProgressPush),
    /// A task listens on other ports, or is ready.
    Listening(ListeningPush),
    /// A watch matched, or the task waits for input.
    Notified(NotifiedPush),
    /// A task ended.
    Exited(ExitedPush),
    /// What runs and what waits to be drained.
    Changed(Changed),
    /// Something happened in an agent session.
    Session(Box<acp::SessionNotification>),
    /// A turn of a session began or ended.
    Turn(TurnPush),
    /// A model call failed and is made again.
    Retrying(RetryingPush),
    /// A fact for a session's timeline.
    Traced(TracedPush),
    /// Pieces of a session's timeline.
    Timeline(TimelinePush),
    /// A session that is watched is opened, closed, or asks something.
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

/// Parameters of `task/listening`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct ListeningPush {
    /// The task.
    pub(crate) id: String,
    /// The TCP ports its processes listen on, ascending.
    pub(crate) ports: Vec<u16>,
    /// It serves: such a port has stood for 300 ms, or a watch matched.
    pub(crate) ready: bool,
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
