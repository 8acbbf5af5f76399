//! Access to a language model: one request in, a stream of deltas and one turn out.
//!
//! A [`Provider`] converts a [`Request`] into the vendor's wire format, and the vendor's stream back into
//! [`Delta`]s for a screen and, at its end, one complete [`Turn`] for the loop. It keeps no history, runs no tool
//! and spawns nothing: a [`Call`] progresses only while it is polled, and dropping it closes the connection at
//! once. No part of a turn may be acted on before the turn is complete.
//!
//! Usage:
//!
//! ```no_run
//! # use meanwhile_core::agent::{Failure, Message, Provider, Request, Turn};
//! # async fn ask(provider: &Provider, history: &mut Vec<Message>) -> Result<Turn, Failure> {
//! let request = Request { system: "You are brief.", tools: &[], history, ..Request::default() };
//! let mut call = provider.stream(&request);
//! while let Some(delta) = call.next().await {
//!     // show it
//! }
//! let turn = call.finish().await?;
//! if !turn.answer.blocks.is_empty() {
//!     history.push(Message::Assistant(turn.answer.clone()));
//! }
//! # Ok(turn)
//! # }
//! ```

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;
use tokio::sync::mpsc;

use super::failure::Failure;
use super::message::{Assistant, Message};
use super::pairing;
use super::usage::{Cost, Usage};

mod anthropic;
mod arrange;
mod assemble;
mod body;
mod form;
mod http;
mod lenient;
mod mask;
mod openai;
#[cfg(test)]
mod replay;
mod responses;
mod script;
mod scripted;
#[cfg(test)]
mod tolerant;

pub use anthropic::Anthropic;
pub(crate) use assemble::Fields;
pub use form::{Concession, Form};
pub use http::{Account, Endpoint, HttpError, KeyHeader, Secret};
pub(crate) use http::{Listed, plain_client, root};
pub(crate) use lenient::nearly_object;
pub use openai::OpenAi;
pub use responses::Responses;
pub use script::BadScript;
pub use scripted::Scripted;

/// A request to the model.
#[derive(Debug, Clone, Copy, Default)]
pub struct Request<'a> {
    /// The system prompt. It must stay the same for a whole session, or the prompt cache is lost.
    pub system: &'a str,
    /// The tools, always in the same order.
    pub tools: &'a [Tool],
    /// The whole conversation. It must be paired (see [`pairing::check`]).
    pub history: &'a [Message],
    /// Maximum length of this answer in tokens; `None` for the user's setting or the model's default.
    pub max_tokens: Option<u32>,
    /// Maximum length of an answer in tokens, as set by the user.
    pub answer_tokens: Option<u32>,
    /// Whether the model accepts images. If not, a note to the model replaces those of the history.
    pub images: bool,
}

/// A tool the model may call.
#[derive(Debug, Clone)]
pub struct Tool {
    /// The name: letters, digits, `_` and `-`, at most 64 characters.
    pub name: String,
    /// When to use it, and what it returns.
    pub description: String,
    /// The JSON Schema of its arguments, which are an object.
    pub input_schema: Box<RawValue>,
}

/// A piece of an answer while it is streamed. For screens only: the loop uses the [`Turn`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delta {
    /// More text of the answer.
    Text(String),
    /// More of the model's reasoning.
    Thinking(String),
    /// A tool call starts.
    CallStarted {
        /// The call's index among the pieces of the answer. Pieces may overlap.
        index: usize,
        /// The id of the tool call.
        id: String,
        /// The name of the tool.
        name: String,
    },
    /// More of a call's arguments.
    CallInput {
        /// The index of the tool call, as in `CallStarted`.
        index: usize,
        /// A piece of JSON text.
        json: String,
    },
    /// The call failed and will be retried: discard everything streamed so far.
    Retrying {
        /// The number of the next attempt; the first one was 1.
        attempt: u32,
        /// The delay before it.
        delay: Duration,
        /// The error of the failed attempt.
        why: String,
    },
}

/// A complete answer.
#[derive(Debug, Clone)]
pub struct Turn {
    /// The message to append to the history, unless it has no blocks. It contains only calls that may be run; one
    /// that was cut off is in `cut`.
    pub answer: Assistant,
    /// Why the model stopped.
    pub stop: StopReason,
    /// A tool call whose arguments were cut off by the end of the answer. It is not part of `answer`.
    pub cut: Option<CutCall>,
    /// The tokens that were used.
    pub usage: Usage,
    /// The cost, if it is known.
    pub cost: Option<Cost>,
}

/// A tool call that was cut off before its arguments were complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CutCall {
    /// The name of the tool.
    pub name: String,
    /// The arguments received so far.
    pub arguments: String,
}

/// Why a model stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StopReason {
    /// The answer is finished.
    EndTurn,
    /// The model requests tools; the answer has at least one call.
    ToolUse,
    /// The answer reached its maximum length. The complete calls in it must still be answered; one that was cut off
    /// is in [`Turn::cut`].
    MaxTokens,
    /// The context is full. Like [`StopReason::MaxTokens`], but compact before the next request.
    ContextFull,
    /// The model wrote a stop sequence.
    StopSequence,
    /// The server paused a long turn: append the answer and send the history again without other changes.
    PauseTurn,
    /// The model or the vendor's filter refused. The calls of such an answer are removed.
    Refusal,
    /// A reason that is not known here. Treat it as [`StopReason::EndTurn`].
    Other(String),
}

/// A language model of any vendor. Cheap to clone.
#[derive(Debug, Clone)]
pub enum Provider {
    /// Anthropic Messages, and servers that support it.
    Anthropic(Arc<Anthropic>),
    /// OpenAI chat completions, and servers that support them.
    OpenAi(Arc<OpenAi>),
    /// OpenAI's Responses API.
    Responses(Arc<Responses>),
    /// A script file instead of a model.
    Scripted(Arc<Scripted>),
}

impl Provider {
    /// The model's name: the part of `MEANWHILE_MODEL` after the slash.
    pub fn model(&self) -> &str {
        match self {
            Self::Anthropic(provider) => &provider.endpoint.peer.model,
            Self::OpenAi(provider) => &provider.endpoint.peer.model,
            Self::Responses(provider) => &provider.endpoint.peer.model,
            Self::Scripted(provider) => provider.model(),
        }
    }

    /// The setting that selects this model: `anthropic/NAME`, `script/PATH`.
    pub fn setting(&self) -> String {
        match self {
            Self::Anthropic(_) => format!("anthropic/{}", self.model()),
            Self::OpenAi(_) => format!("openai/{}", self.model()),
            Self::Responses(_) => format!("openai-responses/{}", self.model()),
            Self::Scripted(provider) => format!("script/{}", provider.path().display()),
        }
    }

    /// Whether the model accepts images; `None` if not known.
    pub fn takes_images(&self) -> Option<bool> {
        match self {
            Self::Anthropic(provider) => provider.takes_images(),
            Self::OpenAi(provider) => provider.endpoint.takes_images_of_openai(),
            Self::Responses(provider) => provider.endpoint.takes_images_of_openai(),
            Self::Scripted(_) => None,
        }
    }

    /// Whether to send images to the model: as a person has `set`, otherwise only if it is known to accept them.
    pub(crate) fn is_sent_images(&self, set: Option<bool>) -> bool {
        set.or_else(|| self.takes_images()).unwrap_or(false)
    }

    /// The size of the model's context in tokens, if known without a request.
    pub fn context_window(&self) -> Option<u64> {
        match self {
            Self::Anthropic(provider) => provider.context_window(),
            Self::OpenAi(provider) => provider.context_window(),
            Self::Responses(provider) => provider.context_window(),
            Self::Scripted(provider) => provider.context_window(),
        }
    }

    /// The same, with a request to the server if necessary: llama.cpp, vLLM and OpenRouter report it in their list
    /// of models. `None` if not known; then a full context leads to [`StopReason::ContextFull`] or
    /// [`super::FailureKind::ContextOverflow`].
    pub async fn ask_context_window(&self) -> Option<u64> {
        if let Some(known) = self.context_window() {
            return Some(known);
        }
        let models = self.models().await.ok()?;
        // A server with a single model accepts any name for it.
        let by_name = models.iter().find(|model| model.id == self.model());
        by_name.or(models.first().filter(|_| models.len() == 1))?.context_window()
    }

    /// The models of its server; empty for a script.
    pub(crate) async fn models(&self) -> Result<Vec<Listed>, Failure> {
        match self {
            Self::Anthropic(provider) => provider.models().await,
            Self::OpenAi(provider) => provider.models().await,
            Self::Responses(provider) => provider.models().await,
            Self::Scripted(_) => Ok(Vec::new()),
        }
    }

    /// The server and model, as stored with an answer and in the ledger; `None` for a script.
    pub fn origin(&self) -> Option<String> {
        Some(self.endpoint()?.peer.origin())
    }

    /// The request form that the server requires, as far as is known.
    pub fn form(&self) -> Form {
        self.endpoint().map(Endpoint::form).unwrap_or_default()
    }

    /// Restores a request form that was stored earlier.
    pub fn set_form(&self, form: Form) {
        if let Some(endpoint) = self.endpoint() {
            endpoint.set_form(form);
        }
    }

    fn endpoint(&self) -> Option<&Endpoint> {
        match self {
            Self::Anthropic(provider) => Some(&provider.endpoint),
            Self::OpenAi(provider) => Some(&provider.endpoint),
            Self::Responses(provider) => Some(&provider.endpoint),
            Self::Scripted(_) => None,
        }
    }

    /// Makes a call. The request is serialized immediately; nothing is sent before the call is polled.
    pub fn stream(&self, request: &Request<'_>) -> Call {
        debug_assert_eq!(
            pairing::check(request.history),
            Ok(()),
            "an unpaired history is never sent"
        );
        match self {
            Self::Anthropic(provider) => provider.call(request),
            Self::OpenAi(provider) => provider.call(request),
            Self::Responses(provider) => provider.call(request),
            Self::Scripted(provider) => provider.call(request),
        }
    }
}

/// How many deltas may wait to be shown. When the channel is full, the connection is not read: this slows down the
/// server and bounds memory.
const DELTAS: usize = 64;

/// Receives the deltas of a call.
#[derive(Debug, Clone)]
pub(crate) struct Sink(mpsc::Sender<Delta>);

impl Sink {
    pub(crate) async fn send(&self, delta: Delta) {
        // The receiver is closed once `finish` has started: then nothing is shown any more.
        self.0.send(delta).await.ok();
    }
}

/// A call in progress. It progresses only while [`Call::next`] or [`Call::finish`] is polled; drop it to cancel.
pub struct Call {
    deltas: mpsc::Receiver<Delta>,
    work: Work,
}

enum Work {
    Going(Pin<Box<dyn Future<Output = Result<Turn, Failure>> + Send>>),
    Over(Box<Result<Turn, Failure>>),
}

impl Call {
    pub(crate) fn new<F>(work: impl FnOnce(Sink) -> F) -> Self
    where
        F: Future<Output = Result<Turn, Failure>> + Send + 'static,
    {
        let (sender, deltas) = mpsc::channel(DELTAS);
        Self { deltas, work: Work::Going(Box::pin(work(Sink(sender)))) }
    }

    /// The next piece of the answer; `None` when there are no more, after which [`Call::finish`] returns at once.
    /// Cancel-safe.
    pub async fn next(&mut self) -> Option<Delta> {
        if let Work::Going(future) = &mut self.work {
            tokio::select! {
                biased;
                Some(delta) = self.deltas.recv() => return Some(delta),
                result = future => self.work = Work::Over(Box::new(result)),
            }
        }
        // The answer is complete, but some of its deltas may still be in the channel.
        self.deltas.try_recv().ok()
    }

    /// The complete answer. Deltas that were not read are dropped.
    pub async fn finish(mut self) -> Result<Turn, Failure> {
        self.deltas.close();
        match self.work {
            Work::Going(future) => future.await,
            Work::Over(result) => *result,
        }
    }
}

impl std::fmt::Debug for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Call").finish_non_exhaustive()
    }
}
