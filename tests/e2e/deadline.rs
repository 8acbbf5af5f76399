//! A task and its process tree end at its deadline, and its end names the cause.

use serde_json::json;

use crate::harness::{Lab, gone, id_of};

#[test]
fn a_task_ends_at_its_deadline_with_its_tree_and_keeps_its_output() {
    let daemon = Lab::new().daemon();
    let script =
        "echo partial; setsid sh -c 'echo $$ > escaped; sleep 600' & echo $$ > leader; wait";
    let task = daemon.spawn(json!({ "command": script, "deadlineMs": 400 }));
    assert_eq!(task["deadlineMs"], 400);
    let id = id_of(&task);
    let pids = [daemon.lab().pid_in("escaped"), daemon.lab().pid_in("leader")];
    let task = daemon.exited(&id)["task"].clone();
    assert_eq!(task["state"], "timedOut", "{task}");
    assert_eq!(task["cause"]["actor"], "deadline", "{task}");
    assert!(task["cause"]["message"].is_string());
    assert!(task["durationMs"].as_u64().is_some_and(|ms| ms >= 400), "{task}");
    assert_eq!(daemon.output(&id), "partial\n");
    for pid in pids {
        assert!(gone(pid), "pid {pid} outlived the deadline");
    }
}

#[test]
fn a_task_that_ends_before_its_deadline_is_not_touched() {
    let daemon = Lab::new().daemon();
    let id = id_of(&daemon.spawn(json!({ "command": "exit 3", "deadlineMs": 60_000 })));
    let task = daemon.exited(&id)["task"].clone();
    assert_eq!((&task["state"], &task["exit"]["code"]), (&json!("exited"), &json!(3)));
    assert!(task.get("cause").is_none());
}

#[test]
fn a_deadline_holds_while_no_daemon_runs() {
    let lab = Lab::new();
    let daemon = lab.daemon();
    let spawn = json!({ "command": "trap '' TERM; echo $$ > pid; while :; do sleep 0.05; done", "deadlineMs": 500 });
    let id = id_of(&daemon.spawn(spawn));
    let pid = lab.pid_in("pid");
    drop(daemon.kill9());
    crate::harness::eventually("the task to end by itself", || gone(pid).then_some(()));
    let daemon = lab.daemon();
    let task = daemon.exited(&id)["task"].clone();
    assert_eq!((&task["state"], &task["cause"]["actor"]), (&json!("timedOut"), &json!("deadline")));
}

#[test]
fn a_stop_before_the_deadline_is_a_stop() {
    let daemon = Lab::new().daemon();
    let id = id_of(&daemon.spawn(json!({ "command": "sleep 600", "deadlineMs": 60_000 })));
    assert_eq!(daemon.stop(&id)["state"], "stopped");
}
