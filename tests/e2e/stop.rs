//! Stopping a task ends its whole process tree, whatever the processes do against it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Daemon, Lab, eventually, gone, id_of, state_of};

/// Waits until each of these files contains a pid, and returns the pids.
fn pids(lab: &Lab, files: &[&str]) -> Vec<i32> {
    files.iter().map(|file| lab.pid_in(file)).collect()
}

/// Stops a task, and asserts what must hold when `task/stop` has answered.
fn stop_whole(daemon: &Daemon, id: &str, more: Value, pids: &[i32]) -> Value {
    let mut params = json!({ "id": id });
    for (name, value) in more.as_object().expect("an object") {
        params[name] = value.clone();
    }
    let task = daemon.call("task/stop", params)["task"].clone();
    for &pid in pids {
        assert!(gone(pid), "pid {pid} lives though task/stop has answered");
    }
    assert_eq!(task["state"], "stopped", "{task}");
    assert_eq!(task["cause"]["actor"], "client", "{task}");
    assert!(task["cause"]["message"].is_string(), "{task}");
    assert!(task.get("survivors").is_none(), "{task}");
    assert_eq!(daemon.exited(id)["task"]["state"], "stopped");
    task
}

#[test]
fn a_plain_command_ends_by_term() {
    let daemon = Lab::new().daemon();
    let id = daemon.sh("echo $$ > pid; exec sleep 600");
    let pids = pids(daemon.lab(), &["pid"]);
    // If the stop waited until the grace was over, the call would time out.
    let task = stop_whole(&daemon, &id, json!({ "graceMs": 600_000 }), &pids);
    assert_eq!(task["exit"], json!({ "code": null, "signal": "SIGTERM" }));
}

#[test]
fn a_command_may_tidy_up_within_its_grace() {
    let daemon = Lab::new().daemon();
    let id =
        daemon.sh("trap 'echo tidy; exit 12' TERM; echo $$ > pid; while :; do sleep 0.05; done");
    let pids = pids(daemon.lab(), &["pid"]);
    let task = stop_whole(&daemon, &id, json!({}), &pids);
    assert_eq!(task["exit"], json!({ "code": 12, "signal": null }));
    // The shell may say that the signal ended its `sleep` too.
    assert!(daemon.output(&id).ends_with("tidy\n"));
}

#[test]
fn one_that_ignores_term_is_killed_after_the_grace() {
    let daemon = Lab::new().daemon();
    let id = daemon.sh("trap '' TERM; echo $$ > pid; while :; do sleep 0.05; done");
    let pids = pids(daemon.lab(), &["pid"]);
    let start = Instant::now();
    let task = stop_whole(&daemon, &id, json!({ "graceMs": 300 }), &pids);
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(300), "the grace was cut to {took:?}");
    assert_eq!(task["exit"], json!({ "code": null, "signal": "SIGKILL" }));
}

#[test]
fn other_signals_are_sent_as_asked() {
    let daemon = Lab::new().daemon();
    for (signal, code) in [("SIGINT", 21), ("SIGUSR1", 22), ("SIGHUP", 23)] {
        let name = &signal[3..];
        let script = format!(
            "trap 'exit {code}' {name}; trap '' TERM; echo $$ > {name}; while :; do sleep 0.05; done"
        );
        let id = daemon.sh(&script);
        let pids = pids(daemon.lab(), &[name]);
        let task = stop_whole(&daemon, &id, json!({ "signal": signal }), &pids);
        assert_eq!(task["exit"]["code"], code, "{signal}");
    }
    let id = daemon.sh("trap '' TERM INT HUP; echo $$ > last; while :; do sleep 0.05; done");
    let pids = pids(daemon.lab(), &["last"]);
    stop_whole(&daemon, &id, json!({ "signal": "SIGKILL", "graceMs": 600_000 }), &pids);
}

/// A loop that keeps a process alive.
const LOOP: &str = "while :; do sleep 0.05; done";

#[test]
fn no_descendant_escapes() {
    let daemon = Lab::new().daemon();
    let lab = daemon.lab().clone();
    let child = |file: &str| format!("sh -c 'echo $$ > {file}; {LOOP}'");
    let stubborn = |file: &str| format!("sh -c 'trap \"\" TERM INT HUP; echo $$ > {file}; {LOOP}'");
    for (name, script) in [
        ("forked", format!("{} & wait", child("forked"))),
        ("double-forked", format!("({} &) ; {LOOP}", child("double-forked"))),
        ("setsid", format!("setsid {} & wait", child("setsid"))),
        (
            "setsid-forked",
            format!(
                "setsid sh -c \"{} &\"; {LOOP}",
                child("setsid-forked").replace('"', "\\\"").replace('$', "\\$")
            ),
        ),
        ("stubborn-setsid", format!("setsid {} & wait", stubborn("stubborn-setsid"))),
        ("nohup", format!("nohup {} > /dev/null 2>&1 & wait", child("nohup"))),
        ("no-env", format!("env -i /usr/bin/setsid {} & wait", child("no-env"))),
        (
            "elsewhere",
            format!(
                "(cd / && exec setsid {}) & wait",
                child("$OLDPWD/elsewhere")
                    .replace("$OLDPWD", &lab.workspace().display().to_string())
            ),
        ),
    ] {
        let id = daemon.sh(&script);
        let pid = pids(&lab, &[name]);
        stop_whole(&daemon, &id, json!({ "graceMs": 100 }), &pid);
    }
}

#[test]
fn stopped_processes_are_ended_too() {
    let daemon = Lab::new().daemon();
    let id = daemon.sh("echo $$ > pid; kill -STOP $$; echo never");
    let pids = pids(daemon.lab(), &["pid"]);
    eventually("the task to be stopped by its signal", || {
        (state_of(pids[0]) == Some('T')).then_some(())
    });
    assert_eq!(daemon.check(&id)["state"], "running", "a STOPped task has not ended");
    stop_whole(&daemon, &id, json!({}), &pids);
    assert_eq!(daemon.output(&id).replace("never\n", ""), "", "nothing else is printed");
}

#[test]
fn a_tree_that_keeps_forking_is_ended() {
    let daemon = Lab::new().daemon();
    let script = "trap '' TERM; echo $$ > pid; while :; do (setsid sleep 600 &); sleep 0.01; done";
    let id = daemon.sh(script);
    let pids = pids(daemon.lab(), &["pid"]);
    eventually("some children", || (daemon.lab().processes().len() > 20).then_some(()));
    stop_whole(&daemon, &id, json!({ "graceMs": 0 }), &pids);
    let sleepers = || {
        let all = daemon.lab().processes();
        all.into_iter().filter(|process| process.command.contains("sleep")).count()
    };
    assert_eq!(sleepers(), 0, "the whole tree is gone when the stop answers");
}

#[test]
fn a_hundred_processes_go_at_once() {
    let daemon = Lab::new().daemon();
    let id = daemon.sh("for i in $(seq 100); do setsid sleep 600 & done; echo $$ > pid; wait");
    let pids = pids(daemon.lab(), &["pid"]);
    stop_whole(&daemon, &id, json!({ "graceMs": 0 }), &pids);
}

#[test]
fn what_outlives_the_leader_is_named_and_can_be_stopped() {
    let daemon = Lab::new().daemon();
    let id = daemon.sh("sleep 601 & echo $! > pid; echo up; exit 0");
    let pid = pids(daemon.lab(), &["pid"])[0];
    let notification = daemon.exited(&id);
    assert_eq!(notification["task"]["state"], "exited");
    assert_eq!(notification["task"]["exit"]["code"], 0);
    let survivors = notification["task"]["survivors"].as_array().expect("survivors are named");
    assert_eq!(survivors.len(), 1, "{survivors:?}");
    assert_eq!(survivors[0]["pid"], pid);
    assert!(survivors[0]["command"].as_str().is_some_and(|c| c.contains("sleep 601")));
    assert!(!gone(pid), "a normal end does not stop it");
    let task = daemon.call("task/stop", json!({ "id": id }))["task"].clone();
    assert!(gone(pid), "the stop ends it");
    assert_eq!(task["state"], "exited", "the recorded end does not change: {task}");
    assert_eq!(task["exit"]["code"], 0);
    assert_eq!(daemon.drain().len(), 1, "the end is reported once");
}

#[test]
fn a_session_of_its_own_is_left_alone_at_a_normal_end_and_killed_on_stop() {
    let daemon = Lab::new().daemon();
    let id = daemon
        .sh("setsid sh -c 'echo $$ > pid; exec sleep 600' & until [ -s pid ]; do sleep 0.01; done");
    let pid = pids(daemon.lab(), &["pid"])[0];
    daemon.exited(&id);
    assert!(!gone(pid));
    daemon.call("task/stop", json!({ "id": id }));
    assert!(gone(pid));
}

#[test]
fn a_finished_task_without_survivors_is_not_running() {
    let daemon = Lab::new().daemon();
    let id = daemon.sh("true");
    daemon.exited(&id);
    let error = daemon.refused(1004, "task/stop", json!({ "id": id }));
    assert_eq!(error.data["kind"], "notRunning");
    assert_eq!(daemon.check(&id)["state"], "exited");
}

#[test]
fn two_stops_at_once_are_both_answered() {
    let daemon = Lab::new().daemon();
    let id = daemon.sh("trap '' TERM; echo $$ > pid; while :; do sleep 0.05; done");
    let pid = pids(daemon.lab(), &["pid"])[0];
    let first = daemon.ask("task/stop", json!({ "id": id, "graceMs": 30_000 }));
    daemon.push("tasks/changed", |_| true);
    eventually("the task to be stopping", || {
        (daemon.check(&id)["state"] == "stopping").then_some(())
    });
    let second = daemon.ask("task/stop", json!({ "id": id, "graceMs": 0 }));
    for ask in [second, first] {
        let task = daemon.answer(ask).expect("both are answered")["task"].clone();
        assert_eq!(task["state"], "stopped", "{task}");
    }
    assert!(gone(pid));
    assert_eq!(daemon.drain().len(), 1);
}

#[test]
fn a_stop_goes_on_when_its_request_is_cancelled_or_its_daemon_dies() {
    let lab = Lab::new();
    let daemon = lab.daemon();
    let stubborn = |file: &str| {
        daemon.sh(&format!("trap '' TERM; echo $$ > {file}; while :; do sleep 0.05; done"))
    };
    let (one, two) = (stubborn("one"), stubborn("two"));
    let pids = pids(&lab, &["one", "two"]);
    let ask = daemon.ask("task/stop", json!({ "id": one, "graceMs": 400 }));
    // A request that is cancelled before it was handled would stop nothing.
    eventually("the task to be stopping", || {
        (daemon.check(&one)["state"] == "stopping").then_some(())
    });
    daemon.notify("$/cancelRequest", json!({ "id": ask }));
    // The answer is an error or, if the stop was faster, its result.
    let _either = daemon.answer(ask);
    assert_eq!(daemon.exited(&one)["task"]["state"], "stopped");
    daemon.ask("task/stop", json!({ "id": two, "graceMs": 300 }));
    eventually("the task to be stopping", || {
        (daemon.check(&two)["state"] == "stopping").then_some(())
    });
    drop(daemon.kill9());
    let daemon = lab.daemon();
    let task = daemon.exited(&two)["task"].clone();
    assert_eq!((&task["state"], &task["cause"]["actor"]), (&json!("stopped"), &json!("client")));
    for pid in pids {
        assert!(gone(pid));
    }
}

#[test]
fn unrelated_processes_are_left_alone() {
    let daemon = Lab::new().daemon();
    let (one, two) = (daemon.sh("echo $$ > one; sleep 600"), daemon.sh("echo $$ > two; sleep 600"));
    let pids = pids(daemon.lab(), &["one", "two"]);
    stop_whole(&daemon, &one, json!({}), &pids[..1]);
    assert!(!gone(pids[1]));
    assert_eq!(daemon.check(&two)["state"], "running");
    let id = id_of(&daemon.check(&two));
    stop_whole(&daemon, &id, json!({}), &pids[1..]);
}

/// The shim may not have read the order to start when the order to stop arrives, and the id that a token
/// reserves differs from the one under which the shim was idle. The grace is longer than a test waits.
#[test]
fn a_stop_right_behind_a_spawn_is_obeyed() {
    let lab = Lab::new();
    let daemon = lab.daemon();
    for n in 0..40 {
        let spawn = json!({ "command": "sleep 600", "clientToken": format!("token {n}") });
        let id = id_of(&daemon.spawn(spawn));
        let stop = json!({ "id": id, "graceMs": 60_000 });
        assert_eq!(daemon.call("task/stop", stop)["task"]["state"], "stopped");
    }
}
