//! A session whose context gets full: a summary replaces the history, and no task is forgotten.

use serde_json::{Value, json};

use crate::harness::Lab;
use crate::session::{COMMAND, Chat};

/// A task, then an output that fills the context. The size is measured with a request, so only the answer
/// to the next one shows that it was too long.
const SCRIPT: &str = r#"
context_window = 3000

[[turn]]
[[turn.call]]
tool = "background_run"
input = { command = "read x < gate; echo built; exit 3" }
save = { task = "[0-9a-f]{8}" }

[[turn]]
[[turn.call]]
tool = "bash"
input = { command = "head -c 9000 /dev/zero | tr '\\0' x" }

[[turn]]
expect = ["xxxxxxxx"]
[[turn.call]]
tool = "glob"
input = { pattern = "*" }

[[turn]]
when = "Summarise this conversation"
text = "It is half done."

[[turn]]
messages = ["notice"]
expect = ["It is half done.", "build it", "[bg:{{task}}] running for", "read x < gate"]
absent = ["xxxxxxxx"]
text = "I go on."

[[turn]]
messages = ["background"]
expect = ["<background-results>", "[bg:{{task}}] exited 3", "built"]
text = "It has failed."

[[turn]]
messages = ["prompt"]
absent = ["built"]
text = "Bye."
"#;

#[test]
fn a_summary_names_the_task_that_runs_and_its_result_comes_once() {
    let lab = Lab::new();
    let gate = lab.gate("gate");
    let chat = Chat::new(&lab, SCRIPT);
    assert_eq!(chat.prompt("build it"), "end_turn");
    chat.says("I go on.");
    let task = chat.task(COMMAND);
    // The client is sent what the model is sent after the summary, but not the summary as a message.
    chat.update("user_message_chunk", |it| {
        it["content"]["text"].as_str().is_some_and(|text| text.contains(&task))
    });
    gate.open();
    chat.turn(2, "ended");
    chat.says("It has failed.");
    assert_eq!(chat.prompt("thanks"), "end_turn");
    chat.says("Bye.");

    let told: Vec<Value> = chat
        .daemon
        .pushes("session/update")
        .iter()
        .map(|it| &it["update"]["_meta"]["meanwhile"])
        .filter(|meta| meta["origin"] == "background")
        .map(|meta| meta["taskIds"].clone())
        .collect();
    assert_eq!(told, [json!([task])]);
    let trace = chat.trace();
    let events = trace["events"].as_array().expect("events");
    let compacted: Vec<&Value> =
        events.iter().filter(|event| event["type"] == "compacted").map(|it| &it["call"]).collect();
    // Three calls, the summary, the call after it, and the one that the result woke.
    assert_eq!(compacted, [4]);
    assert_eq!(trace["tasks"][0]["deliveredInCall"], 6);
}

#[test]
fn a_full_session_that_is_loaded_makes_room_first() {
    let lab = Lab::new();
    let wide = SCRIPT.replace("context_window = 3000", "context_window = 100000").replace(
        "[[turn.call]]\ntool = \"glob\"\ninput = { pattern = \"*\" }\n",
        "text = \"It is long.\"\n",
    );
    let gate = lab.gate("gate");
    let chat = Chat::new(&lab, &wide);
    assert_eq!(chat.prompt("build it"), "end_turn");
    chat.says("It is long.");
    let id = chat.id.clone();
    chat.daemon.kill9();

    // The same session with a model that has a smaller context.
    let narrow = r#"
context_window = 3000

[[turn]]
when = "Summarise this conversation"
text = "It is half done."

[[turn]]
when = "and now"
messages = ["notice", "notice", "prompt"]
expect = ["It is half done.", "running for", "resumed", "running for", "and now"]
absent = ["xxxxxxxx"]
text = "I go on."

[[turn]]
when = "<background-results>"
expect = ["exited 3", "built"]
text = "It has failed."

[[turn]]
text = "unused"
"#;
    let chat = Chat::load(&lab, narrow, &id);
    assert_eq!(chat.prompt("and now?"), "end_turn");
    chat.says("I go on.");
    gate.open();
    chat.says("It has failed.");
}
