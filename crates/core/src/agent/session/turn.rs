//! A turn: the prompt or the results that begin it, then model calls until the model has said
//! everything.

use super::step::{Drain, origin, title};
use super::work::Work;
use super::{TurnEnd, Update};
use crate::agent::failure::{Failure, FailureKind};
use crate::agent::message::Message;
use crate::agent::provider::{Call, Delta, Request, StopReason, Turn};
use crate::agent::trace::Fact;
use crate::agent::usage::{Cost, Usage};

/// What a model call came to.
pub(super) enum Asked {
    /// An answer.
    Answered(Box<Turn>),
    /// None.
    Failed(Failure),
    /// The turn is to end.
    Cancelled,
}

/// Where the turn goes from an answer.
enum Next {
    /// Another call.
    Call,
    /// Another call, the history as it is: the server paused.
    Resume,
    /// The end.
    End(TurnEnd),
}

impl Work {
    /// Makes a turn, of a prompt or of what waits in the queue. `None`: nothing waited, and there
    /// was no turn.
    pub(super) async fn turn(&mut self, prompt: Option<String>) -> Option<TurnEnd> {
        let before = self.counts;
        self.counts.turns += 1;
        let turn = self.counts.turns;
        let origin = origin(prompt.as_deref());
        let title = prompt.as_deref().map(title);
        self.note(Fact::TurnStarted { turn, origin, title: title.clone() });
        if !self.titled {
            self.step.title = title.or(self.step.title.take());
        }
        if std::mem::take(&mut self.resumed) {
            self.tell_resumed().await;
        }
        let is_wake = prompt.is_none();
        if let Some(text) = prompt {
            self.say(Message::Prompt { text });
        }
        let end = self.calls(if is_wake { Drain::OnlyNews } else { Drain::Yes }).await;
        let Some(end) = end else {
            // As if nobody had looked.
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

    async fn calls(&mut self, first: Drain) -> Option<TurnEnd> {
        let mut drain = first;
        let mut made = 0;
        let mut compacted = false;
        loop {
            if self.is_cancelled() && drain != Drain::OnlyNews {
                return Some(self.end_cancelled().await);
            }
            if self.is_full() && drain != Drain::No {
                if drain == Drain::OnlyNews && !self.has_news().await {
                    return None;
                }
                compacted = true;
                made += 1;
                if let Err(end) = self.compact().await {
                    return Some(end);
                }
            }
            self.counts.calls += 1;
            let (turn, call) = (self.counts.turns, self.counts.calls);
            self.note(Fact::CallStarted { turn, call });
            // A drain before each model call, and nowhere else.
            match self.commit(drain).await {
                Ok(true) => {}
                // Taken by somebody else since; but a summary was made, and there was a turn.
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
            };
            let asked = self.listen(self.terms.provider.stream(&request), true).await;
            let answer = match asked {
                Asked::Answered(answer) => answer,
                Asked::Cancelled => {
                    self.tell(ended(turn, call, Some("cancelled"), None)).await;
                    return Some(self.end_cancelled().await);
                }
                Asked::Failed(failure) => {
                    self.tell(ended(turn, call, None, Some(failure.to_string()))).await;
                    let overflow = failure.kind == FailureKind::ContextOverflow;
                    if !overflow || compacted {
                        return Some(TurnEnd::Failed(failure.to_string()));
                    }
                    compacted = true;
                    made += 1;
                    if let Err(end) = self.compact().await {
                        return Some(end);
                    }
                    continue;
                }
            };
            compacted = false;
            match self.answered(*answer, made).await {
                Next::Call => {}
                Next::Resume => drain = Drain::No,
                Next::End(end) => return Some(end),
            }
        }
    }

    /// Shows an answer as it comes.
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
                // Calls are shown once they are whole.
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

    /// Stores an answer, then does what it asks for.
    async fn answered(&mut self, answer: Turn, made: u32) -> Next {
        let Turn { answer: assistant, stop, cut, usage, cost } = answer;
        let (turn, call) = (self.counts.turns, self.counts.calls);
        self.count(usage, cost);
        self.note(answered(turn, call, word(&stop), usage, cost));
        let calls = assistant.calls();
        if !assistant.blocks.is_empty() {
            self.say(Message::Assistant(assistant));
        }
        let tokens = self.claim_tokens(&calls);
        // A call runs only once it is stored: a crash must find it.
        if let Err(error) = self.commit(Drain::No).await {
            // The answer is as if it had not come: its calls must not be left open.
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

    /// The turn is cancelled: the history says so where nothing else does.
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

    /// The limit of model calls is reached: what the model wants is not run.
    async fn end_capped(&mut self, calls: &[crate::agent::ToolCall], limit: u32) -> TurnEnd {
        let text = format!(
            "The turn was ended: it made {limit} model calls, which is the limit \
             (`calls_per_turn`). A prompt of the person goes on."
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

    /// The ledger refused a step. It is kept, and goes with the next one.
    pub(super) async fn end_unstored(&mut self, error: &crate::Error) -> TurnEnd {
        TurnEnd::Failed(format!("{error}; nothing is lost: prompt again once that is mended"))
    }

    async fn has_news(&self) -> bool {
        let (workspace, queue) = (self.workspace.clone(), self.id.0.clone());
        let waiting = self.background.store().read(move |l| l.waiting(&workspace, &queue)).await;
        waiting.is_ok_and(|waiting| waiting > 0)
    }

    /// Counts what a call took.
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
                // The next answer asks again.
                () = self.cancelled() => {}
                // A server that just answered tells it at once or not at all.
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

/// How long a server may take to say how large its model's context is.
const ASK_WINDOW: std::time::Duration = std::time::Duration::from_secs(1);

impl TurnEnd {
    /// The word for it in a trace, ACP's where it has one.
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

/// The end of a call that gave an answer.
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

/// The end of a call that gave no answer.
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
