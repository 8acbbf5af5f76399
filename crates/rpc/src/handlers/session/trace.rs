//! `session/trace`: the data for drawing the timeline of a session, open or not.

use meanwhile_core::agent::session::Session;

use super::{Result, refused};
use crate::convert::{timeline, trace};
use crate::desk::Desk;
use crate::peer::{After, Answer};
use crate::wire::{TraceParams, TraceResult};

/// Answers with the facts after a number and the current state of the session's tasks, or with lanes.
pub(crate) async fn run(desk: &Desk, params: TraceParams) -> Result<Answer<TraceResult>> {
    let engine = desk.engine().await?;
    let TraceParams { session_id, after, timeline: as_lanes } = params;
    if !as_lanes.unwrap_or_default() {
        let found = Session::trace(engine, &session_id, after.unwrap_or(0)).await;
        return Ok(trace::result(session_id, found.map_err(refused)?).into());
    }
    let kept = || desk.sessions().get(&session_id).and_then(|open| open.lanes);
    let mut held = None;
    if kept().is_some() {
        held = Some(desk.hold_output().await);
    }
    let lanes = match kept() {
        Some(lanes) => lanes.whole(),
        None => timeline::whole(&Session::timeline(engine, &session_id).await.map_err(refused)?),
    };
    let (events, tasks) = (Vec::new(), Vec::new());
    let next = after.unwrap_or(0);
    let result = TraceResult { session_id, events, tasks, next, timeline: Some(lanes) };
    Ok(Answer { result, after: held.map(After::Flow).into_iter().collect() })
}
