//! Replays the example connection in `docs/protocol.md` with the real daemon, so that the page is correct.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;

/// Members whose values differ from run to run; their types must be the same.
const VARYING: [&str; 14] = [
    "pid",
    "createdAt",
    "endedAt",
    "at",
    "durationMs",
    "ended",
    "took",
    "order",
    "total",
    "workspace",
    "cwd",
    "version",
    "limits",
    "confine",
];
/// The id of the task on the page, which is as long as a real one.
const SAMPLE_ID: &str = "b3f9c2a1";
/// A member that a message may have earlier than on the page.
const EARLY: &str = "pid";
/// A push that may arrive more often than on the page.
const SNAPSHOT: &str = "tasks/changed";

fn transcript() -> Vec<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/protocol.md");
    let page = std::fs::read_to_string(page).expect("the page is there");
    let (_, rest) = page.split_once("```transcript\n").expect("the page has a transcript");
    let (transcript, _) = rest.split_once("```").expect("the transcript ends");
    transcript.lines().map(str::to_owned).collect()
}

/// Reads frames in another thread, so that waiting for one can time out.
fn frames(from: impl Read + Send + 'static) -> mpsc::Receiver<Value> {
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || {
        let mut from = BufReader::new(from);
        loop {
            let mut header = String::new();
            if from.read_line(&mut header).expect("a header") == 0 {
                return;
            }
            let length = header.strip_prefix("Content-Length: ").expect("the first header");
            let mut body = vec![0; length.trim().parse().expect("a length")];
            from.read_line(&mut header).expect("an empty line");
            from.read_exact(&mut body).expect("a body");
            if send.send(serde_json::from_slice(&body).expect("JSON")).is_err() {
                return;
            }
        }
    });
    receive
}

/// Whether a message is the one on the page, apart from members that vary.
fn matches(got: &Value, shown: &Value) -> bool {
    match (got, shown) {
        (Value::Object(got), Value::Object(shown)) => {
            got.keys().all(|name| name == EARLY || shown.contains_key(name))
                && shown.iter().all(|(name, shown)| {
                    got.get(name).is_some_and(|got| {
                        let kind = std::mem::discriminant(got) == std::mem::discriminant(shown);
                        kind && (VARYING.contains(&name.as_str()) || matches(got, shown))
                    })
                })
        }
        (Value::Array(got), Value::Array(shown)) => {
            got.len() == shown.len()
                && got.iter().zip(shown).all(|(got, shown)| matches(got, shown))
        }
        (got, shown) => got == shown,
    }
}

#[test]
fn the_page_shows_what_happens() {
    let state = tempfile::tempdir().unwrap();
    let workspace = tempfile::tempdir().unwrap();
    let mut server = Command::new(env!("CARGO_BIN_EXE_meanwhile"))
        .arg("serve")
        .current_dir(workspace.path())
        .env("MEANWHILE_STATE_DIR", state.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut to = server.stdin.take().unwrap();
    let messages = frames(server.stdout.take().unwrap());
    let mut id = SAMPLE_ID.to_owned();

    for line in transcript() {
        if let Some(sent) = line.strip_prefix("--> ") {
            let bytes = sent.replace("\\r\\n", "\r\n").replace(SAMPLE_ID, &id);
            let (header, body) = bytes.split_once("\r\n\r\n").expect("a header and a body");
            assert_eq!(header, format!("Content-Length: {}", body.len()), "{line}");
            to.write_all(bytes.as_bytes()).unwrap();
            continue;
        }
        let shown = line.strip_prefix("<-- ").expect("a line is sent or received");
        loop {
            let got = messages
                .recv_timeout(Duration::from_secs(20))
                .unwrap_or_else(|error| panic!("{error} instead of {shown}"));
            if let Some(real) = got.pointer("/result/task/id").and_then(Value::as_str) {
                real.clone_into(&mut id);
            }
            let expect: Value = serde_json::from_str(&shown.replace(SAMPLE_ID, &id)).unwrap();
            if matches(&got, &expect) {
                break;
            }
            assert_eq!(got["method"], SNAPSHOT, "got {got}\ninstead of {expect}");
        }
    }

    for rest in messages {
        assert_eq!(rest["method"], SNAPSHOT, "{rest} is not on the page");
    }
    assert!(server.wait().unwrap().success(), "the daemon did not exit with 0");
}
