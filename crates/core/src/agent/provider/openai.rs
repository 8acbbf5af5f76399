//! OpenAI chat completions, as OpenAI, llama.cpp, Ollama, vLLM and OpenRouter speak them.
//!
//! Sends the least that all of them take: no `tool_choice` (Ollama has none), no sampling settings.
//! An answer is kept as one assistant message with every field that is worth sending back: the
//! reasoning fields of the different servers, and what a vendor adds to a call (signatures).

use std::sync::Arc;

use serde::ser::{SerializeSeq as _, Serializer};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use super::super::failure::{Failure, Peer};
use super::super::message::{Assistant, Block, Dialect, Message};
use super::super::retry::Patience;
use super::super::usage::{self, Cost, Usage};
use super::assemble::{Assembler, Fate, Fields, Growing, block, fate, settle};
use super::http::{Endpoint, HttpError, KeyHeader, Parts, Secret};
use super::{Call, CutCall, Delta, Request, StopReason, Tool, Turn};

/// The vendor's own server.
pub(crate) const BASE_URL: &str = "https://api.openai.com/v1";

/// A model behind chat completions.
#[derive(Debug)]
pub struct OpenAi {
    pub(crate) endpoint: Endpoint,
}

impl AsRef<Endpoint> for OpenAi {
    fn as_ref(&self) -> &Endpoint {
        &self.endpoint
    }
}

impl OpenAi {
    /// A model at a base URL, which ends in `/v1` as a rule; a bare host is given that.
    pub fn new(
        model: &str,
        base: Option<&str>,
        key: Option<&Secret>,
        patience: Patience,
    ) -> Result<Self, HttpError> {
        let mut endpoint = Endpoint::new(Parts {
            base: base.unwrap_or(BASE_URL),
            key: key.map(|key| (KeyHeader::Bearer, key)),
            key_setting: "OPENAI_API_KEY",
            url_setting: "OPENAI_BASE_URL",
            model,
            patience,
        })?;
        if endpoint.path().is_empty() {
            endpoint.set_path("/v1");
        }
        Ok(Self { endpoint })
    }

    /// The names of the models the server has.
    pub(crate) async fn models(&self) -> Result<Vec<String>, Failure> {
        self.endpoint.models("/models").await
    }

    fn is_official(&self) -> bool {
        self.endpoint.host() == "api.openai.com"
    }

    pub(crate) fn context_window(&self) -> Option<u64> {
        // The smallest of the vendor's current models. Others have anything from 4 096 on.
        self.is_official().then_some(128_000)
    }

    pub(crate) fn call(self: &Arc<Self>, request: &Request<'_>) -> Call {
        let body = body(&self.endpoint.peer.model, self.is_official(), request);
        Endpoint::call(Arc::clone(self), "/chat/completions", body, |provider| {
            Chat::new(&provider.endpoint.peer.model, provider.is_official())
        })
    }
}

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    stream: bool,
    stream_options: StreamOptions,
    // OpenAI's newer models refuse the old name, other servers don't know the new one.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u32>,
    #[serde(skip_serializing_if = "<[_]>::is_empty", serialize_with = "tools")]
    tools: &'a [Tool],
    messages: Conversation<'a>,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

struct Conversation<'a> {
    system: &'a str,
    history: &'a [Message],
}

#[derive(Serialize)]
struct Said<'a> {
    role: &'static str,
    content: &'a str,
}

#[derive(Serialize)]
struct WireResult<'a> {
    role: &'static str,
    tool_call_id: &'a str,
    content: &'a str,
}

#[derive(Serialize)]
struct Answer<'a> {
    role: &'static str,
    content: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    tool_calls: &'a [WireCall],
}

/// A call; `extra` is what a vendor adds, such as a signature.
#[derive(Serialize)]
struct WireCall {
    id: String,
    #[serde(rename = "type")]
    kind: &'static str,
    function: Function,
    #[serde(flatten)]
    extra: serde_json::Map<String, serde_json::Value>,
}

#[derive(Serialize)]
struct Function {
    name: String,
    arguments: String,
}

fn body(model: &str, official: bool, request: &Request<'_>) -> Vec<u8> {
    let body = Body {
        model,
        stream: true,
        stream_options: StreamOptions { include_usage: true },
        max_tokens: request.max_tokens.filter(|_| !official),
        max_completion_tokens: request.max_tokens.filter(|_| official),
        tools: request.tools,
        messages: Conversation { system: request.system, history: request.history },
    };
    serde_json::to_vec(&body).expect("a request has string keys only")
}

fn tools<S: Serializer>(tools: &[Tool], serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct WireTool<'a> {
        #[serde(rename = "type")]
        kind: &'static str,
        function: WireFunction<'a>,
    }
    #[derive(Serialize)]
    struct WireFunction<'a> {
        name: &'a str,
        description: &'a str,
        parameters: &'a RawValue,
    }
    serializer.collect_seq(tools.iter().map(|tool| WireTool {
        kind: "function",
        function: WireFunction {
            name: &tool.name,
            description: &tool.description,
            parameters: &tool.input_schema,
        },
    }))
}

impl Serialize for Conversation<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut seq = serializer.serialize_seq(None)?;
        if !self.system.is_empty() {
            seq.serialize_element(&Said { role: "system", content: self.system })?;
        }
        for message in self.history {
            match message {
                Message::Prompt { text }
                | Message::Background { text }
                | Message::Notice { text } => {
                    seq.serialize_element(&Said { role: "user", content: text })?;
                }
                Message::ToolResults { results } => {
                    for result in results {
                        // This format has no field for a failure: the text has to say it.
                        let said = if result.is_error {
                            format!("error: {}", result.content)
                        } else {
                            result.content.clone()
                        };
                        seq.serialize_element(&WireResult {
                            role: "tool",
                            tool_call_id: &result.call_id,
                            content: &said,
                        })?;
                    }
                }
                Message::Assistant(answer) => match answer.dialect {
                    Dialect::OpenAi => {
                        for block in &answer.blocks {
                            seq.serialize_element(block)?;
                        }
                    }
                    Dialect::Anthropic | Dialect::Script => translated(answer, &mut seq)?,
                },
            }
        }
        seq.end()
    }
}

fn translated<S: serde::ser::SerializeSeq>(
    answer: &Assistant,
    seq: &mut S,
) -> Result<(), S::Error> {
    let text = answer.text();
    let calls: Vec<_> = answer
        .calls()
        .into_iter()
        .map(|call| WireCall {
            id: call.id,
            kind: "function",
            function: Function { name: call.name, arguments: call.input.to_raw().get().to_owned() },
            extra: serde_json::Map::new(),
        })
        .collect();
    if text.is_empty() && calls.is_empty() {
        return Ok(());
    }
    seq.serialize_element(&Answer { role: "assistant", content: &text, tool_calls: &calls })
}

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
