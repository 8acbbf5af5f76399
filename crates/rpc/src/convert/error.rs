//! Converts errors to those of the wire (docs/protocol.md, "Errors").

use std::fmt::Display;

use meanwhile_core::Limit;
use meanwhile_core::agent::{NoModel, session};

use super::hint;
use crate::wire::{Code, Error, ErrorData};

/// Converts an error of the background manager.
pub(crate) fn from_core(error: &meanwhile_core::Error) -> Error {
    use meanwhile_core::Error as Core;
    let message = advised(error, hint::core(error));
    let data = match error {
        Core::Invalid { field, .. } => {
            ErrorData { field: Some(field.clone()), ..ErrorData::of(Code::InvalidParams) }
        }
        Core::UnknownTask(_) => ErrorData::of(Code::UnknownTask),
        Core::SpawnFailed { errno, .. } => {
            ErrorData { errno: Some(*errno), ..ErrorData::of(Code::SpawnFailed) }
        }
        Core::LimitReached { limit, .. } => ErrorData {
            limit: Some(limit_name(*limit).to_owned()),
            retryable: Some(true),
            ..ErrorData::of(Code::LimitReached)
        },
        Core::CannotConfine(_) => ErrorData::of(Code::CannotConfine),
        Core::NotRunning { .. } => ErrorData::of(Code::NotRunning),
        Core::StoreUnavailable(_) => {
            ErrorData { retryable: Some(true), ..ErrorData::of(Code::StoreUnavailable) }
        }
    };
    build(message, &data)
}

/// The name of a limit in `data.limit`.
fn limit_name(limit: Limit) -> &'static str {
    match limit {
        Limit::OpenFiles => "openFiles",
        Limit::Processes | Limit::Threads => "processes",
        Limit::RunningTasks => "runningTasks",
        Limit::StoreQuota => "storeQuota",
    }
}

/// An error's text, followed by advice if there is any.
fn advised(error: &impl Display, hint: Option<&str>) -> String {
    match hint {
        Some(hint) => format!("{error}; {hint}"),
        None => error.to_string(),
    }
}

/// Converts an error of an agent session.
pub(crate) fn from_session(error: &session::Error) -> Error {
    let message = || advised(error, hint::session(error));
    match error {
        session::Error::Unknown(_) | session::Error::Closed(_) => invalid("sessionId", message()),
        session::Error::EmptyPrompt => invalid("prompt", message()),
        session::Error::Busy { .. } => {
            let data = ErrorData {
                limit: Some("sessionHolders".to_owned()),
                retryable: Some(true),
                ..ErrorData::of(Code::LimitReached)
            };
            build(message(), &data)
        }
        session::Error::Core(error) => from_core(error),
    }
}

/// Converts the error that no model can be used. The text says what to set.
pub(crate) fn no_model(error: &NoModel) -> Error {
    let advised = match (error, hint::model(error)) {
        (NoModel::NotChosen(_), Some(hint)) => format!("{error}; {hint}"),
        (_, Some(hint)) => format!("no model: {error}: {hint}"),
        (_, None) => format!("no model: {error}"),
    };
    let message = format!("{advised}; {}", hint::WITHOUT_MODEL);
    build(message, &ErrorData::of(Code::NoModel))
}

/// The error of a turn that ended because the model did not answer.
pub(crate) fn model_failed(why: String) -> Error {
    build(why, &ErrorData::of(Code::ModelFailed))
}

/// The maximum number of characters of a field's name in an error. Clients choose these names, so they can be anything.
const FIELD_CHARS: usize = 200;
/// The maximum number of characters of a message in an error, because it may repeat a client's value.
const MESSAGE_CHARS: usize = 600;

/// Keeps both ends of a text that is too long: the start says what was wrong, the end what was expected.
fn shorten(text: &str, most: usize) -> String {
    let count = text.chars().count();
    if count <= most {
        return text.to_owned();
    }
    let head: String = text.chars().take(most / 2).collect();
    let tail: String = text.chars().skip(count - most / 2).collect();
    format!("{head} … {tail}")
}

/// The error for an invalid parameter: which one, what was wrong, and what was expected.
pub(crate) fn invalid(field: impl Into<String>, message: impl Display) -> Error {
    let field = shorten(&field.into(), FIELD_CHARS);
    let message = format!("`{field}`: {}", shorten(&message.to_string(), MESSAGE_CHARS));
    build(message, &ErrorData { field: Some(field), ..ErrorData::of(Code::InvalidParams) })
}

/// The error for a request beyond the limit of waiting requests.
pub(crate) fn overloaded(limit: usize) -> Error {
    let message = format!(
        "server overloaded: {limit} requests are waiting already; send it again once some are answered"
    );
    let data = ErrorData {
        limit: Some("waitingRequests".to_owned()),
        retryable: Some(true),
        ..ErrorData::of(Code::ServerOverloaded)
    };
    build(message, &data)
}

/// The error for a request before the handshake.
pub(crate) fn not_initialized() -> Error {
    let message = "the server is not initialized; send `initialize` first";
    Error::new(Error::NOT_INITIALIZED, message)
}

/// The error for a request whose id a running request already has.
pub(crate) fn duplicate_id() -> Error {
    let message = "`id` is the id of a request that is still running; expected a unique one";
    Error::new(Error::INVALID_REQUEST, message)
}

/// The error for a method that does not exist.
pub(crate) fn unknown_method(method: &str) -> Error {
    let shown: String = method.chars().take(64).collect();
    let message = format!("unknown method `{shown}`; the result of `initialize` lists them");
    Error::new(Error::METHOD_NOT_FOUND, message)
}

/// The error for a request that the client cancelled.
pub(crate) fn cancelled() -> Error {
    Error::new(Error::CANCELLED, "cancelled by the client")
}

/// The error for a reply that exceeds the limit of a message.
pub(crate) fn reply_too_long(bytes: usize, limit: usize) -> Error {
    let message = format!(
        "limit reached: the reply would have {bytes} bytes; expected at most {limit}; ask for less with \
         `limit`, `max` or `tailBytes`"
    );
    let data =
        ErrorData { limit: Some("messageBytes".to_owned()), ..ErrorData::of(Code::LimitReached) };
    build(message, &data)
}

/// The error for a handler that panicked, or whose result cannot be serialized.
pub(crate) fn internal() -> Error {
    let message = "internal error: this request failed, others are not affected; the log on standard error \
                   says more";
    Error::new(Error::INTERNAL, message)
}

fn build(message: String, data: &ErrorData) -> Error {
    let code = data.kind.number();
    Error { code, message: message.into(), data: serde_json::to_value(data).ok() }
}
