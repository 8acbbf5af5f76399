//! Config options and modes of a session, which are stored with it; and its resume and deletion.

use std::io::{Read, Write};

use serde_json::{Value, json};

use crate::client::Client;
use crate::harness::Store;

/// For each of two prompts: a command that no rule allows, then a final message.
const ASKS: &str = "
[[turn]]
[[turn.call]]
tool = 'bash'
input = { command = 'echo x >> made' }

[[turn]]
text = 'One.'

[[turn]]
[[turn.call]]
tool = 'bash'
input = { command = 'echo x >> made' }

[[turn]]
text = 'Two.'
";

fn value<'a>(options: &'a Value, id: &str) -> &'a Value {
    let options = options["configOptions"].as_array().unwrap();
    &options.iter().find(|option| option["id"] == id).unwrap()["currentValue"]
}

fn set(client: &mut Client, session: &str, id: &str, value: &str) -> Value {
    let params = json!({"sessionId": session, "configId": id, "value": value});
    client.call("session/set_config_option", params)
}

fn questions(client: &Client) -> usize {
    client.heard.iter().filter(|it| it["method"] == "session/request_permission").count()
}

/// Whether this machine supports this kind of confinement, according to `meanwhile doctor`.
fn confines(store: &Store, check: &str) -> bool {
    let said = store.json(&["doctor", "--json"]);
    let checks = said["checks"].as_array().unwrap();
    let found = checks.iter().find(|it| it["name"] == check);
    found.unwrap_or_else(|| panic!("no check `{check}`: {said}"))["status"] == "ok"
}

#[test]
fn a_session_says_how_it_is_led_and_what_may_be_chosen() {
    let store = Store::new();
    let mut client = Client::new(&store, ASKS);
    let params = json!({"cwd": store.workspace(), "mcpServers": []});
    let made = client.call("session/new", params);
    assert!(value(&made, "model").as_str().unwrap().starts_with("script/"), "{made}");
    assert_eq!(*value(&made, "permissions"), "ask");
    assert_eq!(*value(&made, "wake"), "on");
    assert_eq!(made["modes"]["currentModeId"], "ask", "{made}");
    let modes = made["modes"]["availableModes"].as_array().unwrap();
    let names: Vec<_> = modes.iter().map(|mode| mode["id"].as_str().unwrap()).collect();
    assert_eq!(names, ["look", "ask", "work"]);
}

#[test]
fn a_choice_is_in_force_at_once_and_stays_with_the_session() {
    let store = Store::new();
    let mut client = Client::new(&store, ASKS);
    let session = client.session(&store.workspace());
    let options = set(&mut client, &session, "permissions", "look");
    assert_eq!(*value(&options, "permissions"), "look");
    let told = client.updates("current_mode_update");
    assert_eq!(told[0]["currentModeId"], "look", "{told:?}");
    set(&mut client, &session, "wake", "queue");
    assert_eq!(client.prompt(&session, "make it"), "end_turn");
    assert_eq!(questions(&client), 0, "the client is not asked");
    assert!(!store.workspace().join("made").exists(), "it could only look");
    for method in ["session/load", "session/resume"] {
        drop(client);
        client = Client::new(&store, ASKS);
        let params = json!({"cwd": store.workspace(), "sessionId": session, "mcpServers": []});
        let opened = client.call(method, params);
        assert_eq!(*value(&opened, "permissions"), "look", "{method}");
        assert_eq!(*value(&opened, "wake"), "queue", "{method}");
        assert_eq!(opened["modes"]["currentModeId"], "look", "{method}");
    }
    client.call("session/set_mode", json!({"sessionId": session, "modeId": "ask"}));
    let told = client.updates("config_option_update");
    assert_eq!(*value(&told[0], "permissions"), "ask", "{told:?}");
    assert_eq!(client.prompt(&session, "make it"), "end_turn");
    assert_eq!(questions(&client), 1, "the client is asked again");
    assert!(store.workspace().join("made").exists());
}

#[test]
#[expect(clippy::print_stderr, reason = "the reader must see that the test was skipped")]
fn work_in_the_workspace_is_not_asked() {
    let store = Store::new();
    if !confines(&store, "confinement") {
        eprintln!("skipped: this machine cannot confine commands");
        return;
    }
    let mut client = Client::new(&store, ASKS);
    let session = client.session(&store.workspace());
    client.call("session/set_mode", json!({"sessionId": session, "modeId": "work"}));
    assert_eq!(client.prompt(&session, "make it"), "end_turn");
    assert_eq!(questions(&client), 0);
    assert!(store.workspace().join("made").exists());
}

#[test]
fn what_a_person_allows_in_a_session_that_looks_can_only_look() {
    let store = Store::new();
    store.write_config("[permissions]\nask = ['bash echo']\n");
    let mut client = Client::new(&store, ASKS);
    let session = client.session(&store.workspace());
    set(&mut client, &session, "permissions", "look");
    assert_eq!(client.prompt(&session, "make it"), "end_turn");
    // A machine without confinement refuses the command without asking.
    let expected = usize::from(confines(&store, "confinement"));
    assert_eq!(questions(&client), expected, "the rule requires asking, and the client allows it");
    assert!(!store.workspace().join("made").exists(), "it could only look");
}

#[test]
fn work_writes_nothing_that_would_be_asked() {
    let store = Store::new();
    store.write_config("[permissions]\nask = ['write asked']\n");
    let at = |path: &str| store.workspace().join(path);
    for folder in [".git/hooks", "asked"] {
        std::fs::create_dir_all(at(folder)).unwrap();
    }
    std::fs::write(at(".git/config"), "").unwrap();
    let line = "touch .git/hooks/pre-commit asked/file; echo x > .git/config; touch made";
    let script = format!(
        "[[turn]]\n[[turn.call]]\ntool = 'bash'\ninput = {{ command = '{line}' }}\n[[turn]]\ntext = 'One.'\n"
    );
    let mut client = Client::new(&store, &script);
    client.chooses = None;
    let session = client.session(&store.workspace());
    set(&mut client, &session, "permissions", "work");
    let holds = confines(&store, "confinement") && confines(&store, "rules for files");
    client.say(&session, "make it");
    if holds {
        client.says("One.");
        assert!(at("made").exists());
    } else {
        client.find(|it| (it["method"] == "session/request_permission").then_some(()));
    }
    for path in [".git/hooks/pre-commit", "asked/file"] {
        assert!(!at(path).exists(), "{path}");
    }
    assert_eq!(std::fs::read_to_string(at(".git/config")).unwrap(), "");
}

#[test]
fn another_model_answers_from_the_next_turn_on_and_after_a_load() {
    let store = Store::new();
    let other = store.workspace().with_file_name("other.toml");
    let turn = |text: &str| format!("[[turn]]\ntext = '{text}'\n");
    std::fs::write(&other, turn("-") + &turn("I am another.") + &turn("And so I stay.")).unwrap();
    let setting = format!("script/{}", other.display());
    let first = turn("I am the first.");
    let mut client = Client::new(&store, &first);
    let session = client.session(&store.workspace());
    assert_eq!(client.prompt(&session, "who?"), "end_turn");
    let options = set(&mut client, &session, "model", &setting);
    assert_eq!(*value(&options, "model"), *setting);
    assert_eq!(client.prompt(&session, "who?"), "end_turn");
    assert!(client.has_said("I am another."));
    drop(client);
    let mut client = Client::new(&store, &first);
    let params = json!({"cwd": store.workspace(), "sessionId": session, "mcpServers": []});
    let loaded = client.call("session/load", params.clone());
    assert_eq!(*value(&loaded, "model"), *setting);
    assert_eq!(client.prompt(&session, "who?"), "end_turn");
    assert!(client.has_said("And so I stay."));
    drop(client);
    // A session whose model no longer exists can still be loaded.
    std::fs::remove_file(other).unwrap();
    let mut client = Client::new(&store, &first);
    let loaded = client.call("session/load", params);
    assert_ne!(*value(&loaded, "model"), *setting);
}

#[test]
fn what_cannot_be_chosen_is_refused_with_what_can() {
    let store = Store::new();
    let mut client = Client::new(&store, ASKS);
    let session = client.session(&store.workspace());
    for (id, value, field, words) in [
        ("colour", "red", "configId", "`model`, `permissions`, `wake`"),
        ("permissions", "all", "value", "`look`, `ask`, `work`"),
        ("wake", "never", "value", "`on`, `queue`"),
        ("model", "gpt", "value", "expected `anthropic/NAME`"),
        ("model", "anthropic/claude", "value", "needs a key"),
    ] {
        let params = json!({"sessionId": session, "configId": id, "value": value});
        let refused = client.refused("session/set_config_option", params);
        assert_eq!(refused["code"], -32602, "{refused}");
        assert_eq!(refused["data"]["field"], field, "{refused}");
        assert!(refused["message"].as_str().unwrap().contains(words), "{refused}");
    }
    let params =
        json!({"sessionId": session, "configId": "wake", "type": "boolean", "value": true});
    let refused = client.refused("session/set_config_option", params);
    assert_eq!(refused["data"]["field"], "value", "{refused}");
    let params = json!({"sessionId": session, "modeId": "yolo"});
    let refused = client.refused("session/set_mode", params);
    assert_eq!(refused["data"]["field"], "modeId", "{refused}");
    let params = json!({"sessionId": "none", "modeId": "ask"});
    let refused = client.refused("session/set_mode", params);
    assert_eq!(refused["data"]["field"], "sessionId", "{refused}");
}

#[test]
fn a_session_goes_on_without_being_said_over_again() {
    let store = Store::new();
    let mut client = Client::new(&store, ASKS);
    let session = client.session(&store.workspace());
    assert_eq!(client.prompt(&session, "make it"), "end_turn");
    let params = json!({"cwd": store.workspace(), "sessionId": session, "mcpServers": []});
    let refused = client.refused("session/resume", params.clone());
    assert_eq!(refused["data"]["field"], "sessionId", "the session is open: {refused}");
    drop(client);
    let mut client = Client::new(&store, ASKS);
    client.call("session/resume", params);
    assert_eq!(client.prompt(&session, "again"), "end_turn");
    assert!(client.has_said("Two."));
    assert!(!client.has_said("One."), "the history is not sent again");
    assert!(client.updates("user_message_chunk").is_empty());
}

#[test]
fn a_session_that_is_deleted_is_in_no_list_and_its_tasks_go_on() {
    let store = Store::new();
    let script = "
[[turn]]
[[turn.call]]
tool = 'background_run'
input = { command = 'until [ -e go ]; do sleep 0.02; done' }

[[turn]]
text = 'It runs.'
";
    let other = store.workspace().join("other");
    std::fs::create_dir(&other).unwrap();
    let mut client = Client::new(&store, script);
    let session = client.session(&store.workspace());
    let elsewhere = client.session(&other);
    client.say(&session, "run it");
    client.says("It runs.");
    // Without a directory, the sessions of all directories are listed.
    let listed = client.call("session/list", json!({}));
    assert_eq!(listed["sessions"].as_array().unwrap().len(), 2, "{listed}");
    let mut second = Client::new(&store, script);
    let refused = second.refused("session/delete", json!({"sessionId": session}));
    assert_eq!(refused["code"], 1003, "another process has it open: {refused}");
    client.call("session/delete", json!({"sessionId": session}));
    let listed = client.call("session/list", json!({}));
    assert_eq!(listed["sessions"][0]["sessionId"], *elsewhere, "{listed}");
    let refused = client.refused("session/delete", json!({"sessionId": session}));
    assert_eq!(refused["data"]["field"], "sessionId", "{refused}");
    let running = store.json(&["ps", "--json"]);
    assert_eq!(running["tasks"][0]["state"], "running", "{running}");
    store.release();
    // No client reads the session's queue any more, so the end does not stay in it.
    let id = running["tasks"][0]["id"].as_str().unwrap().to_owned();
    crate::harness::until("its end is taken", || store.task(&id)["delivered"].is_object());
}

#[test]
fn the_models_of_a_server_are_told_once_it_has_said_so() {
    let store = Store::new();
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1", server.local_addr().unwrap());
    std::thread::spawn(move || {
        for connection in server.incoming() {
            let mut connection = connection.unwrap();
            let mut request = [0; 4_096];
            let _ = connection.read(&mut request);
            let body = r#"{"object": "list", "data": [{"id": "small"}, {"id": "large"}]}"#;
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close";
            let length = body.len();
            let _ = write!(connection, "{head}\r\nContent-Length: {length}\r\n\r\n{body}");
        }
    });
    let mut command = store.command(&["acp"]);
    command.env("MEANWHILE_MODEL", "openai/small").env("OPENAI_BASE_URL", url);
    let mut client = Client::start(command);
    client.call("initialize", json!({"protocolVersion": 1}));
    let session = client.session(&store.workspace());
    let told = client.find(|it| {
        let update = &it["params"]["update"];
        (update["sessionUpdate"] == "config_option_update").then(|| update.clone())
    });
    assert_eq!(*value(&told, "model"), "openai/small");
    assert!(told.to_string().contains("openai/large"), "{told}");
    let options = set(&mut client, &session, "model", "openai/large");
    assert_eq!(*value(&options, "model"), "openai/large");
    let params = json!({"sessionId": session, "configId": "model", "value": "large"});
    let refused = client.refused("session/set_config_option", params);
    let known = "known here: `openai/small`, `openai/large`";
    assert!(refused["message"].as_str().unwrap().contains(known), "{refused}");
}
