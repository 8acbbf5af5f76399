//! A client of ACP over pipes, like an editor.

use std::collections::HashMap;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::harness::Store;
use crate::pipe::Pipe;

/// A client, with the agent that it started.
pub(crate) struct Client {
    pub(crate) pipe: Pipe,
    next: i64,
    /// All messages received so far, in order.
    pub(crate) heard: Vec<Value>,
    /// The option with which it answers permission requests; `None`: it does not answer.
    pub(crate) chooses: Option<&'static str>,
    /// The buffers of its editor, by path; it answers with an error for other files.
    pub(crate) buffers: HashMap<String, String>,
    /// Whether it answers requests for files.
    pub(crate) answers_files: bool,
}

impl Client {
    /// Starts an agent with this command.
    pub(crate) fn start(mut command: Command) -> Self {
        command.stderr(Stdio::null());
        let pipe = Pipe::start(command);
        Self {
            pipe,
            next: 0,
            heard: Vec::new(),
            chooses: Some("allow_once"),
            buffers: HashMap::new(),
            answers_files: true,
        }
    }

    /// Starts an agent whose model follows this script, and does the handshake.
    pub(crate) fn new(store: &Store, script: &str) -> Self {
        let mut client = Self::start(store.scripted(script, &["acp"]));
        let params = json!({"protocolVersion": 1, "clientCapabilities": {}});
        assert_eq!(client.call("initialize", params)["protocolVersion"], 1);
        client
    }

    pub(crate) fn write(&mut self, message: &Value) {
        let line = format!("{message}\n");
        self.pipe.write(line.as_bytes());
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

    /// Reads the next message, and panics if it is not an ACP message.
    #[track_caller]
    fn take(&mut self) {
        let line = self.pipe.line();
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
            Some("fs/read_text_file" | "fs/write_text_file") => self.file(&message),
            Some(other) => panic!("`{other}` is not a method of ACP"),
        }
        self.heard.push(message);
    }

    /// Answers a request for a file from the buffers.
    fn file(&mut self, message: &Value) {
        if !self.answers_files {
            return;
        }
        let params = &message["params"];
        let path = params["path"].as_str().unwrap().to_owned();
        let answer = match params["content"].as_str() {
            Some(content) => {
                self.buffers.insert(path, content.to_owned());
                json!({"result": null})
            }
            None => match self.buffers.get(&path) {
                Some(text) => json!({"result": {"content": text}}),
                None => json!({"error": {"code": -32002, "message": "no such buffer"}}),
            },
        };
        let mut whole = json!({"jsonrpc": "2.0", "id": message["id"]});
        whole.as_object_mut().unwrap().extend(answer.as_object().unwrap().clone());
        self.write(&whole);
    }

    /// Answers a permission request with an option.
    pub(crate) fn choose(&mut self, id: &Value, option: &str) {
        let outcome = json!({"outcome": "selected", "optionId": option});
        self.write(&json!({"jsonrpc": "2.0", "id": id, "result": {"outcome": outcome}}));
    }

    /// Waits until `fits` returns a value for a received message.
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

    /// Waits for the reply to a request: its result or its error.
    #[track_caller]
    pub(crate) fn answer(&mut self, id: i64) -> Result<Value, Value> {
        let reply = self.find(|it| (it["id"] == id && it["method"].is_null()).then(|| it.clone()));
        match reply.get("error") {
            Some(error) => Err(error.clone()),
            None => Ok(reply["result"].clone()),
        }
    }

    /// Sends a request that must succeed; returns its result.
    #[track_caller]
    pub(crate) fn call(&mut self, method: &str, params: Value) -> Value {
        let id = self.send(method, params);
        self.answer(id).unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// Sends a request that must fail; returns its error.
    #[track_caller]
    pub(crate) fn refused(&mut self, method: &str, params: Value) -> Value {
        let id = self.send(method, params);
        self.answer(id).expect_err("it is refused")
    }

    /// Creates a session in a directory; returns its id.
    #[track_caller]
    pub(crate) fn session(&mut self, cwd: &Path) -> String {
        let made = self.call("session/new", json!({"cwd": cwd, "mcpServers": []}));
        made["sessionId"].as_str().unwrap().to_owned()
    }

    /// Sends a prompt without waiting; returns the request's id.
    pub(crate) fn say(&mut self, session: &str, text: &str) -> i64 {
        self.send("session/prompt", said(session, text))
    }

    /// Sends a prompt and waits until it ends; returns its stop reason.
    #[track_caller]
    pub(crate) fn prompt(&mut self, session: &str, text: &str) -> String {
        let id = self.say(session, text);
        self.ended(id)
    }

    /// Waits until a prompt ends; returns its stop reason.
    #[track_caller]
    pub(crate) fn ended(&mut self, prompt: i64) -> String {
        let result = self.answer(prompt).unwrap_or_else(|error| panic!("{error}"));
        result["stopReason"].as_str().unwrap().to_owned()
    }

    pub(crate) fn cancel(&mut self, session: &str) {
        self.notify("session/cancel", json!({"sessionId": session}));
    }

    /// Waits for an update with this text.
    #[track_caller]
    pub(crate) fn says(&mut self, text: &str) {
        self.find(|it| (it["params"]["update"]["content"]["text"] == text).then_some(()));
    }

    /// All updates of this kind so far.
    pub(crate) fn updates(&self, kind: &str) -> Vec<Value> {
        let updates = self.heard.iter().map(|it| &it["params"]["update"]);
        updates.filter(|it| it["sessionUpdate"] == kind).cloned().collect()
    }

    /// Whether the agent has sent this text as a message so far.
    pub(crate) fn has_said(&self, text: &str) -> bool {
        self.updates("agent_message_chunk").iter().any(|it| it["content"]["text"] == text)
    }

    /// Waits for the n-th permission request, counted from 1; returns its id.
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
}

impl Drop for Client {
    fn drop(&mut self) {
        self.pipe.close();
        self.pipe.wait();
    }
}

/// The parameters of a prompt.
pub(crate) fn said(session: &str, text: &str) -> Value {
    json!({"sessionId": session, "prompt": [{"type": "text", "text": text}]})
}
