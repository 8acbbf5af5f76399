//! Assembles a streamed answer of Anthropic Messages.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::super::super::failure::{Failure, Peer};
use super::super::super::message::{Assistant, Dialect};
use super::super::super::usage::{self, Usage};
use super::super::assemble::{Assembler, Fate, Fields, Growing, block, fate, fields, settle};
use super::super::lenient::{Halves, arguments, is_error, list, number, object};
use super::super::{CutCall, Delta, StopReason, Turn};

/// The blocks of a streamed answer, by index, because they may overlap.
pub(crate) struct Messages {
    model: String,
    official: bool,
    parts: BTreeMap<usize, Part>,
    usage: Counts,
    stop: Option<String>,
    stopped: bool,
    /// Whether the stream ended with OpenAI's `[DONE]`.
    closed: bool,
    halves: Halves,
}

struct Part {
    kind: String,
    grown: Growing,
    input: String,
}

/// The counts are cumulative: a later one replaces an earlier one.
#[derive(Default)]
struct Counts {
    input: Option<u64>,
    output: Option<u64>,
    cache_read: Option<u64>,
    cache_write: Option<u64>,
}

impl Counts {
    fn update(&mut self, usage: &Fields) {
        let newer = |key: &str, old: Option<u64>| usage.get(key).and_then(number).or(old);
        self.input = newer("input_tokens", self.input);
        self.output = newer("output_tokens", self.output);
        self.cache_read = newer("cache_read_input_tokens", self.cache_read);
        self.cache_write = newer("cache_creation_input_tokens", self.cache_write);
    }
}

impl Messages {
    pub(crate) fn new(model: &str, official: bool) -> Self {
        Self {
            model: model.to_owned(),
            official,
            parts: BTreeMap::new(),
            usage: Counts::default(),
            stop: None,
            stopped: false,
            closed: false,
            halves: Halves::default(),
        }
    }

    fn start(&mut self, index: usize, fields: Fields) -> Result<Vec<Delta>, &'static str> {
        let kind = fields.string("type").unwrap_or_default();
        let text = |key: &str| fields.string(key).filter(|text| !text.is_empty());
        let delta = match kind.as_str() {
            "text" => text("text").map(Delta::Text),
            "thinking" => text("thinking").map(Delta::Thinking),
            "tool_use" => {
                let (id, name) = (fields.string("id"), fields.string("name"));
                // An empty id or name is replaced later.
                if id.is_none() && name.is_none() {
                    return Err("a call without id or name");
                }
                let (id, name) = (id.unwrap_or_default(), name.unwrap_or_default());
                Some(Delta::CallStarted { index, id, name })
            }
            _ => None,
        };
        let part = Part { kind, grown: Growing::new(fields), input: String::new() };
        self.parts.insert(index, part);
        Ok(delta.into_iter().collect())
    }

    fn grow(&mut self, index: usize, delta: &Fields) -> Result<Vec<Delta>, &'static str> {
        let part = self.parts.get_mut(&index).ok_or("a piece of a block that never started")?;
        let mut deltas = Vec::new();
        for (key, value) in delta.iter() {
            let place = format!("{index} {key}");
            match key {
                "type" => {}
                "partial_json" => {
                    let json = arguments(&mut self.halves, &place, value);
                    part.input.push_str(&json);
                    if part.kind == "tool_use" {
                        deltas.push(Delta::CallInput { index, json });
                    }
                }
                "citation" => part.grown.extend("citations", vec![value.to_owned()]),
                _ => match self.halves.string(&place, value) {
                    Some(text) => {
                        part.grown.append(key, &text);
                        match (key, part.kind.as_str()) {
                            ("text", "text") => deltas.push(Delta::Text(text)),
                            ("thinking", "thinking") => deltas.push(Delta::Thinking(text)),
                            _ => {}
                        }
                    }
                    None => part.grown.grow(key, value),
                },
            }
        }
        Ok(deltas)
    }

    /// Adds a complete answer in one object, from a server that does not stream.
    fn whole(&mut self, message: &Fields) -> Result<Vec<Delta>, &'static str> {
        self.begin(message);
        let content = message.get("content").map(list).unwrap_or_default();
        let mut deltas = Vec::new();
        for (index, block) in content.into_iter().enumerate() {
            let fields = match serde_json::from_str::<String>(block.get()) {
                Ok(text) => {
                    let mut fields = Fields::default();
                    fields.set_string("type", "text");
                    fields.set_string("text", &text);
                    fields
                }
                Err(_) => object(&block),
            };
            deltas.extend(self.start(index, fields)?);
        }
        self.stop = message.string("stop_reason");
        self.stopped = true;
        Ok(deltas)
    }

    /// Processes the start of an answer.
    fn begin(&mut self, message: &Fields) {
        self.model = message.string("model").unwrap_or_else(|| self.model.clone());
        if let Some(usage) = message.get("usage") {
            self.usage.update(&object(usage));
        }
    }
}

impl Assembler for Messages {
    fn event(&mut self, data: &str, peer: &Peer) -> Result<Vec<Delta>, Failure> {
        // vLLM ends this wire format with OpenAI's `[DONE]`, too.
        let Some(event) = fields(data, peer)? else {
            self.closed = true;
            return Ok(Vec::new());
        };
        let part = |key: &str| event.get(key).map(object).unwrap_or_default();
        let index = event.get("index").and_then(number);
        let index = index.and_then(|index| usize::try_from(index).ok()).unwrap_or_default();
        let done = match event.string("type").as_deref() {
            Some("message_start") => {
                self.begin(&part("message"));
                Ok(Vec::new())
            }
            Some("content_block_start") => self.start(index, part("content_block")),
            Some("content_block_delta") => self.grow(index, &part("delta")),
            Some("message_delta") => {
                self.stop = part("delta").string("stop_reason").or(self.stop.take());
                self.usage.update(&part("usage"));
                Ok(Vec::new())
            }
            Some("message_stop") => {
                self.stopped = true;
                Ok(Vec::new())
            }
            Some("message") => self.whole(&event),
            Some("error") => return Err(peer.broke_off(data)),
            None if event.get("error").is_some_and(is_error) => return Err(peer.broke_off(data)),
            // `ping`, `content_block_stop`, and event types added in the future.
            Some(_) | None => Ok(Vec::new()),
        };
        done.map_err(|what| peer.garbage(what, data))
    }

    fn is_whole(&self) -> bool {
        self.stopped
    }

    fn finish(self, peer: &Peer) -> Result<Turn, Failure> {
        // The stop reason also marks the end: some servers omit `message_stop` after it.
        if !self.stopped && !self.closed && self.stop.is_none() {
            return Err(peer.unfinished("the stream ended without `message_stop`"));
        }
        let stop = match self.stop.as_deref() {
            Some("end_turn") | None => StopReason::EndTurn,
            Some("tool_use") => StopReason::ToolUse,
            Some("max_tokens") => StopReason::MaxTokens,
            Some("model_context_window_exceeded") => StopReason::ContextFull,
            Some("stop_sequence") => StopReason::StopSequence,
            Some("pause_turn") => StopReason::PauseTurn,
            Some("refusal") => StopReason::Refusal,
            Some(other) => StopReason::Other(other.to_owned()),
        };
        let mut cut: Option<CutCall> = None;
        let mut blocks = Vec::new();
        let mut has_calls = false;
        for part in self.parts.into_values() {
            let mut fields = part.grown.into_fields();
            let is_call = part.kind == "tool_use";
            if is_call || !part.input.is_empty() {
                let arguments = if part.input.is_empty() {
                    fields.get("input").map(RawValue::get).filter(|raw| *raw != "{}")
                } else {
                    Some(part.input.as_str())
                };
                let name = fields.string("name").unwrap_or_default();
                // A tool that the server ran itself is not one of the session's calls, and stays unchanged.
                let end = if is_call { &stop } else { &StopReason::EndTurn };
                match fate(end, &name, arguments.unwrap_or_default()) {
                    Fate::Kept(input) => fields.set("input", input),
                    Fate::Dropped(call) => {
                        cut = Some(call);
                        continue;
                    }
                }
                has_calls |= is_call;
            }
            blocks.push(block(fields));
        }
        let usage = Usage {
            input: self.usage.input.unwrap_or_default(),
            output: self.usage.output.unwrap_or_default(),
            cache_read: self.usage.cache_read.unwrap_or_default(),
            cache_write: self.usage.cache_write.unwrap_or_default(),
        };
        let cost = self.official.then(|| usage::list_price(&self.model, usage)).flatten();
        let answer = Assistant {
            dialect: Dialect::Anthropic,
            model: self.model,
            from: Some(peer.origin()),
            blocks,
        };
        Ok(Turn { answer, stop: settle(stop, has_calls), cut, usage, cost })
    }
}
