//! Timelines (docs/protocol.md, "Timelines"): lanes that the server has folded, and clients draw.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DateTime, INTEGER_MAX};

/// Parameters of `task/timeline`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct TimelineParams {}

/// A timeline, whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Timeline {
    /// Its pieces. Lanes stand in this order.
    pub(crate) pieces: Vec<Piece>,
    /// What each look means, in order. A legend has those that are there.
    pub(crate) legend: Vec<LegendEntry>,
    /// How many lanes of old tasks are left out.
    #[schemars(range(max = INTEGER_MAX))]
    pub(crate) left_out: u64,
    /// Nothing has run in the workspace: this is what `meanwhile demo` did on another day.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) recorded: bool,
}

/// Parameters of `session/timeline`: pieces that are new, or take the place of those of their keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TimelinePush {
    /// The session.
    pub(crate) session_id: String,
    /// The pieces. New lanes stand after those that are there.
    pub(crate) pieces: Vec<Piece>,
}

/// What a look means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct LegendEntry {
    /// The look.
    pub(crate) look: Look,
    /// In words.
    pub(crate) label: String,
}

/// A piece of a timeline. No two have one key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(crate) enum Piece {
    /// A row.
    Lane {
        /// `agent`, `queue`, or the id of a task.
        key: String,
        /// What it shows.
        kind: LaneKind,
        /// What it is called.
        label: String,
        /// How its task stands.
        #[serde(skip_serializing_if = "Option::is_none")]
        look: Option<Look>,
        /// Its task.
        #[serde(skip_serializing_if = "Option::is_none")]
        task_id: Option<String>,
    },
    /// A stretch of time in a lane.
    Segment {
        /// Its key.
        key: String,
        /// The key of its lane.
        lane: String,
        /// What it is.
        kind: SegmentKind,
        /// How it is drawn.
        look: Look,
        /// Where it begins.
        from: DateTime,
        /// Where it ends. Left out of what goes on.
        #[serde(skip_serializing_if = "Option::is_none")]
        to: Option<DateTime>,
        /// Which of those side by side, from 0.
        row: u32,
        /// What it is called.
        label: String,
        /// What else is known of it, a line each.
        says: Vec<String>,
        /// Its task.
        #[serde(skip_serializing_if = "Option::is_none")]
        task_id: Option<String>,
        /// Its model call.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(range(max = INTEGER_MAX))]
        call: Option<u64>,
    },
    /// A moment in a lane.
    Mark {
        /// Its key.
        key: String,
        /// The key of its lane.
        lane: String,
        /// What happened.
        kind: MarkKind,
        /// When.
        at: DateTime,
        /// What it is called.
        label: String,
        /// What else is known of it, a line each.
        says: Vec<String>,
        /// Its model call.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(range(max = INTEGER_MAX))]
        call: Option<u64>,
    },
    /// From a lane to another, at one moment: a task's begin, the way of its result.
    Arrow {
        /// Its key.
        key: String,
        /// The key of the lane it leaves.
        from: String,
        /// The key of the lane it points to.
        to: String,
        /// When.
        at: DateTime,
        /// The task.
        task_id: String,
    },
    /// A time in which nothing happened, to be drawn as a break.
    Gap {
        /// Its key.
        key: String,
        /// When it began.
        from: DateTime,
        /// When something happened again.
        to: DateTime,
        /// Its length in words.
        label: String,
    },
}

/// What a lane shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum LaneKind {
    /// Turns, model calls, tools.
    Agent,
    /// Results between the end of their task and the model call that they enter.
    Queue,
    /// A task.
    Task,
}

/// What a stretch of time is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum SegmentKind {
    /// A turn.
    Turn,
    /// A model call.
    Call,
    /// A tool.
    Tool,
    /// A question to the person is open.
    Asks,
    /// A task waits for its turn.
    Line,
    /// A task runs.
    Task,
    /// A result waits.
    Result,
}

/// What happened at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum MarkKind {
    /// Results entered the conversation.
    Enters,
    /// A summary took the place of the history.
    Compacted,
    /// The session was opened again.
    Resumed,
}

/// How a piece is drawn: what it is, or for a task that has ended, what ended it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Look {
    /// A turn.
    Turn,
    /// A model call.
    Call,
    /// A tool.
    Tool,
    /// The agent waits for the person.
    Asks,
    /// A task waits for its turn.
    Queued,
    /// It goes on.
    Running,
    /// It ended well.
    Succeeded,
    /// It ended by itself, and not well.
    Failed,
    /// A client stopped it.
    Stopped,
    /// The agent stopped it.
    StoppedByAgent,
    /// Its time was over.
    TimedOut,
    /// A limit of the machine ended it.
    Limited,
    /// It was not run, because one before it failed.
    Skipped,
    /// How it ended is not known.
    Lost,
    /// A result waits.
    Result,
    /// A result enters.
    Enters,
}
