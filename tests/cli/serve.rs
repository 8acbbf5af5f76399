//! The parts of `meanwhile serve` that the command line decides.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdout};

use serde_json::{Value, json};

use crate::harness::{Store, until};
use crate::terminal::Session;

/// A daemon to which the test sends one request at a time.
struct Server {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Server {
    fn start(store: &Store, args: &[&str]) -> Self {
        let mut command = store.command(args);
        let mut child = command.stdin(std::process::Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut server = Self { child, output };
        server.ask("initialize", json!({"capabilities": {}}));
        server.send(&json!({"jsonrpc": "2.0", "method": "initialized", "params": {}}));
        server
    }

    fn send(&mut self, message: &Value) {
        let body = message.to_string();
        let stdin = self.child.stdin.as_mut().unwrap();
        write!(stdin, "Content-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    }

    fn ask(&mut self, method: &str, params: Value) -> Value {
        self.send(&json!({"jsonrpc": "2.0", "id": method, "method": method, "params": params}));
        loop {
            let mut header = String::new();
            self.output.read_line(&mut header).unwrap();
            let length = header.trim().strip_prefix("Content-Length: ").unwrap().parse().unwrap();
            self.output.read_line(&mut header).unwrap();
            let mut body = vec![0; length];
            self.output.read_exact(&mut body).unwrap();
            let message: Value = serde_json::from_slice(&body).unwrap();
            // Pushes may arrive before the reply.
            if message["id"] == method {
                return message;
            }
        }
    }

    fn end(mut self) -> Option<i32> {
        self.ask("shutdown", Value::Null);
        self.send(&json!({"jsonrpc": "2.0", "method": "exit"}));
        self.child.wait().unwrap().code()
    }
}

#[test]
fn it_sees_what_the_command_line_spawned() {
    let store = Store::new();
    let id = store.spawn_held(0);
    for args in [&["serve"][..], &["serve", "--stdio"]] {
        let mut server = Server::start(&store, args);
        let reply = server.ask("task/check", json!({}));
        assert_eq!(reply["result"]["tasks"][0]["id"], json!(id), "{reply}");
        assert_eq!(server.end(), Some(0));
    }
}

#[test]
fn the_workspace_may_be_named() {
    let store = Store::new();
    store.spawn_held(0);
    let other = store.workspace().join("other");
    std::fs::create_dir(&other).unwrap();
    let mut server = Server::start(&store, &["serve", "--workspace", other.to_str().unwrap()]);
    assert_eq!(server.ask("task/check", json!({}))["result"]["tasks"], json!([]));
    assert_eq!(server.end(), Some(0));
}

#[test]
fn wrong_settings_are_told_to_the_client_that_asks() {
    let store = Store::new();
    store.write_config("[store]\nquota = \"much\"\n");
    let mut server = Server::start(&store, &["serve"]);
    let reply = server.ask("task/check", json!({}));
    assert_eq!(reply["error"]["code"], 1005, "{reply}");
    let message = reply["error"]["message"].as_str().unwrap();
    assert!(message.contains("config.toml:2: `store.quota`: expected a size"), "{message}");
    assert_eq!(server.end(), Some(0));
    store.write_config("");
}

#[test]
fn past_durations_outlive_their_tasks() {
    let store = Store::new();
    // The first run is long enough for a forecast; the second is held so that the forecast can be seen.
    let line = "sleep 0.6; if [ -e second ]; then until [ -e go ]; do sleep 0.02; done; fi";
    let args = ["spawn", "--wait", "--", "sh", "-c", line];
    store.ok(&args);
    let mut server = Server::start(&store, &["serve"]);
    let tasks = store.json(&["ps", "--all", "--json"]);
    let removed = server.ask("task/remove", json!({"ids": [tasks["tasks"][0]["id"]]}));
    assert_eq!(removed["result"]["removed"], 1);
    assert_eq!(server.end(), Some(0));
    assert_eq!(store.json(&["ps", "--all", "--json"])["tasks"], json!([]));
    std::fs::write(store.workspace().join("second"), "").unwrap();
    let mut session = Session::of(store.command(&args), 80);
    until("the task is overdue", || session.screen().contains("longer than the usual 0."));
    store.release();
    assert_eq!(session.end().0, Some(0));
}
