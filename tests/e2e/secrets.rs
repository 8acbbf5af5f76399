//! Keys that a client passes in the handshake (docs/protocol.md, "Lifecycle") are used, and shown nowhere.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::mpsc;
use std::thread;

use serde_json::json;

use crate::harness::Lab;
use crate::session::here;

const KEY: &str = "sk-secret-of-a-test-0123456789";

/// A model server that passes each received key to the test, and refuses it with an error that repeats the key.
fn server() -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    let (asked, keys) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut reader = BufReader::new(stream);
            let (mut length, mut key) = (0, String::new());
            for line in reader.by_ref().lines().map_while(Result::ok) {
                let (name, value) = line.split_once(": ").unwrap_or((&line, ""));
                match name.to_ascii_lowercase().as_str() {
                    "content-length" => length = value.parse().unwrap_or(0),
                    "x-api-key" => value.clone_into(&mut key),
                    "" => break,
                    _ => {}
                }
            }
            let mut body = vec![0; length];
            let _ = reader.read_exact(&mut body);
            let text = json!({ "type": "error", "error": {
                "type": "authentication_error", "message": format!("bad key {key}") } });
            let text = text.to_string();
            let length = text.len();
            let _ = asked.send(key);
            let head =
                "HTTP/1.1 401 Unauthorized\r\nconnection: close\r\ncontent-type: application/json";
            let _ = write!(reader.get_mut(), "{head}\r\ncontent-length: {length}\r\n\r\n{text}");
        }
    });
    (url, keys)
}

/// Whether a file below a directory has these bytes.
fn kept(dir: &Path, bytes: &[u8]) -> bool {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).any(|path| match path.is_dir() {
        true => kept(&path, bytes),
        false => std::fs::read(&path)
            .is_ok_and(|text| text.windows(bytes.len()).any(|part| part == bytes)),
    })
}

#[test]
fn a_key_given_at_the_handshake_is_used_and_shown_nowhere() {
    let lab = Lab::new();
    let (url, keys) = server();
    let secrets = json!({ "MEANWHILE_MODEL": "anthropic/m", "ANTHROPIC_API_KEY": KEY,
        "ANTHROPIC_BASE_URL": url });
    let start = lab.start().env("MEANWHILE_LOG", "trace").noisy();
    let (daemon, result) = start.options(json!({ "secrets": secrets })).go_and_tell();
    let capability = &result["capabilities"]["experimental"]["meanwhile"];
    let features = capability["features"].as_array().expect("there are features");
    assert!(features.contains(&json!("initialize.secrets")));
    assert!(!result.to_string().contains(KEY), "the answer contains the key");

    let made = daemon.call("session/new", here(&lab));
    assert_eq!(made["_meta"]["meanwhile"]["model"], "anthropic/m", "it overrides the environment");
    let prompt = json!([{ "type": "text", "text": "go" }]);
    let params = json!({ "sessionId": made["sessionId"], "prompt": prompt });
    daemon.refused(1008, "session/prompt", params);
    assert_eq!(keys.recv().expect("a request"), KEY);

    let id = daemon.sh("env; tr '\\0' '\\n' </proc/$PPID/environ");
    daemon.exited(&id);
    assert!(!daemon.output(&id).contains(KEY), "a task sees it");
    let said: Vec<_> = daemon.entries().iter().map(|entry| format!("{entry:?}")).collect();
    let told = |text: &&String| text.contains(KEY) && !text.contains("initializationOptions");
    assert_eq!(said.iter().find(told), None);
    assert!(!daemon.stderr().contains(KEY), "the log has it");
    assert!(daemon.stderr().contains("a request"), "there is a log");
    drop(daemon);
    assert!(!kept(&lab.state(), KEY.as_bytes()), "the store has it");
}

#[test]
fn a_key_in_the_wrong_place_is_refused_without_being_shown() {
    let daemon = Lab::new().start().silent().go();
    let params = |options| json!({ "processId": null, "capabilities": {}, "initializationOptions": options });
    for secrets in [json!(KEY), json!({ KEY: "x" }), json!({ "OPENAI_API_KEY": [KEY] })] {
        let error = daemon.refused(-32602, "initialize", params(json!({ "secrets": secrets })));
        assert_eq!(error.data["field"], "initializationOptions.secrets");
        assert!(!error.message.contains(KEY), "{}", error.message);
    }
    daemon.call("initialize", params(json!({})));
    daemon.notify("initialized", json!({}));
}
