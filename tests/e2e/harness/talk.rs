//! Sends messages to a daemon, and waits for messages from it.

use std::sync::atomic::Ordering;
use std::time::Instant;

use serde_json::{Value, json};

use super::{DEADLINE, Daemon, Direction, Entry, Lab};

/// An error response.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RpcError {
    pub(crate) code: i64,
    pub(crate) message: String,
    pub(crate) data: Value,
}

impl Daemon {
    /// The store and the workspace it runs in.
    pub(crate) fn lab(&self) -> &Lab {
        &self.lab
    }

    /// Sends a request and returns its id without waiting. Null parameters are omitted.
    #[track_caller]
    pub(crate) fn ask(&self, method: &str, params: Value) -> i64 {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let mut message = json!({ "jsonrpc": "2.0", "id": id, "method": method });
        if !params.is_null() {
            message["params"] = params;
        }
        self.wire.send(message).expect("the daemon reads its stdin");
        id
    }

    /// Sends a request to a daemon that may have exited.
    pub(crate) fn ask_perhaps(&self, method: &str, params: Value) -> i64 {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let message = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        let _gone = self.wire.send(message);
        id
    }

    /// Sends a notification. Null parameters are omitted.
    #[track_caller]
    pub(crate) fn notify(&self, method: &str, params: Value) {
        let mut message = json!({ "jsonrpc": "2.0", "method": method });
        if !params.is_null() {
            message["params"] = params;
        }
        self.wire.send(message).expect("the daemon reads its stdin");
    }

    /// Sends bytes, which may be invalid.
    #[track_caller]
    pub(crate) fn send_bytes(&self, bytes: &[u8]) {
        self.wire.send_bytes(bytes).expect("the daemon reads its stdin");
    }

    /// Sends bytes; returns whether they could be written.
    pub(crate) fn send_perhaps(&self, bytes: &[u8]) -> bool {
        self.wire.send_bytes(bytes).is_ok()
    }

    /// Logs a message that is sent with [`Self::send_bytes`], so that its answer is expected.
    pub(crate) fn announce(&self, message: &Value) {
        self.wire.record(Direction::Sent, message.clone());
    }

    /// Sends and logs any message.
    #[track_caller]
    pub(crate) fn send_raw(&self, message: &Value) {
        self.wire.send(message.clone()).expect("the daemon reads its stdin");
    }

    /// Waits for the answer to a request.
    #[track_caller]
    pub(crate) fn answer(&self, id: i64) -> Result<Value, RpcError> {
        let message = self.wait_for(&format!("the answer to request {id}"), |log| {
            log.answers.get(&id).map(|&index| log.entries[index].message.clone())
        });
        match message.get("error") {
            None => Ok(message["result"].clone()),
            Some(error) => Err(RpcError {
                code: error["code"].as_i64().expect("an error has a code"),
                message: error["message"].as_str().expect("an error has a message").to_owned(),
                data: error["data"].clone(),
            }),
        }
    }

    /// Sends a request and waits for the response.
    #[track_caller]
    pub(crate) fn request(&self, method: &str, params: Value) -> Result<Value, RpcError> {
        let id = self.ask(method, params);
        self.answer(id)
    }

    /// Sends a request and waits for its result.
    #[track_caller]
    pub(crate) fn call(&self, method: &str, params: Value) -> Value {
        let shown: String = params.to_string().chars().take(500).collect();
        self.request(method, params)
            .unwrap_or_else(|error| panic!("{method} {shown} failed: {error:?}"))
    }

    /// Sends a request and waits for an error with this code.
    #[track_caller]
    pub(crate) fn refused(&self, code: i64, method: &str, params: Value) -> RpcError {
        let shown: String = params.to_string().chars().take(500).collect();
        match self.request(method, params) {
            Ok(result) => panic!("{method} {shown} should fail with {code}, but gave {result}"),
            Err(error) => {
                assert_eq!(error.code, code, "{method} {shown} failed otherwise: {error:?}");
                error
            }
        }
    }

    /// Waits until `probe` finds something in the log.
    #[track_caller]
    fn wait_for<T>(&self, what: &str, probe: impl Fn(&super::daemon::Log) -> Option<T>) -> T {
        let end = Instant::now() + DEADLINE;
        let mut log = self.wire.log();
        loop {
            if let Some(value) = probe(&log) {
                return value;
            }
            if let Some(how) = &log.end {
                let how = how.clone();
                drop(log);
                panic!("the daemon ended ({how:?}) before {what} came; stderr: {}", self.stderr());
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let count = log.entries.len();
                let last: Vec<String> = log.entries[count.saturating_sub(12)..]
                    .iter()
                    .map(|entry| {
                        let text = entry.message.to_string();
                        format!(
                            "{:?} {}",
                            entry.direction,
                            text.chars().take(300).collect::<String>()
                        )
                    })
                    .collect();
                drop(log);
                panic!("waited {DEADLINE:?} in vain: {what}; the last messages: {last:#?}");
            }
            let (again, _timeout) = self
                .wire
                .news
                .wait_timeout(log, left)
                .expect("no thread panics while holding the log");
            log = again;
        }
    }

    /// Waits for a message from the daemon, including earlier ones, for which `pick` returns a value.
    #[track_caller]
    pub(crate) fn find<T>(&self, what: &str, pick: impl Fn(&Entry) -> Option<T>) -> T {
        let heard = |entry: &&Entry| entry.direction == Direction::Received;
        self.wait_for(what, |log| log.entries.iter().filter(heard).find_map(&pick))
    }

    /// Waits for a push of this method whose parameters satisfy a condition.
    #[track_caller]
    pub(crate) fn push(&self, method: &str, fits: impl Fn(&Value) -> bool) -> Value {
        self.find(&format!("a push {method}"), |entry| {
            entry.push(method).filter(|params| fits(params)).cloned()
        })
    }

    /// Waits until `probe` finds something in the complete log.
    #[track_caller]
    pub(crate) fn whole<T>(&self, what: &str, probe: impl Fn(&[Entry]) -> Option<T>) -> T {
        self.wait_for(what, |log| probe(&log.entries))
    }

    /// The messages so far.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.wire.log().entries.clone()
    }

    /// All pushes of this method so far.
    pub(crate) fn pushes(&self, method: &str) -> Vec<Value> {
        self.wire.log().entries.iter().filter_map(|entry| entry.push(method).cloned()).collect()
    }

    /// Spawns with these parameters; returns the task.
    #[track_caller]
    pub(crate) fn spawn(&self, params: Value) -> Value {
        self.call("task/spawn", params)["task"].clone()
    }

    /// Spawns a shell command; returns its id.
    #[track_caller]
    pub(crate) fn sh(&self, command: &str) -> String {
        id_of(&self.spawn(json!({ "command": command })))
    }

    /// Waits for the notification of a task's end to be pushed.
    #[track_caller]
    pub(crate) fn exited(&self, id: &str) -> Value {
        self.wait_for(&format!("task/exited of {id}"), |log| {
            let entry = &log.entries[*log.exits.get(id)?];
            entry.push("task/exited").map(|params| params["notification"].clone())
        })
    }

    /// Runs a shell command until it ends; returns the task from its notification.
    #[track_caller]
    pub(crate) fn run(&self, command: &str) -> Value {
        let id = self.sh(command);
        self.exited(&id)["task"].clone()
    }

    /// The task, from `task/check`.
    #[track_caller]
    pub(crate) fn check(&self, id: &str) -> Value {
        self.call("task/check", json!({ "id": id }))["task"].clone()
    }

    /// All retained output of a task, as text.
    #[track_caller]
    pub(crate) fn output(&self, id: &str) -> String {
        let (mut text, mut offset) = (String::new(), 0);
        loop {
            let part = self.call("task/read", json!({ "id": id, "offset": offset }));
            text.push_str(part["data"].as_str().expect("data is a string"));
            let next = part["nextOffset"].as_u64().expect("nextOffset is a number");
            if part["eof"] == true || next == offset {
                return text;
            }
            offset = next;
        }
    }

    /// Waits until a task's retained output contains a text.
    #[track_caller]
    pub(crate) fn wait_output(&self, id: &str, text: &str) {
        super::eventually(&format!("`{text}` in the output of {id}"), || {
            self.output(id).contains(text).then_some(())
        });
    }

    /// Drains the connection's queue; returns the notifications.
    #[track_caller]
    pub(crate) fn drain(&self) -> Vec<Value> {
        let result = self.call("task/drain", json!({ "max": 1000 }));
        result["notifications"].as_array().expect("`notifications` is a list").clone()
    }

    /// Stops a task without grace; returns it.
    #[track_caller]
    pub(crate) fn stop(&self, id: &str) -> Value {
        self.call("task/stop", json!({ "id": id, "graceMs": 0 }))["task"].clone()
    }
}

/// The id of a task.
#[track_caller]
pub(crate) fn id_of(task: &Value) -> String {
    task["id"].as_str().unwrap_or_else(|| panic!("a task has an id: {task}")).to_owned()
}
