//! A recording of `meanwhile demo`, for a timeline that has no tasks to show.
//!
//! It is a result of `session/trace` that a test has recorded (`tests/e2e/session_timeline.rs`), and is folded like
//! any other.

use std::path::PathBuf;
use std::time::Duration;

use meanwhile_core::agent::story::Timeline;
use meanwhile_core::agent::trace::{Event, Fact, Journey, Trace};
use meanwhile_core::background::task::{End, Exit, Outcome, State, Task, Timestamp};
use serde::Deserialize;

const RECORDED: &str = include_str!("recorded.json");

#[derive(Deserialize)]
struct Recording {
    events: Vec<RecordedEvent>,
    tasks: Vec<RecordedTask>,
}

#[derive(Deserialize)]
struct RecordedEvent {
    n: u64,
    at: String,
    #[serde(flatten)]
    fact: Fact,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RecordedTask {
    task_id: String,
    command: String,
    spawned_in_call: u64,
    spawned_at: String,
    ended_at: String,
    exit: RecordedExit,
    shown: RecordedWords,
}

#[derive(Deserialize)]
struct RecordedExit {
    code: i32,
}

#[derive(Deserialize)]
struct RecordedWords {
    title: String,
}

/// The lanes of the recorded demo.
pub(super) fn timeline() -> Timeline {
    let recording: Recording = serde_json::from_str(RECORDED).expect("a test reads it");
    let events = recording.events.into_iter().map(|RecordedEvent { n, at, fact }| Event {
        n,
        at: time(&at),
        fact,
    });
    let events: Vec<Event> = events.collect();
    let next = events.last().map_or(0, |event| event.n);
    let journeys = recording.tasks.into_iter().map(journey).collect();
    Timeline::of(&Trace { events, journeys, next, is_open: false })
}

fn journey(it: RecordedTask) -> Journey {
    let (asked, at) = (time(&it.spawned_at), time(&it.ended_at));
    let (outcome, exit, duration) = (Outcome::Exited, Exit::Code(it.exit.code), at.since(asked));
    let task = Task {
        id: it.task_id.parse().expect("a test reads it"),
        workspace: PathBuf::new(),
        queue: String::new(),
        label: Some(it.shown.title),
        command: it.command,
        cwd: PathBuf::new(),
        pid: Some(1),
        state: State::Ended(End { outcome, exit, cause: None, at, duration }),
        created_at: asked,
        deadline: None::<Duration>,
        output: Default::default(),
        progress: None,
        survivors: Vec::new(),
        delivered: None,
        serving: Default::default(),
        waits_for_input: false,
        // A foreground command belongs to the agent's lane, so its tool has no label for it.
        is_step: false,
        on: None,
        contact: None,
        job: None,
    };
    let spawned_in_call = Some(it.spawned_in_call);
    Journey { task, tool_call_id: None, spawned_in_call, queued: None, delivered: None }
}

fn time(text: &str) -> Timestamp {
    humantime::parse_rfc3339(text).expect("a test reads it").into()
}

#[cfg(test)]
mod tests {
    use meanwhile_core::agent::story::piece::{MarkKind, Piece};

    use super::*;

    #[test]
    fn it_shows_what_the_demo_is_about() {
        let (pieces, _) = timeline().whole();
        let lanes = pieces.iter().filter_map(|piece| match piece {
            Piece::Lane(lane) => Some(lane.label.as_str()),
            Piece::Segment(_) | Piece::Mark(_) | Piece::Arrow(_) | Piece::Gap(_) => None,
        });
        assert_eq!(lanes.collect::<Vec<_>>(), ["agent", "queue", "pack", "count"]);
        let enters = |it: &&Piece| matches!(it, Piece::Mark(mark) if mark.kind == MarkKind::Enters);
        assert_eq!(
            pieces.iter().filter(enters).count(),
            2,
            "a result enters a call, and one wakes"
        );
        let open = |it: &&Piece| matches!(it, Piece::Segment(segment) if segment.to.is_none());
        assert_eq!(pieces.iter().find(open), None, "all of it is over");
    }
}
