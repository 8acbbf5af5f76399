//! A running daemon and its client: the process, the thread that reads its output, and its end.

use std::collections::HashMap;
use std::io::{self, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::log::{Direction, Entry, audit};
use super::wire::read_frame;
use super::{DEADLINE, Lab, eventually, frame, procs, until};

/// A daemon and its client. On drop, the daemon is shut down normally, and everything that must hold for
/// a session is asserted.
pub(crate) struct Daemon {
    pub(super) lab: Lab,
    pid: i32,
    child: Mutex<Child>,
    pub(super) wire: Arc<Wire>,
    stderr: Arc<Mutex<String>>,
    pub(super) next_id: AtomicI64,
    threads: Vec<JoinHandle<()>>,
    /// The test has already waited for the exit, and checks it itself.
    over: AtomicBool,
    /// Its last message may be incomplete.
    torn: AtomicBool,
    noisy: bool,
}

/// What the test and the reading thread share.
pub(super) struct Wire {
    stdin: Mutex<Option<Box<dyn Write + Send>>>,
    pub(super) log: Mutex<Log>,
    pub(super) news: Condvar,
    stalled: Mutex<bool>,
    go_on: Condvar,
    /// The results with which the client answers the daemon's requests, by method; `None`: the test answers.
    answers: Mutex<HashMap<String, Option<Value>>>,
}

/// The messages so far, with indexes to find some of them fast.
#[derive(Default)]
pub(super) struct Log {
    pub(super) entries: Vec<Entry>,
    pub(super) answers: HashMap<i64, usize>,
    pub(super) exits: HashMap<String, usize>,
    /// How the stream ended, once it has.
    pub(super) end: Option<Result<(), String>>,
}

impl Wire {
    pub(super) fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().expect("no thread panics while holding the log")
    }

    pub(super) fn record(&self, direction: Direction, message: Value) {
        let mut log = self.log();
        let index = log.entries.len();
        let entry = Entry { direction, message };
        if direction == Direction::Received {
            if entry.message.get("method").is_none() {
                // The audit finds a second answer to a request.
                if let Some(id) = entry.message["id"].as_i64() {
                    log.answers.insert(id, index);
                }
            } else if let (Some(_), Some(id)) = (entry.push("task/exited"), entry.about()) {
                let id = id.to_owned();
                log.exits.insert(id, index);
            }
        }
        log.entries.push(entry);
        self.news.notify_all();
    }

    pub(super) fn send_bytes(&self, bytes: &[u8]) -> io::Result<()> {
        let mut stdin = self.stdin.lock().expect("no thread panics while writing");
        let stdin = stdin.as_mut().ok_or_else(|| io::Error::other("stdin is closed"))?;
        stdin.write_all(bytes)?;
        stdin.flush()
    }

    /// Logs a message and then sends it, so that an answer is never logged before its request.
    pub(super) fn send(&self, message: Value) -> io::Result<()> {
        let bytes = frame(&message);
        self.record(Direction::Sent, message);
        self.send_bytes(&bytes)
    }
}

/// The daemon's stdout, which is not read while the client stalls.
struct Tap<R> {
    wire: Arc<Wire>,
    stdout: R,
}

impl<R: Read> Read for Tap<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let stalled = self.wire.stalled.lock().expect("no thread panics while holding the tap");
        drop(self.wire.go_on.wait_while(stalled, |stalled| *stalled));
        self.stdout.read(buffer)
    }
}

impl Daemon {
    pub(super) fn attach(
        lab: Lab,
        mut child: Child,
        stdin: Box<dyn Write + Send>,
        stdout: Box<dyn Read + Send>,
        noisy: bool,
    ) -> Self {
        let wire = Arc::new(Wire {
            stdin: Mutex::new(Some(stdin)),
            log: Mutex::default(),
            news: Condvar::new(),
            stalled: Mutex::new(false),
            go_on: Condvar::new(),
            answers: Mutex::default(),
        });
        let stderr = Arc::new(Mutex::new(String::new()));
        let mut errors = child.stderr.take().expect("stderr is piped");
        let pump = {
            let wire = Arc::clone(&wire);
            thread::spawn(move || pump(&wire, stdout))
        };
        let listener = {
            let stderr = Arc::clone(&stderr);
            thread::spawn(move || {
                let mut buffer = [0; 4_096];
                while let Ok(1..) = errors.read(&mut buffer).inspect(|&read| {
                    let text = String::from_utf8_lossy(&buffer[..read]).into_owned();
                    stderr.lock().expect("no thread panics while holding stderr").push_str(&text);
                }) {}
            })
        };
        Self {
            lab,
            pid: i32::try_from(child.id()).expect("a pid fits a pid_t"),
            child: Mutex::new(child),
            wire,
            stderr,
            next_id: AtomicI64::new(1),
            threads: vec![pump, listener],
            over: AtomicBool::new(false),
            torn: AtomicBool::new(false),
            noisy,
        }
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }

    /// A field of its `/proc/PID/status`, in bytes.
    pub(crate) fn memory(&self, field: &str) -> u64 {
        procs::memory(self.pid, field).expect("the daemon lives")
    }

    /// The same, for a daemon that may have exited.
    pub(crate) fn memory_perhaps(&self, field: &str) -> Option<u64> {
        procs::memory(self.pid, field)
    }

    /// What it has written to stderr.
    pub(crate) fn stderr(&self) -> String {
        self.stderr.lock().expect("no thread panics while holding stderr").clone()
    }

    /// Sets the result with which the client answers requests of this method; `None`: the test answers. The
    /// default is null.
    pub(crate) fn answers(&self, method: &str, result: Option<Value>) {
        let mut answers = self.wire.answers.lock().expect("no thread panics while answering");
        answers.insert(method.to_owned(), result);
    }

    /// Stops reading the daemon's output, or continues.
    pub(crate) fn stall(&self, stalled: bool) {
        *self.wire.stalled.lock().expect("no thread panics while holding the tap") = stalled;
        self.wire.go_on.notify_all();
    }

    /// Permits an incomplete last message, because the daemon exits while it writes to a client that is gone.
    pub(crate) fn expect_torn(&self) {
        self.torn.store(true, Ordering::Release);
    }

    /// Closes the daemon's stdin.
    pub(crate) fn close_stdin(&self) {
        self.wire.stdin.lock().expect("no thread panics while writing").take();
    }

    /// Waits until the process exits, which must be within `limit`. From then on only the order of messages is
    /// asserted automatically.
    #[track_caller]
    pub(crate) fn ends_within(&self, limit: Duration) -> ExitStatus {
        let start = Instant::now();
        let status = until(limit.max(DEADLINE), || self.try_wait())
            .unwrap_or_else(|| panic!("the daemon did not end"));
        let took = start.elapsed();
        self.over.store(true, Ordering::Release);
        assert!(took <= limit, "the daemon took {took:?} to end, allowed were {limit:?}");
        status
    }

    fn try_wait(&self) -> Option<ExitStatus> {
        self.child
            .lock()
            .expect("only one thread waits")
            .try_wait()
            .expect("the test is its parent")
    }

    /// Kills it with SIGKILL, and returns all messages so far.
    pub(crate) fn kill9(mut self) -> Vec<Entry> {
        self.over.store(true, Ordering::Release);
        self.expect_torn();
        {
            let mut child = self.child.lock().expect("only one thread waits");
            child.kill().expect("the test is its parent");
            let status = child.wait().expect("the test is its parent");
            assert_eq!(status.signal(), Some(9), "the daemon had already exited: {status:?}");
        }
        self.stall(false);
        self.join();
        let log = std::mem::take(&mut self.wire.log().entries);
        audit(&log, false);
        log
    }

    /// Sends `shutdown` and `exit`; asserts the answer and the exit code 0.
    #[track_caller]
    pub(crate) fn shut_down(&self) {
        assert_eq!(self.call("shutdown", Value::Null), Value::Null, "the result of shutdown");
        self.notify("exit", Value::Null);
        let status = self.ends_within(DEADLINE);
        assert_eq!(status.code(), Some(0), "exit code after shutdown; stderr: {}", self.stderr());
    }

    fn join(&mut self) {
        for thread in self.threads.drain(..) {
            thread.join().expect("the reading threads do not panic");
        }
    }

    fn expect_no_zombie(&self) {
        eventually("every dead child to be reaped", || {
            let mut parents = vec![self.pid];
            parents.extend(self.lab.shims().iter().map(|shim| shim.pid));
            parents.extend(self.lab.keepers().iter().map(|keeper| keeper.pid));
            let dead = |process: &procs::Process| {
                process.state == 'Z' && parents.contains(&process.parent)
            };
            (!procs::all().iter().any(dead)).then_some(())
        });
    }
}

fn pump(wire: &Arc<Wire>, stdout: impl Read) {
    let mut stdout = BufReader::new(Tap { wire: Arc::clone(wire), stdout });
    let end = loop {
        match read_frame(&mut stdout) {
            Ok(Some(message)) => {
                let id = message["id"].clone();
                let answer = message["method"].as_str().filter(|_| !id.is_null()).map(|method| {
                    let answers = wire.answers.lock().expect("no thread panics while answering");
                    answers.get(method).cloned().unwrap_or(Some(Value::Null))
                });
                wire.record(Direction::Received, message);
                if let Some(Some(result)) = answer {
                    // The daemon may have exited and not read the answer.
                    let _sent = wire.send(json!({ "jsonrpc": "2.0", "id": id, "result": result }));
                }
            }
            Ok(None) => break Ok(()),
            Err(error) => break Err(error.to_string()),
        }
    };
    wire.log().end = Some(end);
    wire.news.notify_all();
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if thread::panicking() {
            let mut child = self.child.lock().unwrap_or_else(|poison| poison.into_inner());
            let _gone = child.kill();
            let _reaped = child.wait();
            return;
        }
        let polite = !self.over.load(Ordering::Acquire);
        if polite {
            self.stall(false);
            self.expect_no_zombie();
            self.shut_down();
        }
        self.join();
        let log = self.wire.log();
        if let (Some(Err(broken)), false) = (&log.end, self.torn.load(Ordering::Acquire)) {
            panic!("{broken}");
        }
        audit(&log.entries, polite);
        let stderr = self.stderr();
        assert!(self.noisy || stderr.is_empty(), "unexpected on stderr: {stderr}");
    }
}
