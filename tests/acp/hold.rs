//! A prompt is held open while background tasks of its session run.

use serde_json::json;

use crate::client::{Client, said};
use crate::harness::Store;

/// A background task that ends once the file `go` exists, and what the agent says about it.
const BUILD: &str = "
[[turn]]
text = 'I start it.'
[[turn.call]]
tool = 'background_run'
input = { command = 'until [ -e go ]; do sleep 0.02; done; echo built' }
save = { task = '[0-9a-f]{8}' }

[[turn]]
text = 'It runs.'

[[turn]]
expect = ['[bg:{{task}}] exited 0']
text = 'It is built.'
";

fn talking(store: &Store) -> (Client, String) {
    follows(store, BUILD)
}

/// The same, with another prompt before the result.
fn talking_between(store: &Store) -> (Client, String) {
    let between = "[[turn]]\ntext = 'Four.'\n\n[[turn]]\nexpect";
    follows(store, &BUILD.replacen("[[turn]]\nexpect", between, 1))
}

fn follows(store: &Store, script: &str) -> (Client, String) {
    let mut client = Client::new(store, script);
    let session = client.session(&store.workspace());
    (client, session)
}

#[test]
fn a_result_that_comes_is_told_in_the_same_prompt() {
    let store = Store::new();
    let (mut client, session) = talking(&store);
    let prompt = client.say(&session, "build it");
    client.says("It runs.");
    store.release();
    assert_eq!(client.ended(prompt), "end_turn");
    assert!(client.has_said("It is built."));
    // Some clients show all chunks of a prompt as one text.
    let said = client.updates("agent_message_chunk");
    let whole: String = said.iter().map(|it| it["content"]["text"].as_str().unwrap()).collect();
    assert_eq!(whole, "I start it.It runs.\n\nIt is built.");
    let names: Vec<_> = said.iter().map(|it| it["messageId"].clone()).collect();
    let at = said.iter().position(|it| it["content"]["text"] == "\n\n").unwrap();
    assert_eq!(names[at], names[at - 1], "the line break belongs to the message before it");
    assert_ne!(names[at], names[at + 1]);
}

#[test]
fn a_session_that_is_told_to_queue_results_holds_no_longer() {
    let store = Store::new();
    let (mut client, session) = talking(&store);
    let prompt = client.say(&session, "build it");
    client.says("It runs.");
    let queue = json!({"sessionId": session, "configId": "wake", "value": "queue"});
    client.call("session/set_config_option", queue);
    assert_eq!(client.ended(prompt), "end_turn");
    let running = store.json(&["ps", "--json"]);
    assert_eq!(running["tasks"][0]["state"], "running", "{running}");
    store.release();
}

#[test]
fn a_cancel_ends_the_hold_and_the_task_goes_on() {
    let store = Store::new();
    let (mut client, session) = talking_between(&store);
    let prompt = client.say(&session, "build it");
    client.says("It runs.");
    client.cancel(&session);
    assert_eq!(client.ended(prompt), "cancelled");
    let running = store.json(&["ps", "--json"]);
    assert_eq!(running["tasks"][0]["state"], "running", "{running}");
    assert_eq!(client.prompt(&session, "two and two?"), "end_turn");
    assert!(!client.has_said("It is built."), "the task does not hold a later prompt");
    store.release();
    client.says("It is built.");
}

#[test]
fn a_cancel_is_for_the_prompts_that_wait_too() {
    let store = Store::new();
    let script = "
[[turn]]
text = 'I look.'
[[turn.call]]
tool = 'bash'
input = { command = 'until [ -e go ]; do sleep 0.02; done' }

[[turn]]
text = 'This is not said.'
";
    let (mut client, session) = follows(&store, script);
    let first = client.say(&session, "look");
    client.says("I look.");
    let second = client.say(&session, "and then");
    client.cancel(&session);
    for prompt in [first, second] {
        assert_eq!(client.ended(prompt), "cancelled");
    }
    assert!(!client.has_said("This is not said."));
}

#[test]
fn the_time_of_a_hold_ends_it_and_the_task_holds_no_other_prompt() {
    let store = Store::new();
    let (mut client, session) = talking_between(&store);
    let mut params = said(&session, "build it");
    params["_meta"] = json!({"meanwhile": {"holdMs": 50}});
    assert_eq!(client.call("session/prompt", params)["stopReason"], "end_turn");
    let mut params = said(&session, "x");
    params["_meta"] = json!({"meanwhile": {"holdMs": "long"}});
    let refused = client.refused("session/prompt", params);
    assert_eq!(refused["data"]["field"], "_meta.meanwhile.holdMs", "{refused}");
    assert_eq!(client.prompt(&session, "two and two?"), "end_turn");
    assert!(!client.has_said("It is built."), "the task does not hold a later prompt");
    store.release();
    client.says("It is built.");
}

#[test]
fn another_prompt_takes_the_hold_over() {
    let store = Store::new();
    let (mut client, session) = talking_between(&store);
    let build = client.say(&session, "build it");
    client.says("It runs.");
    let sum = client.say(&session, "two and two?");
    assert_eq!(client.ended(build), "end_turn");
    client.says("Four.");
    store.release();
    assert_eq!(client.ended(sum), "end_turn");
    assert!(client.has_said("It is built."), "the second prompt was held");
}

/// A server whose port is outside the range from which the kernel chooses ports.
const SERVER: &str = r#"
import random, socket, time
s = socket.socket()
while True:
    try:
        s.bind(("127.0.0.1", random.randrange(20000, 30000)))
        break
    except OSError:
        pass
s.listen()
time.sleep(600)
"#;

#[test]
#[expect(clippy::print_stderr, reason = "the reader must see that the test was skipped")]
fn a_server_holds_no_prompt() {
    let store = Store::new();
    if std::process::Command::new("python3").arg("--version").output().is_err() {
        eprintln!("skipped: no python3 here");
        return;
    }
    std::fs::write(store.workspace().join("server.py"), SERVER).unwrap();
    let script =
        BUILD.replace("until [ -e go ]; do sleep 0.02; done; echo built", "exec python3 server.py");
    let (mut client, session) = follows(&store, &script);
    assert_eq!(client.prompt(&session, "serve it"), "end_turn");
    let listed = store.json(&["ps", "--json"]);
    assert_eq!(listed["tasks"][0]["state"], "running", "{listed}");
}
