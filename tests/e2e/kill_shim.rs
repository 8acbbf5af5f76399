//! SIGKILL of a task's shim: the exit status is still exact while its keeper or a daemon lives, and `lost`
//! otherwise; the tree can always be stopped.

use std::fs;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::harness::{Daemon, Lab, eventually, gone, id_of, parent, skip};

fn sigkill(pid: i32) {
    kill(Pid::from_raw(pid), Signal::SIGKILL).expect("the process lives");
    eventually("the killed process to be gone", || gone(pid).then_some(()));
}

/// The shim of the task with this leader.
fn shim_of(lab: &Lab, leader: i32) -> i32 {
    let shim = parent(leader).expect("the leader lives");
    let shims: Vec<i32> = lab.shims().iter().map(|process| process.pid).collect();
    assert!(shims.contains(&shim), "the leader's parent {shim} is not one of the shims {shims:?}");
    shim
}

#[test]
fn with_a_daemon_alive_the_status_is_exact() {
    for (end, exit) in [
        ("exit 7", json!({ "code": 7, "signal": null })),
        ("kill -SEGV $$", json!({ "code": null, "signal": "SIGSEGV" })),
    ] {
        let lab = Lab::new();
        let gate = lab.gate("gate");
        let daemon = lab.daemon();
        let id = daemon.sh(&format!("echo $$ > pid; echo one; read x < gate; echo two; {end}"));
        let leader = lab.pid_in("pid");
        let shim = shim_of(&lab, leader);
        sigkill(shim);
        // If shim and command die at the same time, the contents of the pipe are lost. The daemon works
        // sequentially, so it holds the pipe open before it answers the check.
        eventually("the daemon to reap the supervisor", || parent(shim).is_none().then_some(()));
        assert_eq!(daemon.check(&id)["state"], "running", "the command has not ended");
        assert!(!gone(leader), "the command still runs");
        gate.open();
        let task = daemon.exited(&id)["task"].clone();
        assert_eq!((&task["state"], &task["exit"]), (&json!("exited"), &exit), "{end}: {task}");
        assert_eq!(daemon.output(&id), "one\ntwo\n");
        assert_eq!(daemon.drain().len(), 1);
    }
}

#[test]
fn with_a_daemon_alive_the_tree_can_be_stopped() {
    let lab = Lab::new();
    let daemon = lab.daemon();
    let id = daemon.sh("setsid sh -c 'echo $$ > far; sleep 600' & sleep 600 & echo $$ > pid; wait");
    let (leader, far) = (lab.pid_in("pid"), lab.pid_in("far"));
    sigkill(shim_of(&lab, leader));
    let task = daemon.call("task/stop", json!({ "id": id, "graceMs": 200 }))["task"].clone();
    assert!(gone(leader) && gone(far), "{task}");
    assert_eq!(task["state"], "stopped", "{task}");
    assert_eq!(daemon.exited(&id)["task"]["state"], "stopped");
}

#[test]
fn a_deadline_stays_the_cause_when_the_supervisor_dies_over_it() {
    let lab = Lab::new();
    let daemon = lab.daemon();
    // The command ignores the SIGTERM of its deadline, so it is killed some seconds later.
    let command = "trap '' TERM; echo $$ > pid; while :; do sleep 0.05; done";
    let id = id_of(&daemon.spawn(json!({ "command": command, "deadlineMs": 300 })));
    let leader = lab.pid_in("pid");
    eventually("the deadline", || (daemon.check(&id)["state"] == "stopping").then_some(()));
    sigkill(shim_of(&lab, leader));
    let task = daemon.exited(&id)["task"].clone();
    let how = (&task["state"], &task["cause"]["actor"]);
    assert_eq!(how, (&json!("timedOut"), &json!("deadline")), "{task}");
    assert!(gone(leader), "the leader outlived its deadline");
}

/// A task whose shim, keeper and daemon were killed, while its leader waits at the gate.
fn abandoned(lab: &Lab) -> (String, i32) {
    let daemon = lab.daemon();
    let id = daemon.sh("echo $$ > pid; echo said; read x < gate; exit 0");
    let leader = lab.pid_in("pid");
    daemon.wait_output(&id, "said");
    let shim = shim_of(lab, leader);
    drop(daemon.kill9());
    sigkill(parent(shim).expect("a keeper is its parent"));
    sigkill(shim);
    (id, leader)
}

fn expect_lost(daemon: &Daemon, id: &str) -> Value {
    let task = daemon.exited(id)["task"].clone();
    assert_eq!(task["state"], "lost", "{task}");
    let code = &task["exit"]["code"];
    assert!(code.is_null(), "an unknown status is not guessed: {task}");
    assert_eq!(task["cause"]["actor"], "daemon", "{task}");
    assert_eq!(daemon.output(id), "said\n", "the output is kept");
    task
}

#[test]
fn without_anybody_who_saw_the_end_it_is_lost_and_told_once() {
    let lab = Lab::new();
    let gate = lab.gate("gate");
    let (id, leader) = abandoned(&lab);
    gate.open();
    eventually("the leader to end", || gone(leader).then_some(()));
    let daemon = lab.daemon();
    expect_lost(&daemon, &id);
    daemon.refused(1004, "task/stop", json!({ "id": id }));
    drop(daemon.kill9());
    let daemon = lab.daemon();
    assert_eq!(daemon.drain().len(), 1);
    assert_eq!(daemon.drain(), Vec::<Value>::new());
}

#[test]
fn a_task_that_lost_its_supervisor_can_still_be_stopped() {
    let lab = Lab::new();
    let _gate = lab.gate("gate");
    let (id, leader) = abandoned(&lab);
    let daemon = lab.daemon();
    daemon.call("task/stop", json!({ "id": id, "graceMs": 200 }));
    assert!(gone(leader), "the leader outlived its stop");
    let task = daemon.exited(&id)["task"].clone();
    assert!(["lost", "stopped"].contains(&task["state"].as_str().expect("a state")), "{task}");
    assert_eq!(daemon.drain().len(), 1);
}

#[test]
fn a_kill_at_any_moment_leaves_each_task_told_once() {
    let lab = Lab::new();
    let daemon = lab.daemon();
    let mut ids = Vec::new();
    for round in 0..30 {
        ids.push(daemon.sh(&format!("for i in $(seq {round}); do :; done; exit 5")));
        // Some of them supervise a task, some are about to exit, some wait for a task.
        for shim in lab.shims() {
            let _gone = kill(Pid::from_raw(shim.pid), Signal::SIGKILL);
        }
    }
    for id in &ids {
        let task = daemon.exited(id)["task"].clone();
        let honest = match task["state"].as_str().expect("a state") {
            "exited" => task["exit"]["code"] == 5,
            "lost" => task["exit"]["code"].is_null(),
            _ => false,
        };
        assert!(honest, "{task}");
    }
    let drained: Vec<String> = daemon.drain().iter().map(|n| id_of(&n["task"])).collect();
    assert_eq!(drained.len(), ids.len(), "each once");
    daemon.run("true");
}

#[test]
fn a_kill_of_everything_at_once_leaves_nothing_behind() {
    let lab = Lab::new();
    let daemon = lab.daemon();
    let ids = [daemon.sh("sleep 600"), daemon.sh("sleep 600")];
    for id in &ids {
        daemon.push("task/started", |push| push["task"]["id"] == **id);
    }
    // Kill all processes at once, like the end of a container or the OOM killer for a control group.
    // Stop them repeatedly until no new one appears: a shell may be about to start its command.
    let mut all = Vec::new();
    while all.len() < lab.processes().len() {
        all = lab.processes();
        for process in &all {
            kill(Pid::from_raw(process.pid), Signal::SIGSTOP).expect("it lives");
        }
    }
    for process in all.iter().filter(|process| process.pid != daemon.pid()) {
        kill(Pid::from_raw(process.pid), Signal::SIGKILL).expect("it lives");
    }
    drop(daemon.kill9());
    lab.expect_no_process();
    let daemon = lab.daemon();
    for id in &ids {
        assert_eq!(daemon.exited(id)["task"]["state"], "lost");
    }
    assert_eq!(daemon.drain().len(), 2);
    // The harness asserts that no pipe and no unfinished folder is left.
}

#[test]
fn a_pid_used_again_by_a_stranger_is_neither_reported_nor_stopped() {
    let lab = Lab::new();
    let gate = lab.gate("gate");
    let (id, leader) = abandoned(&lab);
    gate.open();
    eventually("the leader to end", || gone(leader).then_some(()));
    let Some(mut stranger) = with_pid(leader) else {
        skip("no process can be given a chosen pid (needs root and a quiet machine)");
        expect_lost(&lab.daemon(), &id);
        return;
    };
    let daemon = lab.daemon();
    expect_lost(&daemon, &id);
    daemon.refused(1004, "task/stop", json!({ "id": id }));
    assert_eq!(
        stranger.try_wait().expect("the test is its parent"),
        None,
        "the stranger was harmed"
    );
    stranger.kill().expect("the test is its parent");
    stranger.wait().expect("the test is its parent");
}

/// Starts a process with this pid: the kernel assigns the number after `ns_last_pid` (pid_namespaces(7)).
fn with_pid(pid: i32) -> Option<std::process::Child> {
    for _ in 0..50 {
        fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()).ok()?;
        let mut child = Command::new("sleep").arg("600").spawn().expect("sleep runs");
        if i32::try_from(child.id()) == Ok(pid) {
            return Some(child);
        }
        child.kill().expect("the test is its parent");
        child.wait().expect("the test is its parent");
    }
    None
}

/// The only task, as the command line lists it without a daemon.
fn listed(lab: &Lab) -> Value {
    let output = lab.cli(&["ps", "--json"]);
    let listed: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    listed["tasks"][0].clone()
}

#[test]
fn a_command_that_only_looks_sees_that_a_task_is_dead() {
    let lab = Lab::new();
    let _gate = lab.gate("gate");
    let (id, leader) = abandoned(&lab);
    assert_eq!(listed(&lab)["state"], "running", "its command lives");
    // That command has started a shim and a keeper for the task again.
    for process in lab.keepers().into_iter().chain(lab.shims()) {
        sigkill(process.pid);
    }
    sigkill(leader);
    let task = listed(&lab);
    assert_eq!((&task["id"], &task["state"]), (&json!(id), &json!("lost")), "{task}");
    let drained = lab.cli(&["drain", "--json"]);
    let drained: Value = serde_json::from_slice(&drained.stdout).expect("JSON");
    assert_eq!(drained["notifications"][0]["task"]["id"], id.as_str());
    assert_eq!(lab.cli(&["logs", &id]).stdout, b"said\n");
}

#[test]
fn a_task_of_another_boot_is_lost_and_its_numbers_mean_no_process() {
    let lab = Lab::new();
    let _gate = lab.gate("gate");
    let (id, leader) = abandoned(&lab);
    // Simulate a loss of power after which the pids are reused, this one by the same session.
    let record = lab.state().join("live").join(&id).join("record");
    let record = fs::File::options().write(true).open(record).expect("the task is under way");
    std::os::unix::fs::FileExt::write_all_at(&record, &[7; 16], 32).expect("it can be written");
    let task = listed(&lab);
    assert_eq!(task["state"], "lost", "{task}");
    let message = task["cause"]["message"].as_str().expect("a reason");
    assert!(message.contains("machine was restarted"), "{message}");
    // The mark in its environment proves that it belongs to the task, not its pid.
    assert_eq!(task["survivors"][0]["pid"], leader, "{task}");
    sigkill(leader);
    eventually("a look to put it away", || listed(&lab).get("survivors").is_none().then_some(()));
}
