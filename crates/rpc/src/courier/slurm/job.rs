//! One task at a cluster: what is known of it, and how that is told.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use meanwhile_core::background::task::Timestamp;
use meanwhile_core::background::words::{one_line, signal as signal_name};
use meanwhile_core::background::{Settings, preview};
use meanwhile_core::limits;
use meanwhile_shim::clock;
use meanwhile_shim::node::Beat;
use meanwhile_shim::record::{End, Exit, Outcome, Phase, Record};
use meanwhile_shim::spec::{Resources, Spec, Stdin};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::folder::{self, Piece};
use super::words::{self, Known, Word, verdict};
use super::{NAME, PUSH_BYTES, SEEN_MS};
use crate::convert::to_wire;
use crate::courier::ends;

/// How long a keeper's sign of life counts: longer than between two of them.
const FRESH: Duration = super::words::SILENCE;

/// How long Slurm keeps a job that is over, at least: `MinJobAge` is 300 s as it comes.
const KEPT: Duration = Duration::from_secs(200);
/// How often a task is handed in again: a cluster that forgets jobs at once would be handed it for ever.
const AGAIN: u32 = 3;

/// What a task's job is called.
pub(super) fn name(id: &str) -> String {
    format!("mw-{id}")
}

/// An order to stop a task.
#[derive(Debug)]
pub(super) struct Stop {
    pub(super) signal: i32,
    pub(super) grace: Duration,
    pub(super) tries: u32,
    pub(super) again_at: Instant,
}

impl Stop {
    /// As `scancel` does it.
    pub(super) fn usual() -> Self {
        let (signal, grace) = (libc::SIGTERM, limits::STOP_GRACE);
        Self { signal, grace, tries: 0, again_at: Instant::now() }
    }
}

/// A task at a cluster.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) id: String,
    pub(super) dir: PathBuf,
    /// Slurm's number of it; empty: not known.
    pub(super) number: String,
    /// The one that Slurm had lost before it was handed in again; empty: none.
    pub(super) number_before: String,
    /// What is still to be handed in.
    pub(super) spec: Option<Spec>,
    /// It cannot have been handed in before.
    pub(super) is_new: bool,
    /// Why Slurm has not taken it yet.
    pub(super) why: Option<String>,
    asked: Resources,
    pub(super) since: Instant,
    /// When Slurm knew it last.
    pub(super) known_at: Option<Instant>,
    /// How often it was handed in again.
    pub(super) again: u32,
    pub(super) word: Word,
    beat: Beat,
    /// A keeper has the claim, whether it has given a sign of life or not.
    is_claimed: bool,
    /// The courier has the claim, so no keeper can start it any more.
    pub(super) is_closed: bool,
    record: Option<Record>,
    /// When something was written last, as seen here.
    moved_at: Instant,
    /// When Slurm's word changed last.
    heard_at: Instant,
    /// When its end was first seen in its record.
    pub(super) ended_at: Option<Instant>,
    pub(super) stop: Option<Stop>,
    /// Output from here on is told as it comes.
    pub(super) followed: Option<u64>,
    pub(super) end: Option<End>,
    /// Its folder is not needed any more.
    pub(super) forget: bool,
    /// As it was told last.
    told: Value,
}

impl Job {
    pub(super) fn new(id: String, dir: PathBuf, number: String, asked: Resources) -> Self {
        let now = Instant::now();
        Self {
            id,
            dir,
            number,
            number_before: String::new(),
            spec: None,
            is_new: false,
            why: None,
            asked,
            since: now,
            known_at: None,
            again: 0,
            word: Word::Silent,
            beat: Beat::default(),
            is_claimed: false,
            is_closed: false,
            record: None,
            moved_at: now,
            heard_at: now,
            ended_at: None,
            stop: None,
            followed: None,
            end: None,
            forget: false,
            told: Value::Null,
        }
    }

    /// Whether Slurm has forgotten it too early: it keeps a job that is over for a while, so this one was lost with
    /// what a controller that was killed had not written down, and never begun. It is handed in again: should the
    /// first one come to light, the claim keeps it from running twice.
    pub(super) fn is_missing(&self) -> bool {
        let was_known = self.known_at.is_some_and(|at| at.elapsed() < KEPT);
        was_known
            && self.again < AGAIN
            && self.record.is_none()
            && !self.has_begun()
            && self.stop.is_none()
            && self.end.is_none()
            && !self.forget
            && self.word == Word::Forgotten
    }

    /// Takes Slurm's word.
    pub(super) fn hears(&mut self, word: Word) {
        if std::mem::discriminant(&word) != std::mem::discriminant(&self.word) {
            self.heard_at = Instant::now();
        }
        self.word = word;
    }

    /// Whether a keeper has it.
    pub(super) fn has_begun(&self) -> bool {
        self.beat.beats > 0
    }

    pub(super) fn beat_is_fresh(&self) -> bool {
        self.moved_at.elapsed() < FRESH
    }

    /// Looks at what the node has written; returns the output that is to be told.
    pub(super) fn look(&mut self) -> Vec<Piece> {
        if self.end.is_some() {
            return Vec::new();
        }
        let now = Instant::now();
        // Files that cannot be read are not silence: no end follows from them.
        let Ok((beat, found)) = folder::look(&self.dir) else {
            self.moved_at = now;
            return Vec::new();
        };
        let stands = |record: &Record| (record.phase, record.extent.total);
        let record = found.map(|(_, record)| record);
        let is_other = record.as_ref().map(stands) != self.record.as_ref().map(stands);
        if beat != self.beat || is_other {
            self.moved_at = now;
        }
        if !beat.job.is_empty() && beat.job != self.number {
            // Of two jobs of it, the other one runs it.
            self.number.clone_from(&beat.job);
            self.hears(Word::Silent);
        }
        self.beat = beat;
        // A header that is half written is seen as none.
        self.record = record.or(self.record.take());
        let end = self.record.as_ref().and_then(|record| record.end.as_ref());
        let has_end = end.is_some();
        if has_end {
            self.ended_at.get_or_insert(now);
        }
        let waited = self.ended_at.map_or(Duration::ZERO, |at| now - at);
        // All of it is to be seen here before it is told.
        let is_seen = end.is_none_or(|end| {
            self.beat.synced >= end.total || waited >= Duration::from_millis(SEEN_MS as u64)
        });
        let known = Known {
            end,
            claimed: self.has_begun() || self.is_claimed,
            terminated: self.beat.terminated,
            failed: self.beat.failed,
            ordered: self.stop.is_some(),
            quiet: now - self.moved_at.max(self.heard_at),
            waited,
            asked: Some(&self.asked),
        };
        let was_claimed = known.claimed;
        if is_seen {
            self.end = verdict(known, &self.word);
        }
        // Its job, or another one of the same task, could begin after such an end was told.
        if let Some(end) = self.end.as_ref().filter(|_| !has_end && !was_claimed) {
            let message = end.cause.as_ref().map_or("", |cause| &cause.message);
            match folder::close(&self.dir, end.outcome, message) {
                Ok(is_closed) => (self.is_closed, self.is_claimed) = (is_closed, !is_closed),
                Err(_) => self.is_closed = false,
            }
            self.end.take_if(|_| !self.is_closed);
        }
        if let Some(End { outcome: Outcome::Lost | Outcome::Exited, cause: Some(cause), .. }) =
            self.end.as_mut().filter(|_| !has_end)
        {
            // A node that does not see the folder says so here, as far as it can.
            let said = one_line(&folder::said(&self.dir));
            if !said.is_empty() {
                cause.message = format!("{}: {said}", cause.message);
            }
        }
        self.output()
    }

    /// Ends it although Slurm has no job of it, unless a keeper has it.
    ///
    /// # Errors
    ///
    /// The file system's: it is not known whether a keeper can start it.
    pub(super) fn end_before(&mut self, outcome: Outcome, message: String) -> io::Result<()> {
        self.is_closed = folder::close(&self.dir, outcome, &message)?;
        self.is_claimed = !self.is_closed;
        self.spec = None;
        if self.is_closed {
            // It is carried out. A job of it that comes to light is cancelled by an order of its own.
            self.stop = None;
            self.end = Some(words::without_end(outcome, message));
        }
        Ok(())
    }

    fn output(&mut self) -> Vec<Piece> {
        let Some(mut offset) = self.followed else { return Vec::new() };
        let mut pieces = Vec::new();
        while let Ok(piece) = folder::read(&self.dir, offset, PUSH_BYTES) {
            if piece.data.is_empty() {
                break;
            }
            offset = piece.offset + piece.data.len() as u64;
            pieces.push(piece);
        }
        self.followed = Some(offset);
        pieces
    }

    /// The node that its keeper is on.
    pub(super) fn host(&self) -> &str {
        &self.beat.host
    }

    /// Whether it was told in this state last.
    pub(super) fn is_told_as(&self, state: &str) -> bool {
        self.told["state"] == state
    }

    /// Whether this differs from what was told of it.
    pub(super) fn is_news(&mut self, task: &Value) -> bool {
        let mut told = task.clone();
        told["output"] = Value::Null;
        let is_news = told != self.told;
        self.told = told;
        is_news
    }

    /// The task as it stands.
    pub(super) fn task(&self, silence: &Option<String>) -> Value {
        let leader = self.record.as_ref().map_or(0, |record| record.leader_pid);
        let phase = self.record.as_ref().map_or(Phase::Idle, |record| record.phase);
        let total = match (&self.end, &self.record) {
            (Some(end), _) => end.total,
            (None, Some(record)) => record.extent.total.min(self.beat.synced),
            (None, None) => 0,
        };
        let state = match (&self.end, leader, phase) {
            (Some(end), ..) => ends::state(end.outcome),
            (None, 0, _) => "queued",
            (None, _, Phase::Stopping) => "stopping",
            (None, ..) => "running",
        };
        let row = match &self.word {
            Word::Goes(row) | Word::Over(row) => Some(row),
            Word::Silent | Word::Forgotten => None,
        };
        let node = row.map(|row| row.node.as_str()).filter(|node| !node.is_empty());
        let node = if self.beat.host.is_empty() { node.unwrap_or("") } else { &self.beat.host };
        let mut task = json!({"id": self.id, "state": state, "output": {"total": total, "dropped": 0},
            "place": {"engine": NAME, "job": self.number, "node": node}});
        if leader != 0 {
            task["pid"] = json!(leader);
        }
        if state == "queued" {
            let why = match (&self.why, silence, row) {
                (Some(why), ..) => why.clone(),
                (None, Some(silence), _) => format!("Slurm does not answer: {silence}"),
                (None, None, Some(row)) => row.reason.clone(),
                (None, None, None) => String::new(),
            };
            task["queued"] = json!({"reason": {"why": why}});
        }
        if let Some(end) = &self.end {
            let (code, signal) = match end.exit {
                Exit::Code(code) => (json!(code), Value::Null),
                Exit::Signal(number) => (Value::Null, json!(signal_name(number))),
                Exit::NotStarted(_) | Exit::Unknown => (Value::Null, Value::Null),
            };
            task["exit"] = json!({"code": code, "signal": signal});
            task["endedAt"] = json!(to_wire::time(Timestamp(end.at_ms)));
            task["durationMs"] = json!(end.duration_ns / 1_000_000);
            let dropped = self.record.as_ref().map_or(0, |record| record.extent.dropped());
            task["output"] = json!({"total": total, "dropped": dropped});
            if let Some(cause) = &end.cause {
                let actor = ends::actor(cause.actor);
                task["cause"] = json!({"actor": actor, "message": cause.message});
            }
        }
        task
    }

    /// The two ends of its output.
    pub(super) fn preview(&self) -> Value {
        let total = self.record.as_ref().map_or(0, |record| record.extent.total);
        let bytes = meanwhile_core::limits::PREVIEW_BYTES as u64;
        let read = |from: u64| {
            let piece = folder::read(&self.dir, from, bytes).ok();
            piece.filter(|piece| piece.gap.is_none()).map(|piece| piece.data).unwrap_or_default()
        };
        let tail = match read(total.saturating_sub(bytes)) {
            tail if tail.is_empty() => {
                self.record.as_ref().map(|record| record.last.clone()).unwrap_or_default()
            }
            tail => tail,
        };
        let built = preview::build(&read(0), &tail, total);
        json!({"head": built.head, "tail": built.tail, "omitted": built.omitted})
    }
}

/// The directory that a request names, absolute or relative to the home directory.
pub(super) fn directory(params: &Value) -> PathBuf {
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_else(|| "/".into());
    // An absolute one stays as it is.
    home.join(params["cwd"].as_str().unwrap_or("."))
}

/// What a spawn on the wire asks to run.
///
/// # Errors
///
/// It cannot be had here.
pub(super) fn spec(params: &Value) -> Result<Spec, String> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let token = params["clientToken"].as_str().unwrap_or_default();
    let id = token.rsplit('-').next().filter(|id| id.len() == 8).unwrap_or_default();
    if id.is_empty() {
        return Err("`clientToken` does not end with the id of a task".to_owned());
    }
    if params.get("stdin").is_some() || params.get("pty").is_some() {
        return Err(
            "a job of Slurm has no standard input and no terminal; leave `stdin` and `pty` out"
                .to_owned(),
        );
    }
    let wanted = &params["command"];
    let (argv, command) = match text(wanted) {
        Some(line) => (vec!["/bin/sh".to_owned(), "-c".to_owned(), line.clone()], line),
        None => {
            let argv: Vec<String> =
                wanted.as_array().into_iter().flatten().filter_map(text).collect();
            (argv.clone(), argv.join(" "))
        }
    };
    let cwd = directory(params);
    let env = params["env"].as_object().into_iter().flatten();
    let settings = Settings::default();
    Ok(Spec {
        id: id.to_owned(),
        workspace: cwd.clone(),
        queue: "default".to_owned(),
        label: text(&params["label"]),
        command,
        argv: argv.into_iter().map(Into::into).collect(),
        cwd,
        env: env.map(|(name, value)| (name.into(), text(value).map(Into::into))).collect(),
        created_ms: clock::wall_ms(),
        deadline: params["deadlineMs"].as_u64().map(Duration::from_millis),
        stdin: Stdin::Null,
        head_cap: settings.output_head,
        tail_cap: settings.output_tail,
        sync: true,
        client_token: Some(token.to_owned()),
        service: params["service"] == true,
        resources: super::submit::resources(&params["resources"]),
        ..Spec::default()
    })
}
