//! Agent sessions (docs/protocol.md, "Agent sessions"): what is ours beside the Agent Client Protocol's own types.
//!
//! Prompts, updates and permissions have ACP's shapes, version 1, taken from its own crate, so that
//! an ACP client finds what it knows. Here are the trace, and the pushes ACP has no words for.

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
    /// The session, open or not.
    pub(crate) session_id: String,
    /// Only events after this one; default 0, all.
    #[schemars(range(max = INTEGER_MAX))]
    pub(crate) after: Option<u64>,
    /// Answers with lanes to be drawn in the place of events and tasks; default false.
    pub(crate) timeline: Option<bool>,
}

/// Result of `session/trace`.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TraceResult {
    /// The session.
    pub(crate) session_id: String,
    /// What happened, oldest first.
    pub(crate) events: Vec<TraceEvent>,
    /// Every task of the session, oldest first.
    pub(crate) tasks: Vec<TraceTask>,
    /// What to ask for with `after` next.
    #[schemars(range(max = INTEGER_MAX))]
    pub(crate) next: u64,
    /// The lanes, where they were asked for. Then the other lists are empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) timeline: Option<Timeline>,
}

/// A fact about a session.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub(crate) struct TraceEvent {
    /// Its number, ascending within the session, from 1.
    #[schemars(range(max = INTEGER_MAX))]
    pub(crate) n: u64,
    /// When.
    pub(crate) at: DateTime,
    /// What.
    #[serde(flatten)]
    pub(crate) fact: TraceFact,
}

/// What a trace can tell. Turns and model calls are counted in the session, from 1.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub(crate) enum TraceFact {
    /// A turn began.
    TurnStarted {
        /// The turn.
        turn: u64,
        /// Who began it.
        origin: TurnOrigin,
        /// The beginning of the prompt.
        #[serde(skip_serializing_if = "Option::is_none")]
        title: Option<String>,
    },
    /// A request went to the model.
    CallStarted {
        /// The turn.
        turn: u64,
        /// The model call.
        call: u64,
    },
    /// The answer was whole, or the call failed for good.
    CallEnded {
        /// The turn.
        turn: u64,
        /// The model call.
        call: u64,
        /// Why the model stopped.
        #[serde(skip_serializing_if = "Option::is_none")]
        stop_reason: Option<String>,
        /// Why the call failed.
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<String>,
        /// Tokens of the request.
        #[serde(skip_serializing_if = "Option::is_none")]
        input_tokens: Option<u64>,
        /// Tokens of the answer.
        #[serde(skip_serializing_if = "Option::is_none")]
        output_tokens: Option<u64>,
        /// Tokens of the request that came from the provider's cache.
        #[serde(skip_serializing_if = "Option::is_none")]
        cached_tokens: Option<u64>,
        /// US dollars, where the price is known.
        #[serde(skip_serializing_if = "Option::is_none")]
        cost_usd: Option<f64>,
    },
    /// A tool began to run.
    ToolStarted {
        /// The model call whose answer asked for it.
        call: u64,
        /// The call of the tool.
        tool_call_id: String,
        /// The tool.
        name: String,
        /// What a person is shown.
        title: String,
    },
    /// It came to an end.
    ToolEnded {
        /// The call of the tool.
        tool_call_id: String,
        /// It failed.
        is_error: bool,
    },
    /// A tool started a command.
    TaskSpawned {
        /// The model call whose answer asked for it.
        call: u64,
        /// The call of the tool.
        tool_call_id: String,
        /// The task.
        task_id: String,
        /// The command.
        command: String,
        /// It began in the foreground.
        moved: bool,
    },
    /// A notification stands in a request.
    Delivered {
        /// The model call whose request carries it.
        call: u64,
        /// The task.
        task_id: String,
        /// Its number in the session's queue, where it came from there.
        #[serde(skip_serializing_if = "Option::is_none")]
        seq: Option<u64>,
        /// What it tells.
        kind: NotificationKind,
        /// How it came into the request.
        by: DeliveredBy,
    },
    /// A turn ended.
    TurnEnded {
        /// The turn.
        turn: u64,
        /// Why.
        stop_reason: String,
        /// What went wrong.
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    /// A summary took the place of the history in what the model is sent.
    Compacted {
        /// The model call that wrote it.
        #[serde(skip_serializing_if = "Option::is_none")]
        call: Option<u64>,
    },
    /// The session was opened again.
    Resumed {},
}

/// Who began a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TurnOrigin {
    /// A person.
    Prompt,
    /// Results of background tasks, while the agent was idle.
    Background,
}

/// The way of one task through a session. Its bar is `spawnedAt` to `endedAt`; its result waits in
/// the queue from `queuedAt` to the start of the model call `deliveredInCall`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TraceTask {
    /// The task.
    pub(crate) task_id: String,
    /// The command.
    pub(crate) command: String,
    /// The call of the tool that started it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tool_call_id: Option<String>,
    /// The model call whose answer asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) spawned_in_call: Option<u64>,
    /// When it was asked for.
    pub(crate) spawned_at: DateTime,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ended_at: Option<DateTime>,
    /// When its end was queued.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) queued_at: Option<DateTime>,
    /// The number of its end in the session's queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) seq: Option<u64>,
    /// Where it is in its life.
    pub(crate) state: TaskState,
    /// The kernel's word, once it has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) exit: Option<Exit>,
    /// Who ended it and why, where that was not the command itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cause: Option<Cause>,
    /// The model call whose request carried its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) delivered_in_call: Option<u64>,
    /// How it came into that request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) delivered_by: Option<DeliveredBy>,
    /// What a person is told of it.
    pub(crate) shown: Shown,
}

/// What is ours in a `session/update`: its `_meta.meanwhile`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Own {
    /// Who speaks, of a user message that no person said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) origin: Option<OwnOrigin>,
    /// The model call whose answer it is a part of, or whose request carries it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = INTEGER_MAX))]
    pub(crate) call: Option<u64>,
    /// The tasks of the results in a message.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) task_ids: Vec<String>,
    /// These results as people are shown them, in the place of the message, whose words are a model's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) cards: Vec<Card>,
    /// A notice as people are shown it, in the place of the message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) shown: Option<String>,
    /// Of a usage: what people are shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) says: Option<String>,
    /// The task that runs a tool's command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) task_id: Option<String>,
    /// That command was waited for to its end: what people are shown of it, in the place of the text of its call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) card: Option<Card>,
    /// That command is in the background. The text of its call is for the model alone.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) background: bool,
    /// How far the kernel confines it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) confined: Option<&'static str>,
}

/// What is ours in a `session/request_permission`: its `_meta.meanwhile`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct OwnQuestion {
    /// The id of the request, which `$/cancelRequest` names: some libraries do not tell it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) request: Option<String>,
    /// What is asked, after "may the agent": `edit src/main.rs`.
    pub(crate) question: String,
    /// What a diff by lines does not show of the change that is asked about, a line each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) unseen: Vec<String>,
}

/// What is ours in the answer to it: its `_meta.meanwhile`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
pub(crate) struct OwnAnswer {
    /// What a person has left of the change that the question showed.
    pub(crate) edit: Option<OwnEdit>,
}

/// A text that a person allows in the place of the one that was proposed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OwnEdit {
    /// The whole text of the file.
    pub(crate) new_text: String,
}

/// Who says what no person said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum OwnOrigin {
    /// Background tasks.
    Background,
    /// The server.
    Notice,
}

/// A result of a background task, as people are shown it where it enters a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Card {
    /// The task.
    pub(crate) task_id: String,
    /// What it tells.
    pub(crate) kind: NotificationKind,
    /// What the task is called.
    pub(crate) title: String,
    /// Its command, where it is called otherwise; on one line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) command: Option<String>,
    /// How the task stands, for an icon and a colour; left out of one that is not kept any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) outcome: Option<Standing>,
    /// How it ended, or what else happened: `exited 3 after 2.0s`.
    pub(crate) says: String,
    /// How its end came into the conversation: `ended during call 2, entered call 3, waited 786 ms`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) way: Option<String>,
    /// What of its output the model was shown.
    pub(crate) output: String,
}

/// Parameters of `session/turn`: a turn began or ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TurnPush {
    /// The session.
    pub(crate) session_id: String,
    /// The turn, counted in the session from 1.
    #[schemars(range(max = INTEGER_MAX))]
    pub(crate) turn: u64,
    /// What it did.
    pub(crate) state: TurnState,
    /// Who began it.
    pub(crate) origin: TurnOrigin,
    /// Why it ended; not with `error`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stop_reason: Option<acp::StopReason>,
    /// What went wrong, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    /// Its end in a sentence for people, where that is not the ordinary one; not with `error`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) says: Option<&'static str>,
}

/// What a turn did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TurnState {
    /// It began.
    Started,
    /// It ended.
    Ended,
}

/// Parameters of `session/retrying`: a model call failed and is made again. What it streamed so far
/// is void.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RetryingPush {
    /// The session.
    pub(crate) session_id: String,
    /// The number of the coming attempt.
    pub(crate) attempt: u32,
    /// The model call whose answer is void: each `agent_message_chunk` and `agent_thought_chunk` that names
    /// it, and nothing else.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = INTEGER_MAX))]
    pub(crate) call: Option<u64>,
    /// How long until then.
    #[schemars(range(max = INTEGER_MAX))]
    pub(crate) delay_ms: u64,
    /// What went wrong.
    pub(crate) message: String,
    /// All of it in a line for people.
    pub(crate) says: String,
}

/// Parameters of `session/traced`: a fact for the timeline, as it happens.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TracedPush {
    /// The session.
    pub(crate) session_id: String,
    /// The fact.
    pub(crate) event: TraceEvent,
}

/// Parameters of `session/watch` and `session/unwatch`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct WatchSessionParams {
    /// The session: one of the workspace that is not open on this connection.
    pub(crate) session_id: String,
}

/// Result of `session/watch`, and parameters of `session/watched`: how a session that is watched stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Watched {
    /// The session.
    pub(crate) session_id: String,
    /// Whether a process has it open.
    pub(crate) holder: Holder,
    /// That process, or the one that had it open and ended without closing it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pid: Option<u32>,
    /// What a person is asked there, oldest first: it can be answered there alone.
    pub(crate) asks: Vec<OpenQuestion>,
}

/// Whether a process has a session open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Holder {
    /// One has.
    Open,
    /// None has: it was closed.
    Closed,
    /// None has: the one that had it ended without closing it. A turn that ran is over.
    Gone,
    /// The session is deleted. It is watched no longer.
    Deleted,
}

/// A question that a person is asked by another process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OpenQuestion {
    /// The call of a tool.
    pub(crate) tool_call_id: String,
    /// What is asked, after "may the agent": `edit src/main.rs`.
    pub(crate) question: String,
    /// Why it is asked.
    pub(crate) why: String,
}
