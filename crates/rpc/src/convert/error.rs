//! Errors as the wire has them (contract, section 6).

use std::fmt::Display;

use meanwhile_core::agent::{NoModel, session};
use meanwhile_core::{Error, Limit};
use tower_lsp::jsonrpc::{self, ErrorCode};

use super::hint;
use crate::wire::{Code, ErrorData};

/// An error of the background manager.
pub(crate) fn from_core(error: &Error) -> jsonrpc::Error {
    let message = advised(error, hint::core(error));
    let data = match error {
        Error::Invalid { field, .. } => {
            ErrorData { field: Some(field.clone()), ..ErrorData::of(Code::InvalidParams) }
        }
        Error::UnknownTask(_) => ErrorData::of(Code::UnknownTask),
        Error::SpawnFailed { errno, .. } => {
            ErrorData { errno: Some(*errno), ..ErrorData::of(Code::SpawnFailed) }
        }
        Error::LimitReached { limit, .. } => ErrorData {
            limit: Some(limit_name(*limit).to_owned()),
            retryable: Some(true),
            ..ErrorData::of(Code::LimitReached)
        },
        Error::NotRunning { .. } => ErrorData::of(Code::NotRunning),
        Error::StoreUnavailable(_) => {
            ErrorData { retryable: Some(true), ..ErrorData::of(Code::StoreUnavailable) }
        }
    };
    build(message, &data)
}

/// A limit as `data.limit` names it.
fn limit_name(limit: Limit) -> &'static str {
    match limit {
        Limit::OpenFiles => "openFiles",
        Limit::Processes | Limit::Threads => "processes",
        Limit::RunningTasks => "runningTasks",
        Limit::StoreQuota => "storeQuota",
    }
}

/// What was wrong, and what to do about it where that is known.
fn advised(error: &impl Display, hint: Option<&str>) -> String {
    match hint {
        Some(hint) => format!("{error}; {hint}"),
        None => error.to_string(),
    }
}

/// An error of an agent session.
pub(crate) fn from_session(error: &session::Error) -> jsonrpc::Error {
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

/// There is no model to talk to. The text says what to set.
pub(crate) fn no_model(error: &NoModel) -> jsonrpc::Error {
    let advised = match (error, hint::model(error)) {
        (NoModel::NotChosen(_), Some(hint)) => format!("{error}; {hint}"),
        (_, Some(hint)) => format!("no model: {error}: {hint}"),
        (_, None) => format!("no model: {error}"),
    };
    let message = format!("{advised}; {}", hint::WITHOUT_MODEL);
    build(message, &ErrorData::of(Code::NoModel))
}

/// A turn that could not go on because the model could not be asked.
pub(crate) fn model_failed(why: String) -> jsonrpc::Error {
    build(why, &ErrorData::of(Code::ModelFailed))
}

/// Characters of a field's name in an error. Names are the caller's and may be anything.
const FIELD_CHARS: usize = 200;
/// Characters of a message in an error, likewise where it repeats a value.
const MESSAGE_CHARS: usize = 600;

/// Both ends of a text that is too long: what was wrong is at the one, what was expected at the other.
fn shorten(text: &str, most: usize) -> String {
    let count = text.chars().count();
    if count <= most {
        return text.to_owned();
    }
    let head: String = text.chars().take(most / 2).collect();
    let tail: String = text.chars().skip(count - most / 2).collect();
    format!("{head} … {tail}")
}

/// A parameter that cannot be used: which, what was wrong, what was expected.
pub(crate) fn invalid(field: impl Into<String>, message: impl Display) -> jsonrpc::Error {
    let field = shorten(&field.into(), FIELD_CHARS);
    let message = format!("`{field}`: {}", shorten(&message.to_string(), MESSAGE_CHARS));
    build(message, &ErrorData { field: Some(field), ..ErrorData::of(Code::InvalidParams) })
}

/// The server has as many waiting requests as it takes.
pub(crate) fn overloaded(limit: usize) -> jsonrpc::Error {
    let message = format!(
        "server overloaded: {limit} requests wait already; send it again once some are answered"
    );
    let data = ErrorData {
        limit: Some("waitingRequests".to_owned()),
        retryable: Some(true),
        ..ErrorData::of(Code::ServerOverloaded)
    };
    build(message, &data)
}

/// A request came before the handshake.
pub(crate) fn not_initialized() -> jsonrpc::Error {
    jsonrpc::Error {
        code: ErrorCode::ServerError(-32002),
        message: "the server is not initialized; send `initialize` first".into(),
        data: None,
    }
}

/// A reply is larger than a message may be.
pub(crate) fn reply_too_long(bytes: usize, limit: usize) -> jsonrpc::Error {
    let message = format!(
        "limit reached: the reply would have {bytes} bytes, at most {limit} go; ask for less with \
         `limit`, `max` or `tailBytes`"
    );
    let data =
        ErrorData { limit: Some("messageBytes".to_owned()), ..ErrorData::of(Code::LimitReached) };
    build(message, &data)
}

/// A handler panicked.
pub(crate) fn panicked() -> jsonrpc::Error {
    jsonrpc::Error {
        code: ErrorCode::InternalError,
        message: "internal error: this request failed, others go on; the log on standard error \
                  says more"
            .into(),
        data: None,
    }
}

fn build(message: String, data: &ErrorData) -> jsonrpc::Error {
    jsonrpc::Error {
        code: ErrorCode::from(data.kind.number()),
        message: message.into(),
        data: serde_json::to_value(data).ok(),
    }
}
