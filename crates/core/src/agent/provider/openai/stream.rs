//! The stream of an answer in chat completions, put together again.

use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};

use super::super::super::failure::{Failure, Peer};
use super::super::super::message::{Assistant, Block, Dialect};
use super::super::super::usage::{self, Cost, Usage};
use super::super::assemble::{Assembler, Fate, Fields, Growing, block, fate, settle};
use super::super::{CutCall, Delta, StopReason, Turn};
use super::{Function, WireCall};

/// The pieces of a streamed answer.
pub(crate) struct Chat {
    model: String,
    official: bool,
    message: Growing,
    calls: Vec<(Option<u64>, WireCall)>,
    refused: bool,
    finish: Option<String>,
    usage: Usage,
    charged: Option<Cost>,
    done: bool,
}

#[derive(Deserialize)]
struct Chunk {
    model: Option<String>,
    #[serde(default)]
    choices: Option<Vec<Choice>>,
    usage: Option<WireUsage>,
    error: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    index: u64,
    delta: Option<Fields>,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct CallDelta {
    index: Option<u64>,
    id: Option<String>,
    function: Option<FunctionDelta>,
    #[serde(flatten)]
    extra: serde_json::Map<String, serde_json::Value>,
}

#[derive(Deserialize, Default)]
struct FunctionDelta {
    name: Option<String>,
    arguments: Option<String>,
}

#[derive(Deserialize)]
struct WireUsage {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    prompt_tokens_details: Option<PromptDetails>,
    /// Dollars, from OpenRouter.
    cost: Option<f64>,
}

#[derive(Deserialize, Default)]
struct PromptDetails {
    cached_tokens: Option<u64>,
}

impl Chat {
    pub(crate) fn new(model: &str, official: bool) -> Self {
        let mut fields = Fields::default();
        fields.set_string("role", "assistant");
        // Beside calls the vendor writes null, and each server refuses another of null, nothing
        // and an empty text; the last is the one that all take.
        fields.set_string("content", "");
        Self {
            model: model.to_owned(),
            official,
            message: Growing::new(fields),
            calls: Vec::new(),
            refused: false,
            finish: None,
            usage: Usage::default(),
            charged: None,
            done: false,
        }
    }

    fn grow(&mut self, delta: &Fields, deltas: &mut Vec<Delta>) -> Result<(), &'static str> {
        for (key, value) in delta.iter() {
            let text = serde_json::from_str::<String>(value.get()).ok().filter(|t| !t.is_empty());
            match (key, text) {
                ("content", Some(text)) => {
                    self.message.append("content", &text);
                    deltas.push(Delta::Text(text));
                }
                ("refusal", Some(text)) => {
                    self.refused = true;
                    self.message.append("refusal", &text);
                    deltas.push(Delta::Text(text));
                }
                ("tool_calls", _) => {
                    let calls: Option<Vec<CallDelta>> =
                        serde_json::from_str(value.get()).map_err(|_| "calls that are none")?;
                    for call in calls.unwrap_or_default() {
                        self.call(call, deltas);
                    }
                }
                // `reasoning_content`, `reasoning`, `reasoning_details`: each server has its own,
                // and some of them want it back.
                (key, text) if key.starts_with("reasoning") => {
                    self.message.grow(key, value);
                    deltas.extend(text.map(Delta::Thinking));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn call(&mut self, delta: CallDelta, deltas: &mut Vec<Delta>) {
        let id = delta.id.filter(|id| !id.is_empty());
        let function = delta.function.unwrap_or_default();
        // By index; a server that leaves it out, or gives every call the same one (Ollama did),
        // tells its calls apart by their ids.
        let known = match delta.index {
            Some(_) => self.calls.iter().rposition(|(index, _)| *index == delta.index),
            None => self.calls.len().checked_sub(1),
        };
        let known = known.filter(|at| match &id {
            Some(id) => *id == self.calls[*at].1.id || function.name.is_none(),
            None => delta.index.is_some() || function.name.is_none(),
        });
        let at = known.unwrap_or_else(|| {
            let taken = |id: &String| self.calls.iter().any(|(_, call)| call.id == *id);
            let id = id
                .filter(|id| !taken(id))
                .unwrap_or_else(|| format!("call_{}", uuid::Uuid::new_v4().simple()));
            let function = Function { name: String::new(), arguments: String::new() };
            let extra = serde_json::Map::new();
            self.calls.push((delta.index, WireCall { id, kind: "function", function, extra }));
            self.calls.len() - 1
        });
        let call = &mut self.calls[at].1;
        let is_new = known.is_none();
        if is_new {
            call.function.name = function.name.unwrap_or_default();
            let (id, name) = (call.id.clone(), call.function.name.clone());
            deltas.push(Delta::CallStarted { index: at, id, name });
        }
        call.extra.extend(delta.extra.into_iter().filter(|(key, _)| key != "type"));
        if let Some(json) = function.arguments.filter(|json| !json.is_empty()) {
            call.function.arguments.push_str(&json);
            deltas.push(Delta::CallInput { index: at, json });
        }
    }

    fn count(&mut self, usage: &WireUsage) {
        let details = usage.prompt_tokens_details.as_ref();
        let cached = details.and_then(|details| details.cached_tokens).unwrap_or_default();
        self.usage = Usage {
            input: usage.prompt_tokens.unwrap_or_default().saturating_sub(cached),
            output: usage.completion_tokens.unwrap_or_default(),
            cache_read: cached,
            cache_write: 0,
        };
        self.charged = usage.cost.and_then(Cost::from_dollars).or(self.charged);
    }
}

impl Assembler for Chat {
    fn event(&mut self, data: &str, peer: &Peer) -> Result<Vec<Delta>, Failure> {
        if data.trim() == "[DONE]" {
            self.done = true;
            return Ok(Vec::new());
        }
        let Ok(chunk) = serde_json::from_str::<Chunk>(data) else {
            return Err(peer.garbage("an event that is no JSON object", data));
        };
        if chunk.error.is_some_and(|error| error.get() != "null") {
            return Err(peer.broke_off(data));
        }
        if let Some(model) = chunk.model.filter(|model| !model.is_empty()) {
            self.model = model;
        }
        if let Some(usage) = &chunk.usage {
            self.count(usage);
        }
        let mut deltas = Vec::new();
        // We ask for one choice; a second one is not ours.
        for choice in chunk.choices.unwrap_or_default().into_iter().filter(|c| c.index == 0) {
            if let Some(delta) = &choice.delta {
                self.grow(delta, &mut deltas).map_err(|what| peer.garbage(what, data))?;
            }
            self.finish = choice.finish_reason.or(self.finish.take());
        }
        Ok(deltas)
    }

    fn is_whole(&self) -> bool {
        self.done
    }

    fn finish(mut self, peer: &Peer) -> Result<Turn, Failure> {
        // The reason is the answer's end; some servers forget `[DONE]`, or the usage, after it.
        let Some(finish) = self.finish else {
            return Err(peer.cut("the stream ended without `finish_reason`"));
        };
        let stop = match finish.as_str() {
            _ if self.refused => StopReason::Refusal,
            "stop" => StopReason::EndTurn,
            "tool_calls" | "function_call" => StopReason::ToolUse,
            "length" => StopReason::MaxTokens,
            "content_filter" => StopReason::Refusal,
            "error" => return Err(peer.broke_off("")),
            _ => StopReason::Other(finish),
        };
        let mut cut: Option<CutCall> = None;
        let mut calls = Vec::new();
        for (_, mut call) in self.calls {
            match fate(&stop, &call.function.name, &call.function.arguments) {
                Fate::Kept(input) => {
                    input.get().clone_into(&mut call.function.arguments);
                    calls.push(call);
                }
                Fate::Dropped(call) => cut = Some(call),
            }
        }
        let has_calls = !calls.is_empty();
        if has_calls {
            let calls = calls.iter().map(|call| to_raw_value(call).expect("a call is JSON"));
            self.message.extend("tool_calls", calls.collect());
        }
        let fields = self.message.into_fields();
        let said = fields.iter().any(|(key, value)| key != "role" && value.get() != r#""""#);
        let blocks: Vec<Block> = said.then(|| block(fields)).into_iter().collect();
        let listed = || self.official.then(|| usage::list_price(&self.model, self.usage)).flatten();
        let cost = self.charged.or_else(listed);
        let answer = Assistant { dialect: Dialect::OpenAi, model: self.model, blocks };
        Ok(Turn { answer, stop: settle(stop, has_calls), cut, usage: self.usage, cost })
    }
}
