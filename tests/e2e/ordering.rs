//! The order of messages to a client (docs/protocol.md, "Guarantees"). The harness asserts it for every
//! session; the sessions here make it hard to keep.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Daemon, Entry, Lab, Transport, id_of};

/// Spawns many tasks in one burst; returns their ids in the order of the requests.
fn burst(daemon: &Daemon, count: usize, command: impl Fn(usize) -> Value) -> Vec<String> {
    let asked: Vec<i64> = (0..count).map(|n| daemon.ask("task/spawn", command(n))).collect();
    asked
        .into_iter()
        .map(|id| id_of(&daemon.answer(id).expect("the spawn is accepted")["task"]))
        .collect()
}

fn position(log: &[Entry], fits: impl Fn(&Entry) -> bool) -> Option<usize> {
    log.iter().position(fits)
}

#[test]
fn every_push_comes_in_its_place() {
    for transport in [Transport::Pipes, Transport::Sockets] {
        let daemon = Lab::new().start().over(transport).go();
        let ids = burst(&daemon, 60, |n| json!({ "command": format!("echo {n}; exit {}", n % 3) }));
        for (n, id) in ids.iter().enumerate() {
            assert_eq!(daemon.exited(id)["task"]["exit"]["code"], n % 3);
        }
        let last = daemon.whole("a snapshot without tasks", |log| {
            let last = log.iter().rev().find_map(|entry| entry.push("tasks/changed"))?;
            (last["running"] == json!([]) && last["undelivered"]["default"] == 60)
                .then(|| last.clone())
        });
        assert_eq!(last["undelivered"], json!({ "default": 60 }));
        let log = daemon.entries();
        for id in &ids {
            let reply = position(&log, |entry| entry.message["result"]["task"]["id"] == **id);
            let started = position(&log, |entry| {
                entry.push("task/started").is_some() && entry.about() == Some(id)
            });
            let exited = position(&log, |entry| {
                entry.push("task/exited").is_some() && entry.about() == Some(id)
            });
            assert!(reply.is_some() && reply < started && started < exited, "{id}");
        }
    }
}

#[test]
fn output_comes_before_the_end() {
    // The harness asserts the order. Here the last byte must have arrived too: without a flood, no output
    // is skipped.
    let daemon = Lab::new().daemon();
    let gates = daemon.lab().gate("gate");
    let ids =
        burst(&daemon, 20, |n| json!({ "command": format!("read x < gate; echo {n}; echo end") }));
    for id in &ids {
        assert_eq!(daemon.call("task/subscribe", json!({ "id": id })), json!({}));
    }
    gates.open_for(ids.len());
    for (n, id) in ids.iter().enumerate() {
        daemon.exited(id);
        let heard: String = daemon
            .pushes("task/output")
            .iter()
            .filter(|push| push["id"] == **id)
            .map(|push| push["data"].as_str().expect("data is a string").to_owned())
            .collect();
        assert_eq!(heard, format!("{n}\nend\n"));
    }
}

#[test]
fn an_end_is_durable_before_it_is_told() {
    let lab = Lab::new();
    let mut told = BTreeSet::new();
    for _ in 0..10 {
        let daemon = lab.daemon();
        let id = daemon.sh("true");
        daemon.exited(&id);
        drop(daemon.kill9());
        told.insert(id);
    }
    let drained = lab.daemon().drain();
    let ids: BTreeSet<String> = drained.iter().map(|n| id_of(&n["task"])).collect();
    assert_eq!(ids, told);
    assert_eq!(drained.len(), told.len(), "each end exactly once");
}

#[test]
fn a_task_that_is_over_is_never_told_again() {
    let lab = Lab::new();
    let daemon = lab.daemon();
    let id = daemon.sh("exit 2");
    daemon.exited(&id);
    daemon.shut_down();
    drop(daemon);
    let next = lab.daemon();
    let snapshot = next.push("tasks/changed", |_| true);
    assert_eq!(snapshot["undelivered"], json!({ "default": 1 }), "the end is still in the queue");
    next.run("true");
    let pushed: Vec<Value> = next
        .pushes("task/exited")
        .into_iter()
        .filter(|p| p["notification"]["task"]["id"] == *id)
        .collect();
    assert_eq!(pushed, Vec::<Value>::new(), "an end is pushed only once");
}

#[test]
fn numbers_are_gapless_in_each_queue() {
    let daemon = Lab::new().daemon();
    let queues = ["default", "a", "b"];
    let ids = burst(&daemon, 60, |n| json!({ "command": "true", "queue": queues[n % 3] }));
    for id in &ids {
        daemon.exited(id);
    }
    let mut numbers: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for push in daemon.pushes("task/exited") {
        let notification = &push["notification"];
        let queue = notification["queue"].as_str().expect("a queue").to_owned();
        numbers.entry(queue).or_default().push(notification["seq"].as_u64().expect("a number"));
    }
    for queue in queues {
        assert_eq!(numbers[queue], (1..=20).collect::<Vec<u64>>(), "queue {queue}");
    }
}

#[test]
fn waiting_requests_delay_no_other() {
    let daemon = Lab::new().daemon();
    let id = daemon.sh("sleep 600");
    let waits: Vec<i64> = (0..500)
        .map(|_| daemon.ask("task/wait", json!({ "ids": [id], "timeoutMs": 600_000 })))
        .collect();
    let start = Instant::now();
    assert_eq!(daemon.check(&id)["state"], "running");
    daemon.run("true");
    daemon.notify("$/cancelRequest", json!({ "id": waits[250] }));
    assert_eq!(daemon.answer(waits[250]).expect_err("cancelled").code, -32800);
    let took = start.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?} for a check, a spawn and a cancel");
    let other = daemon.ask("shutdown", Value::Null);
    daemon.answer(other).expect("shutdown is answered");
    daemon.notify("exit", Value::Null);
    assert_eq!(daemon.ends_within(Duration::from_millis(1_500)).code(), Some(0));
    daemon.lab().daemon().stop(&id);
}

/// Sends 1 024 requests that wait for a task, and 76 more; returns the task and the requests.
fn crowded(daemon: &Daemon) -> (String, Vec<i64>) {
    let id = daemon.sh("sleep 600");
    let wait = || daemon.ask("task/wait", json!({ "ids": [id], "timeoutMs": 600_000 }));
    let waits: Vec<i64> = (0..1_100).map(|_| wait()).collect();
    for &wait in &waits[1_024..] {
        let refused = daemon.answer(wait).expect_err("1 024 wait");
        assert_eq!(refused.code, -32000, "{refused:?}");
        assert_eq!(refused.data["kind"], "serverOverloaded", "{refused:?}");
        assert_eq!(refused.data["retryable"], true, "{refused:?}");
    }
    (id, waits)
}

#[test]
fn more_than_1024_waiting_requests_are_refused_and_retryable() {
    let daemon = Lab::new().daemon();
    let (id, waits) = crowded(&daemon);
    // They do not delay other requests, and cancelling one of them makes room.
    assert_eq!(daemon.check(&id)["state"], "running");
    daemon.run("true");
    daemon.notify("$/cancelRequest", json!({ "id": waits[7] }));
    assert_eq!(daemon.answer(waits[7]).expect_err("cancelled").code, -32800);
    let wait = json!({ "ids": [id], "timeoutMs": 1 });
    assert_eq!(daemon.call("task/wait", wait)["timedOut"], true);
    for &wait in &waits[..1_024] {
        daemon.notify("$/cancelRequest", json!({ "id": wait }));
        assert_eq!(daemon.answer(wait).expect_err("cancelled").code, -32800);
    }
    daemon.stop(&id);
}

#[test]
fn a_shutdown_is_answered_while_1024_requests_wait() {
    let daemon = Lab::new().daemon();
    let (id, _) = crowded(&daemon);
    assert_eq!(daemon.call("shutdown", Value::Null), Value::Null);
    daemon.notify("exit", Value::Null);
    assert_eq!(daemon.ends_within(Duration::from_millis(1_500)).code(), Some(0));
    daemon.lab().daemon().stop(&id);
}

#[test]
fn lsp_clients_get_standard_progress_and_cancel_it() {
    let capabilities = json!({ "window": { "workDoneProgress": true } });
    let daemon = Lab::new().start().initialize("capabilities", capabilities).go();
    let id = daemon.sh("sleep 600");
    let create = daemon.find("a request for a progress", |entry| {
        (entry.message["method"] == "window/workDoneProgress/create")
            .then(|| entry.message["params"]["token"].clone())
    });
    daemon.push("$/progress", |p| p["token"] == create && p["value"]["kind"] == "begin");
    daemon.notify("window/workDoneProgress/cancel", json!({ "token": create }));
    assert_eq!(daemon.exited(&id)["task"]["state"], "stopped");
    daemon.push("$/progress", |p| p["token"] == create && p["value"]["kind"] == "end");
}

#[test]
fn a_work_done_token_gets_begin_and_end_once() {
    let daemon = Lab::new().daemon();
    let task = daemon.spawn(json!({ "command": "exit 3", "workDoneToken": "tok" }));
    daemon.exited(&id_of(&task));
    daemon.push("$/progress", |p| p["token"] == "tok" && p["value"]["kind"] == "end");
    let kinds: Vec<Value> = daemon
        .pushes("$/progress")
        .into_iter()
        .filter(|p| p["token"] == "tok")
        .map(|p| p["value"]["kind"].clone())
        .collect();
    assert_eq!(kinds.first(), Some(&json!("begin")));
    assert_eq!(kinds.last(), Some(&json!("end")));
    assert_eq!(kinds.iter().filter(|&kind| kind != "report").count(), 2, "{kinds:?}");
}
