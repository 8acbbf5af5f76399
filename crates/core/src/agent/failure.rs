//! Why a model call failed, and what to do about it.
//!
//! A failure is created where the reason is known (a status, a broken stream, a script) and carries everything
//! that callers need: a kind for the loop (an overflow leads to compaction), a message for a person, a separate
//! hint, and whether a retry makes sense.

mod words;

use std::fmt;
use std::time::Duration;

use serde::Deserialize;

use super::vendor::MODEL;

pub(crate) use words::{does_not_fit, named_wait, numbers, span};

/// Why a model call failed. No tool was run because of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The kind, which decides how the loop reacts.
    pub kind: FailureKind,
    /// The error message for a person, without the hint and the number of attempts.
    pub message: String,
    /// What the person can do next, where that is known.
    pub hint: Option<String>,
    /// How many times the call was attempted.
    pub attempts: u32,
    /// Whether and when to retry the same request.
    pub again: Again,
    /// The full text of the server's error, if the server refused the request itself (400, 413, 422).
    pub(crate) refusal: Option<String>,
}

/// Kinds of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// The key is missing, wrong, or not allowed to do this.
    Unauthorized,
    /// The model or the route does not exist.
    NotFound,
    /// The history does not fit the model's context.
    ContextOverflow,
    /// Too many requests, or the account's credit or quota is used up.
    RateLimited,
    /// The server is overloaded.
    Overloaded,
    /// The server rejects this request.
    BadRequest,
    /// The server failed internally.
    Server,
    /// No connection to the server could be made.
    Unreachable,
    /// The connection was made, but the server sent nothing for too long.
    Stalled,
    /// The connection broke in the middle of the answer.
    Cut,
    /// The stream ended normally, but the answer is incomplete.
    Unfinished,
    /// The answer violates the protocol.
    Garbage,
    /// The script has no entry for this request, or expected another one.
    Script,
}

/// Whether and when to retry the same request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// Never retry: the result would be the same.
    Never,
    /// Retry after the usual backoff.
    Later,
    /// Retry after the delay that the server named.
    After(Duration),
    /// Retry at once: the provider has already switched to a plainer request form.
    Plainer,
}

impl Failure {
    pub(crate) fn new(kind: FailureKind, again: Again, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, attempts: 1, again, refusal: None }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if self.attempts > 1 {
            write!(f, " (tried {} times)", self.attempts)?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "; {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

/// The server, model and settings that failure messages name.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    /// The base URL, without a password.
    pub(crate) url: String,
    /// The requested model.
    pub(crate) model: String,
    /// The setting that holds the key.
    pub(crate) key_setting: &'static str,
    /// The setting that holds the base URL.
    pub(crate) url_setting: &'static str,
    /// Whether a key is sent.
    pub(crate) has_key: bool,
}

impl Peer {
    /// The server and the model, as stored with an answer and in the ledger.
    pub(crate) fn origin(&self) -> String {
        format!("{} {}", self.url, self.model)
    }

    /// The failure for an answer with a status other than 200.
    pub(crate) fn refused(&self, status: u16, again: Again, body: &str) -> Failure {
        let error = Reported::parse(body);
        let said = error.sentence();
        let Self { url, model, key_setting, url_setting, .. } = self;
        let of_kind = |kind| Failure::new(kind, again, format!("{url} answered {status}: {said}"));
        let is_refusal = matches!(status, 400 | 413 | 422);
        let refusal = is_refusal.then(|| error.whole());
        // llama.cpp and Ollama report an overflow with 500, which a retry would not change.
        let may_tell = is_refusal || status == 500;
        if (may_tell && error.is_overflow()) || status == 413 {
            return Failure { refusal, ..overflow(model, &said) };
        }
        let again = match again {
            // Used-up credit does not come back by waiting, unless the server names a time.
            Again::Later if status == 429 && error.is_spent() => Again::Never,
            Again::Never | Again::Later | Again::After(_) | Again::Plainer => again,
        };
        let of_kind = |kind| Failure { again, refusal: refusal.clone(), ..of_kind(kind) };
        match status {
            401 | 403 if !self.has_key => of_kind(FailureKind::Unauthorized)
                .hint(format!("no key was sent: set {key_setting}")),
            401 => of_kind(FailureKind::Unauthorized)
                .hint(format!("the key in {key_setting} is not valid there: check it")),
            403 => of_kind(FailureKind::Unauthorized)
                .hint(format!("the key in {key_setting} may not use `{model}`")),
            402 => of_kind(FailureKind::RateLimited)
                .hint(format!("the account behind {key_setting} has no credit left")),
            400 | 404 if said.contains("v1/responses") => of_kind(FailureKind::NotFound)
                .hint(format!("set {MODEL} to `openai-responses/{model}`")),
            404 | 405 => of_kind(FailureKind::NotFound).hint(format!(
                "is `{model}` the name of a model there ({MODEL}), and is {url_setting} right?"
            )),
            429 => of_kind(FailureKind::RateLimited).hint("wait, or use another key or model"),
            503 | 529 => of_kind(FailureKind::Overloaded).hint("try again in a while"),
            500..=599 => of_kind(FailureKind::Server).hint(format!(
                "the fault is the server's, or it does not know something in the request: see the log of {url}"
            )),
            _ => of_kind(FailureKind::BadRequest)
                .hint(format!("does `{model}` support tools and streaming at {url}?")),
        }
    }

    /// The failure for an error event in the stream of an answer, after a 200.
    pub(crate) fn broke_off(&self, body: &str) -> Failure {
        let error = Reported::parse(body);
        let said = error.sentence();
        if error.is_overflow() {
            return Failure { refusal: Some(error.whole()), ..overflow(&self.model, &said) };
        }
        let (kind, again) = match (error.kind.as_str(), error.code) {
            ("overloaded_error" | "unavailable_error", _) | (_, Some(503 | 529)) => {
                (FailureKind::Overloaded, Again::Later)
            }
            ("rate_limit_error" | "rate_limit_exceeded", _) | (_, Some(429)) => {
                (FailureKind::RateLimited, Again::Later)
            }
            ("insufficient_quota", _) => (FailureKind::RateLimited, Again::Never),
            (
                "invalid_request_error"
                | "invalid_prompt"
                | "authentication_error"
                | "permission_error"
                | "not_found_error"
                | "billing_error",
                _,
            )
            | (_, Some(400..=499)) => (FailureKind::BadRequest, Again::Never),
            _ => (FailureKind::Server, Again::Later),
        };
        let again = match (again, named_wait(body)) {
            (Again::Later, Some(wait)) => Again::After(wait),
            (again, _) => again,
        };
        let refusal = (kind == FailureKind::BadRequest).then(|| error.whole());
        let message = format!("{} broke off its answer: {said}", self.url);
        Failure { refusal, ..Failure::new(kind, again, message) }
    }

    /// The failure for an answer whose bytes violate the protocol.
    pub(crate) fn garbage(&self, what: &str, bytes: &str) -> Failure {
        let Self { url, url_setting, .. } = self;
        let shown = shorten(bytes, 120);
        Failure::new(FailureKind::Garbage, Again::Later, format!("{url} sent {what}: `{shown}`"))
            .hint(format!("does {url_setting} name a model server, or a proxy?"))
    }

    /// The failure for a connection that broke before the answer was complete.
    pub(crate) fn cut(&self, why: &str) -> Failure {
        let message = format!("the answer of {} was cut: {why}", self.url);
        Failure::new(FailureKind::Cut, Again::Later, message)
            .hint("check the connection, and the timeout of any proxy in between")
    }

    /// The failure for a stream that ended normally before the answer was complete.
    pub(crate) fn unfinished(&self, why: &str) -> Failure {
        Failure { kind: FailureKind::Unfinished, ..self.cut(why) }
    }

    /// The failure for a server that sent nothing for `limit`.
    pub(crate) fn silent(&self, since: &str, limit: Duration, again: Again) -> Failure {
        let message = format!("{} sent nothing for {:?} {since}: gave up waiting", self.url, limit);
        Failure::new(FailureKind::Stalled, again, message)
            .hint("is the server busy, or the connection dead?")
    }
}

fn overflow(model: &str, said: &str) -> Failure {
    Failure::new(
        FailureKind::ContextOverflow,
        Again::Never,
        format!("the conversation does not fit the context of `{model}`: {said}"),
    )
    .hint("compact it, or start a new session")
}

/// An error as the server sent it, in any of the known shapes.
struct Reported {
    kind: String,
    code: Option<u16>,
    message: String,
}

/// `{"error": {...}}` (Anthropic, OpenAI, llama.cpp), `{"error": "..."}` (Ollama), `{"detail": ...}` and
/// `{"message": ...}` (servers built with common frameworks).
#[derive(Deserialize)]
struct Envelope {
    error: Option<serde_json::Value>,
    detail: Option<serde_json::Value>,
    message: Option<serde_json::Value>,
}

impl Reported {
    fn parse(body: &str) -> Self {
        let text = |value: &serde_json::Value| {
            value.as_str().map_or_else(|| value.to_string(), str::to_owned)
        };
        let plain = |message: String| Self { kind: String::new(), code: None, message };
        // Gemini wraps its errors in a list.
        let one = |body: &str| serde_json::from_str::<[Envelope; 1]>(body).map(|[one]| one);
        let Ok(envelope) = serde_json::from_str::<Envelope>(body).or_else(|_| one(body)) else {
            return plain(body.to_owned());
        };
        let error = envelope.error.filter(|error| !error.is_null());
        match (error, envelope.detail, envelope.message) {
            (Some(serde_json::Value::Object(error)), ..) => {
                // The type is more precise than the code, which is a number, a word or null.
                let word = |key: &str| error.get(key).and_then(|v| v.as_str());
                let number = error.get("code").and_then(serde_json::Value::as_u64);
                Self {
                    kind: [word("code"), word("type")]
                        .into_iter()
                        .flatten()
                        .find(|word| *word == "context_length_exceeded")
                        .or(word("type"))
                        .or(word("code"))
                        .unwrap_or_default()
                        .to_owned(),
                    code: number.and_then(|code| u16::try_from(code).ok()),
                    message: error.get("message").map(text).unwrap_or_default(),
                }
            }
            (Some(other), ..) | (None, Some(other), _) | (None, None, Some(other)) => {
                plain(text(&other))
            }
            (None, None, None) => plain(body.to_owned()),
        }
    }

    fn sentence(&self) -> String {
        let message = shorten(&self.message, 400);
        match (message.is_empty(), self.kind.is_empty()) {
            (true, true) => "no reason given".to_owned(),
            (true, false) => self.kind.clone(),
            (false, true) => message,
            (false, false) => format!("{message} ({})", self.kind),
        }
    }

    /// Message and kind together, for keyword searches.
    fn whole(&self) -> String {
        format!("{} {}", self.message, self.kind)
    }

    /// Vendors report it in prose; only OpenAI and llama.cpp have an error type for it.
    fn is_overflow(&self) -> bool {
        matches!(
            self.kind.as_str(),
            "context_length_exceeded" | "exceed_context_size_error" | "request_too_large"
        ) || does_not_fit(&self.message)
    }

    /// Whether the account's credit or quota is used up, rather than a short-term rate limit.
    fn is_spent(&self) -> bool {
        const SPENT: [&str; 7] = [
            "insufficient_quota",
            "exceeded your current quota",
            "billing",
            "credit",
            "insufficient balance",
            "insufficient funds",
            "out of quota",
        ];
        let text = self.whole().to_lowercase();
        SPENT.iter().any(|word| text.contains(word))
    }
}

/// One line of at most `limit` characters.
pub(crate) fn shorten(text: &str, limit: usize) -> String {
    let mut line = String::new();
    for (count, c) in
        text.split_whitespace().flat_map(|w| [w, " "]).flat_map(str::chars).enumerate()
    {
        if count == limit {
            return format!("{}...", line.trim_end());
        }
        line.push(if c.is_control() { '?' } else { c });
    }
    line.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer() -> Peer {
        Peer {
            url: "http://127.0.0.1:8080".into(),
            model: "m".into(),
            key_setting: "KEY",
            url_setting: "URL",
            has_key: true,
        }
    }

    #[test]
    fn each_shape_of_error_is_read() {
        let check = |status, body: &str, kind, said: &str| {
            let failure = peer().refused(status, Again::Never, body);
            assert_eq!(failure.kind, kind, "{body}");
            assert!(failure.message.ends_with(said), "{failure}");
            assert!(failure.hint.is_some(), "{failure}");
        };
        let anthropic =
            r#"{"type":"error","error":{"type":"not_found_error","message":"model: m"}}"#;
        check(404, anthropic, FailureKind::NotFound, "model: m (not_found_error)");
        check(
            401,
            r#"{"error":{"message":"bad key","code":401}}"#,
            FailureKind::Unauthorized,
            "bad key",
        );
        check(
            404,
            r#"{"error":"model 'm' not found"}"#,
            FailureKind::NotFound,
            "model 'm' not found",
        );
        check(422, r#"{"detail":[{"loc":1}]}"#, FailureKind::BadRequest, r#"[{"loc":1}]"#);
        check(502, "<html>\n<b>Bad</b>", FailureKind::Server, "<html> <b>Bad</b>");
        check(500, "", FailureKind::Server, "no reason given");
        check(529, "{}", FailureKind::Overloaded, "{}");
        let only = r#"{"error":{"message":"This model is only supported in v1/responses."}}"#;
        check(404, only, FailureKind::NotFound, "v1/responses.");
        let hint = peer().refused(404, Again::Never, only).hint.unwrap();
        assert_eq!(hint, "set MEANWHILE_MODEL to `openai-responses/m`");
    }

    #[test]
    fn an_overflow_is_known_by_any_of_its_names() {
        for body in [
            r#"{"error":{"type":"invalid_request_error","message":"prompt is too long: 210 > 200"}}"#,
            r#"{"error":{"code":"context_length_exceeded","type":"invalid_request_error","message":"x"}}"#,
            r#"{"error":{"code":400,"message":"request (9030 tokens) exceeds the available context size (8192 tokens)","type":"exceed_context_size_error"}}"#,
        ] {
            let failure = peer().refused(400, Again::Later, body);
            assert_eq!((failure.kind, failure.again), (FailureKind::ContextOverflow, Again::Never));
            assert_eq!(peer().broke_off(body).kind, FailureKind::ContextOverflow);
        }
        for (status, body) in [
            (500, r#"{"error":{"message":"context size has been exceeded"}}"#),
            (500, r#"{"error":"input length exceeds maximum context length"}"#),
            (
                422,
                r#"{"error":"Input validation error: `inputs` must have less than 4095 tokens. Given: 5000"}"#,
            ),
            (
                422,
                r#"{"error":"`inputs` tokens + `max_new_tokens` must be <= 4096. Given: 4000 `inputs` tokens"}"#,
            ),
            (400, r#"{"error":{"message":"Range of input length should be [1, 129024]"}}"#),
            (400, r#"[{"error":{"message":"Request contains text fields that are too large."}}]"#),
            (
                400,
                r#"{"error":{"message":"a sequence length of 17001, but the maximum supported sequence length is 16384!"}}"#,
            ),
        ] {
            let failure = peer().refused(status, Again::Later, body);
            assert_eq!(failure.kind, FailureKind::ContextOverflow, "{body}");
        }
        let other = r#"{"error":{"message":"internal error, try again"}}"#;
        assert_eq!(peer().refused(500, Again::Later, other).kind, FailureKind::Server);
    }

    #[test]
    fn an_error_after_a_200_is_retried_by_its_type() {
        let check = |body: &str, want| {
            let failure = peer().broke_off(body);
            assert_eq!((failure.kind, failure.again), want, "{body}");
        };
        check(r#"{"error":{"type":"overloaded_error"}}"#, (FailureKind::Overloaded, Again::Later));
        check(r#"{"error":{"type":"api_error"}}"#, (FailureKind::Server, Again::Later));
        check(r#"{"error":{"code":429,"message":"x"}}"#, (FailureKind::RateLimited, Again::Later));
        let bad = r#"{"error":{"type":"invalid_request_error"}}"#;
        check(bad, (FailureKind::BadRequest, Again::Never));
    }

    #[test]
    fn a_long_reason_is_one_short_line() {
        assert_eq!(shorten("a\n\n b\u{7}c", 10), "a b?c");
        assert_eq!(shorten(&"é".repeat(50), 3), "ééé...");
    }
}
