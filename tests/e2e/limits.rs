//! A shortage of descriptors or processes, and very many tasks.

use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{BINARY, Daemon, Lab, RpcError, eventually, id_of, skip};

/// Spawns many tasks at once; returns the ids of the accepted ones and the errors of the others.
fn crowd(daemon: &Daemon, count: usize, command: &str) -> (Vec<String>, Vec<RpcError>) {
    let asked: Vec<i64> =
        (0..count).map(|_| daemon.ask("task/spawn", json!({ "command": command }))).collect();
    let (mut ids, mut errors) = (Vec::new(), Vec::new());
    for ask in asked {
        match daemon.answer(ask) {
            Ok(result) => ids.push(id_of(&result["task"])),
            Err(error) => errors.push(error),
        }
    }
    (ids, errors)
}

/// Asserts that accepted tasks end normally, that errors name the limit, and that everything works afterwards.
fn expect_orderly(daemon: &Daemon, ids: &[String], errors: &[RpcError], limit: &str) {
    for error in errors {
        assert_eq!(error.code, 1003, "{error:?}");
        assert_eq!(error.data["kind"], "limitReached", "{error:?}");
        assert_eq!(error.data["limit"], limit, "{error:?}");
    }
    for id in ids {
        let task = daemon.exited(id)["task"].clone();
        assert_eq!((&task["state"], &task["exit"]["code"]), (&json!("exited"), &json!(3)));
    }
    assert_eq!(daemon.drain().len(), ids.len(), "each accepted task is told once");
    let task = eventually("a spawn to be accepted again", || {
        daemon.request("task/spawn", json!({ "command": "exit 3" })).ok()
    });
    daemon.exited(&id_of(&task["task"]));
    let tasks = daemon.call("task/check", json!({ "limit": 10_000 }))["tasks"].clone();
    assert_eq!(tasks.as_array().map(Vec::len), Some(ids.len() + 1), "nothing refused is recorded");
}

#[test]
fn out_of_descriptors_spawns_are_refused_and_nothing_else_suffers() {
    let lab = Lab::new();
    let gate = lab.gate("gate");
    let limited = ["sh", "-c", "ulimit -n 40; exec \"$@\"", "sh"];
    let daemon = lab.start().wrapped_in(&limited).noisy().go();
    let (ids, errors) = crowd(&daemon, 80, "read x < gate; exit 3");
    assert!(!ids.is_empty(), "some fit: {errors:?}");
    daemon.call("task/check", json!({}));
    gate.open_for(ids.len());
    expect_orderly(&daemon, &ids, &errors, "openFiles");
}

/// Idle shims must not use up the descriptors that are needed to read results.
#[test]
fn idle_shims_leave_descriptors_free() {
    const LIMIT: usize = 60;
    let lab = Lab::new();
    let limit = format!("ulimit -n {LIMIT}; exec \"$@\"");
    let daemon = lab.start().wrapped_in(&["sh", "-c", &limit, "sh"]).go();
    // After a burst more shims are kept ready; then run a task after each time that they are refilled.
    let (ids, _) = crowd(&daemon, 40, "exit 3");
    for id in &ids {
        daemon.exited(id);
    }
    let open = || {
        let of_shims = |path: &Path| {
            fs::read_link(path).is_ok_and(|to| to.components().any(|it| it.as_os_str() == "live"))
        };
        let all = fs::read_dir(format!("/proc/{}/fd", daemon.pid())).expect("it runs");
        let all: Vec<_> = all.flatten().map(|entry| entry.path()).collect();
        (all.len(), all.iter().filter(|path| of_shims(path)).count())
    };
    for _ in 0..20 {
        daemon.run("exit 3");
        let (all, of_shims) = open();
        assert!(all + 16 <= LIMIT, "{all} are open, {of_shims} of them for idle shims");
    }
    eventually("an idle shim, for which there is room", || (open().1 > 0).then_some(()));
}

#[test]
fn out_of_processes_spawns_are_refused_and_nothing_else_suffers() {
    if !nix::unistd::geteuid().is_root() {
        skip("a limit on processes binds others than root, and only root becomes another");
        return;
    }
    // A separate user, so that the limit counts only this test's processes.
    let user = 60_000 + std::process::id() % 5_000;
    let lab = Lab::new();
    let gate = lab.gate("gate");
    for path in [lab.root().to_owned(), lab.workspace(), lab.home(), lab.file("gate")] {
        chown(path, Some(user), Some(user)).expect("root may do this");
    }
    let number = user.to_string();
    let become_user = ["setpriv", "--reuid", &number, "--regid", &number, "--clear-groups"];
    let reachable = Command::new(become_user[0])
        .args(&become_user[1..])
        .args([BINARY, "--version"])
        .output()
        .is_ok_and(|output| output.status.success());
    if !reachable {
        skip("another user cannot run the binary from where it was built");
        return;
    }
    let wrapper = [&become_user[..], &["prlimit", "--nproc=40"]].concat();
    let daemon = lab.start().wrapped_in(&wrapper).noisy().go();
    let (ids, errors) = crowd(&daemon, 60, "read x < gate; exit 3");
    assert!(!ids.is_empty(), "some fit: {errors:?}");
    assert!(!errors.is_empty(), "60 tasks do not fit into 40 processes");
    daemon.call("task/check", json!({}));
    gate.open_for(ids.len());
    expect_orderly(&daemon, &ids, &errors, "processes");
}

#[test]
fn a_thousand_tasks_may_end_at_once() {
    let lab = Lab::new();
    let gate = lab.gate("gate");
    let daemon = lab.daemon();
    daemon.run("true");
    let before = daemon.memory("VmRSS");
    let (ids, errors) = crowd(&daemon, 1_000, "read x < gate; echo over; exit 3");
    assert_eq!(errors, Vec::new());
    gate.open_for(ids.len());
    let start = Instant::now();
    while daemon.pushes("task/exited").len() <= ids.len()
        && start.elapsed() < Duration::from_secs(30)
    {
        // A check is answered meanwhile.
        daemon.call("task/check", json!({ "limit": 1 }));
    }
    for id in &ids {
        assert_eq!(daemon.exited(id)["task"]["exit"]["code"], 3);
    }
    let mut numbers = Vec::new();
    while numbers.len() <= ids.len() {
        let drained = daemon.drain();
        assert!(!drained.is_empty(), "only {} of {} are told", numbers.len(), ids.len() + 1);
        numbers.extend(drained.iter().map(|n| n["seq"].as_u64().expect("a number")));
    }
    assert_eq!(numbers, (1..=1_001).collect::<Vec<u64>>());
    let grown = daemon.memory("VmRSS").saturating_sub(before);
    assert!(grown < 24 << 20, "the daemon grew by {} kB", grown / 1024);
}

#[test]
fn a_limit_on_the_size_of_files_is_a_full_disk_to_the_log_and_stays_the_tasks() {
    let lab = Lab::new();
    // The shim's executable in the store is larger than the limit.
    lab.daemon().run("true");
    let daemon = lab.start().wrapped_in(&["prlimit", "--fsize=400000"]).noisy().go();
    let id = daemon.sh("ulimit -f > limit; head -c 3000000 /dev/zero; exit 5");
    let task = daemon.exited(&id)["task"].clone();
    assert_eq!((&task["state"], &task["exit"]["code"]), (&json!("exited"), &json!(5)), "{task}");
    assert_eq!(task["output"]["total"], 3_000_000, "{task}");
    assert!(task["output"]["dropped"].as_u64().expect("a number") > 2_600_000, "{task}");
    assert_ne!(lab.line_in("limit"), "unlimited\n", "the task has the limit too");
    let kept = daemon.call("task/read", json!({ "id": id, "limit": 4_096 }));
    assert_eq!(kept["data"].as_str().map(str::len), Some(4_096));
}
