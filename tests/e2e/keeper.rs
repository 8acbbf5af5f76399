//! The keeper: it is outside of the daemon's process tree, holds the pipes that a task must not lose when
//! its shim is killed, and then knows the exit status.

use meanwhile_shim::record;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use crate::harness::{BINARY, Lab, all, eventually, gone, id_of, parent};

/// How many bytes of output may be lost when a shim is killed: the size of a pipe.
const PIPE_BYTES: usize = 1 << 20;

fn sigkill(pid: i32) {
    kill(Pid::from_raw(pid), Signal::SIGKILL).expect("the process lives");
}

fn shim_and_keeper(leader: i32) -> (i32, i32) {
    let shim = parent(leader).expect("the leader lives");
    (shim, parent(shim).expect("the supervisor lives"))
}

#[test]
fn a_daemon_has_no_children() {
    let lab = Lab::new();
    let daemon = lab.daemon();
    let id = daemon.sh("echo $$ > pid; sleep 600");
    let (_, keeper) = shim_and_keeper(lab.pid_in("pid"));
    assert!(lab.keepers().iter().any(|process| process.pid == keeper));
    eventually("the daemon to have no child", || {
        (!all().iter().any(|process| process.parent == daemon.pid())).then_some(())
    });
    daemon.stop(&id);
}

#[test]
fn a_keeper_is_gone_when_nothing_is_left() {
    let lab = Lab::new();
    let daemon = lab.daemon();
    let gate = lab.gate("gate");
    daemon.sh("echo $$ > pid; read x < gate");
    let (_, keeper) = shim_and_keeper(lab.pid_in("pid"));
    drop(daemon.kill9());
    assert!(!gone(keeper), "its task runs");
    gate.open();
    lab.expect_no_process();
    // The next daemon moves the files of the ended task when it records the end.
    assert_eq!(lab.daemon().drain().len(), 1);
}

/// Whichever processes are killed, the task continues and its end is reported once; the status is exact if the
/// shim or its keeper lives, or if the kernel reports it.
fn deaths(no_info: bool) {
    for mask in 1..8 {
        let (kills_keeper, kills_shim, kills_daemon) = (mask & 1 > 0, mask & 2 > 0, mask & 4 > 0);
        let lab = Lab::new();
        let start = |lab: &Lab| match no_info {
            true => lab.start().env("MEANWHILE_TEST_NO_PIDFD_INFO", "1").go(),
            false => lab.daemon(),
        };
        let gate = lab.gate("gate");
        let mut daemon = start(&lab);
        let id = daemon.sh("echo $$ > pid; echo one; read x < gate; echo two; exit 7");
        let leader = lab.pid_in("pid");
        daemon.wait_output(&id, "one");
        let (shim, keeper) = shim_and_keeper(leader);
        if kills_keeper {
            sigkill(keeper);
        }
        if kills_shim {
            sigkill(shim);
        }
        if kills_daemon {
            drop(daemon.kill9());
            daemon = start(&lab);
        }
        assert!(!gone(leader), "case {mask}: the command still runs");
        if kills_shim {
            // Another test covers output that is written while no shim reads.
            supervised(&lab, &id, shim);
        }
        gate.open();
        let task = daemon.exited(&id)["task"].clone();
        let exact = task["state"] == "exited" && task["exit"]["code"] == 7;
        let lost = task["state"] == "lost" && task["exit"]["code"].is_null();
        assert!(exact || lost && kills_keeper && kills_shim, "case {mask}: {task}");
        assert_eq!(daemon.output(&id), "one\ntwo\n", "case {mask}");
        assert_eq!(daemon.drain().len(), 1, "case {mask}");
    }
}

/// Waits until another shim has taken over.
fn supervised(lab: &Lab, id: &str, dead: i32) {
    let record = lab.state().join("live").join(id).join("record");
    eventually("another supervisor to take over", || {
        let record = record::read(&std::fs::File::open(&record).ok()?).ok()?;
        let shim = i32::try_from(record.shim_pid).ok()?;
        (shim != dead && !gone(shim)).then_some(())
    });
}

#[test]
fn of_keeper_supervisor_and_daemon_any_may_be_killed() {
    deaths(false);
}

#[test]
fn statuses_do_not_depend_on_what_the_kernel_tells_of_strangers() {
    deaths(true);
}

#[test]
fn a_supervisor_killed_under_a_flood_costs_one_pipe_at_most() {
    let lab = Lab::new();
    let daemon = lab.daemon();
    let script = "echo $$ > pid; seq 1000000 2300000; echo $? > code; exit 7";
    let id = daemon.sh(script);
    let (shim, _) = shim_and_keeper(lab.pid_in("pid"));
    eventually("a part of the flood", || {
        (daemon.check(&id)["output"]["total"].as_u64()? > 1 << 20).then_some(())
    });
    // On a fast machine the task may already have ended; then no output may be missing.
    let _gone = kill(Pid::from_raw(shim), Signal::SIGKILL);
    let task = daemon.exited(&id)["task"].clone();
    assert_eq!((&task["state"], &task["exit"]["code"]), (&json!("exited"), &json!(7)), "{task}");
    assert_eq!(lab.line_in("code"), "0\n", "the writer saw no SIGPIPE");
    let output = daemon.output(&id);
    let whole: usize = (2_300_000 - 1_000_000 + 1) * 8;
    assert!(output.len() + PIPE_BYTES >= whole, "{} of {whole} bytes", output.len());
    // A line with missing bytes is not a number of seven digits, or is out of order.
    let numbers: Vec<u32> = output
        .lines()
        .filter(|line| line.len() == 7)
        .filter_map(|line| line.parse().ok())
        .collect();
    let back = numbers.windows(2).filter(|pair| pair[0] >= pair[1]).count();
    assert_eq!(back, 0, "the order is kept");
    assert_eq!(numbers.last(), Some(&2_300_000));
}

#[test]
fn a_task_spawned_in_a_task_is_not_a_part_of_it() {
    for (end, state) in [("sleep 600", "stopped"), ("exit 0", "exited")] {
        let lab = Lab::new();
        let gate = lab.gate("gate");
        let daemon = lab.daemon();
        let spawn = format!(
            "{BINARY} spawn -- sh -c 'echo $$ > pid; read x < gate; exit 5' > inner; {end}"
        );
        let outer = daemon.sh(&spawn);
        let inner = lab.line_in("inner").trim().to_owned();
        let leader = lab.pid_in("pid");
        if state == "stopped" {
            daemon.call("task/stop", json!({ "id": outer, "graceMs": 0 }));
        }
        let task = daemon.exited(&outer)["task"].clone();
        assert_eq!(task["state"], state, "{task}");
        assert_eq!(task.get("survivors"), None, "{task}");
        assert!(!gone(leader), "the inner task goes on");
        gate.open();
        assert_eq!(daemon.exited(&inner)["task"]["exit"]["code"], 5);
    }
}

#[test]
fn a_task_cannot_read_its_own_output() {
    let lab = Lab::new();
    let daemon = lab.daemon();
    let id = daemon.sh("echo one; cat <&2; cat <&1; echo two");
    let task = daemon.exited(&id)["task"].clone();
    assert_eq!(task["exit"]["code"], 0, "{task}");
    let output = daemon.output(&id);
    assert!(output.starts_with("one\n") && output.ends_with("two\n"), "{output:?}");
}

#[test]
fn input_outlives_its_supervisor_and_its_end_is_kept() {
    let lab = Lab::new();
    let daemon = lab.daemon();
    let spawn = json!({ "command": "echo $$ > pid; cat; echo end", "stdin": "pipe" });
    let id = id_of(&daemon.spawn(spawn));
    let (shim, _) = shim_and_keeper(lab.pid_in("pid"));
    // After the first write, the shim has certainly told the keeper about the pipe.
    daemon.call("task/write", json!({ "id": id, "data": "one\n" }));
    daemon.wait_output(&id, "one\n");
    let other = lab.daemon();
    sigkill(shim);
    supervised(&lab, &id, shim);
    assert_eq!(daemon.check(&id)["state"], "running");
    other.call("task/write", json!({ "id": id, "data": "two\n" }));
    daemon.wait_output(&id, "two\n");
    other.call("task/write", json!({ "id": id, "data": "", "eof": true }));
    // The killed daemon wrote to the task too, and held the pipe open while it lived.
    drop(daemon.kill9());
    assert_eq!(other.exited(&id)["task"]["exit"]["code"], 0);
    assert_eq!(other.output(&id), "one\ntwo\nend\n");
    // The next process that rings removes the dead daemon's bell.
    other.run("true");
}

#[test]
fn a_daemon_whose_keeper_was_killed_goes_on() {
    let lab = Lab::new();
    let daemon = lab.daemon();
    let gate = lab.gate("gate");
    let id = daemon.sh("echo $$ > pid; read x < gate; exit 7");
    let (shim, keeper) = shim_and_keeper(lab.pid_in("pid"));
    sigkill(keeper);
    daemon.run("true");
    eventually("another keeper", || {
        lab.keepers().iter().any(|process| process.pid != keeper).then_some(())
    });
    assert!(!gone(shim), "the shim still runs");
    gate.open();
    assert_eq!(daemon.exited(&id)["task"]["exit"]["code"], 7);
    daemon.run("true");
}
