//! Reading and following output (docs/protocol.md, "Methods" and "Pushes").

use serde_json::{Value, json};

use crate::harness::{Daemon, Lab, eventually, id_of};

fn read(daemon: &Daemon, id: &str, more: Value) -> Value {
    let mut params = json!({ "id": id });
    for (name, value) in more.as_object().expect("an object") {
        params[name] = value.clone();
    }
    daemon.call("task/read", params)
}

#[test]
fn a_read_returns_a_window_and_where_to_go_on() {
    let daemon = Lab::new().daemon();
    let id = daemon.sh("printf 0123456789");
    daemon.exited(&id);
    let check = |params: Value, data: &str, offset: u64, next: u64, eof: bool| {
        let part = read(&daemon, &id, params.clone());
        let wanted = json!({
            "data": data, "encoding": "utf8", "offset": offset, "nextOffset": next, "eof": eof,
        });
        assert_eq!(part, wanted, "{params}");
    };
    check(json!({}), "0123456789", 0, 10, true);
    check(json!({ "limit": 4 }), "0123", 0, 4, false);
    check(json!({ "offset": 4, "limit": 4 }), "4567", 4, 8, false);
    check(json!({ "offset": 8, "limit": 4 }), "89", 8, 10, true);
    check(json!({ "offset": 10 }), "", 10, 10, true);
}

#[test]
fn a_read_beyond_the_end_gives_nothing() {
    let daemon = Lab::new().daemon();
    let id = daemon.sh("printf 0123456789");
    daemon.exited(&id);
    let part = read(&daemon, &id, json!({ "offset": 1_000 }));
    assert_eq!((&part["data"], &part["eof"]), (&json!(""), &json!(true)), "{part}");
}

#[test]
fn a_running_task_is_read_without_an_end() {
    let lab = Lab::new();
    let gate = lab.gate("gate");
    let daemon = lab.daemon();
    let id = daemon.sh("echo one; read x < gate; echo two");
    daemon.wait_output(&id, "one\n");
    let part = read(&daemon, &id, json!({}));
    assert_eq!((&part["data"], &part["eof"]), (&json!("one\n"), &json!(false)));
    let part = read(&daemon, &id, json!({ "offset": 4 }));
    assert_eq!((&part["data"], &part["eof"]), (&json!(""), &json!(false)));
    gate.open();
    daemon.exited(&id);
    let part = read(&daemon, &id, json!({ "offset": 4 }));
    assert_eq!((&part["data"], &part["eof"]), (&json!("two\n"), &json!(true)));
}

#[test]
fn both_streams_are_one_in_the_order_written() {
    let daemon = Lab::new().daemon();
    let id = daemon.sh("for i in 1 2 3; do echo out$i; echo err$i >&2; done");
    daemon.exited(&id);
    assert_eq!(daemon.output(&id), "out1\nerr1\nout2\nerr2\nout3\nerr3\n");
}

#[test]
fn bytes_come_back_exactly_in_base64_and_as_text_otherwise() {
    let daemon = Lab::new().daemon();
    // The bytes 0xff and 0xfe never occur in UTF-8.
    let id = daemon.sh("printf 'ok\\n\\377\\376\\000bad\\nend'");
    daemon.exited(&id);
    let exact = read(&daemon, &id, json!({ "encoding": "base64" }));
    assert_eq!(exact["data"], "b2sK//4AYmFkCmVuZA==");
    assert_eq!((&exact["encoding"], &exact["nextOffset"]), (&json!("base64"), &json!(13)));
    let text = read(&daemon, &id, json!({ "encoding": "utf8" }));
    assert_eq!(text["data"], "ok\n\u{fffd}\u{fffd}\u{0}bad\nend");
    assert_eq!(text["nextOffset"], 13, "offsets count bytes of the output");
}

#[test]
fn pages_of_text_join_to_the_whole_wherever_they_are_cut() {
    let daemon = Lab::new().daemon();
    let whole = "aé€🦀".repeat(40);
    let id = daemon.sh(&format!("printf %s '{whole}'"));
    daemon.exited(&id);
    for limit in 4..12 {
        let (mut text, mut offset) = (String::new(), 0);
        while offset < whole.len() as u64 {
            let part = read(&daemon, &id, json!({ "offset": offset, "limit": limit }));
            text.push_str(part["data"].as_str().expect("a string"));
            let next = part["nextOffset"].as_u64().expect("a number");
            assert!(next > offset, "no progress at {offset} with limit {limit}: {part}");
            assert!(next - offset <= limit, "more than the limit of {limit}: {part}");
            offset = next;
        }
        assert_eq!(text, whole, "limit {limit}");
    }
}

#[test]
fn a_check_shows_the_tail() {
    let daemon = Lab::new().daemon();
    let id = daemon.sh("seq 1 3000");
    daemon.exited(&id);
    let whole: String = (1..=3_000).map(|n| format!("{n}\n")).collect();
    let check = |params: Value, bytes: usize| {
        let tail = daemon.call("task/check", params)["tail"].clone();
        let from = whole.len() - bytes;
        assert_eq!(tail, json!({ "text": whole[from..], "offset": from }));
    };
    check(json!({ "id": id }), 4_096);
    check(json!({ "id": id, "tailBytes": 10 }), 10);
    check(json!({ "id": id, "tailBytes": 0 }), 0);
    check(json!({ "id": id, "tailBytes": 1_000_000 }), whole.len());
}

#[test]
fn a_list_shows_running_tasks_first_then_the_newest() {
    let daemon = Lab::new().daemon();
    let running = daemon.sh("sleep 600");
    let ids: Vec<String> = (0..4)
        .map(|_| {
            let id = daemon.sh("true");
            daemon.exited(&id);
            id
        })
        .collect();
    let list = |params: Value| -> Vec<String> {
        let tasks = daemon.call("task/check", params)["tasks"].clone();
        tasks.as_array().expect("a list").iter().map(id_of).collect()
    };
    let newest: Vec<String> = ids.iter().rev().cloned().collect();
    assert_eq!(list(json!({})), [vec![running.clone()], newest.clone()].concat());
    assert_eq!(list(json!({ "limit": 2 })), [running.clone(), newest[0].clone()]);
    assert_eq!(list(json!({ "state": "exited" })), newest);
    assert_eq!(list(json!({ "state": "running" })), std::slice::from_ref(&running));
    assert_eq!(list(json!({ "state": "lost" })), Vec::<String>::new());
    daemon.stop(&running);
    assert_eq!(list(json!({ "state": "stopped" })), [running]);
}

/// The `task/output` pushes of a task, as offsets and texts.
fn deltas(daemon: &Daemon, id: &str) -> Vec<(u64, String)> {
    let about = |push: &Value| push["id"] == *id;
    daemon
        .pushes("task/output")
        .into_iter()
        .filter(about)
        .map(|push| {
            assert_eq!(push["encoding"], "utf8", "{push}");
            let offset = push["offset"].as_u64().expect("a number");
            (offset, push["data"].as_str().expect("a string").to_owned())
        })
        .collect()
}

#[test]
fn a_subscriber_hears_what_is_written_from_the_offset_on() {
    let lab = Lab::new();
    let gate = lab.gate("gate");
    let daemon = lab.daemon();
    let id = daemon.sh("printf early; read x < gate; printf late; read x < gate");
    daemon.wait_output(&id, "early");
    assert_eq!(daemon.pushes("task/output"), Vec::<Value>::new(), "no client has subscribed");
    daemon.call("task/subscribe", json!({ "id": id, "offset": 2 }));
    daemon.push("task/output", |push| push["data"] == "rly" && push["offset"] == 2);
    gate.open();
    daemon.push("task/output", |push| push["data"] == "late" && push["offset"] == 5);
    gate.open();
    daemon.exited(&id);
    assert_eq!(deltas(&daemon, &id), [(2, "rly".to_owned()), (5, "late".to_owned())]);
}

#[test]
fn a_subscriber_without_an_offset_hears_what_comes() {
    let lab = Lab::new();
    let gate = lab.gate("gate");
    let daemon = lab.daemon();
    let id = daemon.sh("printf early; read x < gate; printf late");
    daemon.wait_output(&id, "early");
    daemon.call("task/subscribe", json!({ "id": id }));
    gate.open();
    daemon.exited(&id);
    assert_eq!(deltas(&daemon, &id), [(5, "late".to_owned())]);
}

#[test]
fn after_unsubscribing_nothing_comes() {
    let lab = Lab::new();
    let gate = lab.gate("gate");
    let daemon = lab.daemon();
    let id = daemon.sh("printf one; read x < gate; printf two");
    daemon.call("task/subscribe", json!({ "id": id, "offset": 0 }));
    daemon.push("task/output", |push| push["data"] == "one");
    assert_eq!(daemon.call("task/unsubscribe", json!({ "id": id })), json!({}));
    gate.open();
    daemon.exited(&id);
    assert_eq!(deltas(&daemon, &id), [(0, "one".to_owned())]);
    // Unsubscribing twice is not an error.
    daemon.call("task/unsubscribe", json!({ "id": id }));
}

#[test]
fn subscribing_to_a_finished_task_shows_what_is_there() {
    let daemon = Lab::new().daemon();
    let id = daemon.sh("printf done");
    daemon.exited(&id);
    match daemon.request("task/subscribe", json!({ "id": id, "offset": 0 })) {
        // Guarantee 2 forbids a push after the end, so both replies are correct.
        Ok(result) => assert_eq!(result, json!({})),
        Err(error) => assert_eq!(error.code, 1004, "{error:?}"),
    }
    assert_eq!(daemon.output(&id), "done");
}

#[test]
fn text_pushes_never_cut_a_character() {
    let lab = Lab::new();
    let gate = lab.gate("gate");
    let daemon = lab.daemon();
    // The four bytes of one character are written in two parts.
    let id = daemon.sh("printf 'a\\360\\237'; read x < gate; printf '\\246\\200b'");
    daemon.call("task/subscribe", json!({ "id": id, "offset": 0 }));
    eventually("three bytes to be written", || {
        (daemon.check(&id)["output"]["total"].as_u64()? >= 3).then_some(())
    });
    gate.open();
    daemon.exited(&id);
    let text: String = deltas(&daemon, &id).into_iter().map(|(_, text)| text).collect();
    assert_eq!(text, "a🦀b");
}
