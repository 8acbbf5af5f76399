//! A language model that can be asked: one request in, a stream of deltas and one turn out.
//!
//! A [`Provider`] turns a [`Request`] into the vendor's wire format, and the vendor's stream back
//! into [`Delta`]s for a screen and, at its end, one whole [`Turn`] for the loop. It keeps no
//! history, runs no tool and spawns nothing: a [`Call`] moves only while it is polled, and dropping
//! it closes the connection at once. Nothing of a turn may be acted on before the turn is whole.
//!
//! To ask:
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

/// What the model is asked.
#[derive(Debug, Clone, Copy, Default)]
pub struct Request<'a> {
    /// The system prompt. Keep it the same through a session, or the prompt cache is lost.
    pub system: &'a str,
    /// The tools, in an order that stays the same.
    pub tools: &'a [Tool],
    /// The whole conversation. It must be paired ([`pairing::check`]).
    pub history: &'a [Message],
    /// The longest answer to this request, in tokens; `None`: what the user set, or what suits the
    /// model.
    pub max_tokens: Option<u32>,
    /// The longest answer that the user set, in tokens.
    pub answer_tokens: Option<u32>,
    /// The model takes images. Otherwise those of the history are left out, and it is told so.
    pub images: bool,
}

/// A tool the model may call.
#[derive(Debug, Clone)]
pub struct Tool {
    /// Its name: letters, digits, `_` and `-`, at most 64.
    pub name: String,
    /// When to use it, and what it answers.
    pub description: String,
    /// The JSON Schema of its arguments, an object.
    pub input_schema: Box<RawValue>,
}

/// A piece of an answer on its way. For screens: the loop goes by the [`Turn`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delta {
    /// More text.
    Text(String),
    /// More reasoning.
    Thinking(String),
    /// A call begins.
    CallStarted {
        /// Its place among the pieces of the answer. Pieces may overlap.
        index: usize,
        /// Its id.
        id: String,
        /// The tool.
        name: String,
    },
    /// More of a call's arguments.
    CallInput {
        /// The call.
        index: usize,
        /// A piece of JSON text.
        json: String,
    },
    /// The call failed and is made again: what this call has streamed so far is void.
    Retrying {
        /// The number of the coming attempt; the first was 1.
        attempt: u32,
        /// How long from now.
        delay: Duration,
        /// What went wrong.
        why: String,
    },
}

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Turn {
    /// What to append to the history, unless it has no blocks. It holds no call that must not be
    /// run: what was cut is in `cut`.
    pub answer: Assistant,
    /// Why the model stopped.
    pub stop: StopReason,
    /// A call whose arguments were cut off by the end of the answer. It is not part of the answer.
    pub cut: Option<CutCall>,
    /// The tokens it took.
    pub usage: Usage,
    /// What it cost, if that is known.
    pub cost: Option<Cost>,
}

/// A call that was cut off before its arguments were whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CutCall {
    /// The tool.
    pub name: String,
    /// The arguments as far as they came.
    pub arguments: String,
}

/// Why a model stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StopReason {
    /// It has said everything.
    EndTurn,
    /// It wants tools run; the answer has at least one call.
    ToolUse,
    /// The answer reached its longest length. Whole calls in it still have to be answered; a cut
    /// one is in [`Turn::cut`].
    MaxTokens,
    /// The context is full. As [`StopReason::MaxTokens`], and compact before the next request.
    ContextFull,
    /// It wrote a stop sequence.
    StopSequence,
    /// The server paused a long turn: append the answer and send the history again as it is.
    PauseTurn,
    /// The model or the vendor's filter declined. The calls of such an answer are left out.
    Refusal,
    /// A reason we don't know. Treat it as [`StopReason::EndTurn`].
    Other(String),
}

/// A language model, of any vendor. Cheap to clone.
#[derive(Debug, Clone)]
pub enum Provider {
    /// Anthropic Messages.
    Anthropic(Arc<Anthropic>),
    /// OpenAI chat completions and everything that speaks them.
    OpenAi(Arc<OpenAi>),
    /// OpenAI's Responses API.
    Responses(Arc<Responses>),
    /// A script.
    Scripted(Arc<Scripted>),
}

impl Provider {
    /// The model's name, as in `MEANWHILE_MODEL` after the slash.
    pub fn model(&self) -> &str {
        match self {
            Self::Anthropic(provider) => &provider.endpoint.peer.model,
            Self::OpenAi(provider) => &provider.endpoint.peer.model,
            Self::Responses(provider) => &provider.endpoint.peer.model,
            Self::Scripted(provider) => provider.model(),
        }
    }

    /// The setting that names this model again: `anthropic/NAME`, `script/PATH`.
    pub fn setting(&self) -> String {
        match self {
            Self::Anthropic(_) => format!("anthropic/{}", self.model()),
            Self::OpenAi(_) => format!("openai/{}", self.model()),
            Self::Responses(_) => format!("openai-responses/{}", self.model()),
            Self::Scripted(provider) => format!("script/{}", provider.path().display()),
        }
    }

    /// Whether the model takes images; `None`: that is not known.
    pub fn takes_images(&self) -> Option<bool> {
        match self {
            Self::Anthropic(provider) => provider.takes_images(),
            Self::OpenAi(provider) => provider.endpoint.takes_images_of_openai(),
            Self::Responses(provider) => provider.endpoint.takes_images_of_openai(),
            Self::Scripted(_) => None,
        }
    }

    /// Whether the model is sent images: as a person has `set`, else where it is known to take them.
    pub(crate) fn is_sent_images(&self, set: Option<bool>) -> bool {
        set.or_else(|| self.takes_images()).unwrap_or(false)
    }

    /// The size of the model's context in tokens, where it is known without asking.
    pub fn context_window(&self) -> Option<u64> {
        match self {
            Self::Anthropic(provider) => provider.context_window(),
            Self::OpenAi(provider) => provider.context_window(),
            Self::Responses(provider) => provider.context_window(),
            Self::Scripted(provider) => provider.context_window(),
        }
    }

    /// The same, asking the server where that is needed: llama.cpp, vLLM and OpenRouter tell it in
    /// their list of models. `None`: it is not known, and a full context shows itself as
    /// [`StopReason::ContextFull`] or [`super::FailureKind::ContextOverflow`].
    pub async fn ask_context_window(&self) -> Option<u64> {
        if let Some(known) = self.context_window() {
            return Some(known);
        }
        let models = self.models().await.ok()?;
        // A server of one model answers to any name.
        let by_name = models.iter().find(|model| model.id == self.model());
        by_name.or(models.first().filter(|_| models.len() == 1))?.context_window()
    }

    /// The models of its server; a script has none to choose from.
    pub(crate) async fn models(&self) -> Result<Vec<Listed>, Failure> {
        match self {
            Self::Anthropic(provider) => provider.models().await,
            Self::OpenAi(provider) => provider.models().await,
            Self::Responses(provider) => provider.models().await,
            Self::Scripted(_) => Ok(Vec::new()),
        }
    }

    /// The server and model it asks, as an answer and the ledger name them; a script has no server.
    pub fn origin(&self) -> Option<String> {
        Some(self.endpoint()?.peer.origin())
    }

    /// What is conceded to its server.
    pub fn form(&self) -> Form {
        self.endpoint().map(Endpoint::form).unwrap_or_default()
    }

    /// Begins with what was conceded before.
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

    /// Makes a call. The request is turned into bytes here and now; nothing is sent before the call
    /// is polled.
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

/// Deltas waiting to be shown. When they are full the connection is simply read later: the other
/// side is slowed down, and memory stays bounded.
const DELTAS: usize = 64;

/// Where a call puts its deltas.
#[derive(Debug, Clone)]
pub(crate) struct Sink(mpsc::Sender<Delta>);

impl Sink {
    pub(crate) async fn send(&self, delta: Delta) {
        // The listener is gone once `finish` has begun: then there is nothing to show.
        self.0.send(delta).await.ok();
    }
}

/// A call on its way. Moves only while [`Call::next`] or [`Call::finish`] is polled; drop it to
/// cancel it.
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

    /// The next piece of the answer; `None` once there is no more, and [`Call::finish`] returns at
    /// once. Cancel-safe.
    pub async fn next(&mut self) -> Option<Delta> {
        if let Work::Going(future) = &mut self.work {
            tokio::select! {
                biased;
                Some(delta) = self.deltas.recv() => return Some(delta),
                result = future => self.work = Work::Over(Box::new(result)),
            }
        }
        // Nothing is sent any more; what was sent before the end is still to be shown.
        self.deltas.try_recv().ok()
    }

    /// The whole answer. Deltas that were not asked for are dropped.
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
