//! The Tasks extension of MCP, for the tasks of `background_run`.

use serde_json::{Value, json};

use crate::client::Client;
use crate::harness::{Store, until};

#[track_caller]
fn start(client: &mut Client, command: &str) -> String {
    let params = json!({"name": "background_run", "arguments": {"command": command}});
    let result = client.result("tools/call", params);
    assert_eq!((&result["resultType"], &result["status"]), (&json!("task"), &json!("working")));
    assert!(result["createdAt"].as_str().unwrap().ends_with('Z'), "{result}");
    assert!(result["pollIntervalMs"].as_u64().unwrap() > 0 && result["ttlMs"].is_null());
    result["taskId"].as_str().unwrap().to_owned()
}

#[track_caller]
fn get(client: &mut Client, id: &str) -> Value {
    client.result("tasks/get", json!({"taskId": id}))
}

#[track_caller]
fn ended(client: &mut Client, id: &str) -> Value {
    let mut task = Value::Null;
    until("the task has ended", || {
        task = get(client, id);
        task["status"] != "working"
    });
    task
}

fn text(task: &Value) -> &str {
    task["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{task}"))
}

#[test]
fn a_command_is_a_task_and_its_failure_a_result() {
    let store = Store::new();
    let mut client = Client::claude(&store, "one").modern();
    let id = start(&mut client, "until [ -e go ]; do sleep 0.02; done; echo said; exit 5");
    let task = get(&mut client, &id);
    assert_eq!(task["status"], "working", "{task}");
    store.release();
    let task = ended(&mut client, &id);
    assert_eq!((&task["status"], &task["result"]["isError"]), (&json!("completed"), &json!(false)));
    assert!(text(&task).contains("exited 5") && text(&task).contains("said\n"), "{task}");
    // The result was delivered, so no other way delivers it again.
    assert_eq!(client.call("drain", json!({})), "nothing new, and nothing runs\n");
    let again = get(&mut client, &id);
    assert!(text(&again).contains("told before") && !text(&again).contains("said\n"), "{again}");
}

#[test]
fn what_a_drain_told_a_task_does_not_tell_again() {
    let store = Store::new();
    let mut client = Client::claude(&store, "one").modern();
    let id = start(&mut client, "echo said");
    let told = client.call("wait", json!({}));
    assert!(told.contains("said\n"), "{told}");
    let task = ended(&mut client, &id);
    assert!(text(&task).contains("exited 0") && text(&task).contains("told before"), "{task}");
}

#[test]
fn a_task_is_found_by_a_server_that_did_not_start_it() {
    let store = Store::new();
    let mut client = Client::claude(&store, "one").modern();
    let id = start(&mut client, "until [ -e go ]; do sleep 0.02; done; echo said");
    client.kill();
    store.release();
    until("the task has ended", || store.task(&id)["state"] == "exited");
    let mut after = Client::claude(&store, "one").modern();
    let task = ended(&mut after, &id);
    assert!(text(&task).contains("said\n"), "{task}");
    // This also works for a task that the command line started in another workspace.
    let other = store.workspace().join("other");
    std::fs::create_dir(&other).unwrap();
    let there = store.ok(&["--workspace", other.to_str().unwrap(), "spawn", "--", "echo", "there"]);
    let task = ended(&mut after, there.trim());
    assert!(text(&task).contains("there\n"), "{task}");
    // The result is shown but not taken out of that task's queue.
    let drained = store.ok(&["--workspace", other.to_str().unwrap(), "drain"]);
    assert!(drained.contains("there\n"), "{drained}");
    assert_eq!(after.error("tasks/cancel", json!({"taskId": there.trim()}))["code"], -32602);
}

#[test]
fn a_cancel_stops_the_tree_and_is_told() {
    let store = Store::new();
    let mut client = Client::claude(&store, "one").modern();
    let id = start(&mut client, "sleep 600 & echo $! > child; echo begun; wait");
    until("the task's child runs", || {
        std::fs::read_to_string(store.workspace().join("child")).is_ok_and(|it| it.ends_with('\n'))
    });
    let child = std::fs::read_to_string(store.workspace().join("child")).unwrap();
    let acked = client.result("tasks/cancel", json!({"taskId": id}));
    assert_eq!(acked, json!({"resultType": "complete"}));
    assert!(!std::path::Path::new("/proc").join(child.trim()).exists(), "its child is left");
    assert_eq!(ended(&mut client, &id)["status"], "cancelled");
    let told = client.call("drain", json!({}));
    assert!(told.contains("stopped by agent") && told.contains("begun"), "{told}");
    // A second cancel is not an error, because the task may have ended meanwhile.
    client.result("tasks/cancel", json!({"taskId": id}));
    client.result("tasks/update", json!({"taskId": id, "inputResponses": {}}));
}

#[test]
fn the_extension_is_kept_from_those_who_do_not_declare_it() {
    let store = Store::new();
    let mut plain = Client::claude(&store, "one");
    let id = plain.run("true");
    plain.call("wait", json!({}));
    assert_eq!(plain.error("tasks/get", json!({"taskId": id}))["code"], -32021);
    let mut client = Client::claude(&store, "one").modern();
    for params in [
        json!({"taskId": "00000000"}),
        json!({"taskId": "../../x"}),
        json!({"taskId": 5}),
        json!({}),
    ] {
        for method in ["tasks/get", "tasks/cancel", "tasks/update"] {
            let error = client.error(method, params.clone());
            assert_eq!(error["code"], -32602, "{method} {params}: {error}");
            assert!(!error["message"].as_str().unwrap().is_empty());
        }
    }
}
