//! The connection to a place: a program whose standard input and output are those of a `meanwhile serve` there.
//!
//! Owns the process and the ids of requests. Responses and notifications are passed on in the order in which they
//! arrive, so that a push about a task follows the response that gave the task's id.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::{Arc, Mutex};

use meanwhile_core::background::places::PlaceKind;
use meanwhile_core::background::task::Timestamp;
use meanwhile_core::background::words::one_line;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::slurm;
use crate::peer::frame::{Decoder, Fault, Framing};
use crate::peer::message::{self, Message};

/// The most bytes in one read.
const READ_BYTES: usize = 64 << 10;
/// How many of the last lines of standard error are kept, for the reason why a program exited.
const SAID_LINES: usize = 4;
/// The most bytes of such a line.
const LINE_BYTES: u64 = 1_024;

/// What comes from a place.
#[derive(Debug)]
pub(crate) enum News {
    /// A response or notification.
    Message(Message),
    /// The connection is closed, for this reason.
    Over(String),
}

/// An open connection to a place.
#[derive(Debug)]
pub(crate) enum Link {
    /// A program that speaks the protocol.
    Program(Program),
    /// The engine of a batch system, in this process. It accepts the same requests.
    Slurm(slurm::Engine),
}

impl Link {
    /// Connects to a place. What the place sends goes to `news` as `(generation, news)`.
    ///
    /// # Errors
    ///
    /// A program cannot be started.
    pub(crate) fn open(
        way: &PlaceKind,
        generation: u64,
        news: mpsc::UnboundedSender<(u64, News)>,
    ) -> io::Result<Self> {
        match way {
            PlaceKind::Command(argv) => Program::open(argv, generation, news).map(Self::Program),
            PlaceKind::Slurm(slurm) => {
                Ok(Self::Slurm(slurm::Engine::open(slurm.clone(), generation, news)))
            }
            PlaceKind::Via(_) => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    /// Sends a request; returns its id.
    pub(crate) fn request(&mut self, method: &str, params: &Value) -> i64 {
        match self {
            Self::Program(program) => program.request(method, params),
            Self::Slurm(engine) => engine.request(method, params),
        }
    }

    /// Sends `initialized`, after the place has answered `initialize`.
    pub(crate) fn greeted(&self) {
        match self {
            Self::Program(program) => program.notify("initialized", &json!({})),
            Self::Slurm(_) => {}
        }
    }

    /// Lets the batch system's engine delete a task that is no longer needed. A server applies its own retention.
    pub(crate) fn forget(&mut self, id: &str) {
        match self {
            Self::Program(_) => {}
            Self::Slurm(engine) => drop(engine.request("task/remove", &json!({"ids": [id]}))),
        }
    }

    /// Says that this installation needs nothing there but these tasks. A server keeps tasks for its own time.
    ///
    /// `at`: when the list was read.
    pub(crate) fn keep(&mut self, installation: &str, ids: &[String], at: Timestamp) {
        match self {
            Self::Program(_) => {}
            Self::Slurm(engine) => {
                let params = json!({"installation": installation, "ids": ids, "at": at.0});
                engine.request("task/keep", &params);
            }
        }
    }

    /// Says that a task is to be stopped, and how: it must not start there if it has not started. A server takes the
    /// order to stop it afterwards.
    pub(crate) fn hold(&self, params: &mut Value, stop: &Value) {
        match self {
            Self::Program(_) => {}
            Self::Slurm(_) => params["stop"] = stop.clone(),
        }
    }
}

/// A program that speaks the protocol.
#[derive(Debug)]
pub(crate) struct Program {
    child: Option<Child>,
    out: mpsc::UnboundedSender<Vec<u8>>,
    number: i64,
    /// The reader and the writer of the child's pipes.
    tasks: JoinSet<()>,
}

impl Program {
    /// Starts the program. What it writes goes to `news` as `(generation, news)`.
    ///
    /// # Errors
    ///
    /// The program cannot be started.
    fn open(
        argv: &[String],
        generation: u64,
        news: mpsc::UnboundedSender<(u64, News)>,
    ) -> io::Result<Self> {
        let [program, arguments @ ..] = argv else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let mut child = Command::new(program)
            .args(arguments)
            // There is no terminal, so ssh must fail with a message instead of asking for a password.
            .env("SSH_ASKPASS_REQUIRE", "force")
            .env("SSH_ASKPASS", "/bin/false")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // So that the processes that it starts can be killed with it.
            .process_group(0)
            .spawn()?;
        let missing = || io::Error::from(io::ErrorKind::BrokenPipe);
        let stdin = OwnedFd::from(child.stdin.take().ok_or_else(missing)?);
        let stdout = OwnedFd::from(child.stdout.take().ok_or_else(missing)?);
        let said = Said::of(child.stderr.take());
        let mut sender = pipe::Sender::from_owned_fd(stdin)?;
        let receiver = pipe::Receiver::from_owned_fd(stdout)?;
        let (out, mut outgoing) = mpsc::unbounded_channel::<Vec<u8>>();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            while let Some(bytes) = outgoing.recv().await {
                if sender.write_all(&bytes).await.is_err() {
                    // The program has exited, so the reader sees the end of its output and reports it.
                    return;
                }
            }
        });
        tasks.spawn(async move {
            let why = read(receiver, generation, &news).await;
            let why = match why {
                Some(why) => why,
                None => said.last().await,
            };
            let _ = news.send((generation, News::Over(why)));
        });
        Ok(Self { child: Some(child), out, number: 0, tasks })
    }

    /// Sends a request; returns its id.
    fn request(&mut self, method: &str, params: &Value) -> i64 {
        self.number += 1;
        let id = self.number;
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}));
        id
    }

    /// Sends a notification.
    fn notify(&self, method: &str, params: &Value) {
        self.send(&json!({"jsonrpc": "2.0", "method": method, "params": params}));
    }

    fn send(&self, message: &Value) {
        let mut bytes = Vec::new();
        Framing::ContentLength.append(&mut bytes, message.to_string().as_bytes());
        // The reader reports a closed connection.
        let _ = self.out.send(bytes);
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // This closes the program's standard input and output.
        self.tasks.abort_all();
        let Some(mut child) = self.child.take() else { return };
        if let Ok(group) = i32::try_from(child.id()) {
            // The child is not reaped yet, so the pid is still its own.
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        }
        // A process of another user (sudo) or one that hangs in the kernel may survive the signal for long.
        std::thread::spawn(move || child.wait());
    }
}

/// Reads until the end of the output; returns an error if the reason is not that the program has exited.
async fn read(
    mut input: pipe::Receiver,
    generation: u64,
    news: &mpsc::UnboundedSender<(u64, News)>,
) -> Option<String> {
    let mut decoder = Decoder::new(Framing::ContentLength);
    let mut bytes = vec![0; READ_BYTES];
    loop {
        let len = match input.read(&mut bytes).await {
            Ok(0) | Err(_) => return None,
            Ok(len) => len,
        };
        decoder.push(&bytes[..len]);
        while let Some(frame) = decoder.next() {
            match frame {
                Ok(body) => {
                    if let Ok(message) = message::parse(body) {
                        let _ = news.send((generation, News::Message(message)));
                    }
                }
                Err(fault) if fault.is_fatal() => return Some(not_ours(&fault)),
                Err(_) => {}
            }
        }
    }
}

fn not_ours(fault: &Fault) -> String {
    let Fault::NoHeader(line) = fault else {
        return format!("the output of the command is not the protocol: {fault}");
    };
    format!(
        "the output of the command is not the protocol: `{}`; expected nothing before the first message of \
         `meanwhile serve`, so the start-up files of the shell there must print nothing without a terminal",
        one_line(line)
    )
}

/// The last lines of a program's standard error.
#[derive(Debug, Clone, Default)]
struct Said(Arc<Mutex<(VecDeque<String>, bool)>>);

impl Said {
    fn of(stderr: Option<ChildStderr>) -> Self {
        let said = Self::default();
        if let Some(stderr) = stderr {
            let lines = said.clone();
            // The thread exits when the program closes its standard error.
            std::thread::spawn(move || lines.read(stderr));
        }
        said
    }

    fn read(&self, stderr: ChildStderr) {
        let mut reader = BufReader::new(stderr);
        loop {
            let mut line = Vec::new();
            let len = (&mut reader).take(LINE_BYTES).read_until(b'\n', &mut line);
            let Ok(mut said) = self.0.lock() else { return };
            match len {
                Ok(0) | Err(_) => {
                    said.1 = true;
                    return;
                }
                Ok(_) => {
                    let line = one_line(&String::from_utf8_lossy(&line));
                    if !line.is_empty() {
                        said.0.push_back(line);
                        let surplus = said.0.len().saturating_sub(SAID_LINES);
                        said.0.drain(..surplus);
                    }
                }
            }
        }
    }

    /// The last lines, once the program has closed its standard error, or after half a second.
    async fn last(&self) -> String {
        let mut looks = 0;
        loop {
            if let Ok(said) = self.0.lock()
                && (said.1 || looks == 50)
            {
                return match said.0.is_empty() {
                    true => "the command exited without an error message".to_owned(),
                    false => Vec::from(said.0.clone()).join("; "),
                };
            }
            looks += 1;
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }
}
