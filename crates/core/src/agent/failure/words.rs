//! What the text of a server's refusal means, independent of the server.

use std::time::Duration;

// Phrases about the length of the answer, or about names, ids and lists, do not concern the history.
const OTHER: [&str; 16] = [
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
    "maxoutputtokens",
    "output tokens",
    "completion tokens",
    "in the completion",
    "tool_call",
    "tool call id",
    "tool_use",
    "call_id",
    "function name",
    "function.name",
    "tools.",
    "tools[",
    "api key",
];

const WHAT: [&str; 14] = [
    "context",
    "token",
    "length",
    "prompt",
    "input",
    "conversation",
    "sequence",
    "messages",
    "history",
    "window",
    "上下文",
    "长度",
    "request size",
    "text fields",
];

const TOO_MUCH: [&str; 35] = [
    "exceed",
    "too long",
    "too large",
    "too many",
    "too big",
    "longer than",
    "larger than",
    "greater than",
    "more than",
    "bigger than",
    "overflow",
    "not enough",
    "does not fit",
    "doesn't fit",
    "not fit",
    "maximum context",
    "max context",
    "maximum input",
    "max input",
    "maximum prompt",
    "max length",
    "maximum length",
    "context limit",
    "over the limit",
    "out of",
    "reduce the length",
    "shorter",
    "超过",
    "超出",
    "must be less than",
    "must have less than",
    "must be <=",
    "range of input length",
    "maximum supported sequence",
    "smaller than",
];

const ABOUT: [&str; 8] =
    ["context", "token", "length", "prompt", "too long", "上下文", "input", "text fields"];

/// Whether a refusal says that the history is too long for the model: it mentions the context, its tokens or
/// its length, and that there is too much of it.
pub(crate) fn does_not_fit(refusal: &str) -> bool {
    let mut text = refusal.to_lowercase();
    // An id or a name is too long, or a rate limit was reached.
    if text.contains("string too long")
        || text.contains("array too long")
        || text.contains("per minute")
    {
        return false;
    }
    for other in OTHER {
        text = text.replace(other, " ");
    }
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    has(&WHAT) && has(&TOO_MUCH) && has(&ABOUT)
}

/// The whole numbers in a text; `1,234` counts as one.
pub(crate) fn numbers(text: &str) -> Vec<u64> {
    let is_between = |at: usize| {
        let side = |at: Option<usize>| {
            at.and_then(|at| text.as_bytes().get(at)).is_some_and(u8::is_ascii_digit)
        };
        side(at.checked_sub(1)) && side(Some(at + 1))
    };
    let joined: String = text
        .char_indices()
        .filter(|(at, c)| *c != ',' || !is_between(*at))
        .map(|(_, c)| if c.is_ascii_digit() { c } else { ' ' })
        .collect();
    joined.split_whitespace().filter_map(|digits| digits.parse().ok()).collect()
}

/// How long a server asks to wait in the text of its refusal: `"retryDelay": "4s"`, "try again in
/// 4.25s", "Please retry after 2 minutes".
pub(crate) fn named_wait(body: &str) -> Option<Duration> {
    const BEFORE: [&str; 10] = [
        "retrydelay\": \"",
        "retrydelay\":\"",
        "try again in ",
        "try again after ",
        "retry in ",
        "retry after ",
        "retry_after\":",
        "retry_after\": ",
        "retry-after: ",
        "available in ",
    ];
    let text = body.to_lowercase();
    BEFORE.iter().find_map(|before| {
        let (_, rest) = text.split_once(before)?;
        span(rest.trim_start_matches(['~', '"', ' ']))
    })
}

/// The duration at the start of a text: `4.25s`, `6m0s`, `120ms`, `2 minutes`, `30` (seconds).
pub(crate) fn span(text: &str) -> Option<Duration> {
    let mut total = None::<f64>;
    let mut rest = text.trim_start();
    loop {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let Ok(number) = rest[..end].trim_end_matches('.').parse::<f64>() else { break };
        rest = &rest[end..];
        let word = rest.trim_start();
        let unit = word.find(|c: char| !c.is_alphabetic()).unwrap_or(word.len());
        let (scale, is_known) = match &word[..unit] {
            "ms" | "milliseconds" | "millisecond" | "millis" => (0.001, true),
            "s" | "sec" | "secs" | "second" | "seconds" => (1.0, true),
            "m" | "min" | "mins" | "minute" | "minutes" => (60.0, true),
            "h" | "hour" | "hours" => (3_600.0, true),
            _ => (1.0, false),
        };
        *total.get_or_insert(0.0) += number * scale;
        if !is_known {
            break;
        }
        rest = &word[unit..];
    }
    total.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Error texts of LM Studio, vLLM, SGLang, z.ai, Gemini, xAI, Kimi, DashScope, TGI, Copilot, Bedrock,
    /// Mistral, Groq, Cohere, Together, Ollama, llama.cpp, Anthropic and OpenAI.
    #[test]
    fn a_history_that_does_not_fit_is_known_by_its_meaning() {
        for text in [
            "Trying to keep the first 15857 tokens when context the overflows. However, the model is loaded with context length of only 4096 tokens, which is not enough.",
            "You passed 202753 input tokens and requested 0 output tokens. However, the model's context length is only 202752 tokens, resulting in a maximum input length of 202752 tokens.",
            "The input (40000 tokens) is longer than the model's context length (32768 tokens).",
            "Prompt exceeds max length",
            "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
            "This model's maximum prompt length is 131072 but the request contains 537812 tokens.",
            "Invalid request: Your request exceeded model token limit: 262144 (requested: 300000)",
            "Range of input length should be [1, 30720], input is too long",
            "Input validation error: `inputs` must have less than 4096 tokens; `inputs` tokens exceed it",
            "prompt token count of 139531 exceeds the limit of 128000",
            "Input is too long for requested model.",
            "Prompt contains 40000 tokens, too large for model with 32768 maximum context length",
            "Please reduce the length of the messages or completion.",
            "too many tokens: the total number of tokens in the prompt exceeds the limit of 128000",
            "exceeds the available context size (8192 tokens), try increasing it",
            "prompt is too long: 210000 tokens > 200000 maximum",
            "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens.",
            "Your input exceeds the context window of this model. Please adjust your input and try again.",
            "Requested token count exceeds the model's maximum context length of 32768 tokens.",
            "the request's prompt length (33000) is over the limit",
            "Request too large for model: tokens limit 6000, requested 9000, please reduce your message size; context too long",
            "context window is full: the conversation is too long",
        ] {
            assert!(does_not_fit(text), "{text}");
        }
        for text in [
            "max_tokens: 16000 > 8192, which is the maximum allowed number of output tokens",
            "Invalid 'messages[2].tool_calls[0].id': string too long. Expected a string with maximum length 40",
            "Tool call id was x but must be a-z, A-Z, 0-9, with a length of 9.",
            "Rate limit reached: 30000 tokens per minute, too many",
            "stream_options: Extra inputs are not permitted",
            "Invalid 'tools': array too long. Expected an array with maximum length 128",
            "model `m` does not exist",
            "messages.1.content.0: Invalid `signature` in `thinking` block",
        ] {
            assert!(!does_not_fit(text), "{text}");
        }
    }

    #[test]
    fn a_wait_is_found_in_the_words_of_a_refusal() {
        for (text, millis) in [
            ("Rate limit reached. Please try again in 4.25s. Visit", Some(4_250)),
            ("Please try again in 20ms.", Some(20)),
            ("Please try again in 6m0s.", Some(360_000)),
            (r#"{"@type":"RetryInfo","retryDelay": "4s"}"#, Some(4_000)),
            (r#"{"retryDelay":"1.5s"}"#, Some(1_500)),
            ("You exceeded your current quota. Please retry in 4.0s.", Some(4_000)),
            ("retry after 2 minutes", Some(120_000)),
            ("try again in 7 seconds", Some(7_000)),
            ("Please try again later", None),
            ("try again in a while", None),
        ] {
            let wait = named_wait(text).map(|wait| wait.as_millis());
            assert_eq!(wait, millis, "{text}");
        }
        assert_eq!(numbers("1,000 of 8192 (17 000), a, b,2"), [1_000, 8_192, 17, 0, 2]);
    }
}
