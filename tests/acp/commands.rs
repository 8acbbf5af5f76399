//! Commands such as `/tasks` are answered without the model.

use serde_json::json;

use crate::client::Client;
use crate::harness::Store;

const RUNS: &str = "
[[turn]]
[[turn.call]]
tool = 'background_run'
input = { command = 'echo begun; until [ -e go ]; do sleep 0.02; done' }

[[turn]]
text = 'It runs.'

[[turn]]
expect = ['stopped by']
text = 'It was stopped.'

[[turn]]
when = 'Summarise this conversation'
text = 'A task was stopped.'

[[turn]]
expect = ['A task was stopped.']
text = 'I know.'
";

#[test]
fn commands_are_offered_and_carried_out_while_a_prompt_is_held() {
    let store = Store::new();
    let mut client = Client::new(&store, RUNS);
    let session = client.session(&store.workspace());
    let offered = client.find(|it| {
        let update = &it["params"]["update"];
        let offers = update["sessionUpdate"] == "available_commands_update";
        offers.then(|| update["availableCommands"].clone())
    });
    let names: Vec<_> =
        offered.as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["tasks", "output", "stop", "compact"]);
    let held = client.say(&session, "run it");
    client.says("It runs.");
    let id = store.json(&["ps", "--json"])["tasks"][0]["id"].as_str().unwrap().to_owned();
    let said = |client: &Client| {
        let last = client.updates("agent_message_chunk").pop().unwrap();
        last["content"]["text"].as_str().unwrap().to_owned()
    };
    for (typed, words) in [
        ("/tasks".to_owned(), vec![id.as_str(), "running for", "echo begun"]),
        (format!("/output {id}"), vec!["```\nbegun\n```"]),
        ("/output".to_owned(), vec!["Which task?"]),
        ("/stop nonsense".to_owned(), vec!["There is no task ` nonsense `"]),
    ] {
        assert_eq!(client.prompt(&session, &typed), "end_turn", "{typed}");
        let said = said(&client);
        assert!(words.iter().all(|word| said.contains(word)), "{typed}: {said}");
    }
    let is_held = client.heard.iter().all(|it| it["id"] != held || !it["method"].is_null());
    assert!(is_held, "the hold goes on");
    assert_eq!(client.prompt(&session, &format!("/stop {}", &id[..4])), "end_turn");
    // The end of the task may be reported before the answer to the command.
    client.find(|it| {
        let text = it["params"]["update"]["content"]["text"].as_str().unwrap_or_default();
        text.contains("stopped by").then_some(())
    });
    assert_eq!(client.ended(held), "end_turn");
    assert!(client.has_said("It was stopped."));
    assert_eq!(client.prompt(&session, "/compact"), "end_turn");
    assert_eq!(said(&client), "The conversation has been summarized.");
    assert_eq!(client.prompt(&session, "/etc is a directory?"), "end_turn");
    assert!(client.has_said("I know."), "a path is a prompt, and the summary is the history");
    let params = json!({"sessionId": "none", "prompt": [{"type": "text", "text": "/tasks"}]});
    let refused = client.refused("session/prompt", params);
    assert_eq!(refused["data"]["field"], "sessionId", "{refused}");
}

#[test]
fn there_is_nothing_to_sum_up_where_nothing_was_said() {
    let store = Store::new();
    let mut client = Client::new(&store, RUNS);
    let session = client.session(&store.workspace());
    assert_eq!(client.prompt(&session, "/compact"), "end_turn");
    assert_eq!(client.prompt(&session, "/tasks"), "end_turn");
    assert!(client.has_said("No task of this session runs."));
}

#[test]
fn what_only_begins_like_a_command_is_said_to_the_model() {
    let store = Store::new();
    let script = "
[[turn]]
expect = ['/compact the struct']
text = 'I make it smaller.'

[[turn]]
expect = ['/stop doing that, use sqlite']
text = 'I use it.'
";
    let mut client = Client::new(&store, script);
    let session = client.session(&store.workspace());
    assert_eq!(client.prompt(&session, "/compact the struct"), "end_turn");
    assert!(client.has_said("I make it smaller."));
    assert_eq!(client.prompt(&session, "/stop doing that, use sqlite"), "end_turn");
    assert!(client.has_said("I use it."));
}

#[test]
fn a_wish_for_a_summary_that_is_empty_leaves_the_conversation_as_it_was() {
    let store = Store::new();
    let script = "
[[turn]]
text = 'The number is 7.'

[[turn]]
when = 'Summarise this conversation'

[[turn]]
expect = ['and now?']
text = 'I still know it.'
";
    let mut client = Client::new(&store, script);
    let session = client.session(&store.workspace());
    assert_eq!(client.prompt(&session, "which?"), "end_turn");
    let params = json!({"sessionId": session, "prompt": [{"type": "text", "text": "/compact"}]});
    let refused = client.refused("session/prompt", params);
    assert!(refused["message"].as_str().unwrap().contains("as it was"), "{refused}");
    assert_eq!(client.prompt(&session, "and now?"), "end_turn");
    assert!(client.has_said("I still know it."));
    // A history that was replaced by a summary begins with this text.
    let begins = client.updates("user_message_chunk");
    assert!(!begins.iter().any(|it| it.to_string().contains("was summarised")), "{begins:?}");
}
