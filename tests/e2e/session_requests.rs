//! Single requests of agent sessions: lists in pages, a cancelled prompt, invalid parameters, and settings in
//! the workspace that a session must ignore.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

use crate::harness::{Entry, Lab};
use crate::session::{Chat, here, scripted};

const HELLO: &str = "[[turn]]\ntext = \"Hello!\"\n";

#[test]
fn sessions_are_listed_in_pages() {
    let lab = Lab::new();
    let daemon = scripted(&lab, HELLO);
    let name = |made: &Value| made["sessionId"].as_str().expect("a name").to_owned();
    let made: BTreeSet<String> =
        (0..101).map(|_| name(&daemon.call("session/new", here(&lab)))).collect();
    assert_eq!(made.len(), 101);
    let mut listed = BTreeSet::new();
    let mut page = |params: Value| {
        let page = daemon.call("session/list", params);
        let sessions = page["sessions"].as_array().expect("a list");
        listed.extend(sessions.iter().map(name));
        (sessions.len(), page.get("nextCursor").cloned())
    };
    let (count, next) = page(json!({}));
    let next = next.filter(Value::is_string).expect("there are more");
    assert_eq!(count, 100);
    assert_eq!(page(json!({ "cursor": next })), (1, None));
    assert_eq!(listed, made, "each is listed");
}

#[test]
fn cancelling_a_prompts_request_ends_the_waiting_not_the_turn() {
    let lab = Lab::new();
    let hold = lab.root().join("hold");
    let script = format!("[[turn]]\nhold = \"{}\"\ntext = \"Done.\"\n", hold.display());
    let chat = Chat::new(&lab, &script);
    let ask = chat.ask("go");
    chat.daemon.push("session/traced", |it| it["event"]["type"] == "call_started");
    chat.daemon.notify("$/cancelRequest", json!({ "id": ask }));
    assert_eq!(chat.daemon.answer(ask).expect_err("it was cancelled").code, -32800);
    fs::write(&hold, "").expect("the test's directory is writable");
    chat.says("Done.");
    assert_eq!(chat.turn(1, "ended")["stopReason"], "end_turn");
}

#[test]
fn keys_reach_no_command_of_the_agent_and_of_the_command_line() {
    let lab = Lab::new();
    let keys = ["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "OPENAI_API_KEY"];
    let path = lab.root().join("script.toml");
    let script = "[[turn]]\n[[turn.call]]\ntool = \"bash\"\ninput = { command = \"env > agent\" }\n\
                  [[turn]]\ntext = \"Done.\"\n";
    fs::write(&path, script).expect("the test's directory is writable");
    let model = format!("script/{}", path.display());
    let mut start = lab.start().env("MEANWHILE_MODEL", &model).env("OTHER", "seen");
    let mut command = lab.command(&["spawn", "--wait", "--", "sh", "-c", "env > line"]);
    command.env("OTHER", "seen");
    for key in keys {
        start = start.env(key, "secret");
        command.env(key, "secret");
    }
    let daemon = start.go();
    daemon.answers("session/request_permission", Some(crate::session::selected("allow_once")));
    let id = daemon.call("session/new", here(&lab))["sessionId"].clone();
    let prompt = json!([{ "type": "text", "text": "go" }]);
    daemon.call("session/prompt", json!({ "sessionId": id, "prompt": prompt }));
    assert!(command.status().expect("the binary runs").success());
    for file in ["agent", "line"] {
        let text = lab.text(file);
        assert!(text.contains("OTHER=seen"), "{file}: the environment is shown: {text}");
        assert!(text.contains("MEANWHILE_TASK_ID="), "{file}: it is a task: {text}");
        assert!(!text.contains("secret"), "{file}: a key reached a task: {text}");
    }
}

/// Writes files with which a workspace tries to set permissions, a model and a key.
fn presume(lab: &Lab) {
    let settings = "[model]\nmodel = \"anthropic/claude\"\nanthropic_api_key = \"theirs\"\n\
                    [permissions]\nallow = [\"*\"]\n";
    let environment = "MEANWHILE_MODEL=anthropic/claude\nANTHROPIC_API_KEY=theirs\n";
    for (name, text) in [
        (".env", environment),
        ("config.toml", settings),
        ("meanwhile.toml", settings),
        (".meanwhile/config.toml", settings),
        ("meanwhile/config.toml", settings),
        (".config/meanwhile/config.toml", settings),
    ] {
        let path = lab.file(name);
        fs::create_dir_all(path.parent().expect("it is in the workspace")).expect("writable");
        fs::write(path, text).expect("the workspace is writable");
    }
}

#[test]
fn a_workspaces_files_give_no_model_no_key_and_no_permission() {
    let lab = Lab::new();
    presume(&lab);
    let daemon = lab.start().env("MEANWHILE_MODEL", "anthropic/claude").go();
    let error = daemon.refused(1006, "session/new", here(&lab));
    assert!(error.message.contains("ANTHROPIC_API_KEY"), "{error:?}");
    drop(daemon);
    let script = "[[turn]]\n[[turn.call]]\ntool = \"bash\"\ninput = { command = \"touch a\" }\n\
                  [[turn]]\ntext = \"So be it.\"\n";
    let chat = Chat::new(&lab, script);
    chat.daemon
        .answers("session/request_permission", Some(crate::session::selected("reject_once")));
    assert_eq!(chat.prompt("go"), "end_turn");
    let is_question =
        |entry: &Entry| (entry.message["method"] == "session/request_permission").then_some(());
    chat.daemon.find("the question", is_question);
    assert!(!lab.file("a").exists(), "it was not allowed");
    // Without a person to ask, the call is denied.
    let model = format!("script/{}", lab.root().join("script.toml").display());
    let mut run = lab.command(&["run", "go"]);
    let ran = run.env("MEANWHILE_MODEL", model).output().expect("the binary runs");
    assert_eq!(ran.status.code(), Some(3), "it finished, and a call was denied: {ran:?}");
    assert!(!lab.file("a").exists(), "it was not allowed");
}

/// A field, and invalid values for it.
type Wrong = (&'static str, Vec<Value>);

/// Methods, each with valid parameters and the wrong values for each field.
fn nonsense(lab: &Lab) -> Vec<(&'static str, Value, Vec<Wrong>)> {
    let no_text = || vec![json!(null), json!(true), json!(7), json!([]), json!({})];
    let no_list = || vec![json!(true), json!(7), json!("7"), json!({})];
    let id = || {
        let mut values = no_text();
        values.extend([json!(""), json!("no session"), json!("x".repeat(2_000_000))]);
        ("sessionId", values)
    };
    let place = || {
        let mut cwd = no_text();
        cwd.extend([json!(""), json!(".."), json!("/no/such/place"), json!("a\u{0}b")]);
        let server = json!({ "name": "s", "command": "/bin/true", "args": [], "env": [] });
        let mut servers = no_list();
        servers.push(json!(vec![server; 33]));
        let wakes = [json!("sometimes"), json!(true), json!(null), json!({})];
        let meta = wakes.into_iter().map(|wake| json!({ "meanwhile": { "wake": wake } }));
        vec![
            ("cwd", cwd),
            ("mcpServers", servers),
            ("additionalDirectories", vec![json!(["/elsewhere"])]),
            ("_meta", meta.collect()),
        ]
    };
    let text = json!([{ "type": "text", "text": "hello" }]);
    let mut prompts = no_list();
    prompts.extend([
        json!([]),
        json!([5]),
        json!([{}]),
        json!([{ "type": "smell", "text": "x" }]),
        json!([{ "type": "text" }]),
        json!([{ "type": "text", "text": 5 }]),
        json!([{ "type": "text", "text": " \n" }]),
    ]);
    let session = json!({ "sessionId": "00000000-0000-4000-8000-000000000000" });
    let mut load = here(lab);
    load["sessionId"] = session["sessionId"].clone();
    let mut prompt = session.clone();
    prompt["prompt"] = text;
    let numbers = vec![json!(-1), json!(1.5), json!(1e30), json!("1"), json!([]), json!({})];
    let cursors = vec![json!(true), json!(7), json!([]), json!({}), json!("x"), json!("-1")];
    let places = vec![json!(true), json!(7), json!([]), json!({})];
    vec![
        ("session/new", here(lab), place()),
        ("session/load", load, [place(), vec![id()]].concat()),
        ("session/list", json!({}), vec![("cursor", cursors), ("cwd", places)]),
        ("session/prompt", prompt, vec![("prompt", prompts), id()]),
        ("session/cancel", session.clone(), vec![id()]),
        ("session/close", session.clone(), vec![id()]),
        ("session/trace", session, vec![("after", numbers), id()]),
    ]
}

#[test]
fn parameters_of_sessions_that_make_no_sense_are_refused_by_name() {
    let lab = Lab::new();
    let daemon = scripted(&lab, HELLO);
    let mut wrong = Vec::new();
    for (method, base, fields) in nonsense(&lab) {
        for params in [json!("text"), json!(1), json!([1, 2]), json!(true)] {
            let error = daemon.request(method, params.clone()).expect_err("no object");
            assert!([-32602, -32600].contains(&error.code), "{method} {params}: {error:?}");
        }
        for (field, values) in fields {
            for value in values {
                let mut params = base.clone();
                params[field] = value;
                let shown: String = params.to_string().chars().take(200).collect();
                match daemon.request(method, params) {
                    Err(error) if error.code == -32602 && error.message.len() < 2_000 => {
                        let named = error.data["field"].as_str().unwrap_or_default();
                        if !named.starts_with(field) {
                            wrong.push(format!("{method} {shown}: named `{named}`, not `{field}`"));
                        }
                    }
                    other => wrong.push(format!("{method} {shown}: {other:?}")),
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} cases: {wrong:#?}", wrong.len());
    assert_eq!(daemon.call("session/list", json!({})), json!({ "sessions": [] }));
    daemon.run("true");
}
