//! The messages of a conversation, independent of the provider.
//!
//! A history is a list of [`Message`]s that only grows at its end. The model's answers are kept as raw JSON in
//! the provider's own dialect, including blocks of unknown types, because they must be sent back unchanged:
//! thinking blocks are signed, and the prompt cache compares bytes. Reading an answer (its text, its calls)
//! never changes that JSON.
//!
//! A message is stored as one JSON text ([`Message::to_json`]).

mod image;
mod item;

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

pub use image::{Image, Said};
pub(crate) use item::BETWEEN_SUMMARIES;

use super::provider::{Fields, nearly_object};
use super::tools::Builtin;

/// One message of a history.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    /// A prompt from a person.
    Prompt {
        /// The text of the prompt.
        text: String,
        /// The attached images.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        images: Vec<Image>,
    },
    /// The model's answer.
    Assistant(Assistant),
    /// The results of all calls of the previous answer, one for each call.
    ToolResults {
        /// One result per call, in the order of the calls.
        results: Vec<ToolResult>,
    },
    /// Notifications of background tasks: a message of its own, without human input.
    Background {
        /// The whole text, tags included.
        text: String,
    },
    /// A message from the program itself to the model: an answer was cut off, the session was resumed, the
    /// summary after compaction. No human input.
    Notice {
        /// The text as the model receives it.
        text: String,
    },
}

/// The result of one tool call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolResult {
    /// The id of the call.
    pub call_id: String,
    /// The text that the model receives.
    pub content: String,
    /// Whether the tool failed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_error: bool,
}

/// An answer of the model, in the provider's dialect.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Assistant {
    /// How to read `blocks`.
    pub dialect: Dialect,
    /// The model's name, as its server reports it.
    pub model: String,
    /// The server and model that were asked ([`Peer::origin`](super::failure)); `None` if an older version
    /// stored the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The answer as received. Anthropic: the content blocks. Chat: one element, the message. Responses: the
    /// items.
    pub blocks: Vec<Block>,
}

/// The format in which a provider writes answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dialect {
    /// Content blocks of Anthropic Messages.
    Anthropic,
    /// A message of OpenAI chat completions.
    OpenAi,
    /// Items of OpenAI's Responses API.
    Responses,
    /// Anthropic's blocks, plus one of type `script` that holds the position in the script.
    Script,
}

/// A piece of an answer, as raw JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Block(Box<RawValue>);

/// A tool call that the model requests.
#[derive(Debug, Clone)]
pub struct ToolCall {
    /// The id that the result must name.
    pub id: String,
    /// The name of the tool, as the model wrote it.
    pub name: String,
    /// The arguments, or the text that was sent instead of a JSON object.
    pub input: Arguments,
}

/// The arguments of a call.
#[derive(Debug, Clone)]
pub enum Arguments {
    /// A JSON object, its text as the model wrote it.
    Object(Box<RawValue>),
    /// Not a JSON object. Answer the call with an error that says so; never run it.
    Invalid {
        /// What the model wrote.
        text: String,
    },
}

/// The key that wraps arguments which are not a JSON object, so that a history can carry them. Anthropic's
/// documentation advises this for such input, and servers that parse arguments reject anything else.
const INVALID_KEY: &str = "INVALID_JSON";

impl Message {
    /// A prompt without images.
    pub fn prompt(text: impl Into<String>) -> Self {
        Self::Prompt { text: text.into(), images: Vec::new() }
    }

    /// The images of a prompt; empty for other messages.
    pub fn images(&self) -> &[Image] {
        match self {
            Self::Prompt { images, .. } => images,
            Self::Assistant(_)
            | Self::ToolResults { .. }
            | Self::Background { .. }
            | Self::Notice { .. } => &[],
        }
    }

    /// The JSON under which the ledger stores it.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a message has string keys only and cannot fail")
    }

    /// Parses a stored message.
    pub fn from_json(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// The model's answer, if this message is one.
    pub fn assistant(&self) -> Option<&Assistant> {
        match self {
            Self::Assistant(answer) => Some(answer),
            Self::Prompt { .. }
            | Self::ToolResults { .. }
            | Self::Background { .. }
            | Self::Notice { .. } => None,
        }
    }
}

impl Block {
    /// Wraps raw JSON as a block.
    pub fn new(raw: Box<RawValue>) -> Self {
        Self(raw)
    }

    /// A block serialized from a value.
    pub(crate) fn of(value: &impl Serialize) -> Self {
        Self(serde_json::value::to_raw_value(value).expect("a block has string keys only"))
    }

    /// The JSON text, as received.
    pub fn as_json(&self) -> &str {
        self.0.get()
    }

    /// Parses the block as content of Anthropic Messages.
    pub(crate) fn view(&self) -> View {
        let Ok(head) = serde_json::from_str::<BlockHead>(self.0.get()) else {
            return View::Other;
        };
        match (head.kind.as_deref(), head.id, head.name) {
            (Some("text"), ..) => View::Text(head.text.unwrap_or_default()),
            (Some("thinking"), ..) => View::Thinking(head.thinking.unwrap_or_default()),
            (Some("tool_use"), Some(id), Some(name)) => {
                View::Call(ToolCall { id, name, input: Arguments::read(head.input) })
            }
            _ => View::Other,
        }
    }
}

/// What a content block or an item contains, if the type is known.
pub(crate) enum View {
    /// Text for people.
    Text(String),
    /// The model's reasoning, or a summary of it.
    Thinking(String),
    Call(ToolCall),
    /// An unknown type, to be kept and sent back unread.
    Other,
}

#[derive(Deserialize)]
struct BlockHead {
    #[serde(rename = "type")]
    kind: Option<String>,
    text: Option<String>,
    thinking: Option<String>,
    id: Option<String>,
    name: Option<String>,
    input: Option<Box<RawValue>>,
}

/// The fields of a chat-completions message that this program reads.
#[derive(Deserialize)]
struct ChatMessage {
    content: Option<String>,
    refusal: Option<String>,
    reasoning_content: Option<String>,
    reasoning: Option<String>,
    #[serde(default)]
    tool_calls: Vec<ChatCall>,
}

#[derive(Deserialize)]
struct ChatCall {
    id: String,
    function: ChatFunction,
}

#[derive(Deserialize)]
struct ChatFunction {
    name: String,
    arguments: String,
}

impl Assistant {
    /// The text of the answer, without the reasoning.
    pub fn text(&self) -> String {
        match self.dialect {
            Dialect::Anthropic | Dialect::Responses | Dialect::Script => {
                self.collect(|view| match view {
                    View::Text(text) => Some(text),
                    View::Thinking(_) | View::Call(_) | View::Other => None,
                })
            }
            Dialect::OpenAi => self
                .chat()
                .and_then(|chat| chat.content.filter(|text| !text.is_empty()).or(chat.refusal))
                .unwrap_or_default(),
        }
    }

    /// The model's reasoning, where the provider shows it.
    pub fn thinking(&self) -> String {
        match self.dialect {
            Dialect::Anthropic | Dialect::Responses | Dialect::Script => {
                self.collect(|view| match view {
                    View::Thinking(text) => Some(text),
                    View::Text(_) | View::Call(_) | View::Other => None,
                })
            }
            Dialect::OpenAi => self
                .chat()
                .and_then(|chat| chat.reasoning_content.or(chat.reasoning))
                .unwrap_or_default(),
        }
    }

    /// The calls, in order. The very next message must answer each of them.
    pub fn calls(&self) -> Vec<ToolCall> {
        match self.dialect {
            Dialect::Anthropic | Dialect::Responses | Dialect::Script => self
                .views()
                .filter_map(|view| match view {
                    View::Call(call) => Some(call),
                    View::Text(_) | View::Thinking(_) | View::Other => None,
                })
                .collect(),
            Dialect::OpenAi => self
                .chat()
                .map(|chat| chat.tool_calls)
                .unwrap_or_default()
                .into_iter()
                .map(|call| ToolCall {
                    id: call.id,
                    name: call.function.name,
                    input: Arguments::parse(&call.function.arguments),
                })
                .collect(),
        }
    }

    /// Whether another server or model wrote it. Parts that only their author can read are then not sent.
    pub(crate) fn is_foreign(&self, origin: &str) -> bool {
        self.from.as_deref().is_some_and(|from| from != origin)
    }

    /// Makes the ids and names of its calls valid for every server: only letters, digits, `_` and `-`; each id
    /// unique among `taken`, to which they are added; a name that can only mean one tool becomes that tool's
    /// name. Returns the previous ids, in the order of the calls.
    pub(crate) fn tidy(&mut self, taken: &mut HashSet<String>) -> Vec<String> {
        let calls = self.calls();
        let old: Vec<String> = calls.iter().map(|call| call.id.clone()).collect();
        let new: Vec<(String, String)> =
            calls.iter().map(|call| (fresh_id(&call.id, taken), tidy_name(&call.name))).collect();
        let is_tidy =
            calls.iter().zip(&new).all(|(call, (id, name))| call.id == *id && call.name == *name);
        if is_tidy {
            return old;
        }
        let mut new = new.into_iter();
        match self.dialect {
            Dialect::Anthropic | Dialect::Responses | Dialect::Script => {
                let is_item = self.dialect == Dialect::Responses;
                let key = if is_item { "call_id" } else { "id" };
                for block in &mut self.blocks {
                    let view = if is_item { block.item() } else { block.view() };
                    let View::Call(_) = view else { continue };
                    let mut fields: Fields =
                        serde_json::from_str(block.as_json()).unwrap_or_default();
                    if let Some((id, name)) = new.next() {
                        fields.set_string(key, &id);
                        fields.set_string("name", &name);
                        *block = Block::new(fields.into_raw());
                    }
                }
            }
            Dialect::OpenAi => {
                let Some(block) = self.blocks.first_mut() else { return old };
                let mut message: Fields = serde_json::from_str(block.as_json()).unwrap_or_default();
                let calls = message.get("tool_calls").map(RawValue::get).unwrap_or("[]");
                let mut calls: Vec<Fields> = serde_json::from_str(calls).unwrap_or_default();
                for (call, (id, name)) in calls.iter_mut().zip(new) {
                    let function = call.get("function").map(RawValue::get).unwrap_or("{}");
                    let mut function: Fields = serde_json::from_str(function).unwrap_or_default();
                    function.set_string("name", &name);
                    call.set_string("id", &id);
                    call.set("function", function.into_raw());
                }
                let calls = serde_json::value::to_raw_value(&calls).expect("calls are JSON");
                message.set("tool_calls", calls);
                *block = Block::new(message.into_raw());
            }
        }
        old
    }

    fn collect(&self, pick: impl Fn(View) -> Option<String>) -> String {
        self.views().filter_map(pick).collect()
    }

    /// The content of each block; only for dialects other than chat completions, whose message has no blocks.
    fn views(&self) -> impl Iterator<Item = View> {
        self.blocks.iter().map(|block| match self.dialect {
            Dialect::Responses => block.item(),
            Dialect::Anthropic | Dialect::OpenAi | Dialect::Script => block.view(),
        })
    }

    fn chat(&self) -> Option<ChatMessage> {
        serde_json::from_str(self.blocks.first()?.as_json()).ok()
    }
}

/// Maximum length of an id in characters: OpenAI's limit is 40.
const ID_CHARS: usize = 40;
/// Maximum length of a tool name in characters: the limit of every vendor.
const NAME_CHARS: usize = 64;

/// The text with `_` for each character that some server rejects, at most `most` characters.
fn plain(text: &str, most: usize) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    text.chars().take(most).map(|c| if fits(c) { c } else { '_' }).collect()
}

/// A valid id that is not yet in `taken`.
fn fresh_id(id: &str, taken: &mut HashSet<String>) -> String {
    let base = plain(id, ID_CHARS);
    let base = if base.is_empty() { "call".to_owned() } else { base };
    let mut fresh = base.clone();
    let mut count = taken.len();
    while !taken.insert(fresh.clone()) {
        count += 1;
        fresh = format!("{}_{count}", plain(&base, ID_CHARS - 8));
    }
    fresh
}

/// The name of the tool that the model means, or the name made valid.
fn tidy_name(name: &str) -> String {
    match Builtin::meant(name) {
        Some(tool) => tool.name().to_owned(),
        None if name.trim().is_empty() => "unnamed".to_owned(),
        None => plain(name.trim(), NAME_CHARS),
    }
}

impl Arguments {
    /// Parses arguments as the model wrote them; an empty text is an empty object.
    pub(crate) fn parse(text: &str) -> Self {
        let text = if text.trim().is_empty() { "{}" } else { text };
        match serde_json::from_str::<Box<RawValue>>(text) {
            Ok(raw) if raw.get().starts_with('{') => Self::read(Some(raw)),
            Ok(_) | Err(_) => match nearly_object(text) {
                Some(raw) => Self::read(Some(raw)),
                None => Self::Invalid { text: text.to_owned() },
            },
        }
    }

    fn read(raw: Option<Box<RawValue>>) -> Self {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Wrapped {
            #[serde(rename = "INVALID_JSON")]
            text: String,
        }
        let raw = match raw {
            Some(raw) => raw,
            None => return Self::parse("{}"),
        };
        if !raw.get().trim_start().starts_with('{') {
            // Some servers encode the object twice, or send a list.
            return match nearly_object(raw.get()) {
                Some(raw) => Self::Object(raw),
                None => Self::Invalid { text: raw.get().to_owned() },
            };
        }
        if raw.get().contains(INVALID_KEY)
            && let Ok(Wrapped { text }) = serde_json::from_str(raw.get())
        {
            return Self::Invalid { text };
        }
        Self::Object(raw)
    }

    /// The JSON object that the history carries: the arguments, or the wrapped text.
    pub(crate) fn to_raw(&self) -> Box<RawValue> {
        match self {
            Self::Object(raw) => raw.clone(),
            Self::Invalid { text } => {
                serde_json::value::to_raw_value(&serde_json::json!({ INVALID_KEY: text }))
                    .expect("a string under a string key is JSON")
            }
        }
    }
}

#[cfg(test)]
mod tests;
