//! The form in which a history is sent, adapted to what a server refuses.
//!
//! The history itself never changes. What a server refuses is omitted from later requests or written differently: a
//! [`Form`] is the set of such concessions for one server and model. The table [`ASKS`] maps phrases in refusals to
//! concessions.

use std::collections::BTreeSet;

use super::super::failure::numbers;

/// Something that a server does not accept, and the replacement for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Concession {
    /// Do not request token counts.
    StreamOptions,
    /// Do not send back the model's own reasoning.
    Reasoning,
    /// Send no user message after tool results: append its text to the last result, in tags; put a short answer
    /// before a prompt.
    UserAfterTool,
    /// Merge consecutive user messages.
    UserAfterUser,
    /// Use call ids of nine letters and digits.
    Ids,
    /// Set no marks for the prompt cache, and send texts as plain strings.
    Cache,
    /// Omit the text of an answer that only has calls, instead of sending an empty text.
    EmptyText,
    /// Put the system prompt at the beginning of the first user message.
    System,
    /// Request the answer without streaming.
    Stream,
    /// Limit the answer to this many tokens; `None`: send no limit, where the format permits this.
    AnswerLength(Option<u32>),
}

/// The concessions to a server and model. Empty by default.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Form(BTreeSet<Concession>);

/// Alternatives: the text must contain at least one of these.
type AnyOf = &'static [&'static str];

/// One row: a refusal that contains one phrase of each list in `words`, and none of `without`, asks for the
/// concession.
struct Ask {
    concession: Concession,
    words: &'static [AnyOf],
    without: AnyOf,
}

/// What refusals ask for, in lower case. The phrases are from OpenAI, Azure, Groq, Cerebras, DeepSeek, Mistral,
/// Anthropic, Databricks, vLLM and the chat templates it runs, and LiteLLM.
const ASKS: [Ask; 14] = [
    Ask {
        concession: Concession::StreamOptions,
        words: &[&["stream_options", "stream options", "include_usage"]],
        without: &[],
    },
    Ask {
        concession: Concession::Stream,
        words: &[
            &["streaming", "stream mode", "to stream", "`stream`", "'stream'", "\"stream\""],
            &["not support", "unsupported", "not allowed", "not available", "be verified"],
        ],
        without: &[],
    },
    Ask {
        concession: Concession::EmptyText,
        words: &[
            &["content", "text"],
            &["non-empty", "not be empty", "be empty", "is empty", "be blank", "at least 1 char"],
        ],
        without: &["tool_calls"],
    },
    Ask {
        concession: Concession::System,
        words: &[
            &["system"],
            &["role", "message", "instruction"],
            &["not support", "unsupported", "not allowed", "not enabled"],
        ],
        without: &["tool"],
    },
    Ask {
        concession: Concession::Reasoning,
        words: &[
            &["reasoning", "thinking", "signature", "encrypted"],
            &[
                "unsupported",
                "not supported",
                "not allowed",
                "not permitted",
                "unknown",
                "unexpected",
                "unrecognized",
                "invalid",
                "extra",
                "cannot be modified",
                "must remain",
                "additional properties",
                "is passed",
                "does not match",
                "not match",
                "not accept",
                "refused",
                "forbidden",
                "remove",
                "not from this model",
                "verify",
                "verified",
                "should not",
                "must not",
                "can not",
                "cannot",
                "bad",
            ],
        ],
        without: &[
            "missing",
            "must be passed back",
            "reasoning_effort",
            "budget_tokens",
            "is required",
        ],
    },
    Ask {
        concession: Concession::UserAfterTool,
        words: &[&[
            "invalid_request_message_order",
            "after role 'tool'",
            "after role `tool`",
            "after role \"tool\"",
        ]],
        without: &[],
    },
    Ask {
        concession: Concession::UserAfterTool,
        words: &[
            &["role", "message"],
            &["tool"],
            &["user"],
            &[
                "unexpected",
                "after",
                "followed by",
                "must be",
                "expected",
                "expecting",
                "order",
                "follow",
            ],
        ],
        without: &["tool_use", "tool_call_id", "tool_calls' must", "tool call id", "system"],
    },
    Ask {
        concession: Concession::UserAfterUser,
        words: &[&["alternat", "consecutive", "two user", "roles must", "same role", "in a row"]],
        without: &[],
    },
    Ask {
        concession: Concession::UserAfterUser,
        words: &[&[
            "unexpected role 'user'",
            "unexpected role `user`",
            "after role 'user'",
            "multiple user",
        ]],
        without: &[],
    },
    Ask {
        concession: Concession::Ids,
        words: &[
            &[
                "tool call id",
                "tool_call_id",
                "tool_use_id",
                "tool_use.id",
                "toolcallid",
                "call_id",
                "tool id",
                "tool_calls",
                "function call id",
                "tooluseid",
                "tool use id",
            ],
            &[
                "pattern",
                "length",
                "too long",
                "must be",
                "match",
                "invalid",
                "unique",
                "characters",
                "alphanumeric",
                "at most",
                "maximum",
            ],
        ],
        without: &[
            "must be followed by",
            "preceeding",
            "preceding",
            "not found",
            "did not have response",
        ],
    },
    Ask {
        concession: Concession::Cache,
        words: &[&["cache_control", "cache control", "prompt caching"]],
        without: &[],
    },
    Ask {
        concession: Concession::Cache,
        words: &[
            &["content", "system"],
            &[
                "valid string",
                "must be a string",
                "should be a string",
                "expected a string",
                "type string",
            ],
        ],
        without: &[],
    },
    Ask {
        concession: Concession::AnswerLength(None),
        words: &[&[
            "max_tokens",
            "max_completion_tokens",
            "max_output_tokens",
            "maxoutputtokens",
            "maximum output",
            "max output",
            "max tokens",
            "output tokens",
            "in the completion",
            "completion tokens",
        ]],
        without: &["per minute"],
    },
    Ask {
        concession: Concession::UserAfterTool,
        words: &[&["last message", "final message"], &["tool"], &["must", "cannot", "should"]],
        without: &["tool_use"],
    },
];

/// The shortest answer worth requesting, in tokens.
const ANSWER_MIN: u32 = 256;

impl Form {
    /// All concessions that need no number: for a refusal that is not understood.
    pub fn plainest(&self) -> Self {
        let mut plain = self.clone();
        plain.0.extend([
            Concession::StreamOptions,
            Concession::Reasoning,
            Concession::UserAfterTool,
            Concession::UserAfterUser,
            Concession::Ids,
            Concession::Cache,
        ]);
        plain
    }

    /// Whether this concession is made.
    pub fn has(&self, concession: Concession) -> bool {
        self.0.contains(&concession)
    }

    /// The answer length to request, at most `most`.
    pub(crate) fn answer_length(&self, most: u32) -> u32 {
        self.conceded_length().flatten().map_or(most, |length| length.min(most))
    }

    /// The answer length to request where this is optional; `None` leaves it to the server.
    pub(crate) fn answer_asked(&self, most: Option<u32>) -> Option<u32> {
        match (most, self.conceded_length()) {
            (most, None) => most,
            // The server accepts no length, or has named its maximum.
            (_, Some(None)) => None,
            (most, Some(Some(length))) => Some(most.map_or(length, |most| most.min(length))),
        }
    }

    /// Whether a server asked for a shorter answer, and the length that it accepts if it named one.
    pub(crate) fn conceded_length(&self) -> Option<Option<u32>> {
        self.0.iter().find_map(|concession| match concession {
            Concession::AnswerLength(length) => Some(*length),
            Concession::StreamOptions
            | Concession::Reasoning
            | Concession::UserAfterTool
            | Concession::UserAfterUser
            | Concession::Ids
            | Concession::Cache
            | Concession::EmptyText
            | Concession::System
            | Concession::Stream => None,
        })
    }

    /// The form that a refusal asks for; `None` if it asks for nothing new. `asked` is the answer length that was
    /// requested. If the history does not fit, only a shorter answer can help, and only if the refusal counts the
    /// answer.
    pub(crate) fn after(
        &self,
        refusal: &str,
        is_overflow: bool,
        asked: Option<u32>,
    ) -> Option<Self> {
        let text = refusal.to_lowercase();
        let has = |words: AnyOf| words.iter().any(|word| text.contains(word));
        let meant = |ask: &&Ask| ask.words.iter().all(|words| has(words)) && !has(ask.without);
        for ask in ASKS.iter().filter(meant) {
            let mut form = self.clone();
            let is_new = match ask.concession {
                Concession::AnswerLength(_) => {
                    let Some(asked) = asked else { continue };
                    if is_overflow && !numbers(&text).contains(&u64::from(asked)) {
                        continue;
                    }
                    let length = shorter(&text, asked);
                    form.0.retain(|it| !matches!(it, Concession::AnswerLength(_)));
                    length.is_some() && form.0.insert(Concession::AnswerLength(length))
                }
                Concession::StreamOptions
                | Concession::Reasoning
                | Concession::UserAfterTool
                | Concession::UserAfterUser
                | Concession::Ids
                | Concession::Cache
                | Concession::EmptyText
                | Concession::System
                | Concession::Stream => !is_overflow && form.0.insert(ask.concession),
            };
            if is_new {
                return Some(form);
            }
        }
        None
    }

    /// The text stored in the ledger: `reasoning ids answer_length=8192`.
    pub fn to_text(&self) -> String {
        let words: Vec<String> = self.0.iter().map(|concession| concession.word()).collect();
        words.join(" ")
    }

    /// Parses the stored text. Words of other versions are ignored.
    pub fn from_text(text: &str) -> Self {
        Self(text.split_whitespace().filter_map(Concession::read).collect())
    }
}

impl Concession {
    fn word(self) -> String {
        match self {
            Self::StreamOptions => "stream_options".to_owned(),
            Self::Reasoning => "reasoning".to_owned(),
            Self::UserAfterTool => "user_after_tool".to_owned(),
            Self::UserAfterUser => "user_after_user".to_owned(),
            Self::Ids => "ids".to_owned(),
            Self::Cache => "cache".to_owned(),
            Self::EmptyText => "empty_text".to_owned(),
            Self::System => "system".to_owned(),
            Self::Stream => "stream".to_owned(),
            Self::AnswerLength(None) => "answer_length".to_owned(),
            Self::AnswerLength(Some(length)) => format!("answer_length={length}"),
        }
    }

    fn read(word: &str) -> Option<Self> {
        if let Some(length) = word.strip_prefix("answer_length=") {
            return Some(Self::AnswerLength(Some(length.parse().ok()?)));
        }
        let all = [
            Self::StreamOptions,
            Self::Reasoning,
            Self::UserAfterTool,
            Self::UserAfterUser,
            Self::Ids,
            Self::Cache,
            Self::EmptyText,
            Self::System,
            Self::Stream,
            Self::AnswerLength(None),
        ];
        all.into_iter().find(|concession| concession.word() == word)
    }
}

/// The answer length that a refusal permits: the number it names, the context's size minus the input, or half of
/// what was requested. `None` if no shorter length is worth requesting.
fn shorter(refusal: &str, asked: u32) -> Option<u32> {
    let asked_for = u64::from(asked);
    let named = numbers(refusal);
    // "maximum context length is 8192 tokens, however you requested 17000 (1000 in the messages, 16000 in the
    // completion)": two of the numbers add up to a third.
    let context = named.iter().copied().filter(|limit| {
        let is_sum = named.iter().any(|input| input + asked_for == *limit);
        !is_sum && *limit != asked_for
    });
    let input = named.iter().copied().find(|input| {
        *input != asked_for
            && (named.contains(&(input + asked_for)) || refusal.contains(&format!("{input} + ")))
    });
    if let Some(input) = input {
        // The input alone fills the context: the history is too long.
        let limit = context.clone().filter(|limit| *limit > input).max()?;
        // Servers count slightly differently each time, so keep an eighth in reserve.
        let left = u32::try_from((limit - input) / 8 * 7).ok();
        return left.filter(|length| *length >= ANSWER_MIN && *length < asked);
    }
    let smaller = named.iter().copied().filter(|number| *number < asked_for).max();
    let length = smaller.filter(|number| *number >= u64::from(ANSWER_MIN));
    let length = length.unwrap_or(asked_for / 2).min(asked_for.saturating_sub(1));
    u32::try_from(length).ok().filter(|length| *length >= ANSWER_MIN)
}

#[cfg(test)]
mod tests {
    use super::super::super::failure::does_not_fit;
    use super::*;

    #[test]
    fn each_refusal_asks_for_one_concession() {
        let check = |refusal: &str, want: Option<Concession>| {
            let form = Form::default().after(refusal, does_not_fit(refusal), Some(16_000));
            let got = form.as_ref().and_then(|form| form.0.first().copied());
            assert_eq!(got, want, "{refusal}");
            if let Some(form) = form {
                assert_eq!(Form::from_text(&form.to_text()), form);
            }
        };
        use Concession as C;
        for (refusal, want) in [
            ("stream_options: Extra inputs are not permitted", C::StreamOptions),
            ("Unknown field `include_usage`", C::StreamOptions),
            (
                "messages.1.assistant.reasoning_content: property 'messages.1.assistant.reasoning_content' is unsupported",
                C::Reasoning,
            ),
            ("messages.1.content.0: Invalid `signature` in `thinking` block", C::Reasoning),
            ("`thinking` blocks in the latest assistant message cannot be modified", C::Reasoning),
            ("Unexpected role 'user' after role 'tool'", C::UserAfterTool),
            (
                "Expected last role User or Tool, and a user message must not follow a tool message",
                C::UserAfterTool,
            ),
            (
                "After the optional system message, conversation roles must alternate user/assistant/user/assistant/...",
                C::UserAfterUser,
            ),
            (
                "roles must alternate between \"user\" and \"assistant\", but found multiple \"user\" roles in a row",
                C::UserAfterUser,
            ),
            ("Tool call id was x but must be a-z, A-Z, 0-9, with a length of 9.", C::Ids),
            (
                "messages.1.content.0.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'",
                C::Ids,
            ),
            (
                "Invalid 'messages[2].tool_calls[0].id': string too long. Expected a string with maximum length 40",
                C::Ids,
            ),
            ("Encrypted content is not supported with this model.", C::Reasoning),
            ("The encrypted content for item rs_1 could not be verified.", C::Reasoning),
            ("cache_control: Extra inputs are not permitted", C::Cache),
            ("system: Input should be a valid string", C::Cache),
            (
                "max_tokens: 16000 > 8192, which is the maximum allowed number of output tokens for claude-3.5-sonnet",
                C::AnswerLength(Some(8_192)),
            ),
            ("Range of max_tokens should be [1, 4096]", C::AnswerLength(Some(4_096))),
            ("max_tokens is too large", C::AnswerLength(Some(8_000))),
            ("Streaming is not supported for this model", C::Stream),
            ("Your organization must be verified to stream this model.", C::Stream),
            ("all messages must have non-empty content", C::EmptyText),
            ("messages: text content blocks must be non-empty", C::EmptyText),
            ("System role not supported", C::System),
            (
                "Unsupported value: 'messages[0].role' does not support 'system' with this model.",
                C::System,
            ),
            (
                "This model's maximum context length is 8192 tokens. However, you requested 17000 tokens (1000 in \
                 the messages, 16000 in the completion).",
                C::AnswerLength(Some(6_293)),
            ),
            (
                "input length and `max_tokens` exceed context limit: 188240 + 16000 > 200000",
                C::AnswerLength(Some(10_290)),
            ),
        ] {
            check(refusal, Some(want));
        }
        for refusal in [
            "model not found",
            "invalid api key",
            "prompt is too long: 210000 tokens > 200000 maximum",
            "The reasoning_content is missing in the assistant tool call message at index 2",
            "tool_use ids were found without tool_result blocks immediately after",
        ] {
            check(refusal, None);
        }
    }

    #[test]
    fn what_is_conceded_is_not_asked_for_again() {
        let form = Form::default().after("stream_options is not supported", false, None).unwrap();
        assert!(form.has(Concession::StreamOptions));
        assert_eq!(form.after("stream_options is not supported", false, None), None);
        let shorter = Form::default().after("max_tokens is too large", false, Some(1_000)).unwrap();
        let shorter = shorter.after("max_tokens is too large", false, Some(500)).unwrap_or(shorter);
        assert_eq!(shorter.conceded_length(), Some(Some(500)), "250 tokens are not an answer");
        assert_eq!(Form::from_text("ids novel answer_length=x"), Form::from_text("ids"));
    }
}
