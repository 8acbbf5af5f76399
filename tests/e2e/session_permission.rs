//! What the agent has to ask for (docs/protocol.md, "Agent sessions").

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::harness::{Entry, Lab};
use crate::session::{Chat, selected};

const ASK: &str = "session/request_permission";

/// A script that wants to run `./touch a` and then `./touch b`: a program of the workspace, of a sort that
/// "always" is offered for.
const TOUCH: &str = r#"
[[turn]]
[[turn.call]]
tool = "bash"
input = { command = "./touch a" }

[[turn]]
text = "one"

[[turn]]
[[turn.call]]
tool = "bash"
input = { command = "./touch b" }

[[turn]]
text = "two"
"#;

/// A chat in a workspace that has this program.
fn touching(lab: &Lab) -> Chat {
    let program = lab.file("touch");
    std::fs::write(&program, "#!/bin/sh\nexec touch \"$@\"\n").expect("it is written");
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).expect("it is ours");
    Chat::new(lab, TOUCH)
}

fn is_question(entry: &Entry) -> Option<Value> {
    (entry.message["method"] == ASK).then(|| entry.message.clone())
}

fn questions(chat: &Chat) -> Vec<Value> {
    chat.daemon.entries().iter().filter_map(is_question).collect()
}

#[test]
fn a_command_without_a_rule_is_asked_for() {
    let lab = Lab::new();
    let chat = touching(&lab);
    chat.daemon.answers(ASK, None);
    let ask = chat.ask("go");
    let question = chat.daemon.find("a question", is_question);
    assert!(!lab.file("a").exists(), "nothing is done before the answer");
    let params = &question["params"];
    assert_eq!(params["sessionId"], *chat.id);
    assert_eq!(params["toolCall"]["title"], "./touch a");
    assert_eq!(params["toolCall"]["kind"], "execute");
    assert_eq!(params["toolCall"]["rawInput"], json!({ "command": "./touch a" }));
    assert!(params["toolCall"]["content"][0]["content"]["text"].is_string(), "it says why");
    let call = chat.update("tool_call", |it| it["title"] == "./touch a");
    assert_eq!(call["toolCallId"], params["toolCall"]["toolCallId"]);
    let options = params["options"].as_array().expect("options").iter();
    let mut ids: Vec<&str> = options.clone().filter_map(|it| it["optionId"].as_str()).collect();
    if meanwhile_core::confine::refusal().is_none() {
        assert_eq!(ids.remove(1), "allow_confined", "after the plain answer, and of its kind");
        assert_eq!(params["options"][1]["kind"], "allow_once");
    }
    assert_eq!(ids, ["allow_once", "allow_always", "reject_once", "reject_always"]);
    assert!(options.clone().all(|it| it["optionId"] == it["kind"] || it["kind"] == "allow_once"));
    // Others are served while a person thinks.
    assert_eq!(chat.daemon.run("exit 2")["exit"]["code"], 2);
    let answer =
        json!({ "jsonrpc": "2.0", "id": question["id"], "result": selected("allow_once") });
    chat.daemon.send_raw(&answer);
    assert_eq!(chat.daemon.answer(ask), Ok(json!({ "stopReason": "end_turn" })));
    assert!(lab.file("a").exists());
}

/// Prompts twice with an answer; returns how often was asked, and which files are there.
fn twice(answer: Value) -> (usize, [bool; 2]) {
    let lab = Lab::new();
    let chat = touching(&lab);
    chat.daemon.answers(ASK, Some(answer));
    chat.prompt("a");
    chat.prompt("b");
    let asked = questions(&chat).len();
    drop(chat);
    (asked, ["a", "b"].map(|name| lab.file(name).exists()))
}

#[test]
fn an_answer_holds_for_as_long_as_it_says() {
    assert_eq!(twice(selected("allow_once")), (2, [true, true]));
    assert_eq!(twice(selected("allow_always")), (1, [true, true]));
    assert_eq!(twice(selected("reject_once")), (2, [false, false]));
    assert_eq!(twice(selected("reject_always")), (1, [false, false]));
}

#[test]
fn what_is_not_a_clear_yes_is_a_no() {
    for answer in [
        Value::Null,
        json!({ "outcome": { "outcome": "cancelled" } }),
        json!({ "outcome": { "outcome": "selected", "optionId": "sure" } }),
        json!({ "outcome": "allow_once" }),
        json!([]),
    ] {
        let lab = Lab::new();
        let chat = touching(&lab);
        chat.daemon.answers(ASK, Some(answer.clone()));
        assert_eq!(chat.prompt("a"), "end_turn", "{answer}");
        assert!(!lab.file("a").exists(), "{answer} was taken for a yes");
        chat.update("tool_call_update", |it| it["status"] == "failed");
    }
}

#[test]
fn always_is_remembered_in_the_workspace() {
    let lab = Lab::new();
    let chat = touching(&lab);
    chat.daemon.answers(ASK, Some(selected("allow_always")));
    chat.prompt("a");
    drop(chat);
    std::fs::remove_file(lab.file("a")).expect("it was made");
    let chat = touching(&lab);
    chat.daemon.answers(ASK, Some(selected("reject_once")));
    chat.prompt("a");
    assert_eq!(questions(&chat).len(), 0, "asked again");
    assert!(lab.file("a").exists());
}

#[test]
fn a_question_of_a_cancelled_turn_is_withdrawn() {
    let lab = Lab::new();
    let chat = touching(&lab);
    chat.daemon.answers(ASK, None);
    let ask = chat.ask("go");
    let question = chat.daemon.find("a question", is_question);
    chat.cancel();
    assert_eq!(chat.daemon.answer(ask), Ok(json!({ "stopReason": "cancelled" })));
    chat.daemon.push("$/cancelRequest", |params| params["id"] == question["id"]);
    // As an editor does that has closed its dialogue.
    let late = json!({ "jsonrpc": "2.0", "id": question["id"], "result": selected("allow_once") });
    chat.daemon.send_raw(&late);
    chat.daemon.answers(ASK, Some(selected("reject_once")));
    assert_eq!(chat.prompt("again"), "end_turn");
    assert!(!lab.file("a").exists());
}
