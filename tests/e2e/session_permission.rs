//! Permission requests of the agent (docs/protocol.md, "Agent sessions").

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::harness::{Entry, Lab};
use crate::session::{Chat, selected};

const ASK: &str = "session/request_permission";

/// A script that runs `./touch a` and then `./touch b`: a program in the workspace, for which "always" is
/// offered.
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

/// A chat with [`TOUCH`] in a workspace that has this program.
fn touching(lab: &Lab) -> Chat {
    let program = lab.file("touch");
    std::fs::write(&program, "#!/bin/sh\nexec touch \"$@\"\n").expect("it can be written");
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).expect("the test owns it");
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
    assert!(
        params["toolCall"]["content"][0]["content"]["text"].is_string(),
        "the request says why"
    );
    let call = chat.update("tool_call", |it| it["title"] == "./touch a");
    assert_eq!(call["toolCallId"], params["toolCall"]["toolCallId"]);
    let options = params["options"].as_array().expect("options").iter();
    let mut ids: Vec<&str> = options.clone().filter_map(|it| it["optionId"].as_str()).collect();
    if meanwhile_core::confine::refusal().is_none() {
        assert_eq!(ids.remove(1), "allow_confined", "the confined option follows the plain one");
        assert_eq!(params["options"][1]["kind"], "allow_once");
    }
    assert_eq!(ids, ["allow_once", "allow_always", "reject_once", "reject_always"]);
    assert!(options.clone().all(|it| it["optionId"] == it["kind"] || it["kind"] == "allow_once"));
    // Other requests are answered while the permission request is open.
    assert_eq!(chat.daemon.run("exit 2")["exit"]["code"], 2);
    let answer =
        json!({ "jsonrpc": "2.0", "id": question["id"], "result": selected("allow_once") });
    chat.daemon.send_raw(&answer);
    assert_eq!(chat.daemon.answer(ask), Ok(json!({ "stopReason": "end_turn" })));
    assert!(lab.file("a").exists());
}

/// Prompts twice with this answer; returns the number of permission requests, and which files exist.
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
    assert_eq!(question["params"]["_meta"]["meanwhile"]["request"], question["id"]);
    // Some editors answer a withdrawn request when they close its dialogue.
    let late = json!({ "jsonrpc": "2.0", "id": question["id"], "result": selected("allow_once") });
    chat.daemon.send_raw(&late);
    chat.daemon.answers(ASK, Some(selected("reject_once")));
    assert_eq!(chat.prompt("again"), "end_turn");
    assert!(!lab.file("a").exists());
}

/// The file that is edited, in a subdirectory.
const FILE: &str = "src/main.txt";
const OLD: &str = "one\ntwo\nthree\nfour\nfive\nsix\nseven\n";
const PROPOSED: &str = "ONE\ntwo\nthree\nfour\nfive\nsix\nSEVEN\n";

/// A chat whose agent writes [`PROPOSED`] and must get a result with the text `expect`.
fn editing(lab: &Lab, expect: &str) -> Chat {
    calling(lab, "write_file", &format!("content = {PROPOSED:?}"), expect)
}

/// A chat whose agent calls a tool with [`FILE`] and must get a result with the text `expect`.
fn calling(lab: &Lab, tool: &str, input: &str, expect: &str) -> Chat {
    std::fs::create_dir_all(lab.file("src")).expect("a directory");
    std::fs::write(lab.file(FILE), OLD).expect("it can be written");
    let script = format!(
        "[[turn]]\n[[turn.call]]\ntool = {tool:?}\ninput = {{ path = {FILE:?}, {input} }}\n\
         [[turn]]\nexpect = [{expect:?}]\ntext = \"Done.\"\n"
    );
    Chat::new(lab, &script)
}

fn written(lab: &Lab) -> String {
    std::fs::read_to_string(lab.file(FILE)).expect("it exists")
}

/// An answer with another text for the file.
fn instead(option: &str, text: &str) -> Value {
    let mut answer = selected(option);
    answer["_meta"] = json!({ "meanwhile": { "edit": { "newText": text } } });
    answer
}

/// The permission request for an edit.
fn asked(chat: &Chat) -> Value {
    chat.daemon.find("a question", is_question)
}

fn reply(chat: &Chat, question: &Value, answer: &Value) {
    chat.daemon.send_raw(&json!({ "jsonrpc": "2.0", "id": question["id"], "result": answer }));
}

#[test]
fn a_change_is_asked_as_a_change() {
    let lab = Lab::new();
    let chat = editing(&lab, "replaced");
    chat.daemon.answers(ASK, None);
    let prompt = chat.ask("go");
    let question = asked(&chat);
    let params = &question["params"];
    let diff = &params["toolCall"]["content"][0];
    assert_eq!(diff["type"], "diff");
    assert_eq!(diff["path"], *lab.file(FILE).to_string_lossy());
    assert_eq!((&diff["oldText"], &diff["newText"]), (&json!(OLD), &json!(PROPOSED)));
    assert_eq!(params["toolCall"]["rawInput"], Value::Null, "the change already shows the input");
    assert_eq!(params["_meta"]["meanwhile"]["question"], "write src/main.txt");
    let options = params["options"].as_array().expect("options");
    let names: Vec<&str> = options.iter().filter_map(|it| it["name"].as_str()).collect();
    let like = "allow edits in `src`";
    assert_eq!(names, ["Allow", &format!("Always {like}"), "Reject", &format!("Never {like}")]);
    assert_eq!(written(&lab), OLD, "nothing is written before the answer");
    // Answer like a client that does not know how to change an edit.
    reply(&chat, &question, &selected("allow_once"));
    assert_eq!(chat.daemon.answer(prompt), Ok(json!({ "stopReason": "end_turn" })));
    assert_eq!(written(&lab), PROPOSED);
}

#[test]
fn a_new_file_is_asked_as_a_change_of_nothing() {
    let lab = Lab::new();
    let chat = editing(&lab, "created");
    std::fs::remove_file(lab.file(FILE)).expect("it exists");
    chat.daemon.answers(ASK, None);
    let prompt = chat.ask("go");
    let question = asked(&chat);
    let diff = &question["params"]["toolCall"]["content"][0];
    assert_eq!((&diff["oldText"], &diff["newText"]), (&Value::Null, &json!(PROPOSED)));
    reply(&chat, &question, &selected("allow_once"));
    assert_eq!(chat.daemon.answer(prompt), Ok(json!({ "stopReason": "end_turn" })));
    assert_eq!(written(&lab), PROPOSED);
}

#[test]
fn what_a_person_leaves_of_a_change_is_written_and_told() {
    let lab = Lab::new();
    let left = PROPOSED.replace("SEVEN", "seven");
    let chat = editing(&lab, "the person changed this call");
    chat.daemon.answers(ASK, Some(instead("allow_once", &left)));
    assert_eq!(chat.prompt("go"), "end_turn");
    assert_eq!(written(&lab), left);
    let told = chat.update("tool_call_update", |it| it["status"] == "completed");
    let content = told["content"].as_array().expect("content");
    assert_eq!(content[0]["newText"], *left, "people are shown what was written");
    let text = content[1]["content"]["text"].as_str().expect("a text");
    assert!(text.contains("-one\n+ONE\n") && !text.contains("SEVEN"), "{text}");
}

#[test]
fn an_edit_is_a_change_of_the_whole_file() {
    let lab = Lab::new();
    let input = "old_string = \"two\\n\", new_string = \"2\\n\"";
    let chat = calling(&lab, "edit_file", input, "-three\n+3\n");
    chat.daemon.answers(ASK, None);
    let prompt = chat.ask("go");
    let question = asked(&chat);
    let diff = &question["params"]["toolCall"]["content"][0];
    assert_eq!(
        (&diff["oldText"], &diff["newText"]),
        (&json!(OLD), &json!(OLD.replace("two", "2")))
    );
    let left = OLD.replace("three", "3");
    reply(&chat, &question, &instead("allow_once", &left));
    assert_eq!(chat.daemon.answer(prompt), Ok(json!({ "stopReason": "end_turn" })));
    assert_eq!(written(&lab), left);
}

#[test]
fn a_change_of_which_nothing_is_left_is_a_no() {
    let lab = Lab::new();
    let chat = editing(&lab, "the person rejected all");
    chat.daemon.answers(ASK, Some(instead("allow_once", OLD)));
    assert_eq!(chat.prompt("go"), "end_turn");
    assert_eq!(written(&lab), OLD);
    chat.update("tool_call_update", |it| it["status"] == "failed");
}

/// A chat whose agent writes a file and must get a result with the text `expect`.
fn writing(lab: &Lab, path: &str, content: &str, expect: &str) -> Chat {
    let script = format!(
        "[[turn]]\n[[turn.call]]\ntool = \"write_file\"\n\
         input = {{ path = {path:?}, content = {content:?} }}\n\
         [[turn]]\nexpect = [{expect:?}]\ntext = \"Done.\"\n"
    );
    Chat::new(lab, &script)
}

#[test]
fn a_new_file_of_which_nothing_is_left_is_not_made() {
    let lab = Lab::new();
    let chat = writing(&lab, "new/file", "text\n", "the person rejected all");
    chat.daemon.answers(ASK, Some(instead("allow_once", "")));
    assert_eq!(chat.prompt("go"), "end_turn");
    assert!(!lab.file("new").exists());
}

#[test]
fn lines_of_a_file_that_is_not_read_unasked_are_not_told() {
    let lab = Lab::new();
    std::fs::write(
        lab.file(".env"),
        "KEY=canary
PORT=1
",
    )
    .expect("it can be written");
    let chat = writing(
        &lab,
        ".env",
        "PORT=2
",
        "reading this file needs permission",
    );
    let left = "KEY=canary\nPORT=2\n";
    chat.daemon.answers(ASK, Some(instead("allow_once", left)));
    assert_eq!(chat.prompt("go"), "end_turn");
    assert_eq!(lab.text(".env"), left);
}

#[test]
fn a_change_is_not_made_where_its_path_has_come_to_lead() {
    let lab = Lab::new();
    let other = lab.root().join("other");
    std::fs::create_dir_all(&other)
        .and_then(|()| std::fs::create_dir(lab.file("d")))
        .expect("it can be created");
    let chat = writing(&lab, "d/file", "text\n", "it changed while the person looked");
    chat.daemon.answers(ASK, None);
    let prompt = chat.ask("go");
    let question = asked(&chat);
    std::fs::remove_dir(lab.file("d")).expect("it is empty");
    std::os::unix::fs::symlink(&other, lab.file("d")).expect("a link");
    reply(&chat, &question, &selected("allow_once"));
    assert_eq!(chat.daemon.answer(prompt), Ok(json!({ "stopReason": "end_turn" })));
    assert!(!other.join("file").exists());
}

#[test]
fn always_holds_for_what_comes_after_a_changed_edit() {
    let lab = Lab::new();
    let chat = editing(&lab, "the person changed this call");
    let left = "mine\n";
    chat.daemon.answers(ASK, Some(instead("allow_always", left)));
    assert_eq!(chat.prompt("go"), "end_turn");
    assert_eq!(written(&lab), left);
    drop(chat);
    let script = format!(
        "[[turn]]\n[[turn.call]]\ntool = \"write_file\"\n\
         input = {{ path = {FILE:?}, content = \"next\\n\" }}\n[[turn]]\ntext = \"Done.\"\n"
    );
    let chat = Chat::new(&lab, &script);
    assert_eq!(chat.prompt("go"), "end_turn");
    assert_eq!((questions(&chat).len(), &*written(&lab)), (0, "next\n"));
}

#[test]
fn a_file_that_changed_meanwhile_is_left_alone() {
    let answers = [instead("allow_once", "left\n"), selected("allow_once")];
    let cases =
        [Some("mine\n"), None].into_iter().flat_map(|it| answers.iter().map(move |a| (it, a)));
    for (there, answer) in cases {
        let lab = Lab::new();
        let chat = editing(&lab, "it changed while the person looked at this change");
        chat.daemon.answers(ASK, None);
        let prompt = chat.ask("go");
        let question = asked(&chat);
        match there {
            Some(text) => std::fs::write(lab.file(FILE), text).expect("it can be written"),
            None => std::fs::remove_file(lab.file(FILE)).expect("it exists"),
        }
        reply(&chat, &question, answer);
        assert_eq!(chat.daemon.answer(prompt), Ok(json!({ "stopReason": "end_turn" })));
        assert_eq!(std::fs::read_to_string(lab.file(FILE)).ok().as_deref(), there);
    }
}

#[test]
fn an_answer_that_is_not_understood_writes_nothing() {
    let lab = Lab::new();
    let chat = editing(&lab, "refused");
    let mut answer = instead("allow_once", "");
    answer["_meta"]["meanwhile"]["edit"] = json!({ "text": "left\n" });
    chat.daemon.answers(ASK, Some(answer));
    assert_eq!(chat.prompt("go"), "end_turn");
    assert_eq!(written(&lab), OLD);
}

#[test]
fn a_text_for_a_call_that_writes_none_is_a_no() {
    let lab = Lab::new();
    let chat = touching(&lab);
    chat.daemon.answers(ASK, Some(instead("allow_once", "text")));
    assert_eq!(chat.prompt("a"), "end_turn");
    assert!(!lab.file("a").exists());
    chat.update("tool_call_update", |it| it["status"] == "failed");
}
