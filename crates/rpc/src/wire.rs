//! The types of the wire: every parameter, result, push, object and error of the protocol.
//!
//! Owns names, shapes and JSON bounds; never behaviour. `docs/schema.json` is generated from these
//! types, so a change here is a change of the protocol and shows in a test. The domain has types of
//! its own (`meanwhile-core`); only `convert` knows both.

mod error;
mod initialize;
mod method;
mod object;
mod push;
mod session;
mod timeline;

pub(crate) use error::{Code, Error, ErrorData};
pub(crate) use initialize::{
    Capability, InitializationOptions, Limits, NewKind, NewState, StateMoved,
};
pub(crate) use method::{
    AckMode, AckParams, AckResult, CheckParams, CheckResult, CommandParam, ConfineMode,
    DrainParams, DrainResult, Empty, Encoding, OnFailureParam, OneTask, PlaceInfo, PlaceList,
    PlaceListParams, ReadParams, ReadResult, RecipientParam, RemoveParams, RemoveResult,
    ResizeParams, ResourcesParam, RestartParams, SignalParam, SignalParams, SourcesParams,
    SourcesResult, SpawnParams, StdinParam, StopParams, SubscribeParams, TailText, TaskList,
    TaskResult, UnsubscribeParams, WaitMode, WaitParams, WaitResult, WatchParam, WriteParams,
};
pub(crate) use object::{
    Actor, Cause, Contact, DateTime, Delivered, DeliveredBy, Exit, Gap, Match, NoticeLevel,
    Notification, NotificationKind, Output, Preview, Progress, Queued, QueuedReason, Shown,
    Standing, Survivor, Task, TaskPlace, TaskRole, TaskState,
};
pub(crate) use push::{
    BeganPush, Changed, ExitedPush, ListeningPush, NotifiedPush, OutputPush, ProgressPush,
    ProgressToken, Push, StartedPush, StatePush,
};

pub(crate) use session::{
    Card, Holder, OpenQuestion, Own, OwnAnswer, OwnEdit, OwnOrigin, OwnQuestion, RetryingPush,
    TraceEvent, TraceFact, TraceParams, TraceResult, TraceTask, TracedPush, TurnOrigin, TurnPush,
    TurnState, WatchSessionParams, Watched,
};
pub(crate) use timeline::{
    LaneKind, LegendEntry, Look, MarkKind, Piece, SegmentKind, Timeline, TimelineParams,
    TimelinePush,
};

/// The shapes of the Agent Client Protocol, version 1.
pub(crate) use agent_client_protocol_schema::v1 as acp;

/// The version of the protocol these types speak.
pub(crate) const PROTOCOL_VERSION: u32 = 1;

/// The largest integer every JSON reader keeps exactly, 2^53 - 1 (RFC 8259, section 6).
pub(crate) const INTEGER_MAX: u64 = (1 << 53) - 1;
