//! The pieces of a timeline: what a client draws. A piece with the same key replaces the previous one.

use crate::background::task::{Actor, Exit, Outcome, State, Task, TaskId, Timestamp};

/// A piece of a timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// A row of the timeline.
    Lane(Lane),
    /// A period in a lane.
    Segment(Segment),
    /// A point in time in a lane.
    Mark(Mark),
    /// An arrow from one lane to another, at one point in time.
    Arrow(Arrow),
    /// A period in which nothing happened.
    Gap(Gap),
}

/// A row of a timeline. Lanes are listed in the order in which they appeared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lane {
    /// The key: `agent`, `queue`, or the id of a task.
    pub key: String,
    /// What the lane shows.
    pub kind: LaneKind,
    /// The text beside the lane.
    pub label: String,
    /// The state of its task; `None` for other lanes.
    pub look: Option<Look>,
    /// The id of its task; `None` for other lanes.
    pub task: Option<TaskId>,
}

/// What a lane shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LaneKind {
    /// The agent: turns, model calls, tools.
    Agent,
    /// Results, from the end of their task to the call that they enter.
    Queue,
    /// One background task.
    Task,
}

/// A period in a lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// The key, unique within the timeline.
    pub key: String,
    /// The key of its lane.
    pub lane: String,
    /// What happens in this period.
    pub kind: SegmentKind,
    /// How it is drawn.
    pub look: Look,
    /// When it starts.
    pub from: Timestamp,
    /// When it ends; `None` while it goes on.
    pub to: Option<Timestamp>,
    /// The row within the lane, from 0, for segments that overlap.
    pub row: u32,
    /// The text on the segment.
    pub label: String,
    /// Further details, one per line.
    pub says: Vec<String>,
    /// The id of its task, if it belongs to one.
    pub task: Option<TaskId>,
    /// The number of its model call, if it belongs to one.
    pub call: Option<u64>,
}

/// What happens in a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SegmentKind {
    /// A turn of the agent.
    Turn,
    /// A model call.
    Call,
    /// A tool call.
    Tool,
    /// A question to the person is waiting for the answer.
    Asks,
    /// A task is queued.
    Line,
    /// A task is running.
    Task,
    /// A result is waiting in the queue.
    Result,
}

/// A point in time in a lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The key, unique within the timeline.
    pub key: String,
    /// The key of its lane.
    pub lane: String,
    /// What happened at this point.
    pub kind: MarkKind,
    /// When it happened.
    pub at: Timestamp,
    /// The text on the mark.
    pub label: String,
    /// Further details, one per line.
    pub says: Vec<String>,
    /// The number of its model call, if it belongs to one.
    pub call: Option<u64>,
}

/// What happened at a point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MarkKind {
    /// Results entered the conversation.
    Enters,
    /// A summary replaced the history.
    Compacted,
    /// The session was loaded again.
    Resumed,
}

/// An arrow from one lane to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrow {
    /// The key, unique within the timeline.
    pub key: String,
    /// The key of the lane where it starts.
    pub from: String,
    /// The key of the lane it points to.
    pub to: String,
    /// The point in time at which it is drawn.
    pub at: Timestamp,
    /// The id of the task whose result it follows.
    pub task: TaskId,
}

/// A period in which nothing happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The key, unique within the timeline.
    pub key: String,
    /// When it started.
    pub from: Timestamp,
    /// When something happened again.
    pub to: Timestamp,
    /// Its length as text.
    pub label: String,
}

/// The appearance of a piece: its kind, or the state and cause of end of its task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// A turn of the agent.
    Turn,
    /// A model call.
    Call,
    /// A tool call.
    Tool,
    /// The agent waits for the person.
    Asks,
    /// A task is queued.
    Queued,
    /// A task is running.
    Running,
    /// A task exited with code 0.
    Succeeded,
    /// A task exited with another code, or died of a signal that was not sent to stop it.
    Failed,
    /// A client or the daemon stopped a task.
    Stopped,
    /// The agent stopped a task.
    StoppedByAgent,
    /// A task reached its deadline, or the limit of its time without a daemon.
    TimedOut,
    /// A resource limit ended a task.
    Limited,
    /// A task was not started, because a task that it depends on failed.
    Skipped,
    /// A task ended in an unknown way.
    Lost,
    /// A result is waiting in the queue.
    Result,
    /// A result enters the conversation.
    Enters,
}

impl Look {
    /// All looks with their legend texts, in the order of the legend.
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

    /// The look of a task: its state, or the cause of its end.
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
            (Outcome::Stopped, Some(Actor::Client | Actor::Daemon | Actor::Engine) | None) => {
                Self::Stopped
            }
        }
    }
}

impl Piece {
    /// The key, unique within the timeline.
    pub fn key(&self) -> &str {
        match self {
            Self::Lane(Lane { key, .. })
            | Self::Segment(Segment { key, .. })
            | Self::Mark(Mark { key, .. })
            | Self::Arrow(Arrow { key, .. })
            | Self::Gap(Gap { key, .. }) => key,
        }
    }

    /// The task whose path through the session this piece shows.
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
