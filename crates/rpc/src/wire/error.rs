//! Error codes and the data beside them (docs/protocol.md, "Errors").

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

/// What went wrong with a request, as JSON-RPC 2.0 has it (section 5.1).
#[derive(Debug, Clone, PartialEq, Serialize, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Error {
    /// JSON-RPC's, LSP's, or one of [`Code`].
    pub(crate) code: i64,
    /// What was wrong, what was expected, what to do.
    pub(crate) message: Cow<'static, str>,
    /// An [`ErrorData`], where the protocol has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) data: Option<Value>,
}

impl Error {
    /// JSON that is not a request, or a request that may not come now.
    pub(crate) const INVALID_REQUEST: i64 = -32600;
    /// A method that is not there.
    pub(crate) const METHOD_NOT_FOUND: i64 = -32601;
    /// A fault of the server.
    pub(crate) const INTERNAL: i64 = -32603;
    /// Before the handshake (LSP 3.17, `ServerNotInitialized`).
    pub(crate) const NOT_INITIALIZED: i64 = -32002;
    /// Cancelled by the client (LSP 3.17, `RequestCancelled`).
    pub(crate) const CANCELLED: i64 = -32800;

    /// Without data.
    pub(crate) fn new(code: i64, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), data: None }
    }
}

/// The codes of the protocol, beyond JSON-RPC's and LSP's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Code {
    /// No task of this name in the workspace.
    UnknownTask,
    /// The command cannot be started; `errno` says why.
    SpawnFailed,
    /// A limit of the machine or the store; `limit` names it.
    LimitReached,
    /// The task does not run any more.
    NotRunning,
    /// The state directory cannot be used.
    StoreUnavailable,
    /// No model is configured.
    NoModel,
    /// A permission was denied.
    PermissionDenied,
    /// The model could not be asked; the prompt stays in the session.
    ModelFailed,
    /// The task cannot be confined as was asked for, and was not run.
    CannotConfine,
    /// A parameter cannot be used; `field` names it.
    InvalidParams,
    /// The server has as many waiting requests as it takes; the same request may succeed later.
    ServerOverloaded,
}

impl Code {
    /// Every code.
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

    /// The number on the wire.
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
    /// The code, as a word.
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
    /// Nothing but the kind.
    pub(crate) fn of(kind: Code) -> Self {
        Self { kind, errno: None, limit: None, field: None, retryable: None }
    }
}
