//! Agent sessions (docs/protocol.md, "Agent sessions"): what the project adds to the types of the Agent Client
//! Protocol (ACP).
//!
//! Prompts, updates and permissions use ACP's types, version 1, from its own crate, so that an ACP client recognises
//! them. This module has the trace, and the pushes that ACP does not have.

use agent_client_protocol_schema::v1 as acp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Cause, DateTime, DeliveredBy, Exit, INTEGER_MAX, NotificationKind, Shown, Standing, TaskState,
    Timeline,
};

/// Parameters of `session/trace`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct TraceParams {
    /// The id of the session, open or not.
    pub(crate) session_id: String,
    /// Return only events after this number; default 0, all.
    #[schemars(range(max = INTEGER_MAX))]
    pub(crate) after: Option<u64>,
    /// Whether to return lanes to draw instead of events and tasks; default false.
    pub(crate) timeline: Option<bool>,
}

/// Result of `session/trace`.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TraceResult {
    /// The id of the session.
    pub(crate) session_id: String,
    /// The events, oldest first.
    pub(crate) events: Vec<TraceEvent>,
    /// All tasks of the session, oldest first.
    pub(crate) tasks: Vec<TraceTask>,
    /// The value for `after` in the next request.
    #[schemars(range(max = INTEGER_MAX))]
    pub(crate) next: u64,
    /// The lanes, if requested; then the other lists are empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) timeline: Option<Timeline>,
}

/// An event in a session's trace.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub(crate) struct TraceEvent {
    /// Its number, ascending within the session, from 1.
    #[schemars(range(max = INTEGER_MAX))]
    pub(crate) n: u64,
    /// When it happened.
    pub(crate) at: DateTime,
    /// The kind of event and its details.
    #[serde(flatten)]
    pub(crate) fact: TraceFact,
}

/// The kinds of events in a trace. Turns and model calls are numbered in the session, from 1.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub(crate) enum TraceFact {
    /// A turn began.
    TurnStarted {
        /// The number of the turn.
        turn: u64,
        /// What started the turn.
        origin: TurnOrigin,
        /// The first line of the prompt, shortened.
        #[serde(skip_serializing_if = "Option::is_none")]
        title: Option<String>,
    },
    /// A request was sent to the model.
    CallStarted {
        /// The number of the turn.
        turn: u64,
        /// The number of the model call.
        call: u64,
    },
    /// The model's answer is complete, or the call failed for good.
    CallEnded {
        /// The number of the turn.
        turn: u64,
        /// The number of the model call.
        call: u64,
        /// Why the model stopped; left out if the call failed.
        #[serde(skip_serializing_if = "Option::is_none")]
        stop_reason: Option<String>,
        /// Why the call failed; left out if it succeeded.
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<String>,
        /// The number of tokens in the request.
        #[serde(skip_serializing_if = "Option::is_none")]
        input_tokens: Option<u64>,
        /// The number of tokens in the answer.
        #[serde(skip_serializing_if = "Option::is_none")]
        output_tokens: Option<u64>,
        /// The number of the request's tokens that came from the provider's cache.
        #[serde(skip_serializing_if = "Option::is_none")]
        cached_tokens: Option<u64>,
        /// The cost in US dollars; left out if the price is unknown.
        #[serde(skip_serializing_if = "Option::is_none")]
        cost_usd: Option<f64>,
    },
    /// A tool call started.
    ToolStarted {
        /// The number of the model call whose answer requested it.
        call: u64,
        /// The id of the tool call.
        tool_call_id: String,
        /// The name of the tool.
        name: String,
        /// The title that is shown to people.
        title: String,
    },
    /// A tool call ended.
    ToolEnded {
        /// The id of the tool call.
        tool_call_id: String,
        /// Whether it failed.
        is_error: bool,
    },
    /// A tool call started a command.
    TaskSpawned {
        /// The number of the model call whose answer requested it.
        call: u64,
        /// The id of the tool call.
        tool_call_id: String,
        /// The id of the task.
        task_id: String,
        /// The command, as text.
        command: String,
        /// True if it started in the foreground.
        moved: bool,
    },
    /// A request to the model contains a notification.
    Delivered {
        /// The number of the model call whose request contains it.
        call: u64,
        /// The id of the task.
        task_id: String,
        /// Its number in the session's queue; left out if it did not come from the queue.
        #[serde(skip_serializing_if = "Option::is_none")]
        seq: Option<u64>,
        /// The kind of event that the notification reports.
        kind: NotificationKind,
        /// How it came to be in the request.
        by: DeliveredBy,
    },
    /// A turn ended.
    TurnEnded {
        /// The number of the turn.
        turn: u64,
        /// Why the turn ended.
        stop_reason: String,
        /// What went wrong; left out if nothing did.
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    /// A summary replaced the history in what is sent to the model.
    Compacted {
        /// The number of the model call that wrote the summary.
        #[serde(skip_serializing_if = "Option::is_none")]
        call: Option<u64>,
    },
    /// The session was opened again.
    Resumed {},
}

/// What started a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TurnOrigin {
    /// A prompt of a person.
    Prompt,
    /// Results of background tasks that arrived while the agent was idle.
    Background,
}

/// The history of one task in a session. Draw its bar from `spawnedAt` to `endedAt`; its result waits in the queue
/// from `queuedAt` until the model call `deliveredInCall` starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TraceTask {
    /// The id of the task.
    pub(crate) task_id: String,
    /// The command, as text.
    pub(crate) command: String,
    /// The id of the tool call that started it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tool_call_id: Option<String>,
    /// The number of the model call whose answer requested it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) spawned_in_call: Option<u64>,
    /// When the spawn was requested.
    pub(crate) spawned_at: DateTime,
    /// When it ended; left out until then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ended_at: Option<DateTime>,
    /// When the notification of its end was added to the queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) queued_at: Option<DateTime>,
    /// The number of that notification in the session's queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) seq: Option<u64>,
    /// The stage that the task has reached.
    pub(crate) state: TaskState,
    /// The leader's wait status, once it has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) exit: Option<Exit>,
    /// Who ended it and why; left out if the command ended by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cause: Option<Cause>,
    /// The number of the model call whose request contains its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) delivered_in_call: Option<u64>,
    /// How its end came to be in that request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) delivered_by: Option<DeliveredBy>,
    /// Texts about the task that a client shows to people.
    pub(crate) shown: Shown,
}

/// What the project adds to a `session/update`, in `_meta.meanwhile`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Own {
    /// The author of a user message that a person did not write.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) origin: Option<OwnOrigin>,
    /// The number of the model call whose answer this is part of, or whose request contains it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = INTEGER_MAX))]
    pub(crate) call: Option<u64>,
    /// The ids of the tasks whose results the message contains.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) task_ids: Vec<String>,
    /// These results for people; show them instead of the message, which is worded for a model.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) cards: Vec<Card>,
    /// A notice for people; show it instead of the message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) shown: Option<String>,
    /// In a usage update, and above the cards of results: the text to show to people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) says: Option<String>,
    /// The id of the task that runs the tool call's command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) task_id: Option<String>,
    /// Set if the agent waited until that command ended: show it to people instead of the tool call's text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) card: Option<Card>,
    /// True if that command runs in the background. The tool call's text is only for the model.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) background: bool,
    /// The confinement that the kernel enforces on the command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) confined: Option<&'static str>,
}

/// What the project adds to a `session/request_permission`, in `_meta.meanwhile`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct OwnQuestion {
    /// The id of the request, which `$/cancelRequest` names: some client libraries do not expose it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) request: Option<String>,
    /// The question, without "may the agent": `edit src/main.rs`.
    pub(crate) question: String,
    /// What a line diff of the proposed change does not show, one line each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) unseen: Vec<String>,
}

/// What the project adds to the response to `session/request_permission`, in `_meta.meanwhile`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
pub(crate) struct OwnAnswer {
    /// The text that the person accepts, if it differs from the proposed one.
    pub(crate) edit: Option<OwnEdit>,
}

/// A text that a person allows instead of the proposed one.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OwnEdit {
    /// The complete new text of the file.
    pub(crate) new_text: String,
}

/// The author of a user message that a person did not write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum OwnOrigin {
    /// Results of background tasks.
    Background,
    /// The server, with a notice.
    Notice,
}

/// A result of a background task, to be shown to people where it enters a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Card {
    /// The id of the task.
    pub(crate) task_id: String,
    /// The kind of event that the card reports.
    pub(crate) kind: NotificationKind,
    /// The title of the task.
    pub(crate) title: String,
    /// Its command on one line; left out if the title is the command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) command: Option<String>,
    /// The status of the task, for an icon and a colour; left out if the task is no longer kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) outcome: Option<Standing>,
    /// How it ended, or what happened, such as `exited 3 after 2.0s`.
    pub(crate) says: String,
    /// How its result came into the conversation, such as `ended during call 2, entered call 3, waited 786 ms`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) way: Option<String>,
    /// The part of its output that the model was shown.
    pub(crate) output: String,
}

/// Parameters of `session/turn`: a turn started or ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TurnPush {
    /// The id of the session.
    pub(crate) session_id: String,
    /// The number of the turn in the session from 1.
    #[schemars(range(max = INTEGER_MAX))]
    pub(crate) turn: u64,
    /// Whether the turn started or ended.
    pub(crate) state: TurnState,
    /// What started the turn.
    pub(crate) origin: TurnOrigin,
    /// The text of the prompt that it starts with, for the client that sent it: show it here, where its turn starts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) prompt: Option<String>,
    /// Why it ended; left out with `error`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stop_reason: Option<acp::StopReason>,
    /// What went wrong, and what to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    /// A sentence about its end for people, if that is unusual; left out with `error`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) says: Option<&'static str>,
}

/// Whether a turn started or ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TurnState {
    /// The turn started.
    Started,
    /// The turn ended.
    Ended,
}

/// Parameters of `session/retrying`: a model call failed and will be repeated. Discard what it has streamed so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RetryingPush {
    /// The id of the session.
    pub(crate) session_id: String,
    /// The number of the next attempt.
    pub(crate) attempt: u32,
    /// The number of the model call whose answer to discard: every `agent_message_chunk` and `agent_thought_chunk`
    /// with this number, and nothing else.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = INTEGER_MAX))]
    pub(crate) call: Option<u64>,
    /// The time until the next attempt, in milliseconds.
    #[schemars(range(max = INTEGER_MAX))]
    pub(crate) delay_ms: u64,
    /// What went wrong.
    pub(crate) message: String,
    /// All of this in one line for people.
    pub(crate) says: String,
}

/// Parameters of `session/traced`: a new event in the trace.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TracedPush {
    /// The id of the session.
    pub(crate) session_id: String,
    /// The new event.
    pub(crate) event: TraceEvent,
}

/// Parameters of `session/watch` and `session/unwatch`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct WatchSessionParams {
    /// The id of a session of the workspace that is not open on this connection.
    pub(crate) session_id: String,
}

/// Result of `session/watch`, and parameters of `session/watched`: the state of a watched session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Watched {
    /// The id of the session.
    pub(crate) session_id: String,
    /// Whether a process has it open.
    pub(crate) holder: Holder,
    /// The process id of that process, or of the one that ended without closing the session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pid: Option<u32>,
    /// The open questions to the person there, oldest first; only that process can take the answers.
    pub(crate) asks: Vec<OpenQuestion>,
    /// All of this as text for people.
    pub(crate) says: String,
}

/// Whether a process has a session open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Holder {
    /// A process has the session open.
    Open,
    /// No process has it open: it was closed.
    Closed,
    /// No process has it open: the last one ended without closing it. A turn that was running is over.
    Gone,
    /// The session was deleted, and is no longer watched.
    Deleted,
}

/// A question that another process asks a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OpenQuestion {
    /// The id of the tool call.
    pub(crate) tool_call_id: String,
    /// The question, without "may the agent": `edit src/main.rs`.
    pub(crate) question: String,
    /// The reason for the question.
    pub(crate) why: String,
}
