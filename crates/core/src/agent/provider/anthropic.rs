//! Anthropic Messages: <https://docs.anthropic.com/en/api/messages>, with streaming.
//!
//! Never sends `temperature`, `top_p`, `top_k`, `tool_choice` or `thinking`: the newest models and API versions
//! reject them. Marks three positions for the prompt cache: the last tool, the system prompt and the newest user
//! message; a server that does not know the mark ignores it.

use std::borrow::Cow;
use std::sync::Arc;

use serde::Serialize;
use serde_json::value::RawValue;

use super::super::failure::{Failure, Peer};
use super::super::message::{Assistant, Block, Dialect, Image, View};
use super::super::retry::Patience;
use super::arrange::{Item, PAUSE, Shown, arrange, fit};
use super::form::{Concession, Form};
use super::http::{Account, Endpoint, HttpError, Listed};
use super::{Call, Request, Tool};

mod stream;

pub(crate) use stream::Messages;

/// Context size of every current model of the vendor, in tokens.
const CONTEXT_WINDOW: u64 = 200_000;
/// Default for the longest answer, in tokens: room for a large file, and accepted by every model since Claude 3.7.
const MAX_TOKENS: u32 = 16_000;

/// A model accessed through Anthropic Messages.
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
    /// Creates a provider for a base URL without `/v1`; a URL that ends in `/v1` works, too.
    pub fn new(model: &str, account: &Account<'_>, patience: Patience) -> Result<Self, HttpError> {
        let mut endpoint = Endpoint::new(account, model, patience)?;
        if let Some(root) = endpoint.path().strip_suffix("/v1").map(str::to_owned) {
            endpoint.set_path(&root);
        }
        Ok(Self { endpoint })
    }

    /// The models that the server offers.
    pub(crate) async fn models(&self) -> Result<Vec<Listed>, Failure> {
        self.endpoint.models("/v1/models").await
    }

    fn is_official(&self) -> bool {
        self.endpoint.is_vendors_own()
    }

    /// All of the vendor's own models since Claude 3 accept images.
    pub(crate) fn takes_images(&self) -> Option<bool> {
        let is_old = ["claude-2", "claude-instant"];
        let model = &self.endpoint.peer.model;
        self.is_official().then(|| !is_old.iter().any(|old| model.starts_with(old)))
    }

    pub(crate) fn context_window(&self) -> Option<u64> {
        self.is_official().then_some(CONTEXT_WINDOW)
    }

    pub(crate) fn call(self: &Arc<Self>, request: &Request<'_>) -> Call {
        let asked = longest(&self.endpoint, request);
        let body = body(&self.endpoint.peer, request, &self.endpoint.next_form(), asked);
        Endpoint::call(Arc::clone(self), "/v1/messages", body, Some(asked), |provider| {
            Messages::new(&provider.endpoint.peer.model, provider.is_official())
        })
    }
}

/// The maximum answer length to request, in tokens.
fn longest(endpoint: &Endpoint, request: &Request<'_>) -> u32 {
    let most = request.max_tokens.or(request.answer_tokens);
    let most = most.unwrap_or_else(|| longest_answer(&endpoint.peer.model));
    endpoint.next_form().answer_length(most)
}

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    max_tokens: u32,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    system: Option<Content<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<WireTool<'a>>,
    messages: Vec<WireMessage<'a>>,
}

/// Marks everything before this point as cacheable.
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
    text: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_control: Option<CacheControl>,
}

impl<'a> Text<'a> {
    fn new(text: Cow<'a, str>, cached: bool) -> Self {
        Self { kind: "text", text, cache_control: cached.then_some(CACHE) }
    }
}

#[derive(Serialize)]
struct WireImage<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    source: Source<'a>,
}

#[derive(Serialize)]
struct Source<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    media_type: &'a str,
    data: &'a str,
}

impl<'a> WireImage<'a> {
    fn of(image: &'a Image) -> Self {
        let source = Source { kind: "base64", media_type: &image.kind, data: &image.data };
        Self { kind: "image", source }
    }
}

#[derive(Serialize)]
struct WireResult<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    tool_use_id: Cow<'a, str>,
    content: Cow<'a, str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    is_error: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_control: Option<CacheControl>,
}

#[derive(Serialize)]
struct WireMessage<'a> {
    role: &'static str,
    content: Content<'a>,
}

/// The content of a message: pieces, or plain text for servers that accept nothing else.
#[derive(Serialize)]
#[serde(untagged)]
enum Content<'a> {
    Pieces(Vec<Piece<'a>>),
    Plain(Cow<'a, str>),
}

#[derive(Serialize)]
#[serde(untagged)]
enum Piece<'a> {
    Text(Text<'a>),
    Image(WireImage<'a>),
    Result(WireResult<'a>),
    Block(Cow<'a, Block>),
}

impl<'a> Content<'a> {
    fn text(text: Cow<'a, str>, form: &Form, cached: bool) -> Self {
        match form.has(Concession::Cache) {
            true => Self::Plain(text),
            false => Self::Pieces(vec![Piece::Text(Text::new(text, cached))]),
        }
    }

    fn into_pieces(self) -> Vec<Piece<'a>> {
        match self {
            Self::Pieces(pieces) => pieces,
            Self::Plain(text) => vec![Piece::Text(Text::new(text, false))],
        }
    }
}

fn body(peer: &Peer, request: &Request<'_>, form: &Form, max_tokens: u32) -> Vec<u8> {
    let system = Cow::Borrowed(request.system);
    let body = Body {
        model: &peer.model,
        max_tokens,
        stream: true,
        system: (!request.system.is_empty()).then(|| Content::text(system, form, true)),
        tools: tools(request.tools, form),
        messages: messages(request, form, &peer.origin()),
    };
    serde_json::to_vec(&body).expect("a request has string keys only")
}

/// Models before Claude 3.7 reject a larger maximum than their own.
fn longest_answer(model: &str) -> u32 {
    if model.starts_with("claude-3-5") {
        8_192
    } else if model.starts_with("claude-3-") && !model.starts_with("claude-3-7") {
        4_096
    } else {
        MAX_TOKENS
    }
}

#[derive(Serialize)]
struct WireTool<'a> {
    name: &'a str,
    description: &'a str,
    input_schema: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_control: Option<CacheControl>,
}

fn tools<'a>(tools: &'a [Tool], form: &Form) -> Vec<WireTool<'a>> {
    let is_cached = |i: usize| i + 1 == tools.len() && !form.has(Concession::Cache);
    let tool = |(i, tool): (usize, &'a Tool)| WireTool {
        name: &tool.name,
        description: &tool.description,
        input_schema: &tool.input_schema,
        cache_control: is_cached(i).then_some(CACHE),
    };
    tools.iter().enumerate().map(tool).collect()
}

fn messages<'a>(request: &Request<'a>, form: &Form, origin: &str) -> Vec<WireMessage<'a>> {
    let items = arrange(request.history, form, request.images);
    let is_user = |item: &Item<'_>| matches!(item, Item::User(..) | Item::Results(_));
    let newest = items.iter().rposition(is_user).filter(|_| !form.has(Concession::Cache));
    let mut sent: Vec<WireMessage<'a>> = Vec::with_capacity(items.len());
    for (i, item) in items.into_iter().enumerate() {
        let cached = Some(i) == newest;
        let (role, content) = match item {
            Item::User(text, images) if images.is_empty() => {
                ("user", Content::text(text, form, cached))
            }
            Item::User(text, images) => {
                let text = Piece::Text(Text::new(text, cached));
                let images = images.into_iter().map(|it| Piece::Image(WireImage::of(it)));
                ("user", Content::Pieces(images.chain([text]).collect()))
            }
            Item::Results(results) => {
                let last = results.len();
                let result = |(i, shown): (usize, Shown<'a>)| {
                    Piece::Result(WireResult {
                        kind: "tool_result",
                        tool_use_id: shown.call_id,
                        content: shown.content,
                        is_error: shown.is_error,
                        cache_control: (cached && i + 1 == last).then_some(CACHE),
                    })
                };
                let results = results.into_iter().enumerate().map(result);
                ("user", Content::Pieces(results.collect()))
            }
            Item::Answer(answer) => {
                let content = content(answer, form, origin);
                // A model may end its turn without any text, but a history must not contain an empty answer.
                if content.is_empty() {
                    continue;
                }
                let blocks = content.into_iter().map(Piece::Block);
                ("assistant", Content::Pieces(blocks.collect()))
            }
            Item::Pause => ("assistant", Content::text(Cow::Borrowed(PAUSE), form, false)),
        };
        match sent.last_mut() {
            // Tool results and the user message after them have the same role here.
            Some(last) if form.has(Concession::UserAfterUser) && last.role == role => {
                let before = std::mem::replace(&mut last.content, Content::Pieces(Vec::new()));
                let mut pieces = before.into_pieces();
                pieces.extend(content.into_pieces());
                last.content = Content::Pieces(pieces);
            }
            Some(_) | None => sent.push(WireMessage { role, content }),
        }
    }
    sent
}

/// The blocks of an answer: the original ones, or a translation of another server's answer. Reasoning of another
/// model has no valid signature and is omitted.
fn content<'a>(answer: &'a Assistant, form: &Form, origin: &str) -> Vec<Cow<'a, Block>> {
    let is_own = match answer.dialect {
        Dialect::Anthropic => {
            !answer.is_foreign(origin)
                && !form.has(Concession::Reasoning)
                && !form.has(Concession::Ids)
        }
        Dialect::OpenAi | Dialect::Responses | Dialect::Script => false,
    };
    if is_own {
        // The API rejects empty text, which models do write before a call.
        return answer.blocks.iter().filter(|block| !is_blank(block)).map(Cow::Borrowed).collect();
    }
    let text = answer.text();
    let text = (!text.trim().is_empty()).then(|| Block::of(&Text::new(Cow::Owned(text), false)));
    let calls = answer.calls().into_iter().map(|call| {
        Block::of(&ToolUse {
            kind: "tool_use",
            id: &fit(&call.id, form),
            name: &call.name,
            input: &call.input.to_raw(),
        })
    });
    text.into_iter().chain(calls).map(Cow::Owned).collect()
}

fn is_blank(block: &Block) -> bool {
    // Blank text is always short, so longer blocks need not be parsed at each request.
    block.as_json().len() < 256
        && matches!(block.view(), View::Text(text) if text.trim().is_empty())
}

/// A tool call as a content block.
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
    use super::super::super::message::{Message, ToolResult};
    use super::*;

    fn answer(blocks: &[&str]) -> Message {
        let block = |raw: &&str| Block::new(RawValue::from_string((*raw).to_owned()).unwrap());
        Message::Assistant(Assistant {
            dialect: Dialect::Anthropic,
            model: "m".into(),
            from: None,
            blocks: blocks.iter().map(block).collect(),
        })
    }

    fn peer(model: &str) -> Peer {
        Peer {
            url: "http://h".into(),
            model: model.into(),
            key_setting: "KEY",
            url_setting: "URL",
            has_key: true,
        }
    }

    fn sent(model: &str, history: &[Message]) -> serde_json::Value {
        let request = Request { history, ..Request::default() };
        let body = body(&peer(model), &request, &Form::default(), longest_answer(model));
        serde_json::from_slice(&body).unwrap()
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
        let request = Request { history: &history, ..Request::default() };
        let text = body(&peer("m"), &request, &Form::default(), 1);
        let text = String::from_utf8(text).unwrap();
        assert!(text.contains(&format!(r#""content":[{novel},{call}]"#)), "{text}");
        assert_eq!(text.matches(r#""role":"assistant""#).count(), 2, "{text}");
        // Only the newest user message is marked, wherever it is.
        assert_eq!(text.matches("cache_control").count(), 1, "{text}");
        let result = &sent("m", &history)["messages"][1]["content"][0];
        assert_eq!(result["cache_control"], serde_json::json!({"type": "ephemeral"}));
    }

    #[test]
    fn images_stand_before_the_words_where_the_model_takes_them() {
        let image = Image { kind: "image/png".into(), data: "AAAA".into() };
        let history = [Message::Prompt { text: "see [image 1]".into(), images: vec![image] }];
        for form in [Form::default(), Form::default().plainest()] {
            let content = |images| {
                let request = Request { history: &history, images, ..Request::default() };
                let body = body(&peer("m"), &request, &form, 1);
                let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
                body["messages"][0]["content"].clone()
            };
            let source =
                serde_json::json!({"type": "base64", "media_type": "image/png", "data": "AAAA"});
            let seen = content(true);
            assert_eq!(seen[0], serde_json::json!({"type": "image", "source": source}));
            assert_eq!(seen[1]["text"], "see [image 1]");
            let unseen = content(false).to_string();
            assert!(unseen.contains("left out") && !unseen.contains("AAAA"), "{unseen}");
        }
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
