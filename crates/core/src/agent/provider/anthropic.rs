//! Anthropic Messages: <https://docs.anthropic.com/en/api/messages>, with streaming.
//!
//! Never sends `temperature`, `top_p`, `top_k`, `tool_choice` or `thinking`: the newest models and
//! API versions refuse them. Marks three places for the prompt cache: the last tool, the system
//! prompt and the newest user message; a server that does not know the mark ignores it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::ser::{SerializeSeq as _, Serializer};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::super::failure::{Failure, Peer};
use super::super::message::{Assistant, Block, Dialect, Message, View};
use super::super::retry::Patience;
use super::super::usage::{self, Usage};
use super::assemble::{Assembler, Fate, Fields, Growing, block, fate, settle};
use super::http::{Endpoint, HttpError, KeyHeader, Parts, Secret};
use super::{Call, CutCall, Delta, Request, StopReason, Tool, Turn};

/// The vendor's own server.
pub(crate) const BASE_URL: &str = "https://api.anthropic.com";
/// The API version that every server of this wire format knows.
pub(crate) const VERSION: &str = "2023-06-01";
/// Every current model of the vendor takes this much, in tokens.
pub(crate) const CONTEXT_WINDOW: u64 = 200_000;
/// The longest answer asked for unless told, in tokens. Room for a large file, and every model
/// since Claude 3.7 takes it.
const MAX_TOKENS: u32 = 16_000;

/// How to prove who asks.
#[derive(Debug, Clone)]
pub enum Auth {
    /// `x-api-key`.
    Key(Secret),
    /// `Authorization: Bearer`, which gateways want.
    Token(Secret),
    /// Nothing, for a server of one's own.
    None,
}

/// A model behind Anthropic Messages.
#[derive(Debug)]
pub struct Anthropic {
    pub(crate) endpoint: Endpoint,
}

impl AsRef<Endpoint> for Anthropic {
    fn as_ref(&self) -> &Endpoint {
        &self.endpoint
    }
}

impl Anthropic {
    /// A model at a base URL (without `/v1`; one that has it is understood too).
    pub fn new(
        model: &str,
        base: Option<&str>,
        auth: &Auth,
        version: Option<&str>,
        patience: Patience,
    ) -> Result<Self, HttpError> {
        let mut endpoint = Endpoint::new(Parts {
            base: base.unwrap_or(BASE_URL),
            key: match auth {
                Auth::Key(key) => Some((KeyHeader::XApiKey, key)),
                Auth::Token(token) => Some((KeyHeader::Bearer, token)),
                Auth::None => None,
            },
            key_setting: "ANTHROPIC_API_KEY",
            url_setting: "ANTHROPIC_BASE_URL",
            model,
            patience,
        })?;
        if let Some(root) = endpoint.path().strip_suffix("/v1").map(str::to_owned) {
            endpoint.set_path(&root);
        }
        endpoint.header("anthropic-version", version.unwrap_or(VERSION))?;
        Ok(Self { endpoint })
    }

    /// The names of the models the server has.
    pub(crate) async fn models(&self) -> Result<Vec<String>, Failure> {
        self.endpoint.models("/v1/models").await
    }

    pub(crate) fn call(self: &Arc<Self>, request: &Request<'_>) -> Call {
        let body = body(&self.endpoint.peer.model, request);
        Endpoint::call(Arc::clone(self), "/v1/messages", body, |provider| {
            let official = provider.endpoint.host() == "api.anthropic.com";
            Messages::new(&provider.endpoint.peer.model, official)
        })
    }
}

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    max_tokens: u32,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    system: Option<[Text<'a>; 1]>,
    #[serde(skip_serializing_if = "<[_]>::is_empty", serialize_with = "tools")]
    tools: &'a [Tool],
    #[serde(serialize_with = "messages")]
    messages: &'a [Message],
}

/// The mark that everything up to here may be cached.
#[derive(Serialize, Clone, Copy)]
struct CacheControl {
    #[serde(rename = "type")]
    kind: &'static str,
}

const CACHE: CacheControl = CacheControl { kind: "ephemeral" };

#[derive(Serialize)]
struct Text<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_control: Option<CacheControl>,
}

impl<'a> Text<'a> {
    fn new(text: &'a str, cached: bool) -> Self {
        Self { kind: "text", text, cache_control: cached.then_some(CACHE) }
    }
}

#[derive(Serialize)]
struct WireResult<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    tool_use_id: &'a str,
    content: &'a str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    is_error: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_control: Option<CacheControl>,
}

#[derive(Serialize)]
struct WireMessage<C> {
    role: &'static str,
    content: C,
}

fn body(model: &str, request: &Request<'_>) -> Vec<u8> {
    let body = Body {
        model,
        max_tokens: request.max_tokens.unwrap_or_else(|| longest_answer(model)),
        stream: true,
        system: (!request.system.is_empty()).then(|| [Text::new(request.system, true)]),
        tools: request.tools,
        messages: request.history,
    };
    serde_json::to_vec(&body).expect("a request has string keys only")
}

/// Models before Claude 3.7 refuse a longer answer than they can give.
fn longest_answer(model: &str) -> u32 {
    if model.starts_with("claude-3-5") {
        8_192
    } else if model.starts_with("claude-3-") && !model.starts_with("claude-3-7") {
        4_096
    } else {
        MAX_TOKENS
    }
}

fn tools<S: Serializer>(tools: &[Tool], serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct WireTool<'a> {
        name: &'a str,
        description: &'a str,
        input_schema: &'a RawValue,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<CacheControl>,
    }
    serializer.collect_seq(tools.iter().enumerate().map(|(i, tool)| WireTool {
        name: &tool.name,
        description: &tool.description,
        input_schema: &tool.input_schema,
        cache_control: (i + 1 == tools.len()).then_some(CACHE),
    }))
}

fn messages<S: Serializer>(history: &[Message], serializer: S) -> Result<S::Ok, S::Error> {
    let newest = history.iter().rposition(|message| message.assistant().is_none());
    let mut seq = serializer.serialize_seq(None)?;
    for (i, message) in history.iter().enumerate() {
        let cached = Some(i) == newest;
        match message {
            Message::Prompt { text } | Message::Background { text } | Message::Notice { text } => {
                let content = [Text::new(text, cached)];
                seq.serialize_element(&WireMessage { role: "user", content })?;
            }
            Message::ToolResults { results } => {
                let content: Vec<_> = results
                    .iter()
                    .enumerate()
                    .map(|(i, result)| WireResult {
                        kind: "tool_result",
                        tool_use_id: &result.call_id,
                        content: &result.content,
                        is_error: result.is_error,
                        cache_control: (cached && i + 1 == results.len()).then_some(CACHE),
                    })
                    .collect();
                seq.serialize_element(&WireMessage { role: "user", content })?;
            }
            Message::Assistant(answer) => {
                let content = content(answer);
                // A model may end its turn without a word; a history may not hold an empty answer.
                if !content.is_empty() {
                    seq.serialize_element(&WireMessage { role: "assistant", content })?;
                }
            }
        }
    }
    seq.end()
}

/// The blocks of an answer: its own, or what another dialect's answer comes to. Reasoning of
/// another vendor has no signature and stays behind.
fn content(answer: &Assistant) -> Vec<Block> {
    match answer.dialect {
        // The API refuses empty text, which models do write before a call.
        Dialect::Anthropic => {
            answer.blocks.iter().filter(|block| !is_blank(block)).cloned().collect()
        }
        Dialect::OpenAi | Dialect::Script => {
            let text = answer.text();
            let text = (!text.trim().is_empty()).then(|| Block::of(&Text::new(&text, false)));
            let calls = answer.calls().into_iter().map(|call| {
                Block::of(&ToolUse {
                    kind: "tool_use",
                    id: &call.id,
                    name: &call.name,
                    input: &call.input.to_raw(),
                })
            });
            text.into_iter().chain(calls).collect()
        }
    }
}

fn is_blank(block: &Block) -> bool {
    // Only a short block can be blank text: nothing else has to be read again at each request.
    block.as_json().len() < 256
        && matches!(block.view(), View::Text(text) if text.trim().is_empty())
}

/// A call as a block.
#[derive(Serialize)]
pub(crate) struct ToolUse<'a> {
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    pub(crate) id: &'a str,
    pub(crate) name: &'a str,
    pub(crate) input: &'a RawValue,
}

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
