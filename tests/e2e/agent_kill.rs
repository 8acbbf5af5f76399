//! SIGKILL of the daemon at random moments of an agent session: the transcript has each result once, each
//! call is answered, each command has run once, and no stored message is lost.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::agent_timing::settings;
use crate::harness::{Daemon, Direction, Entry, Lab, eventually};
use crate::session::{here, scripted};

/// How often the daemon is killed in the session.
const DEATHS: u64 = 48;
/// The longest time between a prompt and the kill.
const LIFE: Duration = Duration::from_millis(320);

/// A model that continues until a command says STOP, with results delivered in every way: in the foreground,
/// moved from the foreground to the background, in the background at once, and later.
const SCRIPT: &str = "
[[turn]]
when = 'STOP'
text = 'END'
[[turn]]
when = 'RUN'
text = 'on'
[[turn.call]]
tool = 'background_run'
input = { command = 'echo ran >> ran; cat mode' }
[[turn.call]]
tool = 'bash'
input = { command = 'echo ran >> ran; cat mode' }
[[turn.call]]
tool = 'bash'
input = { command = 'echo ran >> ran; sleep 0.15; cat mode' }
[[turn.call]]
tool = 'background_run'
input = { command = 'echo ran >> ran; sleep 0.03; cat mode' }
[[turn]]
text = 'on'
[[turn.call]]
tool = 'bash'
input = { command = 'cat mode' }
";

const SETTINGS: &str = "[agent]\nyield_after = \"100ms\"\ncalls_per_turn = 100000\n\
                        wakes_per_hour = 100000\n[permissions]\nallow = [\"*\"]\n";

/// What a load replays: all updates of the session before the reply to the load; `None` if there was no
/// reply.
fn replay(log: &[Entry], load: i64) -> Option<Vec<Value>> {
    let at = |direction: Direction| {
        log.iter().position(|entry| {
            let is_call = entry.message.get("method").is_some();
            let is_sent = direction == Direction::Sent;
            entry.direction == direction && entry.message["id"] == load && is_call == is_sent
        })
    };
    let between = &log[at(Direction::Sent)?..at(Direction::Received)?];
    let update = |entry: &Entry| Some(entry.push("session/update")?["update"].clone());
    Some(between.iter().filter_map(update).collect())
}

/// Only the updates that are in the transcript. A turn that a result started can send others before the load is
/// answered: the progress of a call, and token usage.
fn said(replay: &[Value]) -> Vec<Value> {
    let is_said = |it: &&Value| match it["sessionUpdate"].as_str() {
        Some("usage_update" | "session_info_update") => false,
        Some("tool_call_update") => it["status"] == "completed" || it["status"] == "failed",
        _ => true,
    };
    replay.iter().filter(is_said).cloned().collect()
}

fn load(daemon: &Daemon, lab: &Lab, id: &str) -> i64 {
    let mut params = here(lab);
    params["sessionId"] = id.into();
    daemon.ask("session/load", params)
}

fn go_on(daemon: &Daemon, id: &str) -> i64 {
    let prompt = json!([{ "type": "text", "text": "RUN" }]);
    daemon.ask("session/prompt", json!({ "sessionId": id, "prompt": prompt }))
}

#[test]
fn a_killed_session_has_each_result_once() {
    let lab = Lab::new();
    settings(&lab, SETTINGS);
    std::fs::write(lab.file("mode"), "RUN\n").expect("the test's directory is writable");
    let first = scripted(&lab, SCRIPT);
    let id =
        first.call("session/new", here(&lab))["sessionId"].as_str().expect("a name").to_owned();
    drop(first);
    let mut before: Vec<Value> = Vec::new();
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    for death in 0..DEATHS {
        random =
            random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let daemon = scripted(&lab, SCRIPT);
        let loads = load(&daemon, &lab, &id);
        // Every fourth daemon is killed while it loads.
        if death % 4 != 3 {
            daemon.answer(loads).expect("it can be loaded");
            go_on(&daemon, &id);
        }
        // This does not wait for a condition: the kill must come at a random moment.
        thread::sleep(LIFE.mul_f64((random >> 40) as f64 / f64::from(1 << 24)));
        let log = daemon.kill9();
        if let Some(now) = replay(&log, loads) {
            let now = said(&now);
            assert!(
                now.starts_with(&before),
                "death {death}: what was said is changed: {before:#?} is not a beginning of {now:#?}"
            );
            before = now;
        }
    }
    std::fs::write(lab.file("mode"), "STOP\n").expect("the test's directory is writable");
    let daemon = scripted(&lab, SCRIPT);
    let loads = load(&daemon, &lab, &id);
    daemon.answer(loads).expect("it can be loaded");
    daemon.answer(go_on(&daemon, &id)).expect("the turn ends");
    let trace = eventually("every task to end and to be heard of", || {
        let trace = whole_trace(&daemon, &id);
        trace["tasks"].as_array()?.iter().all(|it| it["deliveredInCall"].is_u64()).then_some(trace)
    });
    daemon.call("session/close", json!({ "sessionId": id }));
    let loads = load(&daemon, &lab, &id);
    daemon.answer(loads).expect("it can be loaded");
    let log = daemon.entries();
    let all = said(&replay(&log, loads).expect("the load was answered"));
    judge(&all, &trace, &lab);
}

/// All pages of the trace.
fn whole_trace(daemon: &Daemon, id: &str) -> Value {
    let (mut events, mut after) = (Vec::new(), json!(0));
    loop {
        let page = daemon.call("session/trace", json!({ "sessionId": id, "after": after }));
        let more = page["events"].as_array().expect("events");
        if more.is_empty() {
            return json!({ "events": events, "tasks": page["tasks"] });
        }
        events.extend(more.iter().cloned());
        after = page["next"].clone();
    }
}

fn judge(said: &[Value], trace: &Value, lab: &Lab) {
    // Each call is answered exactly once, and there are no other answers.
    let mut calls: BTreeMap<&str, u32> = BTreeMap::new();
    for update in said {
        let id = update["toolCallId"].as_str().unwrap_or_default();
        match update["sessionUpdate"].as_str().expect("a kind") {
            "tool_call" => assert_eq!(calls.insert(id, 0), None, "{id} is called twice"),
            "tool_call_update"
                if update["status"] == "completed" || update["status"] == "failed" =>
            {
                *calls.get_mut(id).unwrap_or_else(|| panic!("{id} was never called")) += 1;
            }
            _ => {}
        }
    }
    assert!(calls.len() > 40, "{} calls: it hardly did anything", calls.len());
    assert!(calls.values().all(|&times| times == 1), "not answered, or not once: {calls:?}");
    // Each task is delivered once: in a message with results, or in the answer to its call.
    let mut told: BTreeMap<&str, u32> = BTreeMap::new();
    for update in said {
        for id in update["_meta"]["meanwhile"]["taskIds"].as_array().into_iter().flatten() {
            *told.entry(id.as_str().expect("an id")).or_default() += 1;
        }
    }
    let tasks = trace["tasks"].as_array().expect("tasks");
    let mut ways: BTreeMap<&str, u32> = BTreeMap::new();
    for task in tasks {
        let id = task["taskId"].as_str().expect("an id");
        let way = task["deliveredBy"].as_str().expect("it was delivered");
        assert_eq!(told.remove(id).unwrap_or(0), u32::from(way == "drain"), "{task}");
        *ways.entry(way).or_default() += 1;
    }
    assert!(told.is_empty(), "results of tasks that were never started: {told:?}");
    assert!(ways.contains_key("drain"), "no result came in a separate message: {ways:?}");
    // The trace also has one delivery for each task.
    let mut delivered: BTreeMap<&str, u32> = BTreeMap::new();
    for event in trace["events"].as_array().expect("events") {
        if event["type"] == "delivered" {
            *delivered.entry(event["taskId"].as_str().expect("an id")).or_default() += 1;
        }
    }
    assert_eq!(delivered.len(), tasks.len());
    assert!(delivered.values().all(|&times| times == 1), "{delivered:?}");
    let is_marked = |task: &&Value| {
        task["command"].as_str().is_some_and(|line| line.contains(">> ran"))
            && task["state"] == "exited"
    };
    assert_eq!(lab.text("ran").lines().count(), tasks.iter().filter(is_marked).count());
}
