//! An MCP client over pipes, like that of a host.

use std::process::{Command, ExitStatus, Stdio};

use nix::sys::signal::Signal;
use serde_json::{Map, Value, json};

use crate::harness::Store;
use crate::pipe::Pipe;

/// The version of the protocol in which each request carries the handshake.
pub(crate) const MODERN: &str = "2026-07-28";

/// A client, with the server that it started.
pub(crate) struct Client {
    pipe: Pipe,
    next: i64,
    /// The `_meta` of each request.
    pub(crate) meta: Map<String, Value>,
}

impl Client {
    /// A client in a session of Claude Code with this id.
    pub(crate) fn claude(store: &Store, session: &str) -> Self {
        let mut command = store.command(&["mcp"]);
        command.env("CLAUDE_CODE_SESSION_ID", session);
        Self::start(command)
    }

    /// A client that names no session.
    pub(crate) fn anonymous(store: &Store) -> Self {
        Self::start(store.command(&["mcp"]))
    }

    pub(crate) fn start(mut command: Command) -> Self {
        command.stderr(Stdio::inherit());
        Self { pipe: Pipe::start(command), next: 0, meta: Map::new() }
    }

    /// Declares the client's version and capabilities in each request, as 2026-07-28 requires.
    pub(crate) fn modern(mut self) -> Self {
        let capabilities = json!({"extensions": {"io.modelcontextprotocol/tasks": {}}});
        for (name, value) in [
            ("protocolVersion", json!(MODERN)),
            ("clientInfo", json!({"name": "test", "version": "1"})),
            ("clientCapabilities", capabilities),
        ] {
            self.meta.insert(format!("io.modelcontextprotocol/{name}"), value);
        }
        self
    }

    pub(crate) fn write(&mut self, line: &[u8]) {
        self.pipe.write(line);
    }

    /// Sends a request and returns its id.
    pub(crate) fn send(&mut self, method: &str, mut params: Value) -> i64 {
        self.next += 1;
        if let Some(params) = params.as_object_mut()
            && !self.meta.is_empty()
        {
            params.insert("_meta".to_owned(), Value::Object(self.meta.clone()));
        }
        let request =
            json!({"jsonrpc": "2.0", "id": self.next, "method": method, "params": params});
        self.write(format!("{request}\n").as_bytes());
        self.next
    }

    pub(crate) fn notify(&mut self, method: &str, params: Value) {
        let message = json!({"jsonrpc": "2.0", "method": method, "params": params});
        self.write(format!("{message}\n").as_bytes());
    }

    /// The next message.
    #[track_caller]
    pub(crate) fn message(&mut self) -> Value {
        let line = self.pipe.line();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// Sends a request while no other one is open; returns the reply.
    #[track_caller]
    pub(crate) fn ask(&mut self, method: &str, params: Value) -> Value {
        let id = self.send(method, params);
        let reply = self.message();
        assert_eq!(reply["id"], id, "{reply}");
        reply
    }

    /// Sends a request that must succeed; returns its result.
    #[track_caller]
    pub(crate) fn result(&mut self, method: &str, params: Value) -> Value {
        let mut reply = self.ask(method, params);
        assert!(reply.get("error").is_none(), "{method}: {reply}");
        reply["result"].take()
    }

    /// Sends a request that must fail; returns its error.
    #[track_caller]
    pub(crate) fn error(&mut self, method: &str, params: Value) -> Value {
        let mut reply = self.ask(method, params);
        assert!(reply.get("result").is_none(), "{method}: {reply}");
        reply["error"].take()
    }

    /// Calls a tool; returns its text, and whether it failed.
    #[track_caller]
    pub(crate) fn called(&mut self, name: &str, arguments: Value) -> (String, bool) {
        let result = self.result("tools/call", json!({"name": name, "arguments": arguments}));
        let text = result["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{result}"));
        (text.to_owned(), result["isError"].as_bool().unwrap_or_default())
    }

    /// Calls a tool that must succeed; returns its text.
    #[track_caller]
    pub(crate) fn call(&mut self, name: &str, arguments: Value) -> String {
        let (text, failed) = self.called(name, arguments);
        assert!(!failed, "{name}: {text}");
        text
    }

    /// Calls a tool that must fail; returns its text.
    #[track_caller]
    pub(crate) fn refused(&mut self, name: &str, arguments: Value) -> String {
        let (text, failed) = self.called(name, arguments);
        assert!(failed, "{name}: {text}");
        text
    }

    /// Starts a task and returns its id.
    #[track_caller]
    pub(crate) fn run(&mut self, command: &str) -> String {
        let said = self.call("background_run", json!({"command": command}));
        id_in(&said)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.pipe.signal(signal);
    }

    /// Kills the server, and waits until it has exited.
    pub(crate) fn kill(&mut self) {
        self.pipe.signal(Signal::SIGKILL);
        self.pipe.wait();
    }

    /// Closes the pipe, and waits until the server has exited.
    pub(crate) fn close(mut self) -> ExitStatus {
        self.pipe.close();
        self.pipe.wait()
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.pipe.wait()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.pipe.close();
        self.pipe.wait();
        if !std::thread::panicking() {
            let unread: Vec<String> = self.pipe.lines.try_iter().collect();
            assert_eq!(unread, [""; 0], "messages that no test read");
        }
    }
}

/// The first task id in a text.
#[track_caller]
pub(crate) fn id_in(text: &str) -> String {
    let is_id = |word: &&str| word.len() == 8 && word.bytes().all(|b| b.is_ascii_hexdigit());
    let words = text.split(|c: char| !c.is_ascii_alphanumeric());
    words.into_iter().find(is_id).unwrap_or_else(|| panic!("no id in `{text}`")).to_owned()
}
