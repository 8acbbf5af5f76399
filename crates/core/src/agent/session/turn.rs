//! A turn: starts with a prompt or with task results, and makes model calls until the model is done.

use std::time::Duration;

use super::outage::{Patience, Waited};
use super::owner::has_news;
use super::step::{Drain, origin, title};
use super::work::{Nudges, Work};
use super::written::is_written_call;
use super::{TurnEnd, Update};
use crate::agent::failure::{Again, Failure, FailureKind};
use crate::agent::message::{Message, Said};
use crate::agent::provider::{Call, Delta, Form, Request, StopReason, Turn};
use crate::agent::trace::{Fact, Origin};
use crate::agent::usage::{Cost, Usage};
use crate::limits;

/// Tokens that an image counts for until the model's server counts it: what Anthropic and OpenAI count for an image
/// of the size to which they scale large ones.
const IMAGE_TOKENS: u64 = 1_600;

/// The result of a model call.
pub(super) enum Asked {
    /// The model answered.
    Answered(Box<Turn>),
    /// The call failed.
    Failed(Failure),
    /// The turn was cancelled.
    Cancelled,
}

/// What starts a turn.
pub(super) enum Begin {
    /// A prompt, and for how long the turn retries while the model cannot be reached.
    Prompt(Said, Duration),
    /// The notifications in the queue.
    News,
    /// A request to replace the history by a summary.
    Compact,
    /// The history as it is: a turn that results started was cut off.
    Again,
}

/// What follows an answer.
enum Next {
    /// Another model call.
    Call,
    /// Another model call with the same history, because the server paused.
    Resume,
    /// The turn ends.
    End(TurnEnd),
}

impl Work {
    /// Runs a turn. `None` if the queue was empty, so that no turn took place.
    pub(super) async fn turn(&mut self, begin: Begin) -> Option<TurnEnd> {
        self.take_model().await;
        let before = self.counts;
        let compacts = matches!(begin, Begin::Compact);
        let (prompt, drain) = match begin {
            Begin::Prompt(said, patience) => {
                if let Some(why) = self.too_many_images(&said) {
                    return Some(TurnEnd::Failed(why));
                }
                self.patience = Patience::lasting(patience);
                (Some(said), Drain::Yes)
            }
            Begin::Compact => {
                self.patience = Patience::lasting(Duration::ZERO);
                (None, Drain::No)
            }
            Begin::News => (None, Drain::OnlyNews),
            Begin::Again => (None, Drain::Yes),
        };
        let origin = match compacts {
            true => Origin::Prompt,
            false => origin(prompt.is_some()),
        };
        if origin == Origin::Background {
            self.patience = Patience::Endless;
        }
        (self.waited, self.nudges) = (0, Nudges::default());
        self.counts.turns += 1;
        let turn = self.counts.turns;
        let title = prompt.as_ref().map(|said| title(&said.text));
        self.said = prompt.as_ref().map(|said| said.text.clone());
        self.note(Fact::TurnStarted { turn, origin, title: title.clone() });
        if !self.titled {
            self.step.title = title.or(self.step.title.take());
        }
        if std::mem::take(&mut self.resumed) {
            self.tell_resumed().await;
        }
        if let Some(Said { text, images }) = prompt {
            // The server's own count comes with its answer.
            self.used = self.used.saturating_add(IMAGE_TOKENS * images.len() as u64);
            self.say(Message::Prompt { text, images });
        }
        let end = match compacts {
            // The history is empty.
            true if self.history.is_empty() => Some(TurnEnd::EndTurn),
            true => Some(self.compact(true).await.err().unwrap_or(TurnEnd::EndTurn)),
            false => self.calls(drain).await,
        };
        let Some(end) = end else {
            // Undo, as if the turn had not started.
            let facts = self.counts.facts - before.facts;
            let kept = self.step.facts.len().saturating_sub(usize::try_from(facts).unwrap_or(0));
            self.step.facts.truncate(kept);
            self.counts = before;
            return None;
        };
        let error = match &end {
            TurnEnd::Failed(why) => Some(why.clone()),
            TurnEnd::EndTurn
            | TurnEnd::MaxTokens
            | TurnEnd::MaxCalls
            | TurnEnd::Refusal
            | TurnEnd::Cancelled => None,
        };
        self.tell(Fact::TurnEnded { turn, stop_reason: end.word().to_owned(), error }).await;
        self.out.send(Update::TurnEnded { turn, origin, end: end.clone() }).await;
        Some(end)
    }

    /// The numbers of the turn and of the model call that begins.
    fn begin_call(&mut self) -> (u64, u64) {
        self.counts.calls += 1;
        let (turn, call) = (self.counts.turns, self.counts.calls);
        self.note(Fact::CallStarted { turn, call });
        (turn, call)
    }

    async fn calls(&mut self, first: Drain) -> Option<TurnEnd> {
        let mut drain = first;
        let mut made = 0;
        let mut compacted = false;
        loop {
            if self.is_cancelled() && drain != Drain::OnlyNews {
                return Some(self.end_cancelled().await);
            }
            if self.is_full() && drain != Drain::No {
                if drain == Drain::OnlyNews && !has_news(&self.background, &self.id).await {
                    return None;
                }
                compacted = true;
                made += 1;
                if let Err(end) = self.compact(false).await {
                    return Some(end);
                }
            }
            self.take_servers().await;
            let (turn, call) = self.begin_call();
            // This is the only place that drains the queue: once before each model call.
            match self.commit(drain).await {
                Ok(true) => {}
                // Another reader has taken the notifications since, but a summary was written, so this counts as a
                // turn.
                Ok(false) if compacted => {
                    self.note(ended(turn, call, Some("cancelled"), None));
                    return Some(TurnEnd::EndTurn);
                }
                Ok(false) => return None,
                Err(error) => {
                    self.note(ended(turn, call, None, Some(error.to_string())));
                    return Some(self.end_unstored(&error).await);
                }
            }
            made += 1;
            drain = Drain::Yes;
            let request = Request {
                system: &self.system,
                tools: self.toolbox.tools(),
                history: &self.history,
                max_tokens: None,
                answer_tokens: self.terms.policy.answer_tokens,
                images: self.takes_images(),
            };
            let asked = self.ask(&request, true).await;
            let answer = match asked {
                Asked::Answered(answer) => answer,
                Asked::Cancelled => {
                    self.tell(ended(turn, call, Some("cancelled"), None)).await;
                    return Some(self.end_unanswered().await);
                }
                Asked::Failed(failure) => {
                    self.tell(ended(turn, call, None, Some(failure.to_string()))).await;
                    if compacted || !self.may_be_too_long(&failure) {
                        match self.wait_out(&failure).await {
                            Waited::Again => {
                                made -= 1;
                                continue;
                            }
                            Waited::Cancelled => return Some(self.end_unanswered().await),
                            Waited::Over => return Some(TurnEnd::Failed(failure.to_string())),
                        }
                    }
                    compacted = true;
                    made += 1;
                    if let Err(end) = self.compact(false).await {
                        return Some(end);
                    }
                    continue;
                }
            };
            compacted = false;
            self.waited = 0;
            self.keep_form();
            match self.answered(*answer, made).await {
                Next::Call => {}
                Next::Resume => drain = Drain::No,
                Next::End(end) => return Some(end),
            }
        }
    }

    /// Whether the model accepts images.
    pub(super) fn takes_images(&self) -> bool {
        self.terms.provider.is_sent_images(self.terms.policy.images)
    }

    /// Why no more images can be added: each request has to carry all of them. `None` if they can.
    fn too_many_images(&self, said: &Said) -> Option<String> {
        let before = self.history.iter().flat_map(Message::images);
        let bytes: usize = before.chain(&said.images).map(|image| image.data.len()).sum();
        (!said.images.is_empty() && bytes > limits::IMAGES_BYTES).then(|| {
            let (bytes, most) = (bytes >> 20, limits::IMAGES_BYTES >> 20);
            format!(
                "the images of this conversation would have {bytes} MiB, and at most {most} MiB are allowed; \
                 `/compact` replaces the conversation, with its images, by a summary"
            )
        })
    }

    /// Makes a model call, in plainer forms if the server rejects the request.
    pub(super) async fn ask(&self, request: &Request<'_>, show: bool) -> Asked {
        loop {
            let asked = self.listen(self.terms.provider.stream(request), show).await;
            let is_refused = |failure: &Failure| failure.again == Again::Plainer;
            if !matches!(&asked, Asked::Failed(failure) if is_refused(failure)) {
                return asked;
            }
        }
    }

    /// Whether a shorter history may help: the history does not fit, or it is long and the server refused it for a
    /// reason that is not understood.
    fn may_be_too_long(&self, failure: &Failure) -> bool {
        // The tokens of an image do not depend on its bytes.
        let images = |said: &Message| said.images().iter().map(|it| it.data.len()).sum::<usize>();
        let bytes = |said: &Message| said.to_json().len() - images(said);
        let bytes = || self.history.iter().map(bytes).sum::<usize>();
        failure.kind == FailureKind::ContextOverflow
            || (failure.kind == FailureKind::BadRequest
                && failure.refusal.is_some()
                && (self.used > LARGE_TOKENS || bytes() > LARGE_BYTES))
    }

    /// Starts with the request form that the model's server has accepted within the last week.
    pub(super) async fn recall_form(&mut self) -> Result<(), crate::Error> {
        let Some(origin) = self.terms.provider.origin() else { return Ok(()) };
        let form = self.background.store().read(move |l| l.form(&origin)).await?;
        if let Some(form) = form {
            self.terms.provider.set_form(Form::from_text(&form));
            self.form = form;
        }
        Ok(())
    }

    /// Stores the request form that the server has just accepted.
    pub(super) fn keep_form(&mut self) {
        let form = self.terms.provider.form().to_text();
        let Some(origin) = self.terms.provider.origin().filter(|_| form != self.form) else {
            return;
        };
        self.form.clone_from(&form);
        drop(self.background.store().write(move |l| l.remember_form(&origin, &form)));
    }

    /// Shows an answer while it is streamed.
    pub(super) async fn listen(&self, mut call: Call, show: bool) -> Asked {
        let cancelled = self.cancelled();
        tokio::pin!(cancelled);
        loop {
            let delta = tokio::select! {
                biased;
                () = &mut cancelled => return Asked::Cancelled,
                delta = call.next() => delta,
            };
            let update = match delta {
                None => break,
                Some(Delta::Text(text)) if show => Update::Text(text),
                Some(Delta::Thinking(text)) if show => Update::Thinking(text),
                Some(Delta::Retrying { attempt, delay, why }) => {
                    Update::Retrying { attempt, delay, why }
                }
                // Calls are shown once they are complete.
                Some(
                    Delta::Text(_)
                    | Delta::Thinking(_)
                    | Delta::CallStarted { .. }
                    | Delta::CallInput { .. },
                ) => continue,
            };
            self.out.send(update).await;
        }
        match call.finish().await {
            Ok(turn) => Asked::Answered(Box::new(turn)),
            Err(failure) => Asked::Failed(failure),
        }
    }

    /// Stores an answer, then runs the calls in it.
    async fn answered(&mut self, answer: Turn, made: u32) -> Next {
        let Turn { answer: mut assistant, stop, cut, usage, cost } = answer;
        let (turn, call) = (self.counts.turns, self.counts.calls);
        self.count(usage, cost);
        self.note(answered(turn, call, word(&stop), usage, cost));
        assistant.tidy(&mut self.ids);
        let calls = assistant.calls();
        let text = assistant.text();
        let is_end = match &stop {
            StopReason::EndTurn
            | StopReason::ToolUse
            | StopReason::StopSequence
            | StopReason::Other(_) => calls.is_empty() && cut.is_none(),
            StopReason::MaxTokens
            | StopReason::ContextFull
            | StopReason::PauseTurn
            | StopReason::Refusal => false,
        };
        // An empty answer is fine after task results, but a person expects text.
        let is_silent = is_end && text.trim().is_empty() && self.patience != Patience::Endless;
        if !assistant.blocks.is_empty() && !is_silent {
            self.say(Message::Assistant(assistant));
        }
        let tokens = self.claim_tokens(&calls);
        // A call runs only once it is stored, so that it is known after a crash.
        if let Err(error) = self.commit(Drain::No).await {
            // Drop the answer: its calls must not stay unanswered.
            self.step.messages.clear();
            self.step.claims.clear();
            return Next::End(self.end_unstored(&error).await);
        }
        self.tell_usage(usage).await;
        let limit = self.terms.policy.calls_per_turn;
        let stopped = match &stop {
            StopReason::Refusal => Some(TurnEnd::Refusal),
            StopReason::MaxTokens if calls.is_empty() && cut.is_none() => Some(TurnEnd::MaxTokens),
            StopReason::MaxTokens
            | StopReason::ContextFull
            | StopReason::EndTurn
            | StopReason::ToolUse
            | StopReason::StopSequence
            | StopReason::PauseTurn
            | StopReason::Other(_) => None,
        };
        let goes_on = !calls.is_empty()
            || cut.is_some()
            || matches!(stop, StopReason::PauseTurn | StopReason::ContextFull);
        if made >= limit && goes_on && stopped.is_none() {
            return Next::End(self.end_capped(&calls, limit).await);
        }
        if is_silent {
            return self.end_silent();
        }
        if is_end && is_written_call(&text) {
            return self.end_written();
        }
        let is_paused = stop == StopReason::PauseTurn && calls.is_empty();
        if !calls.is_empty() && self.run_calls(calls, tokens).await {
            return Next::End(self.end_cancelled().await);
        }
        if let Some(cut) = cut {
            self.notice(format!(
                "Your answer reached its longest length in the middle of a call of `{}`. That call \
                 was not run. Make it again in smaller pieces, such as a file in several edits.",
                cut.name
            ));
        } else if stop == StopReason::ContextFull {
            self.notice("Your answer was cut because the context was full. Go on.".to_owned());
        }
        if stop == StopReason::ContextFull {
            self.used = u64::MAX;
        }
        match stopped {
            Some(end) => Next::End(end),
            None if is_paused => Next::Resume,
            None if goes_on => Next::Call,
            None => Next::End(TurnEnd::EndTurn),
        }
    }

    /// The answer was empty: asks the model again and, after [`SILENT_MAX`] times, ends the turn.
    fn end_silent(&mut self) -> Next {
        self.nudges.silent += 1;
        if self.nudges.silent <= SILENT_MAX {
            return Next::Resume;
        }
        Next::End(TurnEnd::Failed(format!(
            "the model answered with nothing, {} times; prompt again, or use another model",
            self.nudges.silent
        )))
    }

    /// The answer contains a tool call as text: tells the model and, after [`WRITTEN_MAX`] times, ends the turn.
    fn end_written(&mut self) -> Next {
        self.nudges.written += 1;
        if self.nudges.written > WRITTEN_MAX {
            return Next::End(TurnEnd::Failed(
                "the model writes tool calls as text, and nothing was run; its server may need a \
                 template for tools, or use another model"
                    .to_owned(),
            ));
        }
        self.notice(
            "Your answer holds a tool call written as text, so nothing was run. Call the tool \
             itself, by its name from the list of tools. No human input in this message."
                .to_owned(),
        );
        Next::Call
    }

    /// The turn must end before the model has answered. A turn that results started continues when the session is
    /// loaded again, unless a person cancelled it.
    async fn end_unanswered(&mut self) -> TurnEnd {
        if self.patience == Patience::Endless && self.out.is_closing() {
            return TurnEnd::Failed("the session was closed before the model answered".to_owned());
        }
        self.end_cancelled().await
    }

    /// Ends a cancelled turn, and adds a notice if nothing else in the history shows it.
    pub(super) async fn end_cancelled(&mut self) -> TurnEnd {
        let is_answered = self.step.messages.is_empty()
            && self.history.last().is_none_or(|last| last.assistant().is_some());
        let has_results =
            self.step.messages.iter().any(|said| matches!(said, Message::ToolResults { .. }));
        if !is_answered && !has_results {
            self.notice("The person cancelled this turn before you had answered.".to_owned());
        }
        match self.commit(Drain::No).await {
            Ok(_) => TurnEnd::Cancelled,
            Err(error) => self.end_unstored(&error).await,
        }
    }

    /// The limit of model calls is reached: the calls of the last answer are not run.
    async fn end_capped(&mut self, calls: &[crate::agent::ToolCall], limit: u32) -> TurnEnd {
        let text = format!(
            "The turn was ended: it made {limit} model calls, which is the limit \
             (`calls_per_turn`). The person's next prompt continues."
        );
        let results = calls.iter().map(|call| crate::agent::ToolResult {
            call_id: call.id.clone(),
            content: "not run: the turn has reached its limit of model calls".to_owned(),
            is_error: true,
        });
        if !calls.is_empty() {
            self.say(Message::ToolResults { results: results.collect() });
        }
        self.notice(text);
        match self.commit(Drain::No).await {
            Ok(_) => TurnEnd::MaxCalls,
            Err(error) => self.end_unstored(&error).await,
        }
    }

    /// The ledger refused a step. The step is kept and stored with the next one.
    pub(super) async fn end_unstored(&mut self, error: &crate::Error) -> TurnEnd {
        TurnEnd::Failed(format!("{error}; nothing is lost: prompt again once that is fixed"))
    }

    /// Adds the usage and cost of a call.
    pub(super) fn count(&mut self, usage: Usage, cost: Option<Cost>) {
        self.used = usage.context() + usage.output;
        if let Some(cost) = cost {
            *self.cost.get_or_insert_default() += cost;
        }
    }

    async fn tell_usage(&mut self, last: Usage) {
        if self.window.is_none() && !self.window_asked {
            let asked = self.terms.provider.ask_context_window();
            tokio::select! {
                biased;
                // The next answer leads to another attempt.
                () = self.cancelled() => {}
                // A server that has just answered reports it at once or not at all.
                window = tokio::time::timeout(ASK_WINDOW, asked) => {
                    self.window = window.unwrap_or(None);
                    self.window_asked = true;
                }
            }
        }
        let (used, size, cost) = (self.used, self.window, self.cost);
        self.out.send(Update::Usage { used, size, last, cost }).await;
    }
}

/// How many times per turn an empty answer leads to another request.
const SILENT_MAX: u32 = 2;
/// How many times per turn the model is told that it wrote a call as text.
const WRITTEN_MAX: u32 = 2;
/// A history from this size on may be the reason for a refusal that is not understood: in tokens, or in bytes if
/// the server does not count tokens.
const LARGE_TOKENS: u64 = 16_000;
const LARGE_BYTES: usize = 48 << 10;

/// How long a server may take to report the size of its model's context.
const ASK_WINDOW: std::time::Duration = std::time::Duration::from_secs(1);

impl TurnEnd {
    /// The name of this end in a trace, the same as in ACP if ACP has one.
    pub fn word(&self) -> &'static str {
        match self {
            Self::EndTurn => "end_turn",
            Self::MaxTokens => "max_tokens",
            Self::MaxCalls => "max_turn_requests",
            Self::Refusal => "refusal",
            Self::Cancelled => "cancelled",
            Self::Failed(_) => "failed",
        }
    }

    /// The end that has this name in a trace.
    pub(super) fn of(word: &str, error: Option<String>) -> Self {
        [Self::EndTurn, Self::MaxTokens, Self::MaxCalls, Self::Refusal, Self::Cancelled]
            .into_iter()
            .find(|end| end.word() == word)
            .unwrap_or_else(|| Self::Failed(error.unwrap_or_else(|| word.to_owned())))
    }
}

fn word(stop: &StopReason) -> &str {
    match stop {
        StopReason::EndTurn => "end_turn",
        StopReason::ToolUse => "tool_use",
        StopReason::MaxTokens => "max_tokens",
        StopReason::ContextFull => "context_full",
        StopReason::StopSequence => "stop_sequence",
        StopReason::PauseTurn => "pause_turn",
        StopReason::Refusal => "refusal",
        StopReason::Other(reason) => reason,
    }
}

/// The fact for the end of a call that gave an answer.
pub(super) fn answered(turn: u64, call: u64, stop: &str, usage: Usage, cost: Option<Cost>) -> Fact {
    Fact::CallEnded {
        turn,
        call,
        stop_reason: Some(stop.to_owned()),
        error: None,
        input_tokens: Some(usage.context()),
        output_tokens: Some(usage.output),
        cached_tokens: Some(usage.cache_read),
        cost_usd: cost.map(dollars),
    }
}

/// The fact for the end of a call that gave no answer.
pub(super) fn ended(turn: u64, call: u64, stop: Option<&str>, error: Option<String>) -> Fact {
    Fact::CallEnded {
        turn,
        call,
        stop_reason: stop.map(str::to_owned),
        error,
        input_tokens: None,
        output_tokens: None,
        cached_tokens: None,
        cost_usd: None,
    }
}

#[expect(clippy::cast_precision_loss, reason = "money to show: 53 bits are millions of dollars")]
fn dollars(cost: Cost) -> f64 {
    cost.0 as f64 / 1e9
}
