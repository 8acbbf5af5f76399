//! The defaults of optional parameters (docs/protocol.md, "Methods").

use serde_json::{Value, json};

use crate::harness::{Daemon, Lab, id_of};

/// How many entries a list has.
fn count(result: &Value, list: &str) -> usize {
    result[list].as_array().unwrap_or_else(|| panic!("no list `{list}`: {result}")).len()
}

/// Runs a command that writes this many bytes until it ends; returns its id.
fn written(daemon: &Daemon, bytes: usize) -> String {
    let id = daemon.sh(&format!("head -c {bytes} /dev/zero | tr '\\0' x"));
    daemon.exited(&id);
    id
}

#[test]
fn lists_have_a_hundred_entries() {
    let daemon = Lab::new().daemon();
    let ids: Vec<String> = (0..101).map(|_| daemon.sh("true")).collect();
    for id in &ids {
        daemon.exited(id);
    }
    assert_eq!(count(&daemon.call("task/check", json!({})), "tasks"), 100);
    assert_eq!(count(&daemon.call("task/check", json!({ "limit": 101 })), "tasks"), 101);
    let drained = daemon.call("task/drain", json!({}));
    assert_eq!((count(&drained, "notifications"), &drained["remaining"]), (100, &json!(1)));
    // The first drain acknowledges by default.
    assert_eq!(count(&daemon.call("task/drain", json!({})), "notifications"), 1);
    assert_eq!(count(&daemon.call("task/drain", json!({})), "notifications"), 0);
}

#[test]
fn a_read_begins_at_0_and_takes_65_536_bytes_of_text() {
    let daemon = Lab::new().daemon();
    let id = written(&daemon, 70_000);
    let part = daemon.call("task/read", json!({ "id": id }));
    assert_eq!(part["data"].as_str().map(str::len), Some(65_536));
    assert_eq!((&part["offset"], &part["encoding"]), (&json!(0), &json!("utf8")));
    assert_eq!((&part["nextOffset"], &part["eof"]), (&json!(65_536), &json!(false)));
    let rest = daemon.call("task/read", json!({ "id": id, "offset": part["nextOffset"] }));
    assert_eq!(rest["data"].as_str().map(str::len), Some(70_000 - 65_536));
    assert_eq!(rest["eof"], true);
}

#[test]
fn a_check_shows_the_last_4_096_bytes() {
    let daemon = Lab::new().daemon();
    let id = written(&daemon, 5_000);
    let tail = daemon.call("task/check", json!({ "id": id }))["tail"].clone();
    assert_eq!(tail["text"].as_str().map(str::len), Some(4_096));
    assert_eq!(tail["offset"], 5_000 - 4_096);
}

#[test]
fn a_wait_is_for_any_of_them() {
    let lab = Lab::new();
    let gate = lab.gate("gate");
    let daemon = lab.daemon();
    let held = daemon.sh("read x < gate");
    let over = id_of(&daemon.run("exit 3"));
    let waited = daemon.call("task/wait", json!({ "ids": [held, over] }));
    assert_eq!(waited["timedOut"], false, "{waited}");
    let states: Vec<&Value> =
        waited["tasks"].as_array().expect("a list").iter().map(|task| &task["state"]).collect();
    assert_eq!(states, ["running", "exited"]);
    gate.open();
    daemon.exited(&held);
}

#[test]
fn a_stop_is_sigterm_and_two_seconds_of_grace() {
    let lab = Lab::new();
    let daemon = lab.daemon();
    let id = daemon.sh("trap 'echo asked' TERM; echo $$ > pid; while :; do sleep 0.05; done");
    lab.pid_in("pid");
    let task = daemon.call("task/stop", json!({ "id": id }))["task"].clone();
    assert_eq!(task["exit"], json!({ "code": null, "signal": "SIGKILL" }));
    let took = task["durationMs"].as_u64().expect("a number");
    assert!(took >= 2_000, "the grace was cut to {took} ms");
    assert!(daemon.output(&id).contains("asked"), "SIGTERM was sent first");
}
