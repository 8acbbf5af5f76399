//! A place that is a Slurm cluster: what a `meanwhile serve` is at another machine, this is for the courier of such
//! a place. It takes the same requests and tells the same, so the courier knows of no engine.
//!
//! What it knows of a task lies in the folder that this machine shares with the nodes, and in what Slurm says, so a
//! courier that is started after a kill asks for it again. A job is submitted once: its folder is there before, and
//! one that may have been submitted is looked for by its name.

mod commands;
mod folder;
mod job;
mod submit;
mod words;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use meanwhile_core::background::places::Slurm;
use meanwhile_core::background::words::reason;
use meanwhile_core::limits;
use meanwhile_shim::ctl::{Order, Recipient};
use meanwhile_shim::node;
use meanwhile_shim::record::{Actor, Cause};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::folder::Shared;
use self::job::{Job, Stop};
use self::submit::Refusal;
use self::words::{Row, Word};
use super::link::News;
use crate::convert::signal;
use crate::peer::message::{Id, Message};

/// What the engine is called on the wire.
const NAME: &str = "slurm";
/// Between two looks at the records of tasks: each is looked at so often, and no more than [`LOOKS`] at once.
const ROUND: Duration = Duration::from_millis(250);
/// Records that are looked at in a round.
const LOOKS: usize = 25;
/// Between two questions to Slurm: as a rule, while something changes, and where an order or an end waits for it.
const QUESTIONS: (Duration, Duration, Duration) =
    (Duration::from_secs(30), Duration::from_secs(5), Duration::from_secs(2));
/// How long after a change more of them are expected.
const LIVELY: Duration = Duration::from_secs(30);
/// Between two attempts to hand a task in, or to carry out an order.
const RETRY: Duration = Duration::from_secs(5);
/// Milliseconds after which what a node has written is seen here.
const SEEN_MS: i64 = 5_000;
/// Bytes of output that are told at once.
const PUSH_BYTES: u64 = 256 << 10;

/// Codes of refusals (docs/protocol.md, "Errors").
const UNKNOWN_TASK: i32 = 1001;
const NOT_STARTED: i32 = 1002;
const NOT_NOW: i32 = 1005;
const INVALID: i32 = -32602;

/// The way to the engine.
#[derive(Debug)]
pub(crate) struct Engine {
    requests: mpsc::UnboundedSender<(i64, String, Value)>,
    number: i64,
    _work: JoinSet<()>,
}

impl Engine {
    /// Begins to work on the tasks of a place. What it says goes to `news`.
    pub(super) fn open(
        slurm: Slurm,
        generation: u64,
        news: mpsc::UnboundedSender<(u64, News)>,
    ) -> Self {
        let (requests, asked) = mpsc::unbounded_channel();
        let mut work = JoinSet::new();
        work.spawn(async move { Work::new(slurm, generation, news).run(asked).await });
        Self { requests, number: 0, _work: work }
    }

    pub(super) fn request(&mut self, method: &str, params: &Value) -> i64 {
        self.number += 1;
        let _ = self.requests.send((self.number, method.to_owned(), params.clone()));
        self.number
    }
}

/// What was started and is done.
enum Done {
    Ready(i64, Result<(Shared, String), String>),
    Submitted(String, Result<String, Refusal>),
    Asked(Result<Vec<Row>, String>),
    /// A task, the number of its job, and what the accounting has of that.
    Remembered(String, String, Option<Row>),
    Ordered(String, Result<(), String>),
}

struct Work {
    slurm: Slurm,
    generation: u64,
    news: mpsc::UnboundedSender<(u64, News)>,
    shared: Option<Shared>,
    jobs: HashMap<String, Job>,
    /// Tasks that are to be handed in, one after the other.
    lane: VecDeque<String>,
    is_submitting: bool,
    /// Tasks that Slurm did not take when they were handed in again.
    again: Vec<String>,
    /// Tasks whose records are looked at, those first that were not looked at for longest.
    turns: VecDeque<String>,
    is_asking: bool,
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
            shared: None,
            jobs: HashMap::new(),
            lane: VecDeque::new(),
            is_submitting: false,
            again: Vec::new(),
            turns: VecDeque::new(),
            is_asking: false,
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
                self.start(async move { Done::Ready(number, submit::ready(root).await) });
            }
            "task/spawn" => self.spawn(number, params),
            "task/check" if id.is_empty() => {
                let going = self.jobs.values().filter(|job| job.end.is_none());
                let tasks: Vec<Value> = going.map(|job| job.task(&self.silence)).collect();
                self.answer(number, Ok(json!({"tasks": tasks})));
            }
            "task/check" => match self.find(&id) {
                Ok(()) => {
                    let task = self.jobs.get(&id).map(|job| job.task(&self.silence));
                    self.answer(number, Ok(json!({"task": task})));
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.refuse(number, UNKNOWN_TASK, "there is no such task");
                }
                Err(error) => self.refuse(number, NOT_NOW, &reason(&error)),
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
                let signal = params["signal"].as_str().and_then(signal::number);
                let grace = params["graceMs"].as_u64().map(Duration::from_millis);
                if let Some(job) = self.jobs.get_mut(&id) {
                    job.stop = Some(Stop {
                        signal: signal.unwrap_or(libc::SIGTERM),
                        grace: grace.unwrap_or(limits::STOP_GRACE),
                        tries: 0,
                        again_at: Instant::now(),
                    });
                }
                self.answer(number, Ok(json!({})));
                self.carry_out(&id);
            }
            "task/signal" => {
                self.signal(&id, params);
                self.answer(number, Ok(json!({})));
            }
            "task/remove" => {
                for id in params["ids"].as_array().into_iter().flatten() {
                    if let Some(job) = id.as_str().and_then(|id| self.jobs.get_mut(id)) {
                        job.forget = true;
                    }
                }
                self.answer(number, Ok(json!({})));
            }
            "task/drain" => {
                // An end is told by the task itself as often as it is asked for.
                self.answer(number, Ok(json!({"notifications": [], "remaining": 0})));
            }
            _ => self.answer(number, Ok(json!({}))),
        }
    }

    /// Takes a task up from its folder, where it is not known yet.
    fn find(&mut self, id: &str) -> io::Result<()> {
        if self.jobs.contains_key(id) {
            return Ok(());
        }
        let dir = self.shared.as_ref().ok_or(io::ErrorKind::NotConnected)?.task(id);
        let spec = folder::spec(&dir)?;
        let mut job = Job::new(id.to_owned(), dir.clone(), folder::job(&dir), spec.resources);
        job.known_at = folder::job_age(&dir).and_then(|age| Instant::now().checked_sub(age));
        self.take(job);
        self.look_at(id);
        Ok(())
    }

    fn take(&mut self, job: Job) {
        self.turns.push_back(job.id.clone());
        self.jobs.insert(job.id.clone(), job);
        self.changed_at = Instant::now();
    }

    fn spawn(&mut self, number: i64, params: &Value) {
        let Some(shared) = &self.shared else {
            return self.refuse(number, NOT_NOW, "the shared directory is not known yet");
        };
        let spec = match job::spec(params) {
            Ok(spec) => spec,
            Err(why) => return self.refuse(number, INVALID, &why),
        };
        let id = spec.id.clone();
        if let Some(job) = self.jobs.get_mut(&id) {
            job.asked_by = Some(number);
            return self.submitted(&id);
        }
        let mut job = Job::new(id.clone(), shared.task(&id), String::new(), spec.resources.clone());
        (job.asked_by, job.spec) = (Some(number), Some(spec));
        self.take(job);
        self.lane.push_back(id);
        self.hand_in();
    }

    /// Hands in the next task.
    fn hand_in(&mut self) {
        let Some(shared) = self.shared.clone().filter(|_| !self.is_submitting) else { return };
        let Some(id) = self.lane.pop_front() else { return };
        let Some(spec) = self.jobs.get(&id).and_then(|job| job.spec.clone()) else { return };
        self.is_submitting = true;
        let options = self.slurm.options.clone();
        self.start(async move { Done::Submitted(id, submit::submit(shared, spec, options).await) });
    }

    /// Answers the request that asked for a task, once Slurm has it.
    fn submitted(&mut self, id: &str) {
        let Some(job) = self.jobs.get_mut(id).filter(|job| job.spec.is_none()) else { return };
        if let Some(number) = job.asked_by.take() {
            let task = job.task(&self.silence);
            self.answer(number, Ok(json!({"task": task})));
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
            Done::Submitted(id, outcome) => {
                self.is_submitting = false;
                self.handed_in(&id, outcome);
                self.hand_in();
            }
            Done::Asked(outcome) => {
                self.is_asking = false;
                self.heard(outcome);
            }
            Done::Remembered(id, number, row) => {
                // The answer may be about a job that was replaced meanwhile.
                let waits = |job: &&mut Job| {
                    job.number == number && job.spec.is_none() && !job.word.is_last()
                };
                if let Some(job) = self.jobs.get_mut(&id).filter(waits) {
                    // The controller does not list it: only its end is to be had from the accounting, which calls a job
                    // that was lost with the controller pending or running for ever.
                    let name = job::name(&id);
                    let word = row.filter(|row| row.name == name).map(Word::of);
                    job.hears(match word {
                        Some(over @ Word::Over(_)) => over,
                        Some(Word::Silent | Word::Goes(_) | Word::Forgotten) | None => {
                            Word::Forgotten
                        }
                    });
                    match job.is_missing() {
                        true => self.hand_in_again(&id),
                        false => self.look_at(&id),
                    }
                }
            }
            Done::Ordered(id, Err(why)) => tracing::warn!("task {id}: {why}"),
            Done::Ordered(..) => {}
        }
    }

    fn handed_in(&mut self, id: &str, outcome: Result<String, Refusal>) {
        let Some(job) = self.jobs.get_mut(id) else { return };
        match outcome {
            Ok(number) => {
                job.number = number;
                job.spec = None;
                (job.since, job.known_at) = (Instant::now(), Some(Instant::now()));
                self.silence = None;
                self.changed_at = Instant::now();
                self.submitted(id);
                self.carry_out(id);
            }
            Err(refusal) => {
                // It is asked for again where that may help.
                let (asked_by, dir) = (job.asked_by.take(), job.dir.clone());
                if let (None, Refusal::NotNow(why)) = (asked_by, &refusal) {
                    // It had a number before, so no request waits for it.
                    tracing::warn!("task {id}: {why}");
                    self.again.push(id.to_owned());
                    return;
                }
                self.jobs.remove(id);
                let (code, why) = match refusal {
                    Refusal::Taken(why) => (NOT_STARTED, why),
                    Refusal::Never(why) => {
                        folder::remove(&dir);
                        (NOT_STARTED, why)
                    }
                    Refusal::NotNow(why) => (NOT_NOW, why),
                };
                if let Some(number) = asked_by {
                    self.refuse(number, code, &why);
                }
            }
        }
    }

    /// Hands in a task whose job was lost before it began.
    fn hand_in_again(&mut self, id: &str) {
        let Some(job) = self.jobs.get_mut(id) else { return };
        let Ok(spec) = folder::spec(&job.dir) else { return };
        tracing::warn!("task {id}: Slurm has lost job {}, which is submitted again", job.number);
        // Where this fails Slurm is asked for that job again, and has lost it once more.
        if folder::note_job(&job.dir, "").is_ok() {
            job.spec = Some(spec);
            job.hears(Word::Silent);
            job.again += 1;
            job.number.clear();
            self.lane.push_back(id.to_owned());
            self.hand_in();
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
        let Some(job) = self.jobs.get_mut(id).filter(|job| job.spec.is_none()) else { return };
        let pieces = job.look();
        let shown = job.task(&self.silence);
        let news = job.is_news(&shown);
        let ended = job.end.is_some();
        for piece in pieces {
            let data = BASE64.encode(&piece.data);
            let params =
                json!({"id": id, "offset": piece.offset, "data": data, "encoding": "base64"});
            self.push("task/output", params);
        }
        if !news {
            return;
        }
        self.changed_at = Instant::now();
        if ended {
            let preview = self.jobs.get(id).map(Job::preview);
            let notification = json!({"kind": "exited", "task": shown, "preview": preview});
            self.push("task/exited", json!({"notification": notification}));
        } else {
            self.push("task/started", json!({"task": shown}));
        }
    }

    /// Asks Slurm how the jobs stand, where it is time.
    fn ask(&mut self) {
        let now = Instant::now();
        let wants = |job: &Job| job.spec.is_none() && !job.word.is_last();
        if self.is_asking || !self.jobs.values().any(wants) && self.again.is_empty() {
            return;
        }
        let hurry = |job: &Job| wants(job) && (job.stop.is_some() || job.ended_at.is_some());
        let pause = match () {
            () if self.silence.is_some() => QUESTIONS.1,
            () if self.jobs.values().any(hurry) => QUESTIONS.2,
            () if now < self.changed_at + LIVELY => QUESTIONS.1,
            () => QUESTIONS.0,
        };
        if self.asked_at.is_some_and(|at| now < at + pause) {
            return;
        }
        (self.is_asking, self.asked_at) = (true, Some(now));
        self.start(async { Done::Asked(commands::jobs(None).await) });
    }

    /// Slurm has answered, or not.
    fn heard(&mut self, outcome: Result<Vec<Row>, String>) {
        let rows = match outcome {
            Ok(rows) => rows,
            Err(why) => {
                self.silence = Some(why);
                return;
            }
        };
        self.silence = None;
        self.lane.extend(std::mem::take(&mut self.again));
        self.hand_in();
        let asked_at = self.asked_at;
        let mut forgotten = Vec::new();
        for job in self.jobs.values_mut().filter(|job| job.spec.is_none() && !job.word.is_last()) {
            let name = job::name(&job.id);
            let own = |row: &&Row| row.name == name;
            let row = rows.iter().filter(own).find(|row| row.number == job.number);
            let row = row.or_else(|| rows.iter().rev().find(own).filter(|_| job.number.is_empty()));
            match row {
                Some(row) => {
                    if job.number.is_empty() {
                        job.number.clone_from(&row.number);
                    }
                    job.hears(Word::of(row.clone()));
                    job.known_at = Some(Instant::now());
                }
                // It may have been handed in after the question.
                None if asked_at.is_some_and(|at| at <= job.since) => {}
                None => forgotten.push((job.id.clone(), job.number.clone())),
            }
        }
        for (id, number) in forgotten {
            self.start(async move {
                let row = match number.is_empty() {
                    true => None,
                    false => commands::remembered(&number).await,
                };
                Done::Remembered(id, number, row)
            });
        }
        for id in self.jobs.keys().cloned().collect::<Vec<_>>() {
            self.look_at(&id);
        }
    }

    /// Carries out the order to stop a task, again where it has not helped.
    fn carry_out(&mut self, id: &str) {
        let now = Instant::now();
        let Some(job) = self.jobs.get_mut(id) else { return };
        let (number, has_begun) = (job.number.clone(), job.has_begun());
        if job.end.is_some() || number.is_empty() || job.word.is_last() {
            return;
        }
        let Some(stop) = job.stop.as_mut().filter(|stop| now >= stop.again_at) else { return };
        stop.tries += 1;
        stop.again_at = now + RETRY.max(stop.grace);
        let (signal, grace, is_first) = (stop.signal, stop.grace, stop.tries == 1);
        let is_usual = signal == libc::SIGTERM && grace == limits::STOP_GRACE;
        let id = id.to_owned();
        if has_begun && is_first && !is_usual {
            let cause = Cause { actor: Actor::Client, message: String::new() };
            return self.order(&id, &Order::Stop { signal, grace, cause });
        }
        // The keeper alone first: it ends the tree and leaves a record. Then Slurm ends what it has not ended.
        let keeper_alone = has_begun && stop.tries <= 1 + u32::from(!is_usual);
        self.start(async move { Done::Ordered(id, commands::cancel(&number, keeper_alone).await) });
    }

    fn signal(&mut self, id: &str, params: &Value) {
        let Some(signal) = params["signal"].as_str().and_then(signal::number) else { return };
        let to = if params["to"] == "leader" { Recipient::Leader } else { Recipient::Group };
        let message = "sent from another machine".to_owned();
        let cause = Cause { actor: Actor::Client, message };
        self.order(id, &Order::Signal { signal, to, cause });
    }

    /// Hands an order to the shim, on its own node.
    fn order(&mut self, id: &str, order: &Order) {
        let (Some(job), Some(shared)) = (self.jobs.get(id), &self.shared) else { return };
        let Ok(name) = id.as_bytes().try_into() else { return };
        let digits: String = order.to_bytes(name).iter().map(|it| format!("{it:02x}")).collect();
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let argv = [text(&shared.shim), node::ORDER.to_owned(), text(&job.dir), digits];
        let (number, id) = (job.number.clone(), id.to_owned());
        self.start(async move { Done::Ordered(id, commands::beside(&number, &argv).await) });
    }

    fn read(&mut self, number: i64, id: &str, params: &Value) {
        let Some(job) = self.jobs.get(id) else {
            if self.find(id).is_ok() {
                return self.read(number, id, params);
            }
            return self.refuse(number, UNKNOWN_TASK, "there is no such task");
        };
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
