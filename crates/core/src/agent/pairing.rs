//! Checks that calls and results of a history are paired, because no server does it for us.
//!
//! The rule (Anthropic Messages): every call is answered by exactly one result in the very next
//! message, and nothing is answered that was not called. A history that breaks it is refused by one
//! vendor with a 400 and misread in silence by the next server, so it must never leave.

use std::collections::BTreeSet;

use super::message::Message;

/// What is wrong with a history.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mispaired {
    /// A call has no result in the next message.
    #[error("message {message}: call `{call}` has no result in the message after it")]
    Unanswered {
        /// The position of the answer that calls.
        message: usize,
        /// The call's id.
        call: String,
    },
    /// A result has no call in the message before.
    #[error("message {message}: result for `{call}`, which the message before does not call")]
    Orphan {
        /// The position of the results.
        message: usize,
        /// The id it names.
        call: String,
    },
    /// Two calls of one answer share an id, or two results answer one call.
    #[error("message {message}: `{call}` stands there twice")]
    Twice {
        /// The position.
        message: usize,
        /// The id.
        call: String,
    },
}

/// Checks a whole history. The calls of the last answer have to be answered too: a history is
/// checked when it is about to be sent.
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

    /// `p`rompt, `b`ackground, `cAB` an answer calling A and B, `rAB` results for A and B.
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
