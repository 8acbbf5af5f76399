//! A session that is loaded while another process has it open.

use serde_json::{Value, json};

use crate::client::{Client, said};
use crate::harness::{Store, until};

const TALK: &str = "
[[turn]]
text = 'One.'
[[turn]]
[[turn.call]]
tool = 'bash'
input = { command = 'touch a' }
[[turn]]
text = 'Two.'
[[turn]]
text = 'Three.'
";

fn load(store: &Store, session: &str) -> Value {
    json!({"cwd": store.workspace(), "sessionId": session, "mcpServers": []})
}

fn thoughts(client: &Client) -> String {
    let chunks = client.updates("agent_thought_chunk");
    chunks.iter().filter_map(|it| it["content"]["text"].as_str()).collect()
}

/// How often the client was sent this text.
fn count(client: &Client, text: &str) -> usize {
    let shown = |kind| client.updates(kind).into_iter().filter(|it| it["content"]["text"] == text);
    shown("agent_message_chunk").count() + shown("user_message_chunk").count()
}

#[test]
fn it_is_watched_and_the_first_prompt_opens_it_once_it_is_free() {
    let store = Store::new();
    let mut holder = Client::new(&store, TALK);
    holder.chooses = None;
    let session = holder.session(&store.workspace());
    assert_eq!(holder.prompt(&session, "first"), "end_turn");
    let mut viewer = Client::new(&store, TALK);
    viewer.call("session/load", load(&store, &session));
    assert_eq!((count(&viewer, "first"), count(&viewer, "One.")), (1, 1), "sent before the answer");
    let told = thoughts(&viewer);
    assert!(told.contains(" has this session open: its updates are shown here"), "{told}");
    // The viewer sees the turn in the other process, with its permission request; a prompt is refused.
    let prompt = holder.say(&session, "second");
    let asked = holder.question(1);
    viewer.find(|it| {
        let text = it["params"]["update"]["content"]["text"].as_str()?;
        text.contains("may the agent run touch a?").then_some(())
    });
    let refused = viewer.refused("session/prompt", said(&session, "mine"));
    assert!(refused["message"].as_str().unwrap().contains("open in another process"), "{refused}");
    holder.choose(&asked, "allow_once");
    assert_eq!(holder.ended(prompt), "end_turn");
    viewer.says("Two.");
    holder.call("session/close", json!({"sessionId": session}));
    until("the viewer is told that the session is closed", || {
        viewer.call("session/list", json!({}));
        thoughts(&viewer).contains("The session was closed in the other process")
    });
    assert!(
        viewer.updates("config_option_update").is_empty(),
        "the session is not open in this process"
    );
    assert_eq!(viewer.prompt(&session, "third"), "end_turn");
    viewer.says("Three.");
    // The response to the load could not contain the choice of permissions and the commands, so they arrive now.
    let options = viewer.updates("config_option_update").remove(0).to_string();
    assert!(options.contains("permissions"), "{options}");
    let is_offered =
        |it: &Value| it["params"]["update"]["sessionUpdate"] == "available_commands_update";
    viewer.find(|it| is_offered(it).then_some(()));
    for said in ["first", "One.", "second", "Two.", "Three."] {
        assert_eq!(count(&viewer, said), 1, "{said}");
    }
    // The viewer has the session open now and does not watch it; once closed, it cannot be closed again.
    viewer.call("session/close", json!({"sessionId": session}));
    viewer.refused("session/close", json!({"sessionId": session}));
}

#[test]
fn a_session_that_cannot_be_deleted_is_watched_as_before() {
    let store = Store::new();
    let mut holder = Client::new(&store, TALK);
    let session = holder.session(&store.workspace());
    assert_eq!(holder.prompt(&session, "first"), "end_turn");
    let mut viewer = Client::new(&store, TALK);
    viewer.call("session/load", load(&store, &session));
    viewer.refused("session/delete", json!({"sessionId": session}));
    holder.call("session/close", json!({"sessionId": session}));
    until("the viewer is told that the session is closed", || {
        viewer.call("session/list", json!({}));
        thoughts(&viewer).contains("The session was closed in the other process")
    });
    // A command opens the session, as a prompt does.
    assert_eq!(viewer.prompt(&session, "/tasks"), "end_turn");
    assert_eq!(viewer.prompt(&session, "second"), "end_turn");
    assert_eq!((count(&viewer, "One."), count(&viewer, "Two.")), (1, 1));
}

#[test]
fn a_session_that_is_watched_is_left_and_loaded_again() {
    let store = Store::new();
    let mut holder = Client::new(&store, TALK);
    let session = holder.session(&store.workspace());
    assert_eq!(holder.prompt(&session, "first"), "end_turn");
    let mut viewer = Client::new(&store, TALK);
    for times in 1..=2 {
        viewer.call("session/load", load(&store, &session));
        assert_eq!(count(&viewer, "One."), times);
    }
    viewer.call("session/close", json!({"sessionId": session}));
    viewer.refused("session/close", json!({"sessionId": session}));
    holder.call("session/close", json!({"sessionId": session}));
    viewer.call("session/load", load(&store, &session));
    assert_eq!(viewer.prompt(&session, "second"), "end_turn");
    assert_eq!(count(&viewer, "Two."), 1);
}
