//! Anthropic Messages: <https://docs.anthropic.com/en/api/messages>, with streaming.
//!
//! Never sends `temperature`, `top_p`, `top_k`, `tool_choice` or `thinking`: the newest models and
//! API versions refuse them. Marks three places for the prompt cache: the last tool, the system
//! prompt and the newest user message; a server that does not know the mark ignores it.

use std::borrow::Cow;
use std::sync::Arc;

use serde::Serialize;
use serde::ser::{SerializeSeq as _, Serializer};
use serde_json::value::RawValue;

use super::super::failure::Failure;
use super::super::message::{Assistant, Block, Dialect, Message, View};
use super::super::retry::Patience;
use super::http::{Account, Endpoint, HttpError, Listed};
use super::{Call, Request, Tool};

mod stream;

pub(crate) use stream::Messages;

/// Every current model of the vendor takes this much, in tokens.
const CONTEXT_WINDOW: u64 = 200_000;
/// The longest answer asked for unless told, in tokens. Room for a large file, and every model
/// since Claude 3.7 takes it.
const MAX_TOKENS: u32 = 16_000;

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
    pub fn new(model: &str, account: &Account<'_>, patience: Patience) -> Result<Self, HttpError> {
        let mut endpoint = Endpoint::new(account, model, patience)?;
        if let Some(root) = endpoint.path().strip_suffix("/v1").map(str::to_owned) {
            endpoint.set_path(&root);
        }
        Ok(Self { endpoint })
    }

    /// The models the server has.
    pub(crate) async fn models(&self) -> Result<Vec<Listed>, Failure> {
        self.endpoint.models("/v1/models").await
    }

    fn is_official(&self) -> bool {
        self.endpoint.is_vendors_own()
    }

    pub(crate) fn context_window(&self) -> Option<u64> {
        self.is_official().then_some(CONTEXT_WINDOW)
    }

    pub(crate) fn call(self: &Arc<Self>, request: &Request<'_>) -> Call {
        let body = body(&self.endpoint.peer.model, request);
        Endpoint::call(Arc::clone(self), "/v1/messages", body, |provider| {
            Messages::new(&provider.endpoint.peer.model, provider.is_official())
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
fn content(answer: &Assistant) -> Vec<Cow<'_, Block>> {
    match answer.dialect {
        // The API refuses empty text, which models do write before a call.
        Dialect::Anthropic => {
            answer.blocks.iter().filter(|block| !is_blank(block)).map(Cow::Borrowed).collect()
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
            text.into_iter().chain(calls).map(Cow::Owned).collect()
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

#[cfg(test)]
mod tests {
    use super::super::super::message::ToolResult;
    use super::*;

    fn answer(blocks: &[&str]) -> Message {
        let block = |raw: &&str| Block::new(RawValue::from_string((*raw).to_owned()).unwrap());
        Message::Assistant(Assistant {
            dialect: Dialect::Anthropic,
            model: "m".into(),
            blocks: blocks.iter().map(block).collect(),
        })
    }

    fn sent(model: &str, history: &[Message]) -> serde_json::Value {
        let request = Request { system: "", tools: &[], history, max_tokens: None };
        serde_json::from_slice(&body(model, &request)).unwrap()
    }

    #[test]
    fn what_the_api_refuses_is_left_out_and_the_rest_is_verbatim() {
        let novel = r#"{"z":1.0,"type":"novel","a":12345678901234567890123}"#;
        let call = r#"{"type":"tool_use","id":"a","name":"b","input":{"y":1.50,"x":"\u00e9"}}"#;
        let history = [
            answer(&[]),
            answer(&[r#"{"type":"text","text":" \n"}"#]),
            answer(&[novel, r#"{"type":"text","text":""}"#, call]),
            Message::ToolResults {
                results: vec![ToolResult {
                    call_id: "a".into(),
                    content: String::new(),
                    is_error: false,
                }],
            },
            answer(&[r#"{"type":"text","text":"paused"}"#]),
        ];
        let request = Request { system: "", tools: &[], history: &history, max_tokens: None };
        let text = String::from_utf8(body("m", &request)).unwrap();
        assert!(text.contains(&format!(r#""content":[{novel},{call}]"#)), "{text}");
        assert_eq!(text.matches(r#""role":"assistant""#).count(), 2, "{text}");
        // The newest user message is marked, and only that, wherever it stands.
        assert_eq!(text.matches("cache_control").count(), 1, "{text}");
        let result = &sent("m", &history)["messages"][1]["content"][0];
        assert_eq!(result["cache_control"], serde_json::json!({"type": "ephemeral"}));
    }

    #[test]
    fn an_old_model_is_asked_for_no_more_than_it_can() {
        for (model, want) in [
            ("claude-3-haiku-20240307", 4_096),
            ("claude-3-5-sonnet-20241022", 8_192),
            ("claude-3-7-sonnet-latest", 16_000),
            ("claude-sonnet-4-5", 16_000),
            ("qwen", 16_000),
        ] {
            assert_eq!(sent(model, &[])["max_tokens"], want, "{model}");
        }
    }
}
