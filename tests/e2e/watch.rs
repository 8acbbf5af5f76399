//! Watched patterns: a line of output makes a notification.

use serde_json::{Value, json};

use crate::harness::{Daemon, Lab, id_of};

/// Runs a command with watches until it ends; returns the notifications of matches, oldest first.
fn matches(daemon: &Daemon, command: &str, watch: Value) -> Vec<Value> {
    let id = id_of(&daemon.spawn(json!({ "command": command, "watch": watch })));
    daemon.exited(&id);
    let pushed: Vec<Value> = daemon
        .pushes("task/notified")
        .into_iter()
        .map(|push| push["notification"].clone())
        .filter(|notification| notification["task"]["id"] == *id)
        .collect();
    let drained: Vec<Value> =
        daemon.drain().into_iter().filter(|n| n["kind"] == "matched").collect();
    assert_eq!(pushed, drained, "the pushes equal the notifications in the queue");
    drained.into_iter().map(|notification| notification["match"].clone()).collect()
}

#[test]
fn a_line_that_matches_is_told_with_its_place() {
    let daemon = Lab::new().daemon();
    let watch = json!([{ "id": "ready", "pattern": "listening on port [0-9]+" }]);
    let found = matches(&daemon, "echo start; echo 'now listening on port 80 ok'", watch);
    let line = "now listening on port 80 ok";
    assert_eq!(found, [json!({ "id": "ready", "line": line, "offset": 6 })]);
}

#[test]
fn a_match_is_told_while_the_task_runs_and_before_its_end() {
    let lab = Lab::new();
    let gate = lab.gate("gate");
    let daemon = lab.daemon();
    let watch = json!([{ "pattern": "ready" }]);
    let spawn = json!({ "command": "echo ready; read x < gate", "watch": watch });
    let id = id_of(&daemon.spawn(spawn));
    let push = daemon.push("task/notified", |push| push["notification"]["task"]["id"] == *id);
    let notification = &push["notification"];
    assert_eq!(notification["kind"], "matched");
    assert_eq!(notification["seq"], 1);
    assert_eq!(notification["task"]["state"], "running");
    assert!(notification["match"]["id"].is_string(), "a watch without a name gets one");
    gate.open();
    assert_eq!(daemon.exited(&id)["seq"], 2, "the end comes after it in the queue");
}

#[test]
fn one_match_is_told_unless_more_are_asked_for() {
    let daemon = Lab::new().daemon();
    let lines = |found: Vec<Value>| -> Vec<String> {
        found.iter().map(|m| m["line"].as_str().expect("a line").to_owned()).collect()
    };
    let command = "for i in 1 2 3 4 5; do echo hit $i; done";
    let found = matches(&daemon, command, json!([{ "pattern": "hit" }]));
    assert_eq!(lines(found), ["hit 1"]);
    let found = matches(&daemon, command, json!([{ "pattern": "hit", "limit": 3 }]));
    assert_eq!(lines(found), ["hit 1", "hit 2", "hit 3"]);
    let found = matches(&daemon, command, json!([{ "pattern": "hit [45]", "limit": 100 }]));
    assert_eq!(lines(found), ["hit 4", "hit 5"]);
}

#[test]
fn several_watches_are_told_apart() {
    let daemon = Lab::new().daemon();
    let watch = json!([{ "id": "a", "pattern": "^a" }, { "id": "z", "pattern": "z$" }]);
    let found = matches(&daemon, "echo az; echo b; echo bz", watch);
    let told: Vec<(&str, &str)> = found
        .iter()
        .map(|m| (m["id"].as_str().expect("an id"), m["line"].as_str().expect("a line")))
        .collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told.contains(&("a", "az")) && told.contains(&("z", "az")), "{told:?}");
}

#[test]
fn a_line_written_in_pieces_or_without_an_end_is_one_line() {
    let lab = Lab::new();
    let gate = lab.gate("gate");
    let daemon = lab.daemon();
    let watch = json!([{ "id": "w", "pattern": "^whole line$" }]);
    let command = "printf 'whole '; read x < gate; printf 'line\\n'";
    let id = id_of(&daemon.spawn(json!({ "command": command, "watch": watch })));
    daemon.wait_output(&id, "whole ");
    gate.open();
    daemon.exited(&id);
    let kinds: Vec<Value> = daemon.drain().iter().map(|n| n["kind"].clone()).collect();
    assert_eq!(kinds, ["matched", "exited"]);
    let found = matches(&daemon, "echo x; printf 'whole line'", watch.clone());
    assert_eq!(found, [json!({ "id": "w", "line": "whole line", "offset": 2 })]);
    let found = matches(&daemon, "printf 'whole line\\r\\n'", watch);
    assert_eq!(found.len(), 1, "a carriage return ends a line too: {found:?}");
}

#[test]
fn an_invalid_pattern_is_refused_and_named() {
    let daemon = Lab::new().daemon();
    for pattern in ["(", "[z-a]", "a{100000}{100000}"] {
        let watch = json!([{ "pattern": "fine" }, { "pattern": pattern }]);
        let error =
            daemon.refused(-32602, "task/spawn", json!({ "command": "true", "watch": watch }));
        assert!(error.message.contains("watch") && error.message.contains("pattern"), "{error:?}");
    }
    assert_eq!(daemon.call("task/check", json!({}))["tasks"], json!([]));
}

#[test]
fn hostile_patterns_cost_no_time() {
    let daemon = Lab::new().daemon();
    let watch = json!([{ "pattern": "^(a+)+c$" }, { "pattern": "(x*)*y" }]);
    let command = "head -c 2000000 /dev/zero | tr '\\0' a; echo b";
    assert_eq!(matches(&daemon, command, watch), Vec::<Value>::new());
}

#[test]
fn matches_while_no_daemon_runs_are_told_later() {
    let lab = Lab::new();
    let gate = lab.gate("gate");
    let daemon = lab.daemon();
    let spawn = json!({
        "command": "echo up; read x < gate; echo the needle; exit 3",
        "watch": [{ "id": "n", "pattern": "needle" }],
    });
    let id = id_of(&daemon.spawn(spawn));
    daemon.wait_output(&id, "up");
    drop(daemon.kill9());
    gate.open();
    crate::harness::eventually("the task to be over", || lab.processes().is_empty().then_some(()));
    let daemon = lab.daemon();
    daemon.exited(&id);
    let kinds: Vec<Value> = daemon.drain().iter().map(|n| n["kind"].clone()).collect();
    assert_eq!(kinds, ["matched", "exited"]);
}
