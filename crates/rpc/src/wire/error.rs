//! Error codes and the data beside them (contract, section 6).

use schemars::JsonSchema;
use serde::Serialize;

/// The codes of the contract, beyond JSON-RPC's and LSP's own.
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
    /// A parameter cannot be used; `field` names it.
    InvalidParams,
    /// The server has as many waiting requests as it takes; the same request may succeed later.
    ServerOverloaded,
}

impl Code {
    /// Every code.
    pub(crate) const ALL: [Self; 10] = [
        Self::UnknownTask,
        Self::SpawnFailed,
        Self::LimitReached,
        Self::NotRunning,
        Self::StoreUnavailable,
        Self::NoModel,
        Self::PermissionDenied,
        Self::ModelFailed,
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
