//! A client of ACP over pipes, as an editor is one.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::harness::{PATIENCE, Store};

/// A client, with the agent that it started.
pub(crate) struct Client {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    next: i64,
    /// Everything that came, in order.
    pub(crate) heard: Vec<Value>,
    /// What it answers a question of permission with; `None`: nothing.
    pub(crate) chooses: Option<&'static str>,
}

impl Client {
    /// An agent whose model follows this script, after the handshake.
    pub(crate) fn new(store: &Store, script: &str) -> Self {
        Self::knowing(store, script, json!({}))
    }

    /// A client with these capabilities.
    pub(crate) fn knowing(store: &Store, script: &str, capabilities: Value) -> Self {
        let mut client = Self::start(scripted(store, script));
        let params = json!({"protocolVersion": 1, "clientCapabilities": capabilities});
        assert_eq!(client.call("initialize", params)["protocolVersion"], 1);
        client
    }

    pub(crate) fn start(mut command: Command) -> Self {
        // Its own group, so that nothing else is signalled with it.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.process_group(0).spawn().unwrap();
        let (sender, lines) = channel();
        let output = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in output.lines() {
                let Ok(line) = line else { return };
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let input = child.stdin.take();
        Self { child, input, lines, next: 0, heard: Vec::new(), chooses: Some("allow_once") }
    }

    pub(crate) fn write(&mut self, message: &Value) {
        let line = format!("{message}\n");
        self.input.as_mut().unwrap().write_all(line.as_bytes()).unwrap();
    }

    /// Sends a request and returns its id.
    pub(crate) fn send(&mut self, method: &str, params: Value) -> i64 {
        self.next += 1;
        let id = self.next;
        self.write(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}));
        id
    }

    pub(crate) fn notify(&mut self, method: &str, params: Value) {
        self.write(&json!({"jsonrpc": "2.0", "method": method, "params": params}));
    }

    /// Takes the next message; every one is ACP's.
    #[track_caller]
    fn take(&mut self) {
        let line = self.lines.recv_timeout(PATIENCE).expect("the agent says something");
        let message: Value =
            serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert_eq!(message["jsonrpc"], "2.0", "{message}");
        match message["method"].as_str() {
            None => assert!(message["id"].is_i64(), "{message}"),
            Some("session/update" | "$/cancel_request") => {}
            Some("session/request_permission") => {
                if let Some(option) = self.chooses {
                    self.choose(&message["id"], option);
                }
            }
            Some(other) => panic!("`{other}` is not ACP's"),
        }
        self.heard.push(message);
    }

    /// Answers a question.
    pub(crate) fn choose(&mut self, id: &Value, option: &str) {
        let outcome = json!({"outcome": "selected", "optionId": option});
        self.write(&json!({"jsonrpc": "2.0", "id": id, "result": {"outcome": outcome}}));
    }

    /// Waits until something that was heard fits.
    #[track_caller]
    pub(crate) fn find<T>(&mut self, mut fits: impl FnMut(&Value) -> Option<T>) -> T {
        let mut seen = 0;
        loop {
            while let Some(message) = self.heard.get(seen) {
                if let Some(found) = fits(message) {
                    return found;
                }
                seen += 1;
            }
            self.take();
        }
    }

    /// The reply to a request: its result or its error.
    #[track_caller]
    pub(crate) fn answer(&mut self, id: i64) -> Result<Value, Value> {
        let reply = self.find(|it| (it["id"] == id && it["method"].is_null()).then(|| it.clone()));
        match reply.get("error") {
            Some(error) => Err(error.clone()),
            None => Ok(reply["result"].clone()),
        }
    }

    /// The result of a request that must succeed.
    #[track_caller]
    pub(crate) fn call(&mut self, method: &str, params: Value) -> Value {
        let id = self.send(method, params);
        self.answer(id).unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// The error of a request that must fail.
    #[track_caller]
    pub(crate) fn refused(&mut self, method: &str, params: Value) -> Value {
        let id = self.send(method, params);
        self.answer(id).expect_err("it is refused")
    }

    /// Makes a session in a directory.
    #[track_caller]
    pub(crate) fn session(&mut self, cwd: &Path) -> String {
        let made = self.call("session/new", json!({"cwd": cwd, "mcpServers": []}));
        made["sessionId"].as_str().unwrap().to_owned()
    }

    /// Says something, and waits for nothing.
    pub(crate) fn say(&mut self, session: &str, text: &str) -> i64 {
        self.send("session/prompt", said(session, text))
    }

    /// Says something; why its prompt ended.
    #[track_caller]
    pub(crate) fn prompt(&mut self, session: &str, text: &str) -> String {
        let id = self.say(session, text);
        self.ended(id)
    }

    /// Why a prompt ended.
    #[track_caller]
    pub(crate) fn ended(&mut self, prompt: i64) -> String {
        let result = self.answer(prompt).unwrap_or_else(|error| panic!("{error}"));
        result["stopReason"].as_str().unwrap().to_owned()
    }

    pub(crate) fn cancel(&mut self, session: &str) {
        self.notify("session/cancel", json!({"sessionId": session}));
    }

    /// Waits until the agent says this.
    #[track_caller]
    pub(crate) fn says(&mut self, text: &str) {
        self.find(|it| (it["params"]["update"]["content"]["text"] == text).then_some(()));
    }

    /// The updates of a kind so far.
    pub(crate) fn updates(&self, kind: &str) -> Vec<Value> {
        let updates = self.heard.iter().map(|it| &it["params"]["update"]);
        updates.filter(|it| it["sessionUpdate"] == kind).cloned().collect()
    }

    /// Whether a reply to this request came already.
    pub(crate) fn is_answered(&self, id: i64) -> bool {
        self.heard.iter().any(|it| it["id"] == id && it["method"].is_null())
    }

    /// Waits for a question; its id.
    #[track_caller]
    pub(crate) fn question(&mut self, nth: usize) -> Value {
        let mut left = nth;
        self.find(|it| {
            if it["method"] != "session/request_permission" {
                return None;
            }
            left = left.checked_sub(1)?;
            (left == 0).then(|| it["id"].clone())
        })
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    /// Closes the pipe.
    pub(crate) fn close(&mut self) {
        drop(self.input.take());
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.close();
        let ended = self.child.wait();
        if !std::thread::panicking() {
            ended.unwrap();
        }
    }
}

/// The parameters of a prompt.
pub(crate) fn said(session: &str, text: &str) -> Value {
    json!({"sessionId": session, "prompt": [{"type": "text", "text": text}]})
}

/// `meanwhile acp` with a model that follows this script.
pub(crate) fn scripted(store: &Store, script: &str) -> Command {
    let path = store.workspace().join("script.toml");
    std::fs::write(&path, script).unwrap();
    let mut command = store.command(&["acp"]);
    command.env("MEANWHILE_MODEL", format!("script/{}", path.display()));
    command
}
