//! Drain, ack and replay of a queue (docs/protocol.md, "Methods" and "Guarantees").

use serde_json::{Value, json};

use crate::harness::{Daemon, Lab, id_of};

fn numbers(drained: &Value) -> Vec<u64> {
    let list = drained["notifications"].as_array().expect("a list");
    list.iter().map(|n| n["seq"].as_u64().expect("a number")).collect()
}

/// Runs this many tasks until they have ended.
fn fill(daemon: &Daemon, count: usize) {
    let ids: Vec<String> = (0..count).map(|n| daemon.sh(&format!("echo {n}"))).collect();
    for id in &ids {
        daemon.exited(id);
    }
}

#[test]
fn a_notification_has_the_fields_of_the_protocol() {
    let daemon = Lab::new().daemon();
    let id = daemon.sh("echo hello; echo problem >&2; exit 3");
    let pushed = daemon.exited(&id);
    let drained = daemon.drain();
    let [notification] = &drained[..] else { panic!("one end: {drained:?}") };
    assert_eq!(*notification, pushed, "the push equals the notification in the queue");
    assert_eq!(notification["seq"], 1);
    assert_eq!(notification["queue"], "default");
    assert_eq!(notification["kind"], "exited");
    assert!(notification["at"].is_string());
    assert_eq!(notification["task"]["id"], json!(id));
    assert_eq!(notification["task"]["exit"], json!({ "code": 3, "signal": null }));
    assert_eq!(notification["task"]["output"], json!({ "total": 14, "dropped": 0 }));
    let preview = &notification["preview"];
    let both = format!(
        "{}{}",
        preview["head"].as_str().expect("a string"),
        preview["tail"].as_str().expect("a string")
    );
    assert_eq!(both, "hello\nproblem\n");
    assert_eq!(preview["omitted"], 0);
    assert!(notification.get("match").is_none());
}

#[test]
fn what_was_drained_is_not_drained_again() {
    let daemon = Lab::new().daemon();
    fill(&daemon, 3);
    let first = daemon.call("task/drain", json!({}));
    assert_eq!(numbers(&first), [1, 2, 3]);
    assert_eq!(first["remaining"], 0);
    assert_eq!(daemon.drain(), Vec::<Value>::new());
    let id = id_of(&first["notifications"][0]["task"]);
    let delivered = &daemon.check(&id)["delivered"];
    assert_eq!(delivered["by"], "drain", "{delivered}");
    daemon.push("tasks/changed", |p| {
        p["undelivered"] == json!({}) || p["undelivered"]["default"] == 0
    });
}

#[test]
fn a_drain_takes_the_oldest_first_and_says_what_remains() {
    let daemon = Lab::new().daemon();
    fill(&daemon, 5);
    let first = daemon.call("task/drain", json!({ "max": 2 }));
    assert_eq!((numbers(&first), first["remaining"].as_u64()), (vec![1, 2], Some(3)));
    let second = daemon.call("task/drain", json!({ "max": 2 }));
    assert_eq!((numbers(&second), second["remaining"].as_u64()), (vec![3, 4], Some(1)));
    let third = daemon.call("task/drain", json!({ "max": 2 }));
    assert_eq!((numbers(&third), third["remaining"].as_u64()), (vec![5], Some(0)));
}

#[test]
fn without_max_a_drain_takes_100() {
    let daemon = Lab::new().daemon();
    fill(&daemon, 103);
    let drained = daemon.call("task/drain", json!({}));
    assert_eq!((numbers(&drained).len(), drained["remaining"].as_u64()), (100, Some(3)));
}

#[test]
fn what_is_not_acked_is_drained_again() {
    let lab = Lab::new();
    let mut daemon = lab.daemon();
    fill(&daemon, 4);
    let manual = json!({ "ack": "manual" });
    for round in 0..3 {
        let drained = daemon.call("task/drain", manual.clone());
        assert_eq!(numbers(&drained), [1, 2, 3, 4], "round {round}");
        assert!(
            daemon.check(&id_of(&drained["notifications"][0]["task"])).get("delivered").is_none()
        );
        match round {
            0 => {}
            1 => {
                daemon.shut_down();
                daemon = lab.daemon();
            }
            _ => {
                drop(daemon.kill9());
                daemon = lab.daemon();
            }
        }
    }
    assert_eq!(daemon.call("task/ack", json!({ "through": 2 })), json!({ "acked": 2 }));
    assert_eq!(daemon.call("task/ack", json!({ "through": 2 })), json!({ "acked": 0 }));
    assert_eq!(daemon.call("task/ack", json!({ "through": 1 })), json!({ "acked": 0 }));
    assert_eq!(numbers(&daemon.call("task/drain", manual.clone())), [3, 4]);
    drop(daemon.kill9());
    let daemon = lab.daemon();
    let drained = daemon.call("task/drain", manual);
    assert_eq!(numbers(&drained), [3, 4], "an ack outlives the daemon");
    assert_eq!(daemon.call("task/ack", json!({ "through": 4 })), json!({ "acked": 2 }));
    assert_eq!(daemon.drain(), Vec::<Value>::new());
}

#[test]
fn a_drain_whose_reply_cannot_be_sent_is_drained_again() {
    let daemon = Lab::new().daemon();
    // A notification contains the complete command, so this many of the longest do not fit into a message.
    let mut longest = vec!["true".to_owned()];
    longest.extend(std::iter::repeat_n("x".repeat(130_000), 8));
    let bytes: usize = longest.iter().map(String::len).sum();
    let count = (16 << 20) / bytes as u64 + 1;
    let all: Vec<u64> = (1..=count).collect();
    for _ in &all {
        let id = id_of(&daemon.call("task/spawn", json!({ "command": longest }))["task"]);
        daemon.exited(&id);
    }
    for ack in ["auto", "manual"] {
        let error = daemon.refused(1003, "task/drain", json!({ "max": 1_000, "ack": ack }));
        assert_eq!(error.data["limit"], "messageBytes", "{error:?}");
    }
    let mut told = Vec::new();
    loop {
        let drained = daemon.call("task/drain", json!({ "max": 10 }));
        let some = numbers(&drained);
        if some.is_empty() {
            break;
        }
        told.extend(some);
    }
    assert_eq!(told, all, "a notification was lost or came out of order");
}

#[test]
fn an_ack_beyond_the_queue_takes_nothing_that_is_still_to_come() {
    let daemon = Lab::new().daemon();
    fill(&daemon, 2);
    match daemon.request("task/ack", json!({ "through": 1_000_000 })) {
        Ok(result) => assert_eq!(result, json!({ "acked": 2 })),
        Err(error) => assert_eq!(error.code, -32602, "{error:?}"),
    }
    let id = daemon.sh("true");
    daemon.exited(&id);
    let drained = daemon.drain();
    let last = drained.last().expect("the new end is drained");
    assert_eq!((last["task"]["id"].as_str(), last["seq"].as_u64()), (Some(id.as_str()), Some(3)));
}

#[test]
fn numbers_go_on_after_restarts_and_removals() {
    let lab = Lab::new();
    let daemon = lab.daemon();
    fill(&daemon, 2);
    assert_eq!(numbers(&daemon.call("task/drain", json!({}))), [1, 2]);
    let ids: Vec<String> = daemon.call("task/check", json!({}))["tasks"]
        .as_array()
        .expect("a list")
        .iter()
        .map(id_of)
        .collect();
    assert_eq!(daemon.call("task/remove", json!({ "ids": ids })), json!({ "removed": 2 }));
    drop(daemon.kill9());
    let daemon = lab.daemon();
    fill(&daemon, 2);
    assert_eq!(numbers(&daemon.call("task/drain", json!({}))), [3, 4]);
}

#[test]
fn checks_reads_and_waits_of_an_onlooker_consume_nothing() {
    let daemon = Lab::new().daemon();
    let id = daemon.sh("echo x");
    daemon.exited(&id);
    for _ in 0..3 {
        daemon.check(&id);
        daemon.call("task/check", json!({}));
        daemon.output(&id);
        let waited = daemon.call("task/wait", json!({ "ids": [id] }));
        assert_eq!(waited["tasks"][0]["state"], "exited");
    }
    assert!(daemon.check(&id).get("delivered").is_none());
    assert_eq!(daemon.drain().len(), 1);
}

#[test]
fn an_end_while_no_daemon_runs_is_told_to_the_next_once() {
    let lab = Lab::new();
    let gate = lab.gate("gate");
    let daemon = lab.daemon();
    let id = daemon.sh("echo early; read x < gate; echo late; exit 7");
    daemon.wait_output(&id, "early");
    drop(daemon.kill9());
    gate.open();
    crate::harness::eventually("the task to be over", || lab.processes().is_empty().then_some(()));
    let daemon = lab.daemon();
    let pushed = daemon.exited(&id);
    assert_eq!(pushed["task"]["exit"]["code"], 7);
    let preview = &pushed["preview"];
    let shown = [&preview["head"], &preview["tail"]].map(|end| end.as_str().expect("a string"));
    assert_eq!(shown.concat(), "early\nlate\n");
    let drained = daemon.drain();
    assert_eq!(drained, [pushed]);
    assert_eq!(daemon.drain(), Vec::<Value>::new());
}

#[test]
fn a_wait_returns_what_it_waited_for() {
    let lab = Lab::new();
    let daemon = lab.daemon();
    let (first_gate, second_gate) = (lab.gate("one"), lab.gate("two"));
    let (first, second) = (daemon.sh("read x < one; exit 1"), daemon.sh("read x < two; exit 2"));
    let both = json!([first, second]);
    let soon = daemon.call("task/wait", json!({ "ids": both, "timeoutMs": 0 }));
    assert_eq!(soon["timedOut"], true);
    assert_eq!(soon["tasks"].as_array().map(Vec::len), Some(2), "both current tasks: {soon}");
    let any = daemon.ask("task/wait", json!({ "ids": both, "mode": "any" }));
    let all = daemon.ask("task/wait", json!({ "ids": both, "mode": "all" }));
    let queue = daemon.ask("task/wait", json!({ "queue": "default", "mode": "all" }));
    first_gate.open();
    let any = daemon.answer(any).expect("one has ended");
    assert_eq!(any["timedOut"], false);
    let ended = |answer: &Value| {
        let tasks = answer["tasks"].as_array().expect("a list").clone();
        tasks.into_iter().filter(|task| task["state"] == "exited").count()
    };
    assert_eq!(ended(&any), 1, "{any}");
    second_gate.open();
    for wait in [all, queue] {
        let answer = daemon.answer(wait).expect("both have ended");
        assert_eq!((ended(&answer), &answer["timedOut"]), (2, &json!(false)), "{answer}");
    }
    let later = daemon.call("task/wait", json!({ "ids": both, "mode": "all" }));
    assert_eq!(ended(&later), 2, "a wait for ended tasks returns at once");
}

#[test]
fn a_preview_keeps_both_ends_within_4096_bytes() {
    let daemon = Lab::new().daemon();
    let id = daemon.sh("echo FIRST; seq 1 200000; echo LAST");
    let notification = daemon.exited(&id);
    let preview = &notification["preview"];
    let (head, tail) =
        (preview["head"].as_str().expect("a string"), preview["tail"].as_str().expect("a string"));
    assert!(head.starts_with("FIRST\n1\n"), "{head}");
    assert!(tail.ends_with("200000\nLAST\n"), "{tail}");
    let total = notification["task"]["output"]["total"].as_u64().expect("a number");
    let shown = (head.len() + tail.len()) as u64;
    assert!(shown <= 4_096, "{shown} bytes are shown");
    assert_eq!(preview["omitted"], total - shown);
}

#[test]
fn removed_tasks_are_gone_and_running_ones_stay() {
    let daemon = Lab::new().daemon();
    let running = daemon.sh("sleep 600");
    let over = daemon.run("true");
    let (id, ended) = (id_of(&over), over["endedAt"].clone());
    let removed = daemon.call("task/remove", json!({ "ids": [running, id, "00000000"] }));
    assert_eq!(removed, json!({ "removed": 1 }));
    for method in ["task/check", "task/read", "task/stop", "task/subscribe", "task/write"] {
        let mut params = json!({ "id": id });
        if method == "task/write" {
            params["data"] = json!("");
        }
        let error = daemon.refused(1001, method, params);
        assert_eq!(error.data["kind"], "unknownTask", "{method}");
    }
    assert_eq!(daemon.check(&running)["state"], "running");
    daemon.run("true");
    let before = daemon.call("task/remove", json!({ "endedBefore": ended }));
    assert_eq!(before, json!({ "removed": 0 }));
    let later = daemon.call("task/remove", json!({ "endedBefore": "2999-01-01T00:00:00.000Z" }));
    assert_eq!(later, json!({ "removed": 1 }));
    daemon.stop(&running);
}
