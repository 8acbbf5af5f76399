//! Checks that the calls and results of a history are paired, because no server does this reliably.
//!
//! The rule (Anthropic Messages): each call is answered by exactly one result in the very next message, and
//! every result answers a call. One vendor rejects a history that breaks the rule with a 400, another server
//! misreads it silently, so it must never be sent.

use std::collections::BTreeSet;

use super::message::Message;

/// How a history breaks the rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mispaired {
    /// A call has no result in the next message.
    #[error("message {message}: call `{call}` has no result in the message after it")]
    Unanswered {
        /// The index of the answer that contains the call.
        message: usize,
        /// The id of the call.
        call: String,
    },
    /// A result whose call is not in the previous message.
    #[error("message {message}: result for `{call}`, which the message before does not call")]
    Orphan {
        /// The index of the message with the results.
        message: usize,
        /// The id that the result names.
        call: String,
    },
    /// Two calls of one answer share an id, or two results answer one call.
    #[error("message {message}: `{call}` appears twice")]
    Twice {
        /// The index of the message.
        message: usize,
        /// The repeated id.
        call: String,
    },
}

/// Checks a whole history. The last answer's calls must have results too: a history is checked just before it
/// is sent.
pub fn check(history: &[Message]) -> Result<(), Mispaired> {
    let mut open = BTreeSet::new();
    let mut asked_at = 0;
    for (at, message) in history.iter().enumerate() {
        let mut answered = BTreeSet::new();
        if let Message::ToolResults { results } = message {
            for result in results {
                let call = result.call_id.clone();
                if !answered.insert(call.clone()) {
                    return Err(Mispaired::Twice { message: at, call });
                }
                if !open.remove(&call) {
                    return Err(Mispaired::Orphan { message: at, call });
                }
            }
        }
        unanswered(&mut open, asked_at)?;
        if let Some(answer) = message.assistant() {
            asked_at = at;
            for call in answer.calls() {
                if !open.insert(call.id.clone()) {
                    return Err(Mispaired::Twice { message: at, call: call.id });
                }
            }
        }
    }
    unanswered(&mut open, asked_at)
}

fn unanswered(open: &mut BTreeSet<String>, message: usize) -> Result<(), Mispaired> {
    match open.pop_first() {
        Some(call) => Err(Mispaired::Unanswered { message, call }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::{Assistant, Block, Dialect, ToolResult};
    use super::*;

    /// `p` is a prompt, `b` a background message, `cAB` an answer with calls A and B, `rAB` results for A and
    /// B.
    fn history(words: &str) -> Vec<Message> {
        words
            .split_whitespace()
            .map(|word| {
                let ids = word[1..].chars().map(|id| id.to_string());
                match &word[..1] {
                    "p" => Message::prompt("p"),
                    "b" => Message::Background { text: "b".into() },
                    "r" => Message::ToolResults {
                        results: ids
                            .map(|call_id| ToolResult {
                                call_id,
                                content: "ok".into(),
                                is_error: false,
                            })
                            .collect(),
                    },
                    "c" => Message::Assistant(Assistant {
                        dialect: Dialect::Anthropic,
                        model: "m".into(),
                        from: None,
                        blocks: ids
                            .map(|id| {
                                Block::of(&serde_json::json!({
                                    "type": "tool_use", "id": id, "name": "t", "input": {}
                                }))
                            })
                            .collect(),
                    }),
                    other => panic!("no such message: {other}"),
                }
            })
            .collect()
    }

    fn check_words(words: &str, want: Result<(), Mispaired>) {
        assert_eq!(check(&history(words)), want, "{words}");
    }

    #[test]
    fn a_paired_history_passes() {
        for words in ["", "p", "p c", "p cA rA", "p cAB rBA b c p", "p cA rA b cA rA c", "p b"] {
            check_words(words, Ok(()));
        }
    }

    #[test]
    fn each_way_to_break_the_rule_is_named() {
        let unanswered =
            |message, call: &str| Err(Mispaired::Unanswered { message, call: call.into() });
        let orphan = |message, call: &str| Err(Mispaired::Orphan { message, call: call.into() });
        let twice = |message, call: &str| Err(Mispaired::Twice { message, call: call.into() });
        check_words("p cA", unanswered(1, "A"));
        check_words("p cA p", unanswered(1, "A"));
        check_words("p cAB rA", unanswered(1, "B"));
        check_words("p cA b rA", unanswered(1, "A"));
        check_words("p rA", orphan(1, "A"));
        check_words("p cA rA rA", orphan(3, "A"));
        check_words("p cA rAB", orphan(2, "B"));
        check_words("p cA rAA", twice(2, "A"));
        check_words("p cAA rA", twice(1, "A"));
    }
}
