//! Errors as the wire has them (contract, section 6).

use std::fmt::Display;

use meanwhile_core::Error;
use tower_lsp::jsonrpc::{self, ErrorCode};

use crate::wire::{Code, ErrorData};

/// An error of the background manager.
pub(crate) fn from_core(error: &Error) -> jsonrpc::Error {
    let message = error.to_string();
    let data = match error {
        Error::Invalid { field, .. } => {
            ErrorData { field: Some(field.clone()), ..ErrorData::of(Code::InvalidParams) }
        }
        Error::UnknownTask(_) => ErrorData::of(Code::UnknownTask),
        Error::SpawnFailed { errno, .. } => {
            ErrorData { errno: Some(*errno), ..ErrorData::of(Code::SpawnFailed) }
        }
        Error::LimitReached { limit, .. } => ErrorData {
            limit: Some((*limit).to_owned()),
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

/// A parameter that cannot be used: which, what was wrong, what was expected.
pub(crate) fn invalid(field: impl Into<String>, message: impl Display) -> jsonrpc::Error {
    let field = field.into();
    let message = format!("`{field}`: {message}");
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

fn build(message: String, data: &ErrorData) -> jsonrpc::Error {
    jsonrpc::Error {
        code: ErrorCode::from(data.kind.number()),
        message: message.into(),
        data: serde_json::to_value(data).ok(),
    }
}
