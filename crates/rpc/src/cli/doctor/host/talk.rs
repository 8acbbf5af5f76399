//! Exchanges JSON-RPC messages with a child process, one per line.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use meanwhile_core::background::words::reason;
use serde_json::{Value, json};

use super::{PATIENCE, ROUND};

/// How long a server may take to exit after its input was closed.
const FAREWELL: Duration = Duration::from_secs(2);

/// A running server. Dropping this closes its input, and kills it if it does not exit in time.
pub(super) struct Talk {
    child: Child,
    stdin: Option<ChildStdin>,
    messages: Receiver<Value>,
    number: u64,
}

impl Talk {
    pub(super) fn start(command: &mut Command) -> Result<Self, String> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(|error| reason(&error))?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let (send, messages) = mpsc::channel();
        let stdout = BufReader::new(stdout.expect("it is piped"));
        std::thread::spawn(move || {
            for line in stdout.lines() {
                let Ok(line) = line else { return };
                // Ignore lines that are not messages.
                if let Ok(message) = serde_json::from_str(&line)
                    && send.send(message).is_err()
                {
                    return;
                }
            }
        });
        Ok(Self { child, stdin, messages, number: 0 })
    }

    /// Sends a request and returns its result.
    pub(super) fn ask(&mut self, method: &str, params: Value) -> Result<Value, String> {
        self.number += 1;
        self.send(&json!({
            "jsonrpc": "2.0", "id": self.number, "method": method, "params": params,
        }))?;
        let until = Instant::now() + PATIENCE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let mut message = self.messages.recv_timeout(left).map_err(|error| match error {
                mpsc::RecvTimeoutError::Timeout => {
                    format!("no answer to {method} within {} s", PATIENCE.as_secs())
                }
                mpsc::RecvTimeoutError::Disconnected => {
                    format!("it ended before it answered {method}")
                }
            })?;
            // A request of the server may have the same id.
            if message["id"] != self.number || message.get("method").is_some() {
                continue;
            }
            if let Some(error) = message.get("error") {
                return Err(format!("{method} was answered with {}", error["message"]));
            }
            return Ok(message["result"].take());
        }
    }

    pub(super) fn tell(&mut self, method: &str) -> Result<(), String> {
        self.send(&json!({ "jsonrpc": "2.0", "method": method }))
    }

    fn send(&mut self, message: &Value) -> Result<(), String> {
        let stdin = self.stdin.as_mut().expect("it is piped");
        writeln!(stdin, "{message}").map_err(|error| reason(&error))
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let until = Instant::now() + FAREWELL;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < until {
            std::thread::sleep(ROUND);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
