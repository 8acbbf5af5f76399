//! OpenAI's Responses API, as implemented by OpenAI, llama.cpp and vLLM; newer models are available only through
//! it.
//!
//! Stateless: `store` is false, and each request contains the whole conversation. An answer is stored as the items
//! that it consisted of; reasoning is sent back encrypted, so that a session continues after any crash without
//! state on the server. Sends no `previous_response_id`, no `tool_choice`, and no sampling parameters.

use std::borrow::Cow;
use std::sync::Arc;

use serde::Serialize;
use serde_json::value::RawValue;

use super::super::failure::{Failure, Peer};
use super::super::message::{Assistant, Block, Dialect, Image};
use super::super::retry::Patience;
use super::arrange::{Item, PAUSE, Shown, arrange, fit};
use super::assemble::Fields;
use super::form::{Concession, Form};
use super::http::{Account, Endpoint, HttpError, Listed};
use super::{Call, Request, Tool};

mod stream;
#[cfg(test)]
mod tests;

pub(crate) use stream::Stream;

/// The shortest answer that can be requested, in tokens: the documented minimum.
const ANSWER_MIN: u32 = 16;

/// A model accessed through the Responses API.
#[derive(Debug)]
pub struct Responses {
    pub(crate) endpoint: Endpoint,
}

impl AsRef<Endpoint> for Responses {
    fn as_ref(&self) -> &Endpoint {
        &self.endpoint
    }
}

impl Responses {
    /// Creates a provider for a base URL, which usually ends in `/v1`; this is added to a URL without a path.
    pub fn new(model: &str, account: &Account<'_>, patience: Patience) -> Result<Self, HttpError> {
        Ok(Self { endpoint: Endpoint::of_openai(account, model, patience)? })
    }

    /// The models that the server offers.
    pub(crate) async fn models(&self) -> Result<Vec<Listed>, Failure> {
        self.endpoint.models("/models").await
    }

    pub(crate) fn context_window(&self) -> Option<u64> {
        self.endpoint.window_of_openai()
    }

    pub(crate) fn call(self: &Arc<Self>, request: &Request<'_>) -> Call {
        let form = self.endpoint.next_form();
        // Without a setting, the server chooses.
        let asked = form.answer_asked(request.max_tokens.or(request.answer_tokens));
        let body = body(&self.endpoint.peer, request, &form, asked);
        Endpoint::call(Arc::clone(self), "/responses", body, asked, |provider| {
            Stream::new(&provider.endpoint.peer.model, provider.endpoint.is_vendors_own())
        })
    }
}

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    stream: bool,
    store: bool,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    include: &'static [&'static str],
    #[serde(skip_serializing_if = "Option::is_none")]
    max_output_tokens: Option<u32>,
    #[serde(skip_serializing_if = "str::is_empty")]
    instructions: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<WireTool<'a>>,
    input: Vec<Input<'a>>,
}

#[derive(Serialize)]
struct WireTool<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    name: &'a str,
    description: &'a str,
    parameters: &'a RawValue,
    // True by default, which makes every argument required.
    strict: bool,
}

/// An item of the conversation.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Made<'a> {
    Message { role: &'static str, content: Vec<Part<'a>>, status: &'static str },
    FunctionCall { call_id: Cow<'a, str>, name: String, arguments: String },
    FunctionCallOutput { call_id: Cow<'a, str>, output: Cow<'a, str> },
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Part<'a> {
    InputText { text: Cow<'a, str> },
    OutputText { text: Cow<'a, str> },
    InputImage { image_url: String, detail: &'static str },
}

/// An item created here, or an item of an answer, unchanged.
#[derive(Serialize)]
#[serde(untagged)]
enum Input<'a> {
    Made(Made<'a>),
    Own(Block),
}

fn body(peer: &Peer, request: &Request<'_>, form: &Form, asked: Option<u32>) -> Vec<u8> {
    let thinks = !form.has(Concession::Reasoning);
    let body = Body {
        model: &peer.model,
        stream: !form.has(Concession::Stream),
        store: false,
        include: if thinks { &["reasoning.encrypted_content"] } else { &[] },
        max_output_tokens: asked.map(|asked| asked.max(ANSWER_MIN)),
        instructions: request.system,
        tools: request.tools.iter().map(tool).collect(),
        input: input(request, form, &peer.origin()),
    };
    serde_json::to_vec(&body).expect("a request has string keys only")
}

fn tool(tool: &Tool) -> WireTool<'_> {
    WireTool {
        kind: "function",
        name: &tool.name,
        description: &tool.description,
        parameters: &tool.input_schema,
        strict: false,
    }
}

fn input<'a>(request: &Request<'a>, form: &Form, origin: &str) -> Vec<Input<'a>> {
    let mut sent = Vec::with_capacity(request.history.len());
    for item in arrange(request.history, form, request.images) {
        match item {
            Item::User(text, images) => sent.push(shown(text, &images)),
            Item::Pause => sent.push(said(Cow::Borrowed(PAUSE))),
            Item::Results(results) => sent.extend(results.into_iter().map(result)),
            Item::Answer(answer) if is_own(answer, form, origin) => {
                sent.extend(own(answer).into_iter().map(Input::Own));
            }
            Item::Answer(answer) => translated(answer, form, &mut sent),
        }
    }
    sent
}

/// A prompt with its images.
fn shown<'a>(text: Cow<'a, str>, images: &[&Image]) -> Input<'a> {
    let image = |it: &&Image| Part::InputImage { image_url: it.url(), detail: "auto" };
    let content = std::iter::once(Part::InputText { text }).chain(images.iter().map(image));
    Input::Made(Made::Message { role: "user", content: content.collect(), status: "completed" })
}

/// An answer as plain text.
fn said(text: Cow<'_, str>) -> Input<'_> {
    let content = vec![Part::OutputText { text }];
    Input::Made(Made::Message { role: "assistant", content, status: "completed" })
}

fn result(shown: Shown<'_>) -> Input<'_> {
    // This format has no error flag, so the text must report the error.
    let output = match shown.is_error {
        true => Cow::Owned(format!("error: {}", shown.content)),
        false => shown.content,
    };
    Input::Made(Made::FunctionCallOutput { call_id: shown.call_id, output })
}

/// Whether an answer is sent back as its original items.
fn is_own(answer: &Assistant, form: &Form, origin: &str) -> bool {
    answer.dialect == Dialect::Responses
        && !answer.is_foreign(origin)
        && !form.has(Concession::Reasoning)
        && !form.has(Concession::Ids)
}

/// The items of an answer as they are sent back. Reasoning that is not encrypted cannot be part of a request; the
/// items beside it are then sent without their ids, by which the server would look for that reasoning.
fn own(answer: &Assistant) -> Vec<Block> {
    let read = |block: &Block| serde_json::from_str::<Fields>(block.as_json()).unwrap_or_default();
    let is_reasoning = |fields: &Fields| fields.string("type").as_deref() == Some("reasoning");
    let is_open = |fields: &Fields| {
        is_reasoning(fields) && fields.string("encrypted_content").is_none_or(|it| it.is_empty())
    };
    let items: Vec<Fields> = answer.blocks.iter().map(read).collect();
    let has_open = items.iter().any(is_open);
    let goes_back = |fields: &Fields, key: &str| match key {
        "content" | "status" => !is_reasoning(fields),
        "id" => !has_open,
        _ => true,
    };
    let sent = |fields: Fields| Block::new(fields.only(|key| goes_back(&fields, key)).into_raw());
    items.into_iter().filter(|fields| !is_open(fields)).map(sent).collect()
}

/// Adds an answer of another server or dialect, or in a plainer form: only its text and its calls.
fn translated<'a>(answer: &Assistant, form: &Form, sent: &mut Vec<Input<'a>>) {
    let text = answer.text();
    if !text.trim().is_empty() {
        sent.push(said(Cow::Owned(text)));
    }
    sent.extend(answer.calls().into_iter().map(|call| {
        Input::Made(Made::FunctionCall {
            call_id: Cow::Owned(fit(&call.id, form).into_owned()),
            name: call.name,
            arguments: call.input.to_raw().get().to_owned(),
        })
    }));
}
