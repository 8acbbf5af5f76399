//! The agent reads and writes files through the client, including unsaved text in its editor.

use serde_json::json;

use crate::client::Client;
use crate::harness::Store;

const WORKS: &str = "
[[turn]]
[[turn.call]]
tool = 'read_file'
input = { path = 'notes.txt' }

[[turn]]
expect = ['not saved']
[[turn.call]]
tool = 'edit_file'
input = { path = 'notes.txt', old_string = 'not saved', new_string = 'changed' }

[[turn]]
[[turn.call]]
tool = 'write_file'
input = { path = 'new/file.txt', content = 'whole' }

[[turn]]
text = 'Done.'
";

/// A client with these capabilities for files, and a session.
fn editing(store: &Store, script: &str, fs: serde_json::Value) -> (Client, String) {
    let mut client = Client::start(store.scripted(script, &["acp"]));
    let capabilities = json!({"fs": fs});
    client.call("initialize", json!({"protocolVersion": 1, "clientCapabilities": capabilities}));
    let session = client.session(&store.workspace());
    (client, session)
}

/// The absolute path of a file in the workspace, as the agent sends it to the client.
fn path(store: &Store, name: &str) -> String {
    store.workspace().canonicalize().unwrap().join(name).to_str().unwrap().to_owned()
}

#[test]
fn files_are_read_and_written_in_the_editor() {
    let store = Store::new();
    let notes = path(&store, "notes.txt");
    std::fs::write(&notes, "saved\n").unwrap();
    let both = json!({"readTextFile": true, "writeTextFile": true});
    let (mut client, session) = editing(&store, WORKS, both);
    client.buffers.insert(notes.clone(), "this is not saved\n".to_owned());
    assert_eq!(client.prompt(&session, "change it"), "end_turn");
    assert!(client.has_said("Done."));
    assert_eq!(client.buffers[&notes], "this is changed\n");
    assert_eq!(std::fs::read_to_string(&notes).unwrap(), "saved\n", "only the editor saves it");
    assert_eq!(client.buffers[&path(&store, "new/file.txt")], "whole");
    let is_question = |it: &&serde_json::Value| it["method"] == "session/request_permission";
    let questions: Vec<_> = client.heard.iter().filter(is_question).collect();
    assert_eq!(questions.len(), 2, "the client is asked before each write");
    let asked = &questions[0]["params"]["toolCall"]["content"][0];
    assert_eq!(asked["oldText"], "this is not saved\n", "as the person sees it: {asked}");
    assert_eq!(asked["newText"], "this is changed\n", "{asked}");
    let updates = client.updates("tool_call_update");
    let diffs: Vec<_> =
        updates.iter().flat_map(|it| it["content"].as_array().into_iter().flatten()).collect();
    let diff = diffs.iter().find(|it| it["type"] == "diff").unwrap();
    assert_eq!(diff["oldText"], "this is not saved\n", "{diff}");
    assert_eq!(diff["newText"], "this is changed\n", "{diff}");
}

/// A change that a person has reduced is also written through the editor, but not over text typed meanwhile.
#[test]
fn what_is_left_of_a_change_is_written_in_the_editor() {
    let script = "
[[turn]]
[[turn.call]]
tool = 'edit_file'
input = { path = 'notes.txt', old_string = 'unsaved', new_string = 'changed' }

[[turn]]
text = 'Done.'
";
    for (now, written) in [(None, "left\n"), (Some("typed since\n"), "typed since\n")] {
        let store = Store::new();
        let notes = path(&store, "notes.txt");
        std::fs::write(&notes, "saved\n").unwrap();
        let both = json!({"readTextFile": true, "writeTextFile": true});
        let (mut client, session) = editing(&store, script, both);
        client.buffers.insert(notes.clone(), "unsaved\n".to_owned());
        client.chooses = None;
        let prompt = client.say(&session, "change it");
        let question = client.question(1);
        if let Some(typed) = now {
            client.buffers.insert(notes.clone(), typed.to_owned());
        }
        let own = json!({"meanwhile": {"edit": {"newText": "left\n"}}});
        let outcome = json!({"outcome": "selected", "optionId": "allow_once"});
        let answer = json!({"outcome": outcome, "_meta": own});
        client.write(&json!({"jsonrpc": "2.0", "id": question, "result": answer}));
        assert_eq!(client.ended(prompt), "end_turn");
        assert_eq!(client.buffers[&notes], written);
        assert_eq!(std::fs::read_to_string(&notes).unwrap(), "saved\n", "the editor saves it");
    }
}

#[test]
fn what_the_editor_does_not_have_is_on_the_disk() {
    let store = Store::new();
    let notes = path(&store, "notes.txt");
    let script = "
[[turn]]
[[turn.call]]
tool = 'read_file'
input = { path = 'notes.txt' }

[[turn]]
expect = ['on the disk']
[[turn.call]]
tool = 'write_file'
input = { path = 'notes.txt', content = 'written' }

[[turn]]
text = 'Done.'
";
    std::fs::write(&notes, "on the disk").unwrap();
    let (mut client, session) = editing(&store, script, json!({"readTextFile": true}));
    assert_eq!(client.prompt(&session, "read it"), "end_turn");
    assert!(client.has_said("Done."));
    assert_eq!(std::fs::read_to_string(&notes).unwrap(), "written", "the client cannot write");
    // CodeCompanion answers with an empty text for a file that does not exist.
    let missing = "
[[turn]]
[[turn.call]]
tool = 'read_file'
input = { path = 'nowhere.txt' }

[[turn]]
expect = ['there is no such file']
text = 'Done.'
";
    let (mut client, session) = editing(&store, missing, json!({"readTextFile": true}));
    client.buffers.insert(path(&store, "nowhere.txt"), String::new());
    assert_eq!(client.prompt(&session, "read it"), "end_turn");
    assert!(client.has_said("Done."));
    // A client without this capability is not asked.
    let (mut client, session) = editing(&store, script, json!({}));
    std::fs::write(&notes, "on the disk").unwrap();
    assert_eq!(client.prompt(&session, "read it"), "end_turn");
    let asked = client
        .heard
        .iter()
        .any(|it| it["method"].as_str().is_some_and(|method| method.starts_with("fs/")));
    assert!(!asked);
}

#[test]
fn a_turn_that_waits_for_the_editor_can_be_cancelled() {
    let store = Store::new();
    std::fs::write(path(&store, "notes.txt"), "x").unwrap();
    let (mut client, session) = editing(&store, WORKS, json!({"readTextFile": true}));
    client.answers_files = false;
    let prompt = client.say(&session, "read it");
    client.find(|it| (it["method"] == "fs/read_text_file").then_some(()));
    client.cancel(&session);
    assert_eq!(client.ended(prompt), "cancelled");
}
