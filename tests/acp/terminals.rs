//! Commands shown as terminals, to a client that reads them from `_meta`.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::client::Client;
use crate::harness::{Store, until};

/// A client that shows terminals, with a session.
fn showing(store: &Store, script: &str) -> (Client, String) {
    let mut client = Client::start(store.scripted(script, &["acp"]));
    let capabilities = json!({"_meta": {"terminal_output": true}});
    client.call("initialize", json!({"protocolVersion": 1, "clientCapabilities": capabilities}));
    let session = client.session(&store.workspace());
    (client, session)
}

/// The output and the end of each announced terminal; asserts that each was announced before it was named.
fn told(client: &Client) -> Vec<(String, Option<Value>)> {
    let mut known = Vec::new();
    let mut found: Vec<(String, Option<Value>)> = Vec::new();
    let mut seen = HashSet::new();
    for update in client.heard.iter().map(|it| &it["params"]["update"]) {
        let meta = &update["_meta"];
        let place = |known: &[Value], what: &Value| {
            known.iter().position(|id| *id == what["terminal_id"]).expect("it was announced")
        };
        if let Some(info) = meta.get("terminal_info") {
            assert_eq!(update["sessionUpdate"], "tool_call", "{update}");
            assert!(info["cwd"].as_str().unwrap().starts_with('/'), "{update}");
            assert!(seen.insert(info["terminal_id"].to_string()), "{update}");
            known.push(info["terminal_id"].clone());
            found.push((String::new(), None));
        }
        if let Some(output) = meta.get("terminal_output") {
            let at = place(&known, output);
            assert_eq!(found[at].1, None, "output comes before the end");
            found[at].0.push_str(output["data"].as_str().unwrap());
        }
        if let Some(exit) = meta.get("terminal_exit") {
            let at = place(&known, exit);
            assert_eq!(found[at].1.replace(exit.clone()), None, "it ends once");
        }
        for content in update["content"].as_array().into_iter().flatten() {
            if content["type"] == "terminal" {
                place(&known, &json!({"terminal_id": content["terminalId"]}));
            }
        }
    }
    found
}

#[test]
fn a_command_is_told_from_its_call_to_its_end() {
    let store = Store::new();
    let script = "
[[turn]]
[[turn.call]]
tool = 'bash'
input = { command = 'echo made > made; cat made; exit 3' }

[[turn]]
[[turn.call]]
tool = 'bash'
input = { command = 'kill -9 $$', cwd = 'below' }

[[turn]]
[[turn.call]]
tool = 'read_file'
input = { path = 'made' }

[[turn]]
text = 'Done.'
";
    std::fs::create_dir(store.workspace().join("below")).unwrap();
    let (mut client, session) = showing(&store, script);
    assert_eq!(client.prompt(&session, "make it"), "end_turn");
    // All terminals ended before the prompt was answered.
    let found = told(&client);
    assert_eq!(found.len(), 2, "reading a file has no terminal: {found:?}");
    assert_eq!(found[0].0, "made\n");
    assert_eq!(found[0].1.as_ref().unwrap()["exit_code"], 3);
    assert_eq!(found[1].1.as_ref().unwrap()["exit_code"], Value::Null);
    assert_eq!(found[1].1.as_ref().unwrap()["signal"], "SIGKILL");
    let calls = client.updates("tool_call");
    let info = &calls[1]["_meta"]["terminal_info"];
    assert!(info["cwd"].as_str().unwrap().ends_with("/below"), "{info}");
    let updates = client.updates("tool_call_update");
    let ended = updates.iter().find(|it| it["status"] == "failed").unwrap();
    assert_eq!(ended["content"].as_array().unwrap().len(), 1, "no text besides: {ended}");
    assert_eq!(
        ended["content"][0]["terminalId"],
        calls[0]["_meta"]["terminal_info"]["terminal_id"]
    );
}

#[test]
fn a_task_in_the_background_goes_on_in_its_terminal() {
    let store = Store::new();
    let script = "
[[turn]]
[[turn.call]]
tool = 'background_run'
input = { command = 'echo begun; until [ -e go ]; do sleep 0.02; done; echo built' }

[[turn]]
text = 'It runs.'

[[turn]]
text = 'It is built.'
";
    let (mut client, session) = showing(&store, script);
    let prompt = client.say(&session, "build it");
    client.says("It runs.");
    client.find(|it| {
        let output = &it["params"]["update"]["_meta"]["terminal_output"];
        (output["data"] == "begun\n").then_some(())
    });
    store.release();
    assert_eq!(client.ended(prompt), "end_turn");
    let found = told(&client);
    assert_eq!(found[0].0, "begun\nbuilt\n");
    assert_eq!(found[0].1.as_ref().unwrap()["exit_code"], 0);
    // The text that the model got is shown beside the terminal.
    let updates = client.updates("tool_call_update");
    let started = updates.iter().find(|it| it["status"] == "completed").unwrap();
    assert_eq!(started["content"].as_array().unwrap().len(), 2, "{started}");
}

#[test]
fn much_output_is_told_with_what_was_left_out() {
    let store = Store::new();
    let script = "
[[turn]]
[[turn.call]]
tool = 'bash'
input = { command = 'seq 1 1000000 && touch made' }

[[turn]]
text = 'Done.'
";
    let (mut client, session) = showing(&store, script);
    assert_eq!(client.prompt(&session, "count"), "end_turn");
    let found = told(&client);
    assert!(found[0].0.ends_with("999999\n1000000\n"), "{}", found[0].0.len());
    assert!(found[0].0.len() < 7_000_000);
    assert!(found[0].1.is_some());
}

#[test]
fn a_call_that_runs_nothing_and_a_session_that_is_loaded_name_no_terminal() {
    let store = Store::new();
    let script = "
[[turn]]
[[turn.call]]
tool = 'bash'
input = { command = 'touch made' }

[[turn]]
text = 'Done.'
";
    let (mut client, session) = showing(&store, script);
    client.chooses = Some("reject_once");
    assert_eq!(client.prompt(&session, "make it"), "end_turn");
    let has_terminal = |client: &Client| {
        let updates = client.updates("tool_call_update");
        updates.iter().any(|it| it["content"].to_string().contains("terminal"))
    };
    assert!(!has_terminal(&client), "it was refused");
    drop(client);
    let mut client = Client::start(store.scripted(script, &["acp"]));
    let capabilities = json!({"_meta": {"terminal_output": true}});
    client.call("initialize", json!({"protocolVersion": 1, "clientCapabilities": capabilities}));
    let params = json!({"cwd": store.workspace(), "sessionId": session, "mcpServers": []});
    client.call("session/load", params);
    assert!(told(&client).is_empty(), "commands that ended before the load are shown as text");
    assert!(!has_terminal(&client));
}

#[test]
fn a_session_that_is_closed_tells_nothing_more() {
    let store = Store::new();
    let script = "
[[turn]]
[[turn.call]]
tool = 'background_run'
input = { command = 'until [ -e go ]; do sleep 0.02; done; echo built' }

[[turn]]
text = 'It runs.'
";
    let (mut client, session) = showing(&store, script);
    client.say(&session, "build it");
    client.says("It runs.");
    client.call("session/close", json!({"sessionId": session}));
    let running = store.json(&["ps", "--json"]);
    let id = running["tasks"][0]["id"].as_str().unwrap().to_owned();
    store.release();
    until("the task has ended", || store.task(&id)["state"] == "exited");
    client.call("session/list", json!({}));
    assert_eq!(told(&client)[0], (String::new(), None));
}
