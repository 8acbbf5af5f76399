//! Timelines (docs/protocol.md, "Timelines"): lanes that the server computes and clients draw.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DateTime, INTEGER_MAX};

/// Parameters of `task/timeline`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct TimelineParams {}

/// A complete timeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Timeline {
    /// The pieces of the timeline. Lanes are drawn in this order.
    pub(crate) pieces: Vec<Piece>,
    /// What each look in this timeline means, in the order of display.
    pub(crate) legend: Vec<LegendEntry>,
    /// The number of lanes that are left out because their tasks are old.
    #[schemars(range(max = INTEGER_MAX))]
    pub(crate) left_out: u64,
    /// True if no task has run in the workspace: the pieces are a recording of `meanwhile demo`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) recorded: bool,
}

/// Parameters of `session/timeline`: pieces that are new or replace those with the same key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TimelinePush {
    /// The id of the session.
    pub(crate) session_id: String,
    /// The pieces. New lanes are drawn after the existing ones.
    pub(crate) pieces: Vec<Piece>,
}

/// The meaning of one look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct LegendEntry {
    /// The look that is explained.
    pub(crate) look: Look,
    /// What the look means, in words.
    pub(crate) label: String,
}

/// A piece of a timeline. Its key is unique in the timeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(crate) enum Piece {
    /// A row of the timeline.
    Lane {
        /// `agent`, `queue`, or the id of a task.
        key: String,
        /// Which kind of lane it is.
        kind: LaneKind,
        /// The title of the lane.
        label: String,
        /// The status of its task; left out for a lane that is not a task's.
        #[serde(skip_serializing_if = "Option::is_none")]
        look: Option<Look>,
        /// The id of its task; left out for a lane that is not a task's.
        #[serde(skip_serializing_if = "Option::is_none")]
        task_id: Option<String>,
    },
    /// A period of time in a lane.
    Segment {
        /// Identifies the piece.
        key: String,
        /// The key of its lane.
        lane: String,
        /// What happens in this period.
        kind: SegmentKind,
        /// How it is drawn.
        look: Look,
        /// When it starts.
        from: DateTime,
        /// When it ends; left out while it continues.
        #[serde(skip_serializing_if = "Option::is_none")]
        to: Option<DateTime>,
        /// Which of several parallel rows of the lane it is drawn in, from 0.
        row: u32,
        /// The title of the segment.
        label: String,
        /// Further details, one line each.
        says: Vec<String>,
        /// The id of the task that it shows, if any.
        #[serde(skip_serializing_if = "Option::is_none")]
        task_id: Option<String>,
        /// The number of the model call that it belongs to, if any.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(range(max = INTEGER_MAX))]
        call: Option<u64>,
    },
    /// A point in time in a lane.
    Mark {
        /// Identifies the piece.
        key: String,
        /// The key of its lane.
        lane: String,
        /// Which kind of event it marks.
        kind: MarkKind,
        /// When it happened.
        at: DateTime,
        /// The title of the mark.
        label: String,
        /// Further details, one line each.
        says: Vec<String>,
        /// The number of the model call that it belongs to, if any.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(range(max = INTEGER_MAX))]
        call: Option<u64>,
    },
    /// An arrow from one lane to another at one point in time: the start of a task, or the delivery of its result.
    Arrow {
        /// Identifies the piece.
        key: String,
        /// The key of the lane where the arrow starts.
        from: String,
        /// The key of the lane where the arrow ends.
        to: String,
        /// When it happened.
        at: DateTime,
        /// The id of the task that it belongs to.
        task_id: String,
    },
    /// A period in which nothing happened, to be drawn as a break.
    Gap {
        /// Identifies the piece.
        key: String,
        /// When it starts.
        from: DateTime,
        /// When it ends.
        to: DateTime,
        /// Its length in words, such as `2 h`.
        label: String,
    },
}

/// The kinds of lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum LaneKind {
    /// The agent's turns, model calls and tools.
    Agent,
    /// Results between the end of the task and the model call whose request contains them.
    Queue,
    /// One background task.
    Task,
}

/// What happens in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum SegmentKind {
    /// A turn of the agent.
    Turn,
    /// A call of the model.
    Call,
    /// A call of a tool.
    Tool,
    /// The agent waits for the person's answer.
    Asks,
    /// A task waits for its turn.
    Line,
    /// A task runs.
    Task,
    /// A result waits in the queue.
    Result,
}

/// What happened at a mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum MarkKind {
    /// Results were added to the conversation.
    Enters,
    /// A summary replaced the history.
    Compacted,
    /// The session was opened again.
    Resumed,
}

/// How a piece is drawn: by what it is or, for a task that has ended, by how it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Look {
    /// A turn of the agent.
    Turn,
    /// A call of the model.
    Call,
    /// A call of a tool.
    Tool,
    /// The agent waits for the person's answer.
    Asks,
    /// A task waits for its turn.
    Queued,
    /// A task is running.
    Running,
    /// The task exited with code 0.
    Succeeded,
    /// The task ended by itself, with another exit status.
    Failed,
    /// A client stopped the task.
    Stopped,
    /// The agent stopped the task.
    StoppedByAgent,
    /// The task reached its deadline.
    TimedOut,
    /// A limit of the machine or the store ended the task.
    Limited,
    /// The task never ran, because a task that it was to run after failed.
    Skipped,
    /// How the task ended is unknown.
    Lost,
    /// A result waits in the queue.
    Result,
    /// A result was added to the conversation.
    Enters,
}
