//! A place whose sources are compared with those here (`check = "git"`).

use std::fs;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::harness::{Daemon, eventually, id_of};
use crate::places::Place;

/// Runs a shell line in which all commits of the same content are the same.
pub(crate) fn sh(dir: &Path, line: &str) {
    let mut command = Command::new("sh");
    command.args(["-c", line]).current_dir(dir);
    for role in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{role}_DATE"), "2026-01-01T00:00:00Z");
        command.env(format!("GIT_{role}_NAME"), "me").env(format!("GIT_{role}_EMAIL"), "me@there");
    }
    assert!(command.status().expect("sh runs").success(), "{line}");
}

/// A place with the same working tree as here.
fn with_trees() -> Place {
    let place = Place::with("check = \"git\"");
    for dir in [place.lab.workspace(), place.there().join("app")] {
        fs::write(dir.join("a"), "one\n").expect("writable");
        sh(&dir, "git init -q && git add a && git commit -q -m first");
    }
    place
}

fn ended(daemon: &Daemon, command: &str) -> Value {
    let id = id_of(&daemon.spawn(json!({"command": command, "on": "build"})));
    daemon.exited(&id)["task"].clone()
}

#[test]
fn a_task_whose_sources_differ_at_its_place_has_a_warning_and_runs() {
    let place = with_trees();
    let daemon = place.lab.start().options(json!({"notify": ["state"]})).go();
    let same = ended(&daemon, "true");
    assert_eq!((&same["warning"], &same["exit"]["code"]), (&Value::Null, &json!(0)), "{same}");
    fs::write(place.there().join("app/a"), "two\n").expect("writable");
    let changed = ended(&daemon, "exit 3");
    let said = "the sources differ: not the same uncommitted changes";
    assert_eq!((&changed["warning"], &changed["exit"]["code"]), (&json!(said), &json!(3)));
    let told = changed["shown"]["ended"].as_str().unwrap_or_default();
    assert!(told.starts_with("exited 3 after") && told.contains(said), "{told}");
    sh(&place.there().join("app"), "git commit -q -a -m second");
    // A working tree inside of the workspace is compared with its own.
    for dir in [place.lab.file("sub"), place.there().join("app/sub")] {
        sh(&dir, "git init -q && git commit -q --allow-empty -m inner");
    }
    let id = id_of(&daemon.spawn(json!({"command": "true", "on": "build", "cwd": "sub"})));
    let inner = daemon.exited(&id)["task"].clone();
    assert_eq!(inner["warning"], Value::Null, "{inner}");
    let id = id_of(&daemon.spawn(json!({"command": "cat", "on": "build", "stdin": "pipe"})));
    // A client hears of it while the task runs.
    let of_it = |push: &Value| push["task"]["id"] == *id && push["task"]["warning"].is_string();
    daemon.push("task/state", of_it);
    let running =
        eventually("it runs", || Some(daemon.check(&id)).filter(|task| task["state"] == "running"));
    let warning = running["warning"].as_str().unwrap_or_default();
    assert!(warning.starts_with("the sources differ: HEAD was "), "{running}");
    assert_eq!(running["shown"]["stands"], "running, with a warning");
    daemon.call("task/write", json!({"id": id, "data": "", "eof": true}));
    daemon.exited(&id);
    // The warning is stored with the end.
    drop(daemon);
    let kept = place.lab.daemon().check(&id);
    assert_eq!(kept["warning"], running["warning"]);
}

#[test]
fn sources_are_compared_after_a_kill_of_the_courier_and_with_those_at_the_spawn() {
    let place = with_trees();
    place.reachable(false);
    let daemon = place.lab.daemon();
    let id = id_of(&daemon.spawn(json!({"command": "true", "on": "build"})));
    let couriers =
        eventually("a courier", || Some(place.couriers()).filter(|couriers| !couriers.is_empty()));
    for courier in couriers {
        let _gone = kill(Pid::from_raw(courier.pid), Signal::SIGKILL);
    }
    // A change after the spawn is not part of what the task was to run with.
    fs::write(place.lab.file("a"), "two\n").expect("writable");
    place.reachable(true);
    let task = daemon.exited(&id)["task"].clone();
    assert_eq!((&task["warning"], &task["exit"]["code"]), (&Value::Null, &json!(0)), "{task}");
}

#[test]
fn sources_that_cannot_be_read_are_a_warning_there_and_refuse_the_spawn_here() {
    let place = with_trees();
    let daemon = place.lab.daemon();
    fs::remove_dir_all(place.there().join("app/.git")).expect("it can be removed");
    let task = ended(&daemon, "true");
    let warning = task["warning"].as_str().unwrap_or_default();
    assert!(
        warning.starts_with("the sources could not be compared: ") && warning.contains("not a git"),
        "{task}"
    );
    fs::remove_dir_all(place.lab.file(".git")).expect("it can be removed");
    let before = daemon.call("task/check", json!({}))["tasks"].as_array().map(Vec::len);
    let error = daemon.refused(-32602, "task/spawn", json!({"command": "true", "on": "build"}));
    assert!(error.message.contains("nothing was spawned"), "{error:?}");
    assert_eq!(error.data["field"], "on");
    assert_eq!(daemon.call("task/check", json!({}))["tasks"].as_array().map(Vec::len), before);
    let error = daemon.refused(-32602, "workspace/sources", json!({"cwd": "/"}));
    assert!(error.message.contains("not a git repository"), "{error:?}");
}
