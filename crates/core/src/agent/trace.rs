//! What a timeline draws: facts about a session, kept in the order they happened.

use serde::{Deserialize, Serialize};

use crate::task::{DeliveredBy, Task, Timestamp};

/// One fact.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Its number: ascending within the session, from 1.
    pub n: u64,
    /// When.
    pub at: Timestamp,
    /// What.
    pub fact: Fact,
}

/// What started a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// A person.
    Prompt,
    /// Results of background tasks, while the agent was idle.
    Background,
}

/// What can happen. Stored as JSON with these names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum Fact {
    /// A turn began.
    TurnStarted {
        /// Its number in the session, from 1.
        turn: u64,
        /// Who began it.
        origin: Origin,
        /// The beginning of the prompt, for a label.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        title: Option<String>,
    },
    /// A request went to the model.
    CallStarted {
        /// The turn.
        turn: u64,
        /// The model call, counted in the session from 1.
        call: u64,
    },
    /// Its answer was whole, or it failed for good.
    CallEnded {
        /// The turn.
        turn: u64,
        /// The model call.
        call: u64,
        /// Why the model stopped.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stop_reason: Option<String>,
        /// Why it failed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
        /// Tokens of the request.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        input_tokens: Option<u64>,
        /// Tokens of the answer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        output_tokens: Option<u64>,
        /// Tokens read from the prompt cache.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cached_tokens: Option<u64>,
        /// What it cost, in US dollars.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cost_usd: Option<f64>,
    },
    /// A tool began to run.
    ToolStarted {
        /// The model call whose answer asked for it.
        call: u64,
        /// The model's id of the call.
        tool_call_id: String,
        /// The tool.
        name: String,
        /// What a person is shown.
        title: String,
    },
    /// It came to an end.
    ToolEnded {
        /// The model's id of the call.
        tool_call_id: String,
        /// It failed.
        is_error: bool,
    },
    /// A tool started a command.
    TaskSpawned {
        /// The model call whose answer asked for it.
        call: u64,
        /// The model's id of the call.
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
        /// The notification's number, where it came from the queue.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seq: Option<u64>,
        /// `exited`, `matched` or `stalled`.
        kind: String,
        /// `drain`, `check` or `wait`.
        by: String,
    },
    /// A turn ended.
    TurnEnded {
        /// The turn.
        turn: u64,
        /// Why.
        stop_reason: String,
        /// What went wrong.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    /// The history was replaced by a summary for the model's sake.
    Compacted {
        /// The model call that wrote the summary.
        call: u64,
    },
    /// The session was loaded again.
    Resumed {},
}

/// The way of one task through a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Journey {
    /// The task as it stands.
    pub task: Task,
    /// The tool call that started it, if one did.
    pub tool_call_id: Option<String>,
    /// The model call whose answer asked for it.
    pub spawned_in_call: Option<u64>,
    /// When its end was queued, and under which number.
    pub queued: Option<(Timestamp, u64)>,
    /// The model call whose request carried its end, and by what.
    pub delivered: Option<(u64, DeliveredBy)>,
}

/// A piece of a trace.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    /// Facts, oldest first.
    pub events: Vec<Event>,
    /// Every task of the session, oldest first.
    pub journeys: Vec<Journey>,
    /// Where to go on.
    pub next: u64,
}
