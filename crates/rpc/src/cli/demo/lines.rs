//! The demo as text: one line per event, and a summary.

use std::time::Duration;

use super::board::{Board, Lane, Moment, What};
use crate::cli::show;

/// An event with its time: `  2.9s  call 4  carries count`.
pub(super) fn line(moment: &Moment) -> String {
    format!("{:>6}  {}", show::seconds(moment.after), words(&moment.what))
}

/// An event without its time.
pub(super) fn words(what: &What) -> String {
    match what {
        What::Prompt(text) => format!("you      {text}"),
        What::Call { number, carries, wake } => {
            let carried = match carries.as_slice() {
                [] => String::new(),
                names => format!(" <- {}", names.join(", ")),
            };
            let woken = if *wake { ", and no prompt" } else { "" };
            format!("call {number}{carried}{woken}")
        }
        What::Said(text) => format!("agent    {text}"),
        What::Tool(text) => format!("tool     {text}"),
        What::Spawned { name, command } => format!("task     {name} begins: {command}"),
        What::Ended { name, how, .. } => format!("task     {name} ends: {how}; into the queue"),
        What::Idle { running: 0 } => "idle     nothing runs any more".to_owned(),
        What::Idle { running: 1 } => "idle     1 task runs on".to_owned(),
        What::Idle { running } => format!("idle     {running} tasks run on"),
    }
}

/// How each result was delivered.
pub(super) fn summary(board: &Board) -> Vec<String> {
    let mut lines: Vec<String> = board.tasks.iter().filter_map(|lane| way(board, lane)).collect();
    if !lines.is_empty() {
        lines.push("No call waited, nothing was polled, and each result was told once.".to_owned());
    }
    lines
}

/// How one result was delivered.
fn way(board: &Board, lane: &Lane) -> Option<String> {
    let (call, _) = lane.delivered?;
    let end = lane.end()?.at;
    let during = board
        .calls
        .iter()
        .find(|call| call.start <= end && call.end.is_none_or(|over| end < over))
        .map(|call| call.number);
    let began = lane.spawned_in;
    let name = lane.name();
    let waited = waited(lane.waited()?);
    let woke = board.calls.iter().any(|it| it.number == call && it.wake);
    let ended = match during {
        Some(during) => format!("ended during call {during}"),
        None if woke => "ended while the agent was idle".to_owned(),
        None => "ended between two calls".to_owned(),
    };
    let entered = match woke {
        true => format!("woke the agent with call {call}"),
        false => format!("entered call {call}"),
    };
    Some(format!("{name}: begun by call {began}, {ended}, {entered} after {waited}"))
}

fn waited(time: Duration) -> String {
    match time.as_millis() {
        millis @ 0..1_000 => format!("{millis} ms"),
        _ => show::seconds(time),
    }
}
