//! A client of the real daemon, and the place its store lives in.
//!
//! Owns the child process and its pipes. It reads on the thread that measures, without a runtime,
//! so that a figure is the daemon's time and not the client's.

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

/// How long the daemon may be silent before a measurement is given up.
const PATIENCE: Duration = Duration::from_secs(120);

/// A state directory, settings and a workspace, all temporary.
pub(crate) struct Place {
    root: tempfile::TempDir,
}

impl Place {
    /// A new one, on the file system of the build: `/tmp` is memory on many machines, and a state
    /// directory is not.
    pub(crate) fn new() -> Outcome<Self> {
        let root =
            tempfile::Builder::new().prefix("bench").tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        for folder in ["state", "config/meanwhile", "work"] {
            fs::create_dir_all(root.path().join(folder))?;
        }
        Ok(Self { root })
    }

    /// One that keeps more finished tasks than the default.
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

    /// The binary, on this store.
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

    /// Starts a daemon and shakes hands with it.
    pub(crate) fn serve(&self) -> Outcome<Server> {
        let mut server = self.serve_raw()?;
        server.initialize()?;
        Ok(server)
    }

    /// The same in a workspace of its own.
    pub(crate) fn serve_in(&self, workspace: &Path) -> Outcome<Server> {
        let mut server = Server::start(self.meanwhile(&["serve"]).current_dir(workspace))?;
        server.initialize()?;
        Ok(server)
    }

    /// Starts a daemon, without a word to it.
    pub(crate) fn serve_raw(&self) -> Outcome<Server> {
        Server::start(&mut self.meanwhile(&["serve"]))
    }
}

/// A message of the daemon.
pub(crate) struct Message {
    /// When all of it was here.
    pub(crate) at: u64,
    /// Its bytes on the wire.
    pub(crate) bytes: usize,
    pub(crate) body: Value,
}

/// A reply.
pub(crate) struct Reply {
    /// From before the request was written until the reply was read.
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
    /// Replies to requests that are not waited for yet: several under way are answered in any order.
    replies: HashMap<u64, Message>,
    /// Numbers of the ends that were told.
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

    /// The handshake; returns how long the daemon took for its answer.
    pub(crate) fn initialize(&mut self) -> Outcome<u64> {
        let took = self.call("initialize", &json!({ "capabilities": {} }))?.took;
        self.write(&frame(&json!({ "jsonrpc": "2.0", "method": "initialized", "params": {} })))?;
        Ok(took)
    }

    fn write(&mut self, bytes: &[u8]) -> Outcome<()> {
        Ok(self.to.as_mut().ok_or("the daemon's input is closed")?.write_all(bytes)?)
    }

    /// Sends a request and does not wait; returns its id and the moment before it was written.
    pub(crate) fn send(&mut self, method: &str, params: &Value) -> Outcome<(u64, u64)> {
        self.next += 1;
        let id = self.next;
        let bytes =
            frame(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
        let from = now();
        self.write(&bytes)?;
        Ok((id, from))
    }

    /// Waits for the reply to a request; pushes that come before it are kept.
    pub(crate) fn reply(&mut self, (id, from): (u64, u64)) -> Outcome<Reply> {
        let mut message = loop {
            if let Some(message) = self.replies.remove(&id) {
                break message;
            }
            let message = self.receive(PATIENCE)?.ok_or("the daemon does not answer")?;
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

    /// A request and its reply.
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

    /// The next push, kept or new; `None`: none came in time.
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

    /// Waits for the next end of a task; other pushes are dropped. An end that is told again is not
    /// a next one: it would make a rate too good.
    pub(crate) fn ended(&mut self) -> Outcome<Message> {
        loop {
            let message = self.push(PATIENCE)?.ok_or("no task ends")?;
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

    /// How many ends were told again since this was last asked; the protocol has none.
    pub(crate) fn repeated(&mut self) -> usize {
        std::mem::take(&mut self.repeated)
    }

    /// Takes everything out of the queue; returns how many there were.
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

    /// Stops a task and waits until its tree is gone.
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

    /// Where the body of the first message starts and ends, once all of it is here.
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
        // The server ends when its input does. It is killed where it does not: no process is left behind.
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
