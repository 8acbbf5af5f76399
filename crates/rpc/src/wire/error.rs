//! Error codes and the data beside them (docs/protocol.md, "Errors").

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

/// A JSON-RPC 2.0 error object (section 5.1).
#[derive(Debug, Clone, PartialEq, Serialize, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Error {
    /// The code: one of JSON-RPC, of LSP, or of [`Code`].
    pub(crate) code: i64,
    /// What was wrong, what was expected, what to do.
    pub(crate) message: Cow<'static, str>,
    /// An [`ErrorData`], for the codes that have one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) data: Option<Value>,
}

impl Error {
    /// JSON that is not a request, or a request that is not allowed now.
    pub(crate) const INVALID_REQUEST: i64 = -32600;
    /// The method does not exist.
    pub(crate) const METHOD_NOT_FOUND: i64 = -32601;
    /// The server failed internally.
    pub(crate) const INTERNAL: i64 = -32603;
    /// A request before the handshake (LSP 3.17, `ServerNotInitialized`).
    pub(crate) const NOT_INITIALIZED: i64 = -32002;
    /// The client cancelled the request (LSP 3.17, `RequestCancelled`).
    pub(crate) const CANCELLED: i64 = -32800;

    pub(crate) fn new(code: i64, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), data: None }
    }
}

/// The error codes that the protocol adds to those of JSON-RPC and LSP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Code {
    /// The workspace has no task of this id.
    UnknownTask,
    /// The command cannot be started; `errno` says why.
    SpawnFailed,
    /// A limit of the machine or the store was reached; `limit` names it.
    LimitReached,
    /// The task has ended.
    NotRunning,
    /// The state directory cannot be used.
    StoreUnavailable,
    /// No model is configured.
    NoModel,
    /// A permission was denied.
    PermissionDenied,
    /// The model did not answer; the prompt stays in the session.
    ModelFailed,
    /// The task cannot be confined as requested, and was not run.
    CannotConfine,
    /// A parameter is invalid; `field` names it.
    InvalidParams,
    /// The server has reached its limit of waiting requests; the same request may succeed later.
    ServerOverloaded,
}

impl Code {
    pub(crate) const ALL: [Self; 11] = [
        Self::UnknownTask,
        Self::SpawnFailed,
        Self::LimitReached,
        Self::NotRunning,
        Self::StoreUnavailable,
        Self::NoModel,
        Self::PermissionDenied,
        Self::ModelFailed,
        Self::CannotConfine,
        Self::InvalidParams,
        Self::ServerOverloaded,
    ];

    /// The error code on the wire.
    pub(crate) fn number(self) -> i64 {
        match self {
            Self::UnknownTask => 1001,
            Self::SpawnFailed => 1002,
            Self::LimitReached => 1003,
            Self::NotRunning => 1004,
            Self::StoreUnavailable => 1005,
            Self::NoModel => 1006,
            Self::PermissionDenied => 1007,
            Self::ModelFailed => 1008,
            Self::CannotConfine => 1009,
            Self::InvalidParams => -32602,
            Self::ServerOverloaded => -32000,
        }
    }
}

/// The `data` of an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct ErrorData {
    /// The kind of error, as a word.
    pub(crate) kind: Code,
    /// The system's error number, errno(3); with `spawnFailed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) errno: Option<i32>,
    /// The name of the limit; with `limitReached` and `serverOverloaded`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) limit: Option<String>,
    /// The parameter, as a path (`watch[0].pattern`); with `invalidParams`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) field: Option<String>,
    /// Whether the same request may succeed later, unchanged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) retryable: Option<bool>,
}

impl ErrorData {
    pub(crate) fn of(kind: Code) -> Self {
        Self { kind, errno: None, limit: None, field: None, retryable: None }
    }
}
