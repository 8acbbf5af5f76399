//! Which model call gets which result (docs/protocol.md, "Agent sessions"), seen from outside: the script checks
//! what the model is sent, and the trace shows where each result went.

use std::fs;

use serde_json::{Value, json};

use crate::harness::Lab;
use crate::session::Chat;

/// Writes the settings of the user who runs the daemons of this test.
pub(crate) fn settings(lab: &Lab, text: &str) {
    let folder = lab.home().join(".config/meanwhile");
    fs::create_dir_all(&folder).expect("the test's directory is writable");
    fs::write(folder.join("config.toml"), text).expect("the test's directory is writable");
}

/// The command of a task that waits at its gate and then writes the gate's name.
fn gated(gate: &str) -> String {
    format!("read x < {gate}; echo said by {gate}")
}

/// An answer of the model that starts a task at each of these gates.
fn starts(gates: &[&str]) -> String {
    let calls: String = gates
        .iter()
        .map(|gate| {
            format!(
                "[[turn.call]]\ntool = \"background_run\"\ninput = {{ command = \"{}\" }}\n\
                 save = {{ {gate} = \"task ([0-9a-f]{{8}})\" }}\n",
                gated(gate)
            )
        })
        .collect();
    format!("[[turn]]\nmessages = [\"prompt\"]\ntext = \"I start.\"\n{calls}")
}

/// A call that lists files, so that the turn continues.
const LOOK: &str = "[[turn.call]]\ntool = \"glob\"\ninput = { pattern = \"*\" }\n";

/// A file for which an answer of the model waits.
struct Hold {
    path: std::path::PathBuf,
}

impl Hold {
    fn new(lab: &Lab, name: &str) -> Self {
        Self { path: lab.root().join(name) }
    }

    fn line(&self) -> String {
        format!("hold = \"{}\"\n", self.path.display())
    }

    fn let_go(&self) {
        fs::write(&self.path, "").expect("the test's directory is writable");
    }
}

/// Waits until a model call was made.
fn called(chat: &Chat, call: u64) {
    chat.daemon.push("session/traced", |it| {
        it["event"]["type"] == "call_started" && it["event"]["call"] == call
    });
}

/// Opens a gate, and waits until the end of its task is in the queue; returns the task's id.
fn end(chat: &Chat, gate: &crate::harness::Gate, name: &str) -> String {
    gate.open();
    let task = chat.task(&gated(name));
    chat.daemon.exited(&task);
    task
}

/// The messages with results: the call that carried each, and the ids of its tasks.
fn told(chat: &Chat) -> Vec<(u64, Value)> {
    chat.daemon
        .pushes("session/update")
        .iter()
        .map(|it| &it["update"]["_meta"]["meanwhile"])
        .filter(|meta| meta["origin"] == "background")
        .map(|meta| (meta["call"].as_u64().expect("a call"), meta["taskIds"].clone()))
        .collect()
}

/// For each task in the trace: the call that started it, the call that got its result, and how.
fn journeys(chat: &Chat) -> Vec<(u64, Option<u64>, Option<String>)> {
    let trace = chat.trace();
    let tasks = trace["tasks"].as_array().expect("tasks");
    let of = |task: &Value| {
        (
            task["spawnedInCall"].as_u64().expect("a call asked for it"),
            task["deliveredInCall"].as_u64(),
            task["deliveredBy"].as_str().map(str::to_owned),
        )
    };
    tasks.iter().map(of).collect()
}

fn drained(asked: u64, heard: u64) -> (u64, Option<u64>, Option<String>) {
    (asked, Some(heard), Some("drain".to_owned()))
}

#[test]
fn what_ends_during_the_next_call_is_in_the_one_after() {
    let lab = Lab::new();
    let (a, hold) = (lab.gate("a"), Hold::new(&lab, "hold"));
    let script = format!(
        "{}[[turn]]\nmessages = [\"tool_results\"]\nabsent = [\"said by\"]\n{}{LOOK}\
         [[turn]]\nmessages = [\"tool_results\", \"background\"]\n\
         expect = [\"[bg:{{{{a}}}}] exited 0\", \"said by a\", \"No human input\"]\ntext = \"Seen.\"\n",
        starts(&["a"]),
        hold.line(),
    );
    let chat = Chat::new(&lab, &script);
    let ask = chat.ask("go");
    called(&chat, 2);
    let task = end(&chat, &a, "a");
    hold.let_go();
    assert_eq!(chat.daemon.answer(ask), Ok(json!({ "stopReason": "end_turn" })));
    chat.says("Seen.");
    assert_eq!(told(&chat), [(3, json!([task]))]);
    assert_eq!(journeys(&chat), [drained(1, 3)]);
    assert_eq!(chat.daemon.check(&task)["delivered"]["turn"], 3);
}

#[test]
fn two_that_end_in_one_window_are_one_message_in_that_order() {
    let lab = Lab::new();
    let (a, b, hold) = (lab.gate("a"), lab.gate("b"), Hold::new(&lab, "hold"));
    let script = format!(
        "{}[[turn]]\nmessages = [\"tool_results\"]\n{}{LOOK}\
         [[turn]]\nmessages = [\"tool_results\", \"background\"]\n\
         expect = [\"[bg:{{{{b}}}}] exited 0\", \"[bg:{{{{a}}}}] exited 0\"]\ntext = \"Both.\"\n",
        starts(&["a", "b"]),
        hold.line(),
    );
    let chat = Chat::new(&lab, &script);
    let ask = chat.ask("go");
    called(&chat, 2);
    let second = end(&chat, &b, "b");
    let first = end(&chat, &a, "a");
    hold.let_go();
    assert_eq!(chat.daemon.answer(ask), Ok(json!({ "stopReason": "end_turn" })));
    assert_eq!(told(&chat), [(3, json!([second, first]))]);
    assert_eq!(journeys(&chat), [drained(1, 3), drained(1, 3)]);
}

#[test]
fn what_ends_during_the_last_call_or_later_starts_one_turn() {
    let lab = Lab::new();
    let (a, b, c) = (lab.gate("a"), lab.gate("b"), lab.gate("c"));
    let hold = Hold::new(&lab, "hold");
    let script = format!(
        "{}[[turn]]\nmessages = [\"tool_results\"]\n{}text = \"I wait.\"\n\
         [[turn]]\nmessages = [\"background\"]\n\
         expect = [\"[bg:{{{{a}}}}] exited 0\", \"[bg:{{{{b}}}}] exited 0\"]\ntext = \"Woken.\"\n\
         [[turn]]\nmessages = [\"background\"]\nexpect = [\"[bg:{{{{c}}}}] exited 0\"]\ntext = \"Again.\"\n\
         [[turn]]\nmessages = [\"prompt\"]\ntext = \"Bye.\"\n",
        starts(&["a", "b", "c"]),
        hold.line(),
    );
    let chat = Chat::new(&lab, &script);
    let ask = chat.ask("go");
    called(&chat, 2);
    let during = [end(&chat, &a, "a"), end(&chat, &b, "b")];
    hold.let_go();
    assert_eq!(chat.daemon.answer(ask), Ok(json!({ "stopReason": "end_turn" })));
    chat.turn(2, "ended");
    let idle = end(&chat, &c, "c");
    chat.turn(3, "ended");
    // After an extra turn, the script would have no answer left, and this prompt would have another number.
    assert_eq!(chat.prompt("bye"), "end_turn");
    let origins: Vec<Value> = chat
        .daemon
        .pushes("session/turn")
        .iter()
        .filter(|it| it["state"] == "ended")
        .map(|it| json!([it["turn"], it["origin"], it["stopReason"]]))
        .collect();
    let expect = json!([
        [1, "prompt", "end_turn"],
        [2, "background", "end_turn"],
        [3, "background", "end_turn"],
        [4, "prompt", "end_turn"]
    ]);
    assert_eq!(json!(origins), expect);
    assert_eq!(told(&chat), [(3, json!(during)), (4, json!([idle]))]);
    assert_eq!(journeys(&chat), [drained(1, 3), drained(1, 3), drained(1, 4)]);
}

#[test]
fn what_a_check_has_shown_is_not_told_again() {
    let lab = Lab::new();
    let (a, hold) = (lab.gate("a"), Hold::new(&lab, "hold"));
    let script = format!(
        "{}[[turn]]\n{}[[turn.call]]\ntool = \"check_background\"\n\
         input = {{ task_id = \"{{{{a}}}}\" }}\n\
         [[turn]]\nmessages = [\"tool_results\"]\nexpect = [\"said by a\"]\n{LOOK}\
         [[turn]]\nmessages = [\"tool_results\"]\ntext = \"Done.\"\n\
         [[turn]]\nmessages = [\"prompt\"]\ntext = \"Bye.\"\n",
        starts(&["a"]),
        hold.line(),
    );
    let chat = Chat::new(&lab, &script);
    let ask = chat.ask("go");
    called(&chat, 2);
    let task = end(&chat, &a, "a");
    hold.let_go();
    assert_eq!(chat.daemon.answer(ask), Ok(json!({ "stopReason": "end_turn" })));
    assert_eq!(chat.prompt("bye"), "end_turn");
    assert_eq!(told(&chat), []);
    assert_eq!(journeys(&chat), [(1, Some(3), Some("check".to_owned()))]);
    let delivered = chat.daemon.check(&task)["delivered"].clone();
    assert_eq!((&delivered["by"], &delivered["turn"]), (&json!("check"), &json!(3)));
}

#[test]
fn a_failed_call_loses_and_repeats_nothing() {
    let lab = Lab::new();
    let (a, hold) = (lab.gate("a"), Hold::new(&lab, "hold"));
    let script = format!(
        "{}[[turn]]\n{}{LOOK}\
         [[turn]]\nfault = \"401\"\nexpect = [\"[bg:{{{{a}}}}] exited 0\"]\ntext = \"Here.\"\n",
        starts(&["a"]),
        hold.line(),
    );
    let chat = Chat::new(&lab, &script);
    let ask = chat.ask("go");
    called(&chat, 2);
    let task = end(&chat, &a, "a");
    hold.let_go();
    let error = chat.daemon.answer(ask).expect_err("the model refused");
    assert!(error.message.contains("ANTHROPIC_API_KEY"), "it is not said what to do: {error:?}");
    assert_eq!(chat.prompt("go on"), "end_turn");
    chat.says("Here.");
    assert_eq!(told(&chat), [(3, json!([task]))]);
    assert_eq!(journeys(&chat), [drained(1, 3)]);
    let trace = chat.trace();
    let failed: Vec<&Value> = trace["events"]
        .as_array()
        .expect("events")
        .iter()
        .filter(|event| event["type"] == "call_ended" && event["error"].is_string())
        .map(|event| &event["call"])
        .collect();
    assert_eq!(failed, [&json!(3)]);
}

#[test]
fn a_command_that_moved_outlives_its_turn() {
    let lab = Lab::new();
    let (a, hold) = (lab.gate("a"), Hold::new(&lab, "hold"));
    settings(&lab, "[agent]\nyield_after = \"50ms\"\n");
    let script = format!(
        "[[turn]]\n[[turn.call]]\ntool = \"bash\"\ninput = {{ command = \"{}\" }}\n\
         save = {{ a = \"task ([0-9a-f]{{8}})\" }}\n\
         [[turn]]\nmessages = [\"tool_results\"]\nexpect = [\"moved to the background\"]\n{}text = \"x\"\n\
         [[turn]]\nwhen = \"<background-results>\"\n\
         messages = [\"tool_results\", \"notice\", \"background\"]\n\
         expect = [\"[bg:{{{{a}}}}] exited 0\", \"said by a\"]\ntext = \"Seen.\"\n",
        gated("a"),
        hold.line(),
    );
    let chat = Chat::new(&lab, &script);
    let ask = chat.ask("go");
    called(&chat, 2);
    let task = chat.task(&gated("a"));
    let pid = chat.daemon.check(&task)["pid"].clone();
    chat.cancel();
    assert_eq!(chat.daemon.answer(ask), Ok(json!({ "stopReason": "cancelled" })));
    let now = chat.daemon.check(&task);
    assert_eq!((&now["state"], &now["pid"]), (&json!("running"), &pid));
    hold.let_go();
    end(&chat, &a, "a");
    chat.says("Seen.");
    assert_eq!(told(&chat), [(3, json!([task]))]);
    let trace = chat.trace();
    let moved = trace["events"]
        .as_array()
        .expect("events")
        .iter()
        .find_map(|event| (event["type"] == "task_spawned").then(|| event["moved"].clone()));
    assert_eq!(moved, Some(json!(true)));
}
