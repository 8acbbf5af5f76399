//! The engine for a place that is a Slurm cluster. To the courier it stands for the `meanwhile serve` of another
//! machine: it takes the same requests and sends the same notifications, so the courier does not treat Slurm apart.
//!
//! Everything the engine knows about a task is in the folder that this machine shares with the nodes or in Slurm's
//! reports, so a courier that starts after a kill reads it again. The spawn is answered once the task's folder
//! exists; after that the engine submits the job, once: before it submits again, it searches for a job of that name.
//!
//! One thread does everything that touches the shared directory, one access after the other. A file server that does
//! not answer holds this thread in the kernel, and the courier reports that.

mod asking;
mod commands;
mod folder;
mod job;
mod lane;
mod orders;
mod submit;
mod words;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use meanwhile_core::background::places::Slurm;
use meanwhile_core::background::sources::Sources;
use meanwhile_core::background::words::reason;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::asking::Remembered;
use self::folder::Shared;
use self::job::Job;
use self::submit::Refusal;
use self::words::Row;
use super::link::News;
use crate::peer::message::{Id, Message};

/// The engine's name in the protocol.
const NAME: &str = "slurm";
/// The interval at which the records of tasks are read, at most [`LOOKS`] of them at once.
const ROUND: Duration = Duration::from_millis(250);
/// The most records that are read in one round.
const LOOKS: usize = 25;
/// The interval between two attempts to submit a task or to carry out an order.
const RETRY: Duration = Duration::from_secs(5);
/// Milliseconds after which a write on a node is visible on this host.
const SEEN_MS: i64 = 5_000;
/// The most bytes of output in one message.
const PUSH_BYTES: u64 = 256 << 10;
/// The timeout of one access to the shared directory: shorter than the courier's timeout for the whole engine.
const PATIENCE: Duration = Duration::from_secs(25);
/// The rounds in that timeout. Rounds are counted instead of time, because time also passes while this process is
/// stopped.
const PATIENCE_ROUNDS: u32 = 25;
/// The most engines in this process: each attempt to reach a file server that does not answer occupies one thread.
const THREADS_MOST: usize = 4;

/// Codes of refusals (docs/protocol.md, "Errors").
const UNKNOWN_TASK: i32 = 1001;
const NOT_STARTED: i32 = 1002;
const NOT_NOW: i32 = 1005;
const INVALID: i32 = -32602;

/// Threads of engines in this process.
static THREADS: AtomicUsize = AtomicUsize::new(0);

/// A thread of an engine, counted until it ends.
struct Thread;

impl Thread {
    fn count() -> Option<Self> {
        let thread = (THREADS.fetch_add(1, Ordering::Relaxed), Self);
        (thread.0 < THREADS_MOST).then_some(thread.1)
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        THREADS.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The connection to the engine.
#[derive(Debug)]
pub(crate) struct Engine {
    requests: mpsc::UnboundedSender<(i64, String, Value)>,
    number: i64,
    _watch: JoinSet<()>,
}

impl Engine {
    /// Starts to work on the tasks of a place. Its answers and notifications are sent to `news`.
    pub(super) fn open(
        slurm: Slurm,
        generation: u64,
        news: mpsc::UnboundedSender<(u64, News)>,
    ) -> Self {
        Self::start(Work::new(slurm, generation, news), PATIENCE)
    }

    /// Starts this work. `patience`: how long the shared directory has for one answer.
    fn start(work: Work, patience: Duration) -> Self {
        let (requests, asked) = mpsc::unbounded_channel();
        let (alive, news, generation) = (work.alive.clone(), work.news.clone(), work.generation);
        let why = format!(
            "`{}`, which `shared` names, has not answered for {} s",
            work.slurm.shared.display(),
            patience.as_secs()
        );
        let started = match Thread::count() {
            Some(thread) => std::thread::Builder::new().name(NAME.to_owned()).spawn(move || {
                let _thread = thread;
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                match runtime {
                    Ok(runtime) => runtime.block_on(work.run(asked)),
                    Err(error) => work.tell(News::Over(reason(&error))),
                }
            }),
            // Those before it still wait for the file server.
            None => Err(io::Error::new(io::ErrorKind::TimedOut, why.clone())),
        };
        let mut watch = JoinSet::new();
        match started {
            Ok(_) => {
                watch.spawn(async move {
                    if is_stuck(&alive, patience).await {
                        let _ = news.send((generation, News::Over(why)));
                    }
                });
            }
            Err(error) => {
                let _ = news.send((generation, News::Over(reason(&error))));
            }
        }
        Self { requests, number: 0, _watch: watch }
    }

    pub(super) fn request(&mut self, method: &str, params: &Value) -> i64 {
        self.number += 1;
        let _ = self.requests.send((self.number, method.to_owned(), params.clone()));
        self.number
    }
}

/// Waits until the thread of an engine has done nothing for this long. `false`: it has ended.
async fn is_stuck(alive: &Arc<AtomicU64>, patience: Duration) -> bool {
    let (mut seen, mut silent) = (0, 0);
    while silent < PATIENCE_ROUNDS {
        tokio::time::sleep(patience / PATIENCE_ROUNDS).await;
        if Arc::strong_count(alive) == 1 {
            return false;
        }
        let now = alive.load(Ordering::Relaxed);
        silent = if now == seen { silent + 1 } else { 0 };
        seen = now;
    }
    true
}

/// What was started and is done.
enum Done {
    Ready(i64, Result<(Shared, String), String>),
    Tried(i64, Result<Vec<Row>, String>),
    Submitted(String, Result<String, Refusal>),
    Read(i64, Result<Sources, String>),
    Asked(Result<Vec<Row>, String>),
    Remembered(Remembered),
    Ordered(String, Result<(), String>),
}

struct Work {
    slurm: Slurm,
    generation: u64,
    news: mpsc::UnboundedSender<(u64, News)>,
    /// Counts what the thread does.
    alive: Arc<AtomicU64>,
    shared: Option<Shared>,
    jobs: HashMap<String, Job>,
    /// Tasks that are to be handed in, one after the other.
    lane: VecDeque<String>,
    submitting: Option<String>,
    /// Tasks that Slurm has not taken yet: they are handed in again once it answers.
    again: Vec<String>,
    /// Tasks whose records are looked at, those first that were not looked at for longest.
    turns: VecDeque<String>,
    is_asking: bool,
    is_remembering: bool,
    asked_at: Option<Instant>,
    changed_at: Instant,
    /// Why Slurm does not answer.
    silence: Option<String>,
    done: (mpsc::UnboundedSender<Done>, mpsc::UnboundedReceiver<Done>),
    under_way: JoinSet<()>,
}

impl Work {
    fn new(slurm: Slurm, generation: u64, news: mpsc::UnboundedSender<(u64, News)>) -> Self {
        Self {
            slurm,
            generation,
            news,
            alive: Arc::default(),
            shared: None,
            jobs: HashMap::new(),
            lane: VecDeque::new(),
            submitting: None,
            again: Vec::new(),
            turns: VecDeque::new(),
            is_asking: false,
            is_remembering: false,
            asked_at: None,
            changed_at: Instant::now(),
            silence: None,
            done: mpsc::unbounded_channel(),
            under_way: JoinSet::new(),
        }
    }

    async fn run(mut self, mut asked: mpsc::UnboundedReceiver<(i64, String, Value)>) {
        let mut next = Instant::now() + ROUND;
        loop {
            self.is_alive();
            tokio::select! {
                biased;
                request = asked.recv() => match request {
                    Some((number, method, params)) => self.request(number, &method, &params),
                    None => return,
                },
                Some(done) = self.done.1.recv() => self.done(done),
                () = tokio::time::sleep_until(next) => {
                    next = Instant::now() + ROUND;
                    self.look();
                }
            }
            while self.under_way.try_join_next().is_some() {}
        }
    }

    fn is_alive(&self) {
        self.alive.fetch_add(1, Ordering::Relaxed);
    }

    fn tell(&self, news: News) {
        // The courier that listened is about to end.
        let _ = self.news.send((self.generation, news));
    }

    fn answer(&self, number: i64, outcome: Result<Value, Value>) {
        self.tell(News::Message(Message::Response { id: Some(Id::Number(number)), outcome }));
    }

    fn refuse(&self, number: i64, code: i32, message: &str) {
        self.answer(number, Err(json!({"code": code, "message": message})));
    }

    /// Answers that a task was not found, or that the shared directory cannot be read.
    fn not_found(&self, number: i64, error: &io::Error) {
        match error.kind() == io::ErrorKind::NotFound {
            true => self.refuse(number, UNKNOWN_TASK, "there is no such task"),
            false => self.refuse(number, NOT_NOW, &reason(error)),
        }
    }

    fn push(&self, method: &str, params: Value) {
        let method = method.to_owned();
        self.tell(News::Message(Message::Notification { method, params: Some(params) }));
    }

    /// Has something done that takes a while.
    fn start(&mut self, what: impl Future<Output = Done> + Send + 'static) {
        let done = self.done.0.clone();
        self.under_way.spawn(async move {
            let _ = done.send(what.await);
        });
    }

    fn request(&mut self, number: i64, method: &str, params: &Value) {
        let id = params["id"].as_str().unwrap_or_default().to_owned();
        match method {
            "initialize" => {
                let root = self.slurm.shared.clone();
                self.start(async move { Done::Ready(number, submit::ready(&root).await) });
            }
            "place/try" => {
                self.start(async move { Done::Tried(number, commands::jobs(None).await) });
            }
            "workspace/sources" => {
                let dir = job::directory(params);
                self.start(async move { Done::Read(number, Sources::of(dir).await) });
            }
            "task/spawn" => self.spawn(number, params),
            "task/check" if id.is_empty() => {
                let going = self.jobs.values().filter(|job| job.end.is_none());
                let tasks: Vec<Value> = going.map(|job| job.task(&self.silence)).collect();
                self.answer(number, Ok(json!({"tasks": tasks})));
            }
            "task/check" => match self.find(&id, params) {
                Ok(()) => {
                    let task = self.jobs.get(&id).map(|job| job.task(&self.silence));
                    self.answer(number, Ok(json!({"task": task})));
                    self.hand_in();
                }
                Err(error) => self.not_found(number, &error),
            },
            "task/read" => self.read(number, &id, params),
            "task/subscribe" => {
                if let Some(job) = self.jobs.get_mut(&id) {
                    job.followed = Some(params["offset"].as_u64().unwrap_or(0));
                }
                self.answer(number, Ok(json!({})));
            }
            "task/unsubscribe" => {
                if let Some(job) = self.jobs.get_mut(&id) {
                    job.followed = None;
                }
                self.answer(number, Ok(json!({})));
            }
            "task/stop" => {
                self.order_stop(&id, params);
                self.answer(number, Ok(json!({})));
                self.carry_out(&id);
            }
            "task/signal" => match self.signal(&id, params) {
                Ok(()) => self.answer(number, Ok(json!({}))),
                Err(why) => self.refuse(number, NOT_NOW, why),
            },
            "task/remove" => {
                for id in params["ids"].as_array().into_iter().flatten() {
                    if let Some(job) = id.as_str().and_then(|id| self.jobs.get_mut(id)) {
                        job.forget = true;
                    }
                }
                self.answer(number, Ok(json!({})));
            }
            "task/keep" => {
                self.keep(params);
                self.answer(number, Ok(json!({})));
            }
            "task/drain" => {
                // An end is told by the task itself as often as it is asked for.
                self.answer(number, Ok(json!({"notifications": [], "remaining": 0})));
            }
            _ => self.answer(number, Ok(json!({}))),
        }
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Ready(number, Ok((shared, version))) => {
                let store = json!({"experimental": {"meanwhile": {"store": shared.store}}});
                self.shared = Some(shared);
                let info = json!({"name": NAME, "version": version});
                self.answer(number, Ok(json!({"serverInfo": info, "capabilities": store})));
            }
            Done::Ready(_, Err(why)) => self.tell(News::Over(why)),
            Done::Tried(number, Ok(_)) => self.answer(number, Ok(json!({}))),
            Done::Tried(_, Err(why)) => {
                self.tell(News::Over(format!("`squeue --me` fails: {why}")));
            }
            Done::Read(number, Ok(Sources { head, changes })) => {
                self.answer(number, Ok(json!({"head": head, "changes": changes})));
            }
            Done::Read(number, Err(why)) => self.refuse(number, INVALID, &why),
            Done::Submitted(id, outcome) => {
                self.submitting = None;
                self.handed_in(&id, outcome);
                self.hand_in();
            }
            Done::Asked(outcome) => {
                self.is_asking = false;
                self.heard(outcome);
            }
            Done::Remembered(remembered) => {
                self.is_remembering = false;
                self.remembered(remembered);
            }
            Done::Ordered(id, Err(why)) => {
                tracing::warn!("task {id}: {why}");
                self.stop_without_slurm(&id);
            }
            Done::Ordered(..) => {}
        }
    }

    /// Does what is due.
    fn look(&mut self) {
        for _ in 0..LOOKS.min(self.turns.len()) {
            let Some(id) = self.turns.pop_front() else { break };
            self.look_at(&id);
            self.carry_out(&id);
            let Some(job) = self.jobs.get(&id) else { continue };
            if job.forget && (job.word.is_last() || !job.beat_is_fresh()) {
                folder::remove(&job.dir);
                self.jobs.remove(&id);
                continue;
            }
            self.turns.push_back(id);
        }
        self.ask();
    }

    /// Looks at what the node has written of a task.
    fn look_at(&mut self, id: &str) {
        self.is_alive();
        let Some(job) = self.jobs.get_mut(id).filter(|job| job.spec.is_none()) else { return };
        for piece in job.look() {
            let data = BASE64.encode(&piece.data);
            let params =
                json!({"id": id, "offset": piece.offset, "data": data, "encoding": "base64"});
            self.push("task/output", params);
        }
        self.tell_news(id);
    }

    /// Sends what has changed of a task since it was sent last.
    fn tell_news(&mut self, id: &str) {
        let Some(job) = self.jobs.get_mut(id) else { return };
        let shown = job.task(&self.silence);
        let was_waiting = job.is_told_as("queued");
        if !job.is_news(&shown) {
            return;
        }
        if !(was_waiting && job.is_told_as("queued")) {
            // Slurm alternates between reasons why a job waits, so another reason announces nothing.
            self.changed_at = Instant::now();
        }
        if job.end.is_some() {
            let notification = json!({"kind": "exited", "task": shown, "preview": job.preview()});
            self.push("task/exited", json!({"notification": notification}));
        } else {
            self.push("task/started", json!({"task": shown}));
        }
    }

    fn read(&mut self, number: i64, id: &str, params: &Value) {
        match self.find(id, &Value::Null) {
            Ok(()) => self.hand_in(),
            Err(error) => return self.not_found(number, &error),
        }
        let Some(job) = self.jobs.get(id) else { return };
        let offset = params["offset"].as_u64().unwrap_or(0);
        let limit = params["limit"].as_u64().unwrap_or(PUSH_BYTES);
        match folder::read(&job.dir, offset, limit) {
            Ok(piece) => {
                let next = piece.offset + piece.data.len() as u64;
                let gap = piece.gap.map(|(from, to)| json!({"from": from, "to": to}));
                let data = BASE64.encode(piece.data);
                let mut chunk = json!({"data": data, "encoding": "base64", "offset": piece.offset,
                    "nextOffset": next, "eof": piece.is_last});
                if let Some(gap) = gap {
                    chunk["gap"] = gap;
                }
                self.answer(number, Ok(chunk));
            }
            Err(error) => self.refuse(number, NOT_NOW, &reason(&error)),
        }
    }
}

#[cfg(test)]
mod tests;
