//! Compaction: when the model's context is nearly full, a summary replaces the history.
//!
//! The transcript keeps everything. Only the start of the model's history changes: it becomes a notice with the
//! summary, the unanswered prompt and results, and the running tasks. Results in the queue stay there and come with
//! the next request.

use super::TurnEnd;
use super::outage::Waited;
use super::step::Drain;
use super::turn::{Asked, answered, ended};
use super::work::Work;
use crate::agent::failure::FailureKind;
use crate::agent::message::Message;
use crate::agent::notice;
use crate::agent::provider::Request;
use crate::agent::trace::Fact;
use crate::background::task::Timestamp;

/// The share of the context, in tenths, beyond which a summary is written before the next call: an answer and some
/// results still fit into the rest.
const FULL_TENTHS: u64 = 8;
/// Maximum tokens of a summary.
const SUMMARY_TOKENS: u32 = 4_096;

/// The request for a summary.
const INSTRUCTION: &str = "Summarise this conversation: the context is nearly full, and your summary \
     takes the place of everything above. No human input in this message. Call no tool. Write down \
     what the person wants, in their words where they matter; what was done and found out, with \
     names of files, functions, commands and tasks; what is left to do, and the very next step.";

/// Why no summary was written.
enum Stop {
    Cancelled,
    Ended(TurnEnd),
}

impl Work {
    /// Whether the history must be compacted before the next request.
    pub(super) fn is_full(&self) -> bool {
        let nearly = |window: u64| self.used > window / 10 * FULL_TENTHS;
        !self.history.is_empty() && (self.used == u64::MAX || self.window.is_some_and(nearly))
    }

    /// Has the model write a summary, and restarts its history with it. If the person asked for this and the model
    /// writes no summary, the history stays; if the context is full, the history restarts without a summary.
    pub(super) async fn compact(&mut self, is_wished: bool) -> Result<(), TurnEnd> {
        let is_result = |said: &Message| matches!(said, Message::ToolResults { .. });
        // Tool results belong to the calls before them and are summarised with them; other pending messages follow
        // the summary unchanged.
        let mut held = Vec::new();
        if self.step.messages.iter().any(is_result) {
            if let Err(error) = self.commit(Drain::No).await {
                return Err(self.end_unstored(&error).await);
            }
        } else {
            held = std::mem::take(&mut self.step.messages);
        }
        let made = self.summarise(is_wished).await;
        self.step.messages.extend(held);
        match made {
            Ok(()) => Ok(()),
            Err(Stop::Cancelled) => Err(self.end_cancelled().await),
            Err(Stop::Ended(end)) => {
                // The prompt stays in the history, however the turn ends.
                match self.commit(Drain::No).await {
                    Ok(_) => Err(end),
                    Err(error) => Err(self.end_unstored(&error).await),
                }
            }
        }
    }

    async fn summarise(&mut self, is_wished: bool) -> Result<(), Stop> {
        self.counts.calls += 1;
        let (turn, call) = (self.counts.turns, self.counts.calls);
        self.tell(Fact::CallStarted { turn, call }).await;
        let summary = self.ask_summary(turn, call).await?;
        if is_wished && summary.is_none() {
            let why = "the model wrote no summary; the conversation is as it was";
            return Err(Stop::Ended(TurnEnd::Failed(why.to_owned())));
        }
        let text = self.first_words(summary).await?;
        self.note(Fact::Compacted { call });
        self.step.messages.push(Message::Notice { text });
        self.step.fresh = true;
        self.used = 0;
        if let Err(error) = self.commit(Drain::No).await {
            return Err(Stop::Ended(self.end_unstored(&error).await));
        }
        Ok(())
    }

    /// The model's summary; `None` if it wrote none, or if not even a part of the history fits.
    async fn ask_summary(&mut self, turn: u64, mut call: u64) -> Result<Option<String>, Stop> {
        let mut skip = 0;
        loop {
            let left_out = (skip > 0).then(|| Message::Notice {
                text: "The beginning of the conversation is left out here.".to_owned(),
            });
            let instruction = Message::Notice { text: INSTRUCTION.to_owned() };
            let kept = self.history[skip..].iter().cloned();
            let history: Vec<_> = left_out.into_iter().chain(kept).chain([instruction]).collect();
            let request = Request {
                system: &self.system,
                // Providers require the tools that the history calls.
                tools: self.toolbox.tools(),
                history: &history,
                max_tokens: Some(SUMMARY_TOKENS),
                answer_tokens: None,
                images: self.takes_images(),
            };
            let asked = self.ask(&request, false).await;
            match asked {
                Asked::Answered(answer) => {
                    self.keep_form();
                    self.count(answer.usage, answer.cost);
                    self.tell(answered(turn, call, "summary", answer.usage, answer.cost)).await;
                    let text = answer.answer.text();
                    return Ok((!text.trim().is_empty()).then_some(text));
                }
                Asked::Cancelled => {
                    self.tell(ended(turn, call, Some("cancelled"), None)).await;
                    return Err(Stop::Cancelled);
                }
                Asked::Failed(failure) => {
                    let overflow = failure.kind == FailureKind::ContextOverflow;
                    if overflow && let Some(later) = shorter(&self.history, skip) {
                        skip = later;
                        continue;
                    }
                    self.tell(ended(turn, call, None, Some(failure.to_string()))).await;
                    if overflow {
                        return Ok(None);
                    }
                    match self.wait_out(&failure).await {
                        Waited::Again => {
                            self.counts.calls += 1;
                            call = self.counts.calls;
                            self.tell(Fact::CallStarted { turn, call }).await;
                            continue;
                        }
                        Waited::Cancelled => return Err(Stop::Cancelled),
                        Waited::Over => {}
                    }
                    let why = failure.to_string();
                    return Err(Stop::Ended(TurnEnd::Failed(format!(
                        "the context is full, and it could not be summarised: {why}"
                    ))));
                }
            }
        }
    }

    /// The message that starts the model's history from now on.
    async fn first_words(&mut self, summary: Option<String>) -> Result<String, Stop> {
        let mut text = String::from(
            "The conversation was summarised to make room. No human input in this message, except \
             where it says so.\n\n",
        );
        text.push_str(summary.as_deref().unwrap_or(
            "(There is no summary: the conversation did not fit the context any more. Look at the \
             files for what was done.)",
        ));
        let prompt = self.history.iter().rev().find_map(|said| match said {
            Message::Prompt { text, images } if images.is_empty() => Some(text.clone()),
            Message::Prompt { text, .. } => {
                Some(format!("{text}\n(The images are not shown any more.)"))
            }
            Message::Assistant(_)
            | Message::ToolResults { .. }
            | Message::Background { .. }
            | Message::Notice { .. } => None,
        });
        if let Some(prompt) = prompt {
            let shown = self.long_prompt(&prompt).await;
            match shown.map_err(|why| Stop::Ended(TurnEnd::Failed(why)))? {
                None => {
                    text.push_str(&format!("\n\nThe person's last words, as they were:\n{prompt}"))
                }
                Some(shown) => text.push_str(&format!("\n\n{shown}")),
            }
        }
        // Results in a request that was too long have not reached the model yet.
        let unanswered = self.history.iter().rev().take_while(|said| said.assistant().is_none());
        let mut results: Vec<&str> = unanswered
            .filter_map(|said| match said {
                Message::Background { text } => Some(text.as_str()),
                Message::Assistant(_)
                | Message::ToolResults { .. }
                | Message::Prompt { .. }
                | Message::Notice { .. } => None,
            })
            .collect();
        results.reverse();
        for result in results {
            text.push_str("\n\n");
            text.push_str(result);
        }
        if let Some(running) = self.running().await {
            text.push_str("\n\n");
            text.push_str(&running);
        }
        Ok(text)
    }

    /// A list of the session's running tasks, so that the model keeps their ids; `None` if none runs.
    pub(super) async fn running(&self) -> Option<String> {
        let tasks = self.background.running_in(self.id.0.clone()).await.unwrap_or_default();
        if tasks.is_empty() {
            return None;
        }
        let now = Timestamp::now();
        let lines: Vec<String> = tasks.iter().map(|task| notice::running(task, now)).collect();
        Some(format!(
            "Background tasks that run; their results come by themselves:\n{}",
            lines.join("\n")
        ))
    }
}

/// Where a shorter history may start: half-way, but not between a call and its result.
fn shorter(history: &[Message], skip: usize) -> Option<usize> {
    let half = skip + (history.len() - skip).div_ceil(2);
    let is_start = |at: &usize| !matches!(history[*at], Message::ToolResults { .. });
    (half..history.len()).find(is_start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shorter_history_never_begins_with_results() {
        let prompt = || Message::prompt("p");
        let results = || Message::ToolResults { results: Vec::new() };
        let history = [prompt(), prompt(), prompt(), results(), results(), prompt()];
        assert_eq!(shorter(&history, 0), Some(5));
        assert_eq!(shorter(&history, 5), None, "there is nothing left to leave out");
        assert_eq!(shorter(&[prompt(), prompt(), prompt(), prompt()], 0), Some(2));
        assert_eq!(shorter(&[prompt(), results()], 0), None);
        assert_eq!(shorter(&[], 0), None);
    }
}
