//! The pieces of a timeline: what a client draws, and replaces by its key.

use crate::background::task::{Actor, Exit, Outcome, State, Task, TaskId, Timestamp};

/// A piece of a timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// A row.
    Lane(Lane),
    /// A stretch of time in a lane.
    Segment(Segment),
    /// A moment in a lane.
    Mark(Mark),
    /// From a lane to another, at one moment.
    Arrow(Arrow),
    /// A time in which nothing happened.
    Gap(Gap),
}

/// A row of a timeline. Lanes stand in the order they came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lane {
    /// Its key: `agent`, `queue`, or the id of a task.
    pub key: String,
    /// What it is the lane of.
    pub kind: LaneKind,
    /// What it is called.
    pub label: String,
    /// How its task stands.
    pub look: Option<Look>,
    /// Its task.
    pub task: Option<TaskId>,
}

/// What a lane shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LaneKind {
    /// The agent: turns, model calls, tools.
    Agent,
    /// Results between the end of their task and the call that they enter.
    Queue,
    /// A task.
    Task,
}

/// A stretch of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Its key.
    pub key: String,
    /// Its lane.
    pub lane: String,
    /// What it is.
    pub kind: SegmentKind,
    /// How it is drawn.
    pub look: Look,
    /// Where it begins.
    pub from: Timestamp,
    /// Where it ends; `None`: it goes on.
    pub to: Option<Timestamp>,
    /// Which of those side by side in its lane, from 0.
    pub row: u32,
    /// What it is called.
    pub label: String,
    /// What else is known of it, a line each.
    pub says: Vec<String>,
    /// Its task.
    pub task: Option<TaskId>,
    /// Its model call.
    pub call: Option<u64>,
}

/// What a stretch of time is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SegmentKind {
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

/// A moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// Its key.
    pub key: String,
    /// Its lane.
    pub lane: String,
    /// What happened.
    pub kind: MarkKind,
    /// When.
    pub at: Timestamp,
    /// What it is called.
    pub label: String,
    /// What else is known of it, a line each.
    pub says: Vec<String>,
    /// Its model call.
    pub call: Option<u64>,
}

/// What happened at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MarkKind {
    /// Results entered the conversation.
    Enters,
    /// A summary took the place of the history.
    Compacted,
    /// The session was opened again.
    Resumed,
}

/// From a lane to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrow {
    /// Its key.
    pub key: String,
    /// The lane it leaves.
    pub from: String,
    /// The lane it points to.
    pub to: String,
    /// When.
    pub at: Timestamp,
    /// The task whose way it is a part of.
    pub task: TaskId,
}

/// A time in which nothing happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// Its key.
    pub key: String,
    /// When it began.
    pub from: Timestamp,
    /// When something happened again.
    pub to: Timestamp,
    /// Its length in words.
    pub label: String,
}

/// How a piece is drawn: what it is, and what ended it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
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

impl Look {
    /// Each look with its words for a legend, in order.
    pub const LEGEND: [(Self, &'static str); 16] = [
        (Self::Turn, "turn"),
        (Self::Call, "model call"),
        (Self::Tool, "its tools"),
        (Self::Asks, "waits for you"),
        (Self::Result, "result waits"),
        (Self::Enters, "result enters"),
        (Self::Queued, "waits for its turn"),
        (Self::Running, "runs"),
        (Self::Succeeded, "succeeded"),
        (Self::Failed, "failed"),
        (Self::Stopped, "stopped"),
        (Self::StoppedByAgent, "stopped by the agent"),
        (Self::TimedOut, "timed out"),
        (Self::Limited, "ended by a limit"),
        (Self::Skipped, "skipped"),
        (Self::Lost, "lost"),
    ];

    /// How a task is drawn: its state, and the cause of its end.
    pub(super) fn of(task: &Task) -> Self {
        let end = match &task.state {
            State::Queued(_) => return Self::Queued,
            State::Running | State::Stopping { .. } => return Self::Running,
            State::Ended(end) => end,
        };
        let actor = end.cause.as_ref().map(|cause| cause.actor);
        match (end.outcome, actor) {
            (Outcome::Lost, _) => Self::Lost,
            (Outcome::TimedOut, _) => Self::TimedOut,
            (_, Some(Actor::Limit)) => Self::Limited,
            (Outcome::Exited, _) if end.exit == Exit::Code(0) => Self::Succeeded,
            (Outcome::Exited, _) => Self::Failed,
            (Outcome::Stopped, Some(Actor::Agent)) => Self::StoppedByAgent,
            (Outcome::Stopped, Some(Actor::Deadline | Actor::Linger)) => Self::TimedOut,
            (Outcome::Stopped, Some(Actor::Dependency)) => Self::Skipped,
            (Outcome::Stopped, Some(Actor::Client | Actor::Daemon) | None) => Self::Stopped,
        }
    }
}

impl Piece {
    /// Its key. Keys of all pieces differ.
    pub fn key(&self) -> &str {
        match self {
            Self::Lane(Lane { key, .. })
            | Self::Segment(Segment { key, .. })
            | Self::Mark(Mark { key, .. })
            | Self::Arrow(Arrow { key, .. })
            | Self::Gap(Gap { key, .. }) => key,
        }
    }

    /// The task whose way it is a part of.
    pub(super) fn way_of(&self) -> Option<TaskId> {
        match self {
            Self::Lane(Lane { task, .. }) => *task,
            Self::Arrow(Arrow { task, .. }) => Some(*task),
            Self::Segment(Segment { kind, task, .. }) => match kind {
                SegmentKind::Line | SegmentKind::Task | SegmentKind::Result => *task,
                SegmentKind::Turn | SegmentKind::Call | SegmentKind::Tool | SegmentKind::Asks => {
                    None
                }
            },
            Self::Mark(_) | Self::Gap(_) => None,
        }
    }
}
