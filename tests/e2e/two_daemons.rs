//! Several daemons and the command line on one store at once.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::{Lab, Transport, id_of};

#[test]
fn every_client_of_a_workspace_sees_its_tasks() {
    let lab = Lab::new();
    let gate = lab.gate("gate");
    let (one, two) = (lab.daemon(), lab.start().over(Transport::Sockets).go());
    let id = one.sh("echo shared; read x < gate; exit 6");
    two.push("tasks/changed", |push| push["running"] == json!([id]));
    assert_eq!(two.check(&id)["state"], "running");
    two.wait_output(&id, "shared");
    gate.open();
    assert_eq!(one.exited(&id), two.exited(&id));
    // There is one queue: a notification that one daemon has drained is not returned by the other.
    assert_eq!(one.drain().len(), 1);
    assert_eq!(two.drain(), Vec::<Value>::new());
    two.push("tasks/changed", |push| push["running"] == json!([]));
}

#[test]
fn any_client_stops_writes_and_subscribes() {
    let lab = Lab::new();
    let (one, two) = lab.daemons();
    let id = id_of(&one.spawn(json!({ "command": "cat", "stdin": "pipe" })));
    two.call("task/subscribe", json!({ "id": id }));
    two.call("task/write", json!({ "id": id, "data": "from two\n" }));
    two.push("task/output", |push| push["data"] == "from two\n");
    let task = two.stop(&id);
    assert_eq!(task["state"], "stopped");
    assert_eq!(one.exited(&id)["task"]["state"], "stopped");
}

#[test]
fn a_burst_from_two_daemons_is_told_once_each_in_gapless_numbers() {
    let lab = Lab::new();
    let (one, two) = lab.daemons();
    let command = json!({ "command": "true" });
    let asked: Vec<(bool, i64)> = (0..60)
        .map(|n| {
            (n % 2 == 0, if n % 2 == 0 { &one } else { &two }.ask("task/spawn", command.clone()))
        })
        .collect();
    let ids: BTreeSet<String> = asked
        .into_iter()
        .map(|(first, ask)| {
            let answer = if first { &one } else { &two }.answer(ask).expect("it is accepted");
            id_of(&answer["task"])
        })
        .collect();
    for id in &ids {
        assert_eq!(one.exited(id), two.exited(id), "both push the same");
    }
    let mut told = Vec::new();
    for round in 0.. {
        let from = if round % 2 == 0 { &one } else { &two };
        let drained = from.call("task/drain", json!({ "max": 7 }));
        let list = drained["notifications"].as_array().expect("a list").clone();
        if list.is_empty() {
            break;
        }
        told.extend(list);
    }
    let numbers: Vec<u64> = told.iter().map(|n| n["seq"].as_u64().expect("a number")).collect();
    assert_eq!(numbers, (1..=60).collect::<Vec<u64>>());
    let heard: BTreeSet<String> = told.iter().map(|n| id_of(&n["task"])).collect();
    assert_eq!(heard, ids);
}

#[test]
fn racing_drains_share_a_queue_without_loss_or_repeat() {
    let lab = Lab::new();
    let (one, two) = lab.daemons();
    let ids: Vec<String> = (0..80).map(|_| one.sh("true")).collect();
    for id in &ids {
        one.exited(id);
    }
    let asked: Vec<(bool, i64)> = (0..40)
        .map(|n| {
            (
                n % 2 == 0,
                if n % 2 == 0 { &one } else { &two }.ask("task/drain", json!({ "max": 3 })),
            )
        })
        .collect();
    let mut numbers: Vec<u64> = Vec::new();
    for (first, ask) in asked {
        let drained = if first { &one } else { &two }.answer(ask).expect("a drain never fails");
        let list = drained["notifications"].as_array().expect("a list").clone();
        numbers.extend(list.iter().map(|n| n["seq"].as_u64().expect("a number")));
    }
    numbers.extend(one.drain().iter().map(|n| n["seq"].as_u64().expect("a number")));
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=80).collect::<Vec<u64>>());
}

#[test]
fn the_death_of_one_daemon_is_nothing_to_the_other() {
    let lab = Lab::new();
    let gate = lab.gate("gate");
    let (one, two) = lab.daemons();
    let id = one.sh("read x < gate; exit 5");
    two.push("tasks/changed", |push| push["running"] == json!([id]));
    drop(one.kill9());
    gate.open();
    assert_eq!(two.exited(&id)["task"]["exit"]["code"], 5);
    assert_eq!(two.drain().len(), 1);
}

#[test]
fn the_command_line_and_a_daemon_share_tasks_both_ways() {
    let lab = Lab::new();
    let daemon = lab.daemon();
    let from_daemon = daemon.sh("sleep 600");
    let listed = lab.cli(&["ps", "--json"]);
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(
        listed.status.success() && text.contains(&from_daemon),
        "ps shows {from_daemon}: {text}"
    );

    let spawned = lab.cli(&["spawn", "--label", "from the shell", "--", "echo", "a  b"]);
    assert!(spawned.status.success(), "{spawned:?}");
    let pushed = daemon
        .push("task/exited", |push| push["notification"]["task"]["label"] == "from the shell");
    let id = id_of(&pushed["notification"]["task"]);
    assert_eq!(daemon.output(&id), "a  b\n");
    let logs = lab.cli(&["logs", &id]);
    assert_eq!(String::from_utf8_lossy(&logs.stdout), "a  b\n");

    let stopped = lab.cli(&["stop", &from_daemon]);
    assert!(stopped.status.success(), "{stopped:?}");
    assert_eq!(daemon.exited(&from_daemon)["task"]["state"], "stopped");

    let drained = lab.cli(&["drain"]);
    assert!(drained.status.success(), "{drained:?}");
    assert_eq!(daemon.drain(), Vec::<Value>::new(), "the command line drained the queue");
}

#[test]
fn the_command_line_works_alone_and_a_daemon_hears_of_it_later() {
    let lab = Lab::new();
    let waited = lab.cli(&["spawn", "--wait", "--", "sh", "-c", "echo out; exit 9"]);
    assert_eq!(waited.status.code(), Some(9), "the command's own code: {waited:?}");
    let daemon = lab.daemon();
    let tasks = daemon.call("task/check", json!({}))["tasks"].clone();
    assert_eq!(tasks[0]["exit"]["code"], 9);
    let id = id_of(&tasks[0]);
    assert_eq!(daemon.output(&id), "out\n");
    let again = lab.cli(&["wait", &id]);
    assert_eq!(again.status.code(), Some(9), "{again:?}");
}

#[test]
fn workspaces_do_not_see_each_other() {
    let lab = Lab::new();
    let elsewhere = lab.root().join("elsewhere");
    std::fs::create_dir(&elsewhere).expect("the test's directory is writable");
    let folder = json!([{ "uri": format!("file://{}", elsewhere.display()), "name": "x" }]);
    let (one, two) = (lab.daemon(), lab.start().initialize("workspaceFolders", folder).go());
    let id = one.sh("sleep 600");
    two.refused(1001, "task/check", json!({ "id": id }));
    two.refused(1001, "task/stop", json!({ "id": id }));
    assert_eq!(two.call("task/check", json!({}))["tasks"], json!([]));
    let own = two.sh("true");
    two.exited(&own);
    one.stop(&id);
    assert_eq!(one.drain().len(), 1);
    assert_eq!(two.drain().len(), 1);
    let about: Vec<Value> = two.pushes("task/exited");
    assert_eq!(about.len(), 1, "only pushes about its own task: {about:?}");
}
