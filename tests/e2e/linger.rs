//! A task with no daemon attached to its workspace is stopped after the linger time.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Lab, eventually, gone};

#[test]
fn a_task_without_a_daemon_is_stopped_after_the_linger_time() {
    let lab = Lab::new();
    for way in ["shutdown", "SIGKILL"] {
        let daemon = lab.start().options(json!({ "lingerMs": 700 })).go();
        let id = daemon.sh("echo $$ > pid; setsid sleep 600 & echo $! > child; wait");
        let pids = [lab.pid_in("pid"), lab.pid_in("child")];
        let start = Instant::now();
        if way == "SIGKILL" {
            drop(daemon.kill9());
        } else {
            daemon.shut_down();
            drop(daemon);
        }
        eventually("the lonely task to be stopped", || {
            pids.iter().all(|&pid| gone(pid)).then_some(())
        });
        assert!(
            start.elapsed() >= Duration::from_millis(600),
            "after {way}: {:?}",
            start.elapsed()
        );
        let daemon = lab.daemon();
        let task = daemon.exited(&id)["task"].clone();
        assert_eq!(
            (&task["state"], &task["cause"]["actor"]),
            (&json!("stopped"), &json!("linger"))
        );
        for file in ["pid", "child"] {
            std::fs::remove_file(lab.file(file)).expect("the task wrote it");
        }
    }
}

#[test]
fn a_daemon_that_comes_back_in_time_saves_the_task() {
    let lab = Lab::new();
    let options = json!({ "lingerMs": 1_000 });
    let daemon = lab.start().options(options.clone()).go();
    let id = daemon.sh("echo $$ > pid; exec sleep 600");
    let pid = lab.pid_in("pid");
    let end = Instant::now() + Duration::from_millis(2_500);
    // Each daemon lives for less than the linger time, and each gap between two daemons is shorter, too.
    let mut daemon = Some(daemon);
    while Instant::now() < end {
        drop(daemon.take().map(crate::harness::Daemon::kill9));
        let next = lab.start().options(options.clone()).go();
        next.run("sleep 0.3");
        daemon = Some(next);
        assert!(!gone(pid), "a task was stopped although a daemon was attached");
    }
    let daemon = daemon.expect("a daemon runs");
    assert_eq!(daemon.stop(&id)["cause"]["actor"], "client");
}

#[test]
fn an_attended_task_outlives_the_linger_time() {
    let lab = Lab::new();
    let (one, two) = (
        lab.start().options(json!({ "lingerMs": 300 })).go(),
        lab.start().options(json!({ "lingerMs": 300 })).go(),
    );
    let id = one.sh("sleep 600");
    two.push("tasks/changed", |push| push["running"] == json!([id]));
    drop(one.kill9());
    // Wait by means of a task for a time in which a task with a linger of 300 ms would be stopped.
    let clock = two.sh("sleep 1.2");
    two.exited(&clock);
    assert_eq!(two.check(&id)["state"], "running", "the other daemon is attached");
    two.stop(&id);
}

#[test]
fn null_means_never_and_the_command_line_lingers_for_ever() {
    let lab = Lab::new();
    let daemon = lab.start().options(json!({ "lingerMs": Value::Null })).go();
    let id = daemon.sh("echo $$ > pid; exec sleep 600");
    let pid = lab.pid_in("pid");
    drop(daemon.kill9());
    let spawned = lab.cli(&["spawn", "--", "sh", "-c", "echo $$ > cli; exec sleep 600"]);
    assert!(spawned.status.success(), "{spawned:?}");
    let from_cli = lab.pid_in("cli");
    let daemon = lab.start().options(json!({ "lingerMs": 100 })).go();
    let short = daemon.sh("echo $$ > short; exec sleep 600");
    let short_lived = lab.pid_in("short");
    daemon.shut_down();
    drop(daemon);
    eventually("the short one to be stopped", || gone(short_lived).then_some(()));
    assert!(!gone(pid), "null means never");
    assert!(!gone(from_cli), "from the command line, too");
    let daemon = lab.daemon();
    assert_eq!(daemon.exited(&short)["task"]["cause"]["actor"], "linger");
    daemon.stop(&id);
    let stopped = lab.cli(&["stop", "--all"]);
    assert!(stopped.status.success(), "{stopped:?}");
}

#[test]
fn a_spawn_on_the_command_line_may_say_how_long() {
    let lab = Lab::new();
    let line = "echo $$ > pid; exec sleep 600";
    let spawned = lab.cli(&["spawn", "--linger", "300ms", "--", "sh", "-c", line]);
    assert!(spawned.status.success(), "{spawned:?}");
    let pid = lab.pid_in("pid");
    eventually("it to be stopped, since no client attends it", || gone(pid).then_some(()));
    let daemon = lab.daemon();
    let id = String::from_utf8(spawned.stdout).expect("an id");
    let task = daemon.exited(id.trim())["task"].clone();
    assert_eq!((&task["state"], &task["cause"]["actor"]), (&json!("stopped"), &json!("linger")));
}
