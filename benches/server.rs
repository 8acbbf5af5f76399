//! A client of the real daemon, and the directories that the daemon uses.
//!
//! Owns the child process and its pipes. It reads on the measuring thread, without an async runtime, so
//! that a figure is the daemon's time and not the client's.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fs;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::{Value, json};

use crate::Outcome;
use crate::bare::now;

/// How long the daemon may send nothing before the measurement fails.
const PATIENCE: Duration = Duration::from_secs(120);

/// A state directory, settings and a workspace, all temporary.
pub(crate) struct Place {
    root: tempfile::TempDir,
}

impl Place {
    /// Creates one on the file system of the build, because `/tmp` is in memory on many machines, and a state
    /// directory usually is not.
    pub(crate) fn new() -> Outcome<Self> {
        let root =
            tempfile::Builder::new().prefix("bench").tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        for folder in ["state", "config/meanwhile", "work"] {
            fs::create_dir_all(root.path().join(folder))?;
        }
        Ok(Self { root })
    }

    /// Creates one whose store keeps this many finished tasks.
    pub(crate) fn keeping(tasks: u32) -> Outcome<Self> {
        let place = Self::new()?;
        let settings = place.root.path().join("config/meanwhile/config.toml");
        fs::write(settings, format!("[store]\nkeep_count = {tasks}\n"))?;
        Ok(place)
    }

    pub(crate) fn path(&self) -> &Path {
        self.root.path()
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.root.path().join("state")
    }

    /// A command that runs the binary with this store.
    pub(crate) fn meanwhile(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_meanwhile"));
        command
            .args(arguments)
            .current_dir(self.root.path().join("work"))
            .env("MEANWHILE_STATE_DIR", self.state())
            .env("XDG_CONFIG_HOME", self.root.path().join("config"))
            .env_remove("MEANWHILE_LOG")
            .env_remove("MEANWHILE_MODEL")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    /// Starts a daemon and initializes it.
    pub(crate) fn serve(&self) -> Outcome<Server> {
        let mut server = self.serve_raw()?;
        server.initialize()?;
        Ok(server)
    }

    /// Starts and initializes a daemon in this workspace.
    pub(crate) fn serve_in(&self, workspace: &Path) -> Outcome<Server> {
        let mut server = Server::start(self.meanwhile(&["serve"]).current_dir(workspace))?;
        server.initialize()?;
        Ok(server)
    }

    /// Starts a daemon without sending it anything.
    pub(crate) fn serve_raw(&self) -> Outcome<Server> {
        Server::start(&mut self.meanwhile(&["serve"]))
    }
}

/// A message from the daemon.
pub(crate) struct Message {
    /// When it had been read completely.
    pub(crate) at: u64,
    /// Its length on the wire.
    pub(crate) bytes: usize,
    pub(crate) body: Value,
}

/// A successful reply from the daemon.
pub(crate) struct Reply {
    /// The time from before the request was written until the reply was read.
    pub(crate) took: u64,
    pub(crate) result: Value,
}

/// A running daemon.
pub(crate) struct Server {
    child: Child,
    to: Option<ChildStdin>,
    from: ChildStdout,
    buffer: Vec<u8>,
    pushes: VecDeque<Message>,
    /// Replies that arrived before the client waited for them: concurrent requests are answered in any order.
    replies: HashMap<u64, Message>,
    /// The numbers (`seq`) of the ends that were pushed.
    told: HashSet<u64>,
    repeated: usize,
    next: u64,
}

impl Server {
    fn start(command: &mut Command) -> Outcome<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let to = child.stdin.take();
        let from = child.stdout.take().ok_or("no pipe from the daemon")?;
        Ok(Self {
            child,
            to,
            from,
            buffer: Vec::new(),
            pushes: VecDeque::new(),
            replies: HashMap::new(),
            told: HashSet::new(),
            repeated: 0,
            next: 0,
        })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Does the handshake; returns how long the daemon took to answer.
    pub(crate) fn initialize(&mut self) -> Outcome<u64> {
        let took = self.call("initialize", &json!({ "capabilities": {} }))?.took;
        self.write(&frame(&json!({ "jsonrpc": "2.0", "method": "initialized", "params": {} })))?;
        Ok(took)
    }

    fn write(&mut self, bytes: &[u8]) -> Outcome<()> {
        Ok(self.to.as_mut().ok_or("the daemon's input is closed")?.write_all(bytes)?)
    }

    /// Sends a request without waiting for the reply; returns its id and the time before it was written.
    pub(crate) fn send(&mut self, method: &str, params: &Value) -> Outcome<(u64, u64)> {
        self.next += 1;
        let id = self.next;
        let bytes =
            frame(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
        let from = now();
        self.write(&bytes)?;
        Ok((id, from))
    }

    /// Waits for the reply to a request; keeps pushes that arrive before it.
    pub(crate) fn reply(&mut self, (id, from): (u64, u64)) -> Outcome<Reply> {
        let mut message = loop {
            if let Some(message) = self.replies.remove(&id) {
                break message;
            }
            let message = self.receive(PATIENCE)?.ok_or("the daemon did not answer in time")?;
            match message.body["id"].as_u64() {
                Some(of) => {
                    self.replies.insert(of, message);
                }
                None => self.pushes.push_back(message),
            }
        };
        if !message.body["error"].is_null() {
            return Err(message.body["error"].to_string().into());
        }
        Ok(Reply { took: message.at - from, result: message.body["result"].take() })
    }

    /// Sends a request and waits for its reply.
    pub(crate) fn call(&mut self, method: &str, params: &Value) -> Outcome<Reply> {
        let sent = self.send(method, params)?;
        self.reply(sent)
    }

    /// Spawns a command; returns its id and how long the reply took.
    pub(crate) fn spawn(&mut self, command: &Value) -> Outcome<(String, u64)> {
        let reply = self.call("task/spawn", &json!({ "command": command }))?;
        let id = reply.result["task"]["id"].as_str().ok_or("a task without an id")?;
        Ok((id.to_owned(), reply.took))
    }

    /// The next push, kept or new; `None`: none arrived in time.
    pub(crate) fn push(&mut self, patience: Duration) -> Outcome<Option<Message>> {
        let until = Instant::now() + patience;
        loop {
            if let Some(message) = self.pushes.pop_front() {
                return Ok(Some(message));
            }
            let left = until.saturating_duration_since(Instant::now());
            let Some(message) = self.receive(left)? else { return Ok(None) };
            match message.body["id"].as_u64() {
                Some(of) => {
                    self.replies.insert(of, message);
                }
                None => return Ok(Some(message)),
            }
        }
    }

    /// Waits for the next end of a task; discards other pushes. An end that is pushed again does not count,
    /// because it would make a rate too high.
    pub(crate) fn ended(&mut self) -> Outcome<Message> {
        loop {
            let message = self.push(PATIENCE)?.ok_or("no task ended in time")?;
            if message.body["method"] != "task/exited" {
                continue;
            }
            let seq = message.body["params"]["notification"]["seq"].as_u64().ok_or("no seq")?;
            if self.told.insert(seq) {
                return Ok(message);
            }
            self.repeated += 1;
        }
    }

    /// How many ends were pushed again since the last call; the protocol allows none.
    pub(crate) fn repeated(&mut self) -> usize {
        std::mem::take(&mut self.repeated)
    }

    /// Drains the queue; returns how many notifications it had.
    pub(crate) fn drain(&mut self) -> Outcome<usize> {
        let mut drained = 0;
        loop {
            let reply = self.call("task/drain", &json!({ "max": 1_000 }))?;
            drained += reply.result["notifications"].as_array().map_or(0, Vec::len);
            if reply.result["remaining"] == 0 {
                return Ok(drained);
            }
        }
    }

    /// Stops a task and waits until its process tree has exited.
    pub(crate) fn stop(&mut self, id: &str) -> Outcome<()> {
        self.call("task/stop", &json!({ "id": id, "signal": "SIGKILL", "graceMs": 0 }))?;
        Ok(())
    }

    fn receive(&mut self, patience: Duration) -> Outcome<Option<Message>> {
        loop {
            if let Some((body, end)) = self.complete()? {
                let at = now();
                let value = serde_json::from_slice(&self.buffer[body..end])?;
                self.buffer.drain(..end);
                return Ok(Some(Message { at, bytes: end, body: value }));
            }
            let mut wanted = [PollFd::new(self.from.as_fd(), PollFlags::POLLIN)];
            if poll(&mut wanted, PollTimeout::try_from(patience)?)? == 0 {
                return Ok(None);
            }
            let mut bytes = [0; 65_536];
            match self.from.read(&mut bytes)? {
                0 => return Err("the daemon ended".into()),
                length => self.buffer.extend_from_slice(&bytes[..length]),
            }
        }
    }

    /// Where the body of the first message starts and ends, once it has arrived completely.
    fn complete(&self) -> Outcome<Option<(usize, usize)>> {
        let Some(header) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") else {
            return Ok(None);
        };
        let text = std::str::from_utf8(&self.buffer[..header])?;
        let length = text.strip_prefix("Content-Length: ").ok_or("no length")?;
        let end = header + 4 + length.parse::<usize>()?;
        Ok((self.buffer.len() >= end).then_some((header + 4, end)))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The daemon exits when its input ends. Kill it if it does not, so that no process is left.
        self.to = None;
        let until = Instant::now() + Duration::from_secs(3);
        while Instant::now() < until {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn frame(message: &Value) -> Vec<u8> {
    let body = message.to_string();
    format!("Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}
