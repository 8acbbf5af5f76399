//! The stream of an answer in Anthropic Messages, put together again.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::super::failure::{Failure, Peer};
use super::super::super::message::{Assistant, Dialect};
use super::super::super::usage::{self, Usage};
use super::super::assemble::{Assembler, Fate, Fields, Growing, block, fate, settle};
use super::super::{CutCall, Delta, StopReason, Turn};

/// The blocks of a streamed answer, by index: they may overlap.
pub(crate) struct Messages {
    model: String,
    official: bool,
    parts: BTreeMap<usize, Part>,
    usage: WireUsage,
    stop: Option<String>,
    stopped: bool,
}

struct Part {
    kind: String,
    grown: Growing,
    input: String,
}

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type")]
    kind: Option<String>,
    index: Option<usize>,
    message: Option<Start>,
    content_block: Option<Fields>,
    delta: Option<Fields>,
    usage: Option<WireUsage>,
    error: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Start {
    model: Option<String>,
    usage: Option<WireUsage>,
}

/// Counts are cumulative: a later one replaces an earlier one.
#[derive(Deserialize, Default)]
struct WireUsage {
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
}

impl WireUsage {
    fn update(&mut self, newer: &Self) {
        self.input_tokens = newer.input_tokens.or(self.input_tokens);
        self.output_tokens = newer.output_tokens.or(self.output_tokens);
        self.cache_read_input_tokens =
            newer.cache_read_input_tokens.or(self.cache_read_input_tokens);
        self.cache_creation_input_tokens =
            newer.cache_creation_input_tokens.or(self.cache_creation_input_tokens);
    }
}

impl Messages {
    pub(crate) fn new(model: &str, official: bool) -> Self {
        Self {
            model: model.to_owned(),
            official,
            parts: BTreeMap::new(),
            usage: WireUsage::default(),
            stop: None,
            stopped: false,
        }
    }

    fn start(&mut self, index: usize, fields: Fields) -> Result<Vec<Delta>, &'static str> {
        let kind = fields.string("type").unwrap_or_default();
        let deltas = match kind.as_str() {
            "text" => fields.string("text").filter(|text| !text.is_empty()).map(Delta::Text),
            "tool_use" => match (fields.string("id"), fields.string("name")) {
                (Some(id), Some(name)) => Some(Delta::CallStarted { index, id, name }),
                _ => return Err("a call without id or name"),
            },
            _ => None,
        };
        let part = Part { kind, grown: Growing::new(fields), input: String::new() };
        self.parts.insert(index, part);
        Ok(deltas.into_iter().collect())
    }

    fn grow(&mut self, index: usize, delta: &Fields) -> Result<Vec<Delta>, &'static str> {
        let part = self.parts.get_mut(&index).ok_or("a piece of a block that never began")?;
        let mut deltas = Vec::new();
        for (key, value) in delta.iter() {
            let text = || serde_json::from_str::<String>(value.get()).unwrap_or_default();
            match key {
                "type" => {}
                "partial_json" => {
                    part.input.push_str(&text());
                    if part.kind == "tool_use" {
                        deltas.push(Delta::CallInput { index, json: text() });
                    }
                }
                "citation" => part.grown.extend("citations", vec![value.to_owned()]),
                _ => {
                    part.grown.grow(key, value);
                    match (key, part.kind.as_str()) {
                        ("text", "text") => deltas.push(Delta::Text(text())),
                        ("thinking", "thinking") => deltas.push(Delta::Thinking(text())),
                        _ => {}
                    }
                }
            }
        }
        Ok(deltas)
    }
}

impl Assembler for Messages {
    fn event(&mut self, data: &str, peer: &Peer) -> Result<Vec<Delta>, Failure> {
        // vLLM closes this wire format with OpenAI's word, too.
        if data.trim() == "[DONE]" {
            return Ok(Vec::new());
        }
        let Ok(event) = serde_json::from_str::<Event>(data) else {
            return Err(peer.garbage("an event that is no JSON object", data));
        };
        let done = match (event.kind.as_deref(), event.index) {
            (Some("message_start"), _) => {
                if let Some(start) = event.message {
                    self.model = start.model.unwrap_or_else(|| self.model.clone());
                    self.usage.update(&start.usage.unwrap_or_default());
                }
                Ok(Vec::new())
            }
            (Some("content_block_start"), Some(index)) => {
                self.start(index, event.content_block.unwrap_or_default())
            }
            (Some("content_block_delta"), Some(index)) => {
                self.grow(index, &event.delta.unwrap_or_default())
            }
            (Some("message_delta"), _) => {
                self.stop = event.delta.and_then(|delta| delta.string("stop_reason"));
                self.usage.update(&event.usage.unwrap_or_default());
                Ok(Vec::new())
            }
            (Some("message_stop"), _) => {
                self.stopped = true;
                Ok(Vec::new())
            }
            (Some("error"), _) => return Err(peer.broke_off(data)),
            (None, _) if event.error.is_some() => return Err(peer.broke_off(data)),
            // `ping`, `content_block_stop`, and whatever comes next year.
            _ => Ok(Vec::new()),
        };
        done.map_err(|what| peer.garbage(what, data))
    }

    fn is_whole(&self) -> bool {
        self.stopped
    }

    fn finish(self, peer: &Peer) -> Result<Turn, Failure> {
        if !self.stopped {
            return Err(peer.cut("the stream ended without `message_stop`"));
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
                // What the server ran itself is no call of ours, and stays as it is.
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
            input: self.usage.input_tokens.unwrap_or_default(),
            output: self.usage.output_tokens.unwrap_or_default(),
            cache_read: self.usage.cache_read_input_tokens.unwrap_or_default(),
            cache_write: self.usage.cache_creation_input_tokens.unwrap_or_default(),
        };
        let cost = self.official.then(|| usage::list_price(&self.model, usage)).flatten();
        let answer = Assistant { dialect: Dialect::Anthropic, model: self.model, blocks };
        Ok(Turn { answer, stop: settle(stop, has_calls), cut, usage, cost })
    }
}
