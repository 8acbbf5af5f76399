//! A client is notified of a task that waits for input: no output for 15 s while it reads its terminal or stdin.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Lab, id_of, until};

/// When the notification must have arrived: 15 s, and a margin for a busy machine.
const TOLD: Duration = Duration::from_secs(30);

#[test]
fn a_task_that_waits_for_input_is_told_once_and_others_are_not() {
    let daemon = Lab::new().start().options(json!({ "notify": ["state"] })).go();
    let start = Instant::now();
    let pty = json!({ "rows": 24, "cols": 80 });
    let spawn = |params: Value| id_of(&daemon.spawn(params));
    let waiting = [
        spawn(json!({ "command": "printf 'password: '; read x", "pty": pty })),
        spawn(json!({ "command": ["cat"], "stdin": "pipe" })),
        spawn(json!({ "command": "echo in a child; sh -c 'read y'", "stdin": "pipe" })),
    ];
    let hidden = "stty -echo; printf 'secret: '; read x; sleep 600";
    let hidden = spawn(json!({ "command": hidden, "pty": pty }));
    let busy = [
        spawn(json!({ "command": "sleep 600" })),
        spawn(json!({ "command": "sleep 600", "stdin": "pipe" })),
        spawn(json!({ "command": "sleep 600", "pty": pty })),
        spawn(json!({ "command": "while :; do echo tick; sleep 2; done", "stdin": "pipe" })),
    ];
    let stalled = || -> Vec<Value> {
        let all =
            daemon.pushes("task/notified").into_iter().map(|push| push["notification"].clone());
        all.filter(|notification| notification["kind"] == "stalled").collect()
    };
    let waiting = [&waiting[..], std::slice::from_ref(&hidden)].concat();
    let told = until(TOLD, || (stalled().len() >= waiting.len()).then_some(()));
    let ids: Vec<String> = stalled().iter().map(|n| id_of(&n["task"])).collect();
    assert!(told.is_some(), "notified of {ids:?}, not of all of {waiting:?}");
    assert!(start.elapsed() >= Duration::from_secs(14), "notified too early");
    for id in &waiting {
        assert_eq!(ids.iter().filter(|told| *told == id).count(), 1, "{id} in {ids:?}");
    }
    for id in &busy {
        assert!(!ids.contains(id), "{id} does not read: {ids:?}");
        assert_eq!(daemon.stop(id)["state"], "stopped");
    }
    let prompt = stalled().into_iter().find(|n| n["task"]["id"] == *waiting[0]).expect("just seen");
    assert_eq!(prompt["task"]["state"], "running");
    assert_eq!(prompt["task"]["waitsForInput"], true);
    assert_eq!(prompt["task"]["shown"]["stands"], "waits for input");
    assert_eq!(prompt["task"]["shown"]["notice"], "warning");
    // Another client, or one that was restarted, sees it in the list.
    let listed = daemon.call("task/check", json!({}))["tasks"].clone();
    let mut listed = listed.as_array().expect("a list").clone();
    for task in &listed {
        let waits = task["waitsForInput"] == true;
        assert_eq!(waits, waiting.contains(&id_of(task)), "{task}");
    }
    listed.sort_by_key(|task| task["shown"]["order"].as_str().unwrap().to_owned());
    assert!(listed[..waiting.len()].iter().all(|task| task["waitsForInput"] == true), "{listed:?}");
    assert_eq!(daemon.pushes("task/state"), Vec::<Value>::new());
    assert!(
        prompt["preview"]["tail"].as_str().is_some_and(|t| t.ends_with("password: "))
            || prompt["preview"]["head"].as_str().is_some_and(|t| t.ends_with("password: ")),
        "{prompt}"
    );
    // The notification is in the queue too, and the task continues once it gets input.
    let queued = daemon.drain().into_iter().filter(|n| n["kind"] == "stalled").count();
    assert_eq!(queued, waiting.len());
    daemon.call("task/write", json!({ "id": waiting[0], "data": "secret\n" }));
    for id in &waiting[1..3] {
        daemon.call("task/write", json!({ "id": id, "data": "\n", "eof": true }));
    }
    // The echo of the first and the output of the second show that they no longer wait.
    for id in &waiting[..2] {
        let push = daemon.push("task/state", |push| push["task"]["id"] == **id);
        assert!(push["task"].get("waitsForInput").is_none(), "{push}");
        assert_eq!(push["task"]["shown"]["stands"], "running");
    }
    for id in &waiting[..3] {
        assert_eq!(daemon.exited(id)["task"]["state"], "exited");
    }
    // A hidden password causes no output, so only a look at the process shows that it no longer reads.
    daemon.call("task/write", json!({ "id": hidden, "data": "secret\n" }));
    let push = daemon.push("task/state", |push| push["task"]["id"] == *hidden);
    assert!(push["task"].get("waitsForInput").is_none(), "{push}");
    daemon.stop(&hidden);
}
