//! The messages between a client and the agent.

use serde_json::json;

use crate::client::Client;
use crate::harness::Store;

const TALK: &str = "
[[turn]]
think = 'Hm.'
text = 'Hello.'

[[turn]]
text = 'Bye.'
";

#[test]
fn the_version_that_is_spoken_is_told_whichever_is_asked_for() {
    let store = Store::new();
    for asked in [1, 0, 2, 77] {
        let mut client = Client::start(store.scripted(TALK, &["acp"]));
        let early = client.refused("session/new", json!({"cwd": store.workspace()}));
        assert_eq!(early["code"], -32600, "{early}");
        let told = client.call("initialize", json!({"protocolVersion": asked}));
        assert_eq!(told["protocolVersion"], 1, "{told}");
        assert_eq!(told["agentCapabilities"]["loadSession"], true, "{told}");
    }
}

#[test]
fn a_prompt_is_answered_after_what_its_turn_said_and_the_session_loads_again() {
    let store = Store::new();
    let mut client = Client::new(&store, TALK);
    let session = client.session(&store.workspace());
    assert_eq!(client.heard.len(), 2, "no update comes before the session's id");
    assert_eq!(client.prompt(&session, "hi"), "end_turn");
    let texts = |client: &Client| client.updates("agent_message_chunk").len();
    assert!(texts(&client) > 0);
    assert!(!client.updates("agent_thought_chunk").is_empty());
    assert_eq!(client.prompt(&session, "and"), "end_turn");
    let said = client.updates("agent_message_chunk");
    let name = |it: &serde_json::Value| it["messageId"].as_str().unwrap().to_owned();
    let (first, last) = (name(&said[0]), name(said.last().unwrap()));
    assert_ne!(first, last, "otherwise a client would join `Hello.` and `Bye.`");
    assert_ne!(first, name(&client.updates("agent_thought_chunk")[0]));
    drop(client);
    let mut client = Client::new(&store, TALK);
    let params = json!({"cwd": store.workspace(), "sessionId": session, "mcpServers": []});
    client.call("session/load", params);
    assert!(texts(&client) > 0, "the history is sent before the answer");
    let listed = client.call("session/list", json!({"cwd": store.workspace()}));
    assert_eq!(listed["sessions"][0]["sessionId"], *session, "{listed}");
}

#[test]
fn tools_are_shown_with_text_and_not_with_terminals() {
    let store = Store::new();
    let script = "
[[turn]]
[[turn.call]]
tool = 'bash'
input = { command = 'echo made > made; cat made' }

[[turn]]
text = 'Done.'
";
    let mut client = Client::new(&store, script);
    let session = client.session(&store.workspace());
    assert_eq!(client.prompt(&session, "make it"), "end_turn");
    assert!(store.workspace().join("made").exists());
    client.question(1);
    let updates = client.updates("tool_call_update");
    assert!(updates.iter().all(|it| !it.to_string().contains("terminal")), "{updates:?}");
    let last = updates.last().unwrap();
    assert_eq!(last["status"], "completed", "{last}");
    assert!(last["content"][0]["content"]["text"].as_str().unwrap().contains("made"), "{last}");
}

#[test]
fn one_process_works_in_several_workspaces() {
    let store = Store::new();
    let script = "
[[turn]]
[[turn.call]]
tool = 'bash'
input = { command = 'pwd > where' }

[[turn]]
text = 'Done.'
";
    let other = store.workspace().join("other");
    std::fs::create_dir(&other).unwrap();
    let mut client = Client::new(&store, script);
    for place in [store.workspace(), other] {
        let session = client.session(&place);
        assert_eq!(client.prompt(&session, "where?"), "end_turn");
        let told = std::fs::read_to_string(place.join("where")).unwrap();
        assert_eq!(told.trim(), place.canonicalize().unwrap().to_str().unwrap());
    }
    let refused = client.refused("session/new", json!({"cwd": "project", "mcpServers": []}));
    assert_eq!(refused["data"]["field"], "cwd", "{refused}");
}

#[test]
fn directories_of_the_client_are_left_out_and_it_is_said() {
    let store = Store::new();
    let mut client = Client::new(&store, TALK);
    let params = json!({"cwd": store.workspace(), "mcpServers": [],
        "additionalDirectories": ["/elsewhere"]});
    let made = client.call("session/new", params);
    let session = made["sessionId"].as_str().unwrap().to_owned();
    assert_eq!(client.prompt(&session, "hi"), "end_turn");
    let thoughts = format!("{:?}", client.updates("agent_thought_chunk"));
    assert!(thoughts.contains("not /elsewhere"), "{thoughts}");
}

#[test]
fn without_a_model_a_client_is_to_authenticate() {
    let store = Store::new();
    let mut client = Client::start(store.command(&["acp"]));
    let told = client.call("initialize", json!({"protocolVersion": 1, "clientCapabilities": []}));
    let method = told["authMethods"][0]["id"].clone();
    assert!(method.is_string(), "{told}");
    let params = json!({"cwd": store.workspace(), "mcpServers": []});
    let refused = client.refused("session/new", params);
    assert_eq!(refused["code"], -32000, "{refused}");
    let refused = client.refused("authenticate", json!({"methodId": method}));
    assert!(refused["message"].as_str().unwrap().contains("MEANWHILE_MODEL"), "{refused}");
}

#[test]
fn nothing_but_acp_is_written_at_the_most_talkative_log_level() {
    let store = Store::new();
    let mut command = store.scripted(TALK, &["acp"]);
    command.env("MEANWHILE_LOG", "trace");
    // The client panics at a line that is not an ACP message.
    let mut client = Client::start(command);
    client.call("initialize", json!({"protocolVersion": 1}));
    let session = client.session(&store.workspace());
    assert_eq!(client.prompt(&session, "hi"), "end_turn");
}

#[test]
fn a_question_that_was_passed_over_is_asked_again_within_the_next_prompt() {
    let store = Store::new();
    let script = "
[[turn]]
[[turn.call]]
tool = 'bash'
input = { command = 'touch asked' }

[[turn]]
text = 'Done.'

[[turn]]
text = 'More.'
";
    let mut client = Client::new(&store, script);
    client.chooses = None;
    let session = client.session(&store.workspace());
    let first = client.say(&session, "touch it");
    let asked = client.question(1);
    let second = client.say(&session, "and?");
    let again = client.question(2);
    client.find(|it| (it["params"]["requestId"] == asked).then_some(()));
    // This answer is too late, because the request was withdrawn.
    client.choose(&asked, "reject_once");
    client.choose(&again, "allow_once");
    assert_eq!(client.ended(first), "end_turn");
    assert_eq!(client.ended(second), "end_turn");
    assert!(store.workspace().join("asked").exists());
}
