//! Converts the trace of a session from the domain to the wire.

use meanwhile_core::agent::trace::{DeliveredKind, Event, Fact, Journey, Origin, Trace};

use super::to_wire;
use crate::wire;

/// Converts a part of a trace.
pub(crate) fn result(session_id: String, trace: Trace) -> wire::TraceResult {
    wire::TraceResult {
        session_id,
        events: trace.events.into_iter().filter_map(event).collect(),
        tasks: trace.journeys.iter().map(journey).collect(),
        next: trace.next,
        timeline: None,
    }
}

/// Converts one event; `None` for one that only timelines use.
pub(crate) fn event(event: Event) -> Option<wire::TraceEvent> {
    Some(wire::TraceEvent { n: event.n, at: to_wire::time(event.at), fact: fact(event.fact)? })
}

/// Converts what started a turn.
pub(crate) fn origin(origin: Origin) -> wire::TurnOrigin {
    match origin {
        Origin::Prompt => wire::TurnOrigin::Prompt,
        Origin::Background => wire::TurnOrigin::Background,
    }
}

fn told(kind: DeliveredKind) -> wire::NotificationKind {
    match kind {
        DeliveredKind::Exited => wire::NotificationKind::Exited,
        DeliveredKind::Matched => wire::NotificationKind::Matched,
        DeliveredKind::Stalled => wire::NotificationKind::Stalled,
    }
}

fn fact(fact: Fact) -> Option<wire::TraceFact> {
    use wire::TraceFact as To;
    Some(match fact {
        // Older clients do not know these events.
        Fact::Asked { .. } | Fact::Answered { .. } => return None,
        Fact::TurnStarted { turn, origin, title } => {
            To::TurnStarted { turn, origin: self::origin(origin), title }
        }
        Fact::CallStarted { turn, call } => To::CallStarted { turn, call },
        Fact::CallEnded {
            turn,
            call,
            stop_reason,
            error,
            input_tokens,
            output_tokens,
            cached_tokens,
            cost_usd,
        } => To::CallEnded {
            turn,
            call,
            stop_reason,
            error,
            input_tokens,
            output_tokens,
            cached_tokens,
            cost_usd,
        },
        Fact::ToolStarted { call, tool_call_id, name, title } => {
            To::ToolStarted { call, tool_call_id, name, title }
        }
        Fact::ToolEnded { tool_call_id, is_error } => To::ToolEnded { tool_call_id, is_error },
        Fact::TaskSpawned { call, tool_call_id, task_id, command, moved } => {
            To::TaskSpawned { call, tool_call_id, task_id, command, moved }
        }
        Fact::Delivered { call, task_id, seq, kind, by } => {
            To::Delivered { call, task_id, seq, kind: told(kind), by: to_wire::delivered_by(by) }
        }
        Fact::TurnEnded { turn, stop_reason, error } => To::TurnEnded { turn, stop_reason, error },
        Fact::Compacted { call } => To::Compacted { call: Some(call) },
        Fact::Resumed {} => To::Resumed {},
    })
}

fn journey(journey: &Journey) -> wire::TraceTask {
    let task = to_wire::task(&journey.task);
    let (queued_at, seq) = journey.queued.map(|(at, seq)| (to_wire::time(at), seq)).unzip();
    let (delivered_in_call, delivered_by) = journey.delivered.unzip();
    wire::TraceTask {
        task_id: task.id,
        command: task.command,
        tool_call_id: journey.tool_call_id.clone(),
        spawned_in_call: journey.spawned_in_call,
        spawned_at: task.created_at,
        ended_at: task.ended_at,
        queued_at,
        seq,
        state: task.state,
        exit: task.exit,
        cause: task.cause,
        delivered_in_call,
        delivered_by: delivered_by.map(to_wire::delivered_by),
        shown: task.shown,
    }
}
