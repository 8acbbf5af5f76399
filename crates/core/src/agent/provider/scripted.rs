//! A model that follows a script: for the demo, for tests, and for users who test their own setup.
//!
//! A scripted model behaves like any other provider, retries included; only the network is missing. The position in
//! the script is stored in the conversation itself: each answer contains a block of type `script`. Thus a killed
//! session continues at the right position, and two sessions do not disturb each other. Only a compacted history,
//! which starts with a notice, has lost its blocks; then the position that this process remembers is used.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use super::super::failure::{Again, Failure, FailureKind, Peer, shorten};
use super::super::message::{Assistant, Block, Dialect, Message};
use super::super::retry::{Attempt, Patience, judge, persist};
use super::super::usage::Usage;
use super::super::vendor::{MODEL, VENDORS};
use super::anthropic::ToolUse;
use super::assemble::{Fate, fate, settle};
use super::script::{BadScript, Ending, Fault, Kind, Script, ScriptInput, fill};
use super::{Call, CutCall, Delta, Request, Sink, StopReason, Turn};

/// A model that follows a script file.
#[derive(Debug)]
pub struct Scripted {
    path: PathBuf,
    model: String,
    script: Script,
    patience: Patience,
    peer: Peer,
    memory: Mutex<Memory>,
}

/// The position in the script, for histories without blocks of type `script`.
#[derive(Debug, Default)]
struct Memory {
    /// The next turn of the sequence.
    next: usize,
    saved: BTreeMap<String, String>,
    /// How many times each turn has failed.
    failed: BTreeMap<usize, u32>,
}

/// The block that stores the position of an answer in the script.
#[derive(Serialize, Deserialize)]
struct Mark {
    #[serde(rename = "type")]
    kind: String,
    turn: usize,
    calls: Vec<String>,
}

/// The interval at which a held answer checks for its file.
const HOLD_POLL: Duration = Duration::from_millis(2);

impl Scripted {
    /// Reads a script from a file.
    pub fn open(path: &Path, patience: Patience) -> Result<Self, BadScript> {
        Ok(Self::new(path, Script::read(path)?, patience))
    }

    /// Parses a script from a text, such as a built-in one; `name` is used as its path.
    pub fn from_text(name: &str, text: &str, patience: Patience) -> Result<Self, BadScript> {
        let path = Path::new(name);
        Ok(Self::new(path, Script::parse(path, text)?, patience))
    }

    fn new(path: &Path, script: Script, patience: Patience) -> Self {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let model = script.model.clone().unwrap_or(stem);
        let peer = Peer {
            url: format!("the script `{}`", path.display()),
            model: model.clone(),
            // Failures of a script use the same messages as those of a server.
            key_setting: VENDORS[0].key_variable(),
            url_setting: MODEL,
            has_key: true,
        };
        let memory = Mutex::default();
        Self { path: path.to_owned(), model, script, patience, peer, memory }
    }

    pub(crate) fn model(&self) -> &str {
        &self.model
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn context_window(&self) -> Option<u64> {
        self.script.context_window
    }

    pub(crate) fn call(self: &Arc<Self>, request: &Request<'_>) -> Call {
        let plan = self.plan(request);
        let this = Arc::clone(self);
        Call::new(|sink| async move {
            let patience = this.patience.clone();
            persist(Performance { script: this, plan: plan? }, &patience, &sink).await
        })
    }

    fn with_memory<T>(&self, look: impl FnOnce(&mut Memory) -> T) -> T {
        look(&mut self.memory.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn fails(&self, message: String) -> Failure {
        Failure::new(FailureKind::Script, Again::Never, format!("{}: {message}", self.peer.url))
    }

    /// The turn that answers this request, with all placeholders filled in.
    fn plan(&self, request: &Request<'_>) -> Result<Plan, Failure> {
        let history = request.history;
        let (next, saved) = self.position(history);
        let since = history.iter().rposition(|m| m.assistant().is_some()).map_or(0, |at| at + 1);
        let added = &history[since..];
        let text: String = added.iter().map(|message| words(message) + "\n").collect();
        let turns = &self.script.turns;
        let sequence: Vec<usize> =
            (0..turns.len()).filter(|at| turns[*at].when.is_none()).collect();
        let called = turns.iter().position(|turn| {
            turn.when.as_ref().is_some_and(|when| text.contains(&fill(when, &saved)))
        });
        let turn = called.or_else(|| sequence.get(next).copied()).ok_or_else(|| {
            self.fails(format!(
                "it ends after {} answers, and this is request {} with `{}`",
                sequence.len(),
                next + 1,
                shorten(&text, 200)
            ))
        })?;
        let wanted = &turns[turn];
        let differs = |what: String| {
            self.fails(format!("turn {} {what}, but got `{}`", turn + 1, shorten(&text, 600)))
        };
        if let Some(kinds) = &wanted.messages {
            let got: Vec<_> = added.iter().filter_map(kind).collect();
            if got != *kinds {
                return Err(differs(format!("expects messages {kinds:?}, got {got:?}")));
            }
        }
        let mut from = 0;
        for expected in &wanted.expect {
            let expected = fill(expected, &saved);
            match text[from..].find(&expected) {
                Some(at) => from += at + expected.len(),
                None => return Err(differs(format!("expects `{expected}` in the request"))),
            }
        }
        for unwanted in &wanted.absent {
            let unwanted = fill(unwanted, &saved);
            if text.contains(&unwanted) {
                return Err(differs(format!("wants no `{unwanted}` in the request")));
            }
        }
        let calls = wanted.calls.iter().enumerate().map(|(k, call)| PlannedCall {
            id: format!("script_{turn}_{}_{k}", history.len()),
            tool: call.tool.clone(),
            arguments: match &call.input {
                ScriptInput::Text(text) => fill(text, &saved),
                ScriptInput::Object(object) => fill(
                    &serde_json::to_string(object).expect("a table with string keys is JSON"),
                    &saved,
                ),
            },
        });
        let bytes: usize = history.iter().map(|message| words(message).len()).sum();
        Ok(Plan {
            turn,
            next: sequence.iter().position(|at| *at == turn).map(|at| at + 1),
            think: fill(wanted.think.as_deref().unwrap_or_default(), &saved),
            text: fill(&wanted.text, &saved),
            calls: calls.collect(),
            input_tokens: tokens(bytes + request.system.len()),
        })
    }

    /// The index of the next turn of the sequence, and all values saved so far.
    fn position(&self, history: &[Message]) -> (usize, BTreeMap<String, String>) {
        let mut next = 0;
        let mut saved = BTreeMap::new();
        let mut open: Vec<(usize, String)> = Vec::new();
        let turns = &self.script.turns;
        for message in history {
            match message {
                Message::Assistant(answer) => {
                    let mark = answer.blocks.last().and_then(mark);
                    let Some(mark) = mark.filter(|mark| mark.turn < turns.len()) else { continue };
                    if turns[mark.turn].when.is_none() {
                        let before = turns[..mark.turn].iter().filter(|t| t.when.is_none()).count();
                        next = next.max(before + 1);
                    }
                    open = mark.calls.into_iter().map(|id| (mark.turn, id)).collect();
                }
                Message::ToolResults { results } => {
                    for (k, (turn, id)) in open.drain(..).enumerate() {
                        let result = results.iter().find(|result| result.call_id == id);
                        let (Some(result), Some(call)) = (result, turns[turn].calls.get(k)) else {
                            continue;
                        };
                        for (name, pattern) in &call.save {
                            let Some(found) = pattern.captures(&result.content) else { continue };
                            let value = found.get(1).or(found.get(0)).map_or("", |m| m.as_str());
                            saved.insert(name.clone(), value.to_owned());
                        }
                    }
                }
                Message::Prompt { .. } | Message::Background { .. } | Message::Notice { .. } => {}
            }
        }
        let compacted = matches!(history.first(), Some(Message::Notice { .. }));
        self.with_memory(|memory| {
            if compacted {
                next = next.max(memory.next);
                for (name, value) in &memory.saved {
                    saved.entry(name.clone()).or_insert_with(|| value.clone());
                }
            }
            memory.saved.extend(saved.clone());
        });
        (next, saved)
    }
}

fn mark(block: &Block) -> Option<Mark> {
    // Checked for every answer of a history at each request, so avoid parsing the others.
    block
        .as_json()
        .starts_with(r#"{"type":"script""#)
        .then(|| serde_json::from_str(block.as_json()))?
        .ok()
}

/// The text of a message, for matching; for an answer, the JSON of its blocks.
fn words(message: &Message) -> String {
    match message {
        Message::Prompt { text, images } => {
            let shown = images.iter().map(|image| format!("\n({image:?})"));
            std::iter::once(text.clone()).chain(shown).collect()
        }
        Message::Background { text } | Message::Notice { text } => text.clone(),
        Message::ToolResults { results } => {
            let texts: Vec<_> = results.iter().map(|result| result.content.as_str()).collect();
            texts.join("\n")
        }
        Message::Assistant(answer) => answer.blocks.iter().map(Block::as_json).collect(),
    }
}

fn kind(message: &Message) -> Option<Kind> {
    match message {
        Message::Prompt { .. } => Some(Kind::Prompt),
        Message::ToolResults { .. } => Some(Kind::ToolResults),
        Message::Background { .. } => Some(Kind::Background),
        Message::Notice { .. } => Some(Kind::Notice),
        Message::Assistant(_) => None,
    }
}

/// An estimate: four bytes per token, in English and in code.
fn tokens(bytes: usize) -> u64 {
    u64::try_from(bytes / 4).unwrap_or(u64::MAX)
}

/// The planned answer to a request.
struct Plan {
    turn: usize,
    /// The position in the sequence after this turn; `None` for a turn outside the sequence.
    next: Option<usize>,
    think: String,
    text: String,
    calls: Vec<PlannedCall>,
    input_tokens: u64,
}

struct PlannedCall {
    id: String,
    tool: String,
    arguments: String,
}

struct Performance {
    script: Arc<Scripted>,
    plan: Plan,
}

impl Attempt for Performance {
    async fn attempt(&mut self, sink: &Sink) -> Result<Turn, Failure> {
        let Self { script, plan } = self;
        let turn = &script.script.turns[plan.turn];
        // Even a sleep of zero lasts until the timer's next tick, one millisecond.
        if turn.delay_ms > 0 {
            tokio::time::sleep(Duration::from_millis(turn.delay_ms)).await;
        }
        while let Some(hold) = &turn.hold
            && !hold.exists()
        {
            tokio::time::sleep(HOLD_POLL).await;
        }
        if let Some(fault) = turn.fault {
            let failed = script.with_memory(|memory| {
                let failed = memory.failed.entry(plan.turn).or_default();
                *failed += 1;
                *failed
            });
            if failed <= turn.times {
                return Err(fail(script, plan, fault, sink).await);
            }
        }
        let pace = script.script.pace();
        say(&plan.think, pace, Delta::Thinking, sink).await;
        say(&plan.text, pace, Delta::Text, sink).await;
        let turn = finish(script, plan, turn.stop, sink).await;
        if let Some(next) = plan.next {
            script.with_memory(|memory| memory.next = memory.next.max(next));
        }
        Ok(turn)
    }
}

async fn say(text: &str, pace: Duration, delta: fn(String) -> Delta, sink: &Sink) {
    if pace.is_zero() {
        if !text.is_empty() {
            sink.send(delta(text.to_owned())).await;
        }
        return;
    }
    for word in text.split_inclusive(' ') {
        sink.send(delta(word.to_owned())).await;
        tokio::time::sleep(pace).await;
    }
}

/// Simulates the failure of a server.
async fn fail(script: &Scripted, plan: &Plan, fault: Fault, sink: &Sink) -> Failure {
    let Scripted { peer, patience, .. } = script;
    let half = plan.text.chars().take(plan.text.chars().count() / 2).collect();
    match fault {
        Fault::Status(status) => {
            let again = judge(status, |_| None, "", SystemTime::now());
            peer.refused(status, again, r#"{"error":{"message":"a fault of the script"}}"#)
        }
        Fault::Garbage => peer.garbage("an event that is not a JSON object", "<html>"),
        Fault::Cut => {
            sink.send(Delta::Text(half)).await;
            peer.cut("a fault of the script")
        }
        Fault::Error => {
            sink.send(Delta::Text(half)).await;
            peer.broke_off(
                r#"{"error":{"type":"overloaded_error","message":"a fault of the script"}}"#,
            )
        }
        Fault::Stall => {
            sink.send(Delta::Text(half)).await;
            tokio::time::sleep(patience.stall).await;
            peer.silent("in the middle of its answer", patience.stall, Again::Later)
        }
    }
}

#[derive(Serialize)]
struct Said<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
}

async fn finish(script: &Scripted, plan: &Plan, stop: Option<Ending>, sink: &Sink) -> Turn {
    let stop = match stop {
        None | Some(Ending::EndTurn) => StopReason::EndTurn,
        Some(Ending::MaxTokens) => StopReason::MaxTokens,
        Some(Ending::ModelContextWindowExceeded) => StopReason::ContextFull,
        Some(Ending::StopSequence) => StopReason::StopSequence,
        Some(Ending::PauseTurn) => StopReason::PauseTurn,
        Some(Ending::Refusal) => StopReason::Refusal,
    };
    let mut blocks = Vec::new();
    let mut output = plan.think.len() + plan.text.len();
    if !plan.think.is_empty() {
        blocks.push(Block::of(&Said { kind: "thinking", thinking: Some(&plan.think), text: None }));
    }
    if !plan.text.is_empty() {
        blocks.push(Block::of(&Said { kind: "text", thinking: None, text: Some(&plan.text) }));
    }
    let mut cut: Option<CutCall> = None;
    let mut kept = Vec::new();
    for call in &plan.calls {
        let (id, name) = (call.id.clone(), call.tool.clone());
        let index = blocks.len();
        sink.send(Delta::CallStarted { index, id, name }).await;
        sink.send(Delta::CallInput { index, json: call.arguments.clone() }).await;
        output += call.arguments.len();
        match fate(&stop, &call.tool, &call.arguments) {
            Fate::Kept(input) => {
                blocks.push(tool_use(call, &input));
                kept.push(call.id.clone());
            }
            Fate::Dropped(call) => cut = Some(call),
        }
    }
    let stop = settle(stop, !kept.is_empty());
    let mark = Mark { kind: "script".to_owned(), turn: plan.turn, calls: kept };
    blocks.push(Block::new(to_raw_value(&mark).expect("a mark has string keys only")));
    let usage = Usage { input: plan.input_tokens, output: tokens(output), ..Usage::default() };
    let answer =
        Assistant { dialect: Dialect::Script, model: script.model.clone(), from: None, blocks };
    Turn { answer, stop, cut, usage, cost: None }
}

fn tool_use(call: &PlannedCall, input: &RawValue) -> Block {
    Block::of(&ToolUse { kind: "tool_use", id: &call.id, name: &call.tool, input })
}
