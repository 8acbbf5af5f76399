//! A client that stops reading loses output deltas and nothing else.

use std::collections::BTreeSet;

use serde_json::json;

use crate::harness::{Daemon, Lab, Transport, eventually, id_of};

/// How many bytes the task has written so far, according to the command line.
fn written(lab: &Lab, id: &str) -> u64 {
    let listed = lab.cli(&["ps", "--json"]);
    let tasks: serde_json::Value =
        serde_json::from_slice(&listed.stdout).unwrap_or_else(|e| panic!("{e}: {listed:?}"));
    let list = tasks.as_array().or_else(|| tasks["tasks"].as_array()).expect("a list");
    let task = list.iter().find(|task| task["id"] == *id).expect("ps lists it");
    task["output"]["total"].as_u64().expect("a number")
}

#[test]
fn a_stalled_reader_gets_every_lifecycle_push_and_a_jump_in_the_output() {
    for transport in [Transport::Pipes, Transport::Sockets] {
        let lab = Lab::new();
        let daemon = lab.start().over(transport).go();
        daemon.run("true");
        let flood = daemon.sh("yes");
        daemon.call("task/subscribe", json!({ "id": flood, "offset": 0 }));
        daemon.push("task/output", |push| push["id"] == *flood);
        let before = daemon.memory("VmRSS");
        daemon.stall(true);
        for n in 0..200 {
            daemon.ask("task/spawn", json!({ "command": format!("echo {n} >> done; exit 3") }));
        }
        let all_ran = || (lab.text("done").lines().count() == 200).then_some(());
        eventually("all tasks to run though no client reads", all_ran);
        let goal = written(&lab, &flood) + (300 << 20);
        let mut grown = 0;
        eventually("300 MiB more of the flood", || {
            grown = grown.max(daemon.memory("VmRSS").saturating_sub(before));
            (written(&lab, &flood) > goal).then_some(())
        });
        assert!(grown < 8 << 20, "the daemon grew by {} kB over {transport:?}", grown / 1024);
        daemon.stall(false);
        let told = daemon.whole("every end", |log| {
            let about = |entry: &crate::harness::Entry| {
                entry.push("task/exited")?;
                entry.about().map(str::to_owned)
            };
            let ids: Vec<String> = log.iter().filter_map(about).collect();
            (ids.len() >= 201).then_some(ids)
        });
        assert_eq!(told.iter().collect::<BTreeSet<_>>().len(), told.len(), "each once");
        assert_eq!(daemon.pushes("task/started").len(), 202);
        daemon.stop(&flood);
        daemon.exited(&flood);
        expect_jump(&daemon, &flood);
    }
}

/// Asserts that the pushes of the flood skip output, and that their offsets are right.
fn expect_jump(daemon: &Daemon, id: &str) {
    let mut expected = 0;
    let mut largest = 0;
    for push in daemon.pushes("task/output") {
        assert_eq!(push["id"], *id);
        let offset = push["offset"].as_u64().expect("a number");
        let length = push["data"].as_str().expect("a string").len() as u64;
        assert!(offset >= expected, "output is repeated at {offset}");
        largest = largest.max(offset - expected);
        expected = offset + length;
    }
    assert!(largest > 100 << 20, "the largest jump is {largest} bytes");
}

#[test]
fn a_stalled_reader_does_not_stop_its_neighbour() {
    let lab = Lab::new();
    let (slow, quick) = lab.daemons();
    slow.stall(true);
    let ids: Vec<String> = (0..300).map(|n| quick.sh(&format!("echo {n}"))).collect();
    for id in &ids {
        quick.exited(id);
    }
    slow.stall(false);
    for id in &ids {
        slow.exited(id);
    }
}

#[test]
fn a_client_that_never_reads_again_does_not_keep_the_daemon() {
    let lab = Lab::new();
    let daemon = lab.daemon();
    let flood = daemon.sh("yes");
    daemon.call("task/subscribe", json!({ "id": flood, "offset": 0 }));
    daemon.push("task/output", |push| push["id"] == *flood);
    daemon.stall(true);
    let goal = written(&lab, &flood) + (100 << 20);
    eventually("the pipe to be full", || (written(&lab, &flood) > goal).then_some(()));
    daemon.expect_torn();
    daemon.close_stdin();
    // The client never reads the rest; the daemon exits nevertheless at the end of its stdin.
    let status = daemon.ends_within(std::time::Duration::from_millis(1_500));
    assert_eq!(status.code(), Some(1));
    daemon.stall(false);
    drop(daemon);
    let next = lab.daemon();
    next.stop(&flood);
    assert_eq!(id_of(&next.drain()[0]["task"]), flood);
}
