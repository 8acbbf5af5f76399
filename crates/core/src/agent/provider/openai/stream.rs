//! Assembles a streamed answer of chat completions.

use serde_json::value::to_raw_value;

use super::super::super::failure::{Failure, Peer};
use super::super::super::message::{Assistant, Block, Dialect};
use super::super::super::usage::{self, Cost, Usage};
use super::super::assemble::{Assembler, Fate, Fields, Growing, block, fate, fields, settle};
use super::super::lenient::{
    Halves, arguments, content, is_error, list, nearly_object, number, object,
};
use super::super::{CutCall, Delta, StopReason, Turn};
use super::{Function, WireCall};

/// The state of a streamed answer.
pub(crate) struct Chat {
    model: String,
    official: bool,
    message: Growing,
    calls: Vec<Piece>,
    refused: bool,
    finish: Option<String>,
    usage: Usage,
    charged: Option<Cost>,
    done: bool,
    /// Whether a piece of the message has arrived.
    is_streamed: bool,
    halves: Halves,
}

/// A call, as far as it has arrived.
struct Piece {
    /// The index that the server sent.
    index: Option<u64>,
    /// The id that the server sent.
    given: Option<String>,
    wire: WireCall,
    /// Whether `CallStarted` was sent for it.
    is_told: bool,
}

impl Chat {
    pub(crate) fn new(model: &str, official: bool) -> Self {
        let mut fields = Fields::default();
        fields.set_string("role", "assistant");
        // Next to calls, the vendor itself sends null. Some servers reject null, some a missing content, some an
        // empty text; the empty text is accepted most widely.
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
            is_streamed: false,
            halves: Halves::default(),
        }
    }

    /// Adds a delta of the message, or a complete message.
    fn grow(&mut self, delta: &Fields, deltas: &mut Vec<Delta>) -> Result<(), &'static str> {
        // Some servers send the same reasoning under two names.
        let mut thought: Option<String> = None;
        for (key, value) in delta.iter() {
            match key {
                "content" | "refusal" => {
                    let (text, thinking) = content(&mut self.halves, key, value);
                    if !thinking.is_empty() {
                        self.message.append("reasoning_content", &thinking);
                        deltas.push(Delta::Thinking(thinking));
                    }
                    if !text.is_empty() {
                        self.refused |= key == "refusal";
                        self.message.append(key, &text);
                        deltas.push(Delta::Text(text));
                    }
                }
                "tool_calls" => {
                    for call in list(value) {
                        let call = serde_json::from_str(call.get());
                        self.call(&call.map_err(|_| "tool calls that are not objects")?, deltas);
                    }
                }
                // The old format, from before calls were tools.
                "function_call" if value.get() != "null" => {
                    let mut call = Fields::default();
                    call.set("function", value.to_owned());
                    self.call(&call, deltas);
                }
                // `reasoning_content`, `reasoning`, `reasoning_details`: the name depends on the server, and some
                // servers require it in the next request.
                key if key.starts_with("reasoning") => match self.halves.string(key, value) {
                    Some(text) if text.is_empty() => {}
                    Some(text) => {
                        self.message.append(key, &text);
                        if thought.as_ref() != Some(&text) {
                            deltas.push(Delta::Thinking(text.clone()));
                        }
                        thought = Some(text);
                    }
                    None => self.message.grow(key, value),
                },
                _ => {}
            }
        }
        Ok(())
    }

    fn call(&mut self, delta: &Fields, deltas: &mut Vec<Delta>) {
        let index = delta.get("index").and_then(number);
        let id = delta.string("id").filter(|id| !id.is_empty());
        let function = delta.get("function").map(object).unwrap_or_default();
        // A few servers omit the wrapping object.
        let part = |key: &str| function.get(key).or_else(|| delta.get(key));
        let name = part("name").and_then(|raw| serde_json::from_str::<String>(raw.get()).ok());
        let name = name.filter(|name| !name.is_empty());
        let key = format!("call {}", index.unwrap_or_default());
        let json = part("arguments").map(|raw| arguments(&mut self.halves, &key, raw));
        let json = json.unwrap_or_default();
        // Match calls by index. Servers that omit the index, or send the same one for every call (Ollama did,
        // Gemini does), separate calls by their ids, or by a name that follows complete arguments.
        let known = match index {
            Some(_) => self.calls.iter().rposition(|call| call.index == index),
            None => self.calls.len().checked_sub(1),
        };
        let known = known.filter(|at| {
            let call = &self.calls[*at];
            let is_over = name.is_some()
                && nearly_object(&call.wire.function.arguments).is_some()
                && json.trim_start().starts_with('{');
            let is_same_id = id.is_none() || id == call.given;
            // The complete call, repeated at its end.
            let is_repeated = is_same_id && json == call.wire.function.arguments;
            match (&id, &name) {
                _ if is_over => is_repeated && id.is_some(),
                (Some(_), Some(_)) => is_same_id || call.wire.function.name.is_empty(),
                (Some(_) | None, None) => true,
                (None, Some(_)) => index.is_some() || call.wire.function.name.is_empty(),
            }
        });
        let at = known.unwrap_or_else(|| {
            let taken = |id: &String| self.calls.iter().any(|call| call.wire.id == *id);
            let fresh = id
                .clone()
                .filter(|id| !taken(id))
                .unwrap_or_else(|| format!("call_{}", uuid::Uuid::new_v4().simple()));
            let function = Function { name: String::new(), arguments: String::new() };
            let extra = serde_json::Map::new();
            let wire = WireCall { id: fresh, kind: "function", function, extra };
            self.calls.push(Piece { index, given: id.clone(), wire, is_told: false });
            self.calls.len() - 1
        });
        let call = &mut self.calls[at];
        if call.wire.function.name.is_empty()
            && let Some(name) = name
        {
            call.wire.function.name = name;
        }
        let is_first = !std::mem::replace(&mut call.is_told, true);
        if is_first {
            let (id, name) = (call.wire.id.clone(), call.wire.function.name.clone());
            deltas.push(Delta::CallStarted { index: at, id, name });
        }
        let ours = ["index", "id", "type", "function", "name", "arguments"];
        for (key, value) in delta.iter().filter(|(key, _)| !ours.contains(key)) {
            let value = serde_json::from_str(value.get()).unwrap_or_default();
            call.wire.extra.insert(key.to_owned(), value);
        }
        if !json.is_empty() && (is_first || json != call.wire.function.arguments) {
            call.wire.function.arguments.push_str(&json);
            deltas.push(Delta::CallInput { index: at, json });
        }
    }

    fn count(&mut self, usage: &Fields) {
        let count = |fields: &Fields, key: &str| fields.get(key).and_then(number);
        let details = usage.get("prompt_tokens_details").map(object).unwrap_or_default();
        let cached = count(&details, "cached_tokens").unwrap_or_default();
        self.usage = Usage {
            input: count(usage, "prompt_tokens").unwrap_or_default().saturating_sub(cached),
            output: count(usage, "completion_tokens").unwrap_or_default(),
            cache_read: cached,
            cache_write: 0,
        };
        // In dollars, sent by OpenRouter.
        let cost = usage.get("cost").and_then(|raw| raw.get().parse::<f64>().ok());
        self.charged = cost.and_then(Cost::from_dollars).or(self.charged);
    }
}

impl Assembler for Chat {
    fn event(&mut self, data: &str, peer: &Peer) -> Result<Vec<Delta>, Failure> {
        let Some(chunk) = fields(data, peer)? else {
            self.done = true;
            return Ok(Vec::new());
        };
        if chunk.get("error").is_some_and(is_error) {
            return Err(peer.broke_off(data));
        }
        if let Some(model) = chunk.string("model").filter(|model| !model.is_empty()) {
            self.model = model;
        }
        if let Some(usage) = chunk.get("usage").filter(|usage| usage.get() != "null") {
            self.count(&object(usage));
        }
        let mut deltas = Vec::new();
        let choices = chunk.get("choices").map(list).unwrap_or_default();
        for choice in choices.iter().map(|choice| object(choice)) {
            // Requests ask for one choice; ignore any other.
            if choice.get("index").and_then(number).unwrap_or_default() != 0 {
                continue;
            }
            let delta = choice.get("delta").map(object).unwrap_or_default();
            let has_delta = delta.iter().next().is_some();
            if has_delta {
                self.is_streamed = true;
                self.grow(&delta, &mut deltas).map_err(|what| peer.garbage(what, data))?;
            }
            if let Some(message) = choice.get("message").filter(|_| !self.is_streamed) {
                // The complete answer at once, from a server that does not stream.
                self.is_streamed = true;
                self.done = true;
                self.grow(&object(message), &mut deltas)
                    .map_err(|what| peer.garbage(what, data))?;
            }
            let finish = choice.string("finish_reason").filter(|finish| !finish.is_empty());
            self.finish = finish.or(self.finish.take());
        }
        Ok(deltas)
    }

    fn is_whole(&self) -> bool {
        self.done
    }

    fn finish(mut self, peer: &Peer) -> Result<Turn, Failure> {
        // Both the finish reason and `[DONE]` mark the end; some servers omit one of them.
        let finish = match self.finish {
            Some(finish) => finish,
            None if self.done && self.is_streamed => "stop".to_owned(),
            None => return Err(peer.unfinished("the stream ended without `finish_reason`")),
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
        for Piece { wire: mut call, .. } in self.calls {
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
        let answer = Assistant {
            dialect: Dialect::OpenAi,
            model: self.model,
            from: Some(peer.origin()),
            blocks,
        };
        Ok(Turn { answer, stop: settle(stop, has_calls), cut, usage: self.usage, cost })
    }
}
