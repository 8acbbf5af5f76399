//! OpenAI chat completions, as implemented by OpenAI, llama.cpp, Ollama, vLLM and OpenRouter.
//!
//! Sends only what all of them accept: no `tool_choice` (Ollama does not support it), no sampling parameters. An
//! answer is stored as one assistant message with every field worth sending back: the reasoning fields of the
//! different servers, and what a vendor adds to a call (signatures).

use std::borrow::Cow;
use std::sync::Arc;

use serde::Serialize;
use serde::ser::{SerializeSeq as _, Serializer};
use serde_json::value::RawValue;

use super::super::failure::{Failure, Peer};
use super::super::message::{Assistant, Dialect, Image, Message};
use super::super::retry::Patience;
use super::arrange::{Item, PAUSE, arrange, fit};
use super::form::{Concession, Form};
use super::http::{Account, Endpoint, HttpError, Listed};
use super::{Call, Request, Tool};

mod stream;

pub(crate) use stream::Chat;

/// A model accessed through chat completions.
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
    /// Creates a provider for a base URL, which usually ends in `/v1`; this is added to a URL without a path.
    pub fn new(model: &str, account: &Account<'_>, patience: Patience) -> Result<Self, HttpError> {
        Ok(Self { endpoint: Endpoint::of_openai(account, model, patience)? })
    }

    /// The models that the server offers.
    pub(crate) async fn models(&self) -> Result<Vec<Listed>, Failure> {
        self.endpoint.models("/models").await
    }

    fn is_official(&self) -> bool {
        self.endpoint.is_vendors_own()
    }

    pub(crate) fn context_window(&self) -> Option<u64> {
        self.endpoint.window_of_openai()
    }

    pub(crate) fn call(self: &Arc<Self>, request: &Request<'_>) -> Call {
        let form = self.endpoint.next_form();
        // Without a setting, the server chooses.
        let asked = form.answer_asked(request.max_tokens.or(request.answer_tokens));
        let body = body(&self.endpoint.peer, self.is_official(), request, &form, asked);
        Endpoint::call(Arc::clone(self), "/chat/completions", body, asked, |provider| {
            Chat::new(&provider.endpoint.peer.model, provider.is_official())
        })
    }
}

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_options: Option<StreamOptions>,
    // OpenAI's newer models reject the old name; other servers do not know the new one.
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
    images: bool,
    form: &'a Form,
    /// The server and model that receive the request.
    origin: String,
}

#[derive(Serialize)]
struct Said<'a> {
    role: &'static str,
    content: &'a str,
}

#[derive(Serialize)]
struct Shows<'a> {
    role: &'static str,
    content: Vec<Part<'a>>,
}

/// A part of a message that also contains images.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Part<'a> {
    Text { text: &'a str },
    ImageUrl { image_url: Url },
}

#[derive(Serialize)]
struct Url {
    url: String,
}

impl<'a> Shows<'a> {
    fn of(text: &'a str, images: &[&Image]) -> Self {
        let image = |image: &&Image| Part::ImageUrl { image_url: Url { url: image.url() } };
        let text = std::iter::once(Part::Text { text });
        Self { role: "user", content: text.chain(images.iter().map(image)).collect() }
    }
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
    content: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    tool_calls: &'a [WireCall],
}

/// A call; `extra` contains what a vendor adds, such as a signature.
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

fn body(
    peer: &Peer,
    official: bool,
    request: &Request<'_>,
    form: &Form,
    asked: Option<u32>,
) -> Vec<u8> {
    let options = StreamOptions { include_usage: true };
    let body = Body {
        model: &peer.model,
        stream: !form.has(Concession::Stream),
        stream_options: (!form.has(Concession::StreamOptions) && !form.has(Concession::Stream))
            .then_some(options),
        max_tokens: asked.filter(|_| !official),
        max_completion_tokens: asked.filter(|_| official),
        tools: request.tools,
        messages: Conversation {
            system: request.system,
            history: request.history,
            images: request.images,
            form,
            origin: peer.origin(),
        },
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
        // The system prompt, if the first user message must contain it.
        let mut before = self.system;
        if !before.is_empty() && !self.form.has(Concession::System) {
            seq.serialize_element(&Said { role: "system", content: before })?;
            before = "";
        }
        for item in arrange(self.history, self.form, self.images) {
            match item {
                Item::User(text, images) => {
                    let text = match std::mem::take(&mut before) {
                        "" => text,
                        before => Cow::Owned(format!("{before}\n\n{text}")),
                    };
                    match images.is_empty() {
                        true => seq.serialize_element(&Said { role: "user", content: &text })?,
                        false => seq.serialize_element(&Shows::of(&text, &images))?,
                    }
                }
                Item::Results(results) => {
                    for result in results {
                        // This format has no error flag, so the text must report the error.
                        let said = match result.is_error {
                            true => Cow::Owned(format!("error: {}", result.content)),
                            false => result.content,
                        };
                        seq.serialize_element(&WireResult {
                            role: "tool",
                            tool_call_id: &result.call_id,
                            content: &said,
                        })?;
                    }
                }
                Item::Answer(answer) if self.is_own(answer) => {
                    for block in &answer.blocks {
                        seq.serialize_element(block)?;
                    }
                }
                Item::Answer(answer) => translated(answer, self.form, &mut seq)?,
                Item::Pause => {
                    seq.serialize_element(&Said { role: "assistant", content: PAUSE })?;
                }
            }
        }
        seq.end()
    }
}

impl Conversation<'_> {
    /// Whether an answer is sent back unchanged, with the additions of its server.
    fn is_own(&self, answer: &Assistant) -> bool {
        answer.dialect == Dialect::OpenAi
            && !answer.is_foreign(&self.origin)
            && !self.form.has(Concession::Reasoning)
            && !self.form.has(Concession::Ids)
            && !self.form.has(Concession::EmptyText)
    }
}

/// Writes an answer of another server or dialect, or in a plainer form: only its text and its calls.
fn translated<S: serde::ser::SerializeSeq>(
    answer: &Assistant,
    form: &Form,
    seq: &mut S,
) -> Result<(), S::Error> {
    let text = answer.text();
    let calls: Vec<_> = answer
        .calls()
        .into_iter()
        .map(|call| WireCall {
            id: fit(&call.id, form).into_owned(),
            kind: "function",
            function: Function { name: call.name, arguments: call.input.to_raw().get().to_owned() },
            extra: serde_json::Map::new(),
        })
        .collect();
    if text.is_empty() && calls.is_empty() {
        return Ok(());
    }
    let is_left_out = text.is_empty() && form.has(Concession::EmptyText);
    let content = (!is_left_out).then_some(&*text);
    seq.serialize_element(&Answer { role: "assistant", content, tool_calls: &calls })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_stand_behind_the_words_where_the_model_takes_them() {
        let image = Image { kind: "image/png".into(), data: "AAAA".into() };
        let history = [Message::Prompt { text: "see".into(), images: vec![image] }];
        let sent = |images| {
            let form = &Form::default();
            let said =
                Conversation { system: "", history: &history, images, form, origin: String::new() };
            serde_json::to_value(said).unwrap()
        };
        let url = serde_json::json!({"url": "data:image/png;base64,AAAA"});
        let parts = serde_json::json!([
            {"type": "text", "text": "see"}, {"type": "image_url", "image_url": url}
        ]);
        assert_eq!(sent(true), serde_json::json!([{"role": "user", "content": parts}]));
        let unseen = sent(false)[0]["content"].clone();
        assert!(unseen.as_str().unwrap().contains("left out"), "{unseen}");
    }

    #[test]
    fn the_longest_answer_has_two_names() {
        let request = Request::default();
        let peer = Peer {
            url: "http://h".into(),
            model: "m".into(),
            key_setting: "KEY",
            url_setting: "URL",
            has_key: true,
        };
        let sent = |official| {
            let body = body(&peer, official, &request, &Form::default(), Some(7));
            serde_json::from_slice::<serde_json::Value>(&body).unwrap()
        };
        let want = |name: &str| {
            serde_json::json!({"model": "m", "stream": true, name: 7, "messages": [],
                "stream_options": {"include_usage": true}})
        };
        assert_eq!(sent(false), want("max_tokens"));
        assert_eq!(sent(true), want("max_completion_tokens"));
    }
}
