//! What is said at the handshake beyond LSP (docs/protocol.md, "Lifecycle").

use std::collections::BTreeMap;
use std::fmt;

use meanwhile_core::agent::vendor::{self, MODEL};
use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::{ConfineMode, INTEGER_MAX};

/// `initializationOptions`. Unknown members are left alone: editors put their own settings here.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InitializationOptions {
    /// The queue of every request that names none; default `default`.
    #[serde(default)]
    pub(crate) queue: Option<String>,
    /// How long a task outlives the last daemon of its workspace; null: for ever. Default an hour.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Option<u64>", range(max = INTEGER_MAX))]
    pub(crate) linger_ms: Option<Option<u64>>,
    /// The states beyond those of version 0.1.0 that the client knows: `queued`. Others are not shown.
    #[serde(default)]
    pub(crate) states: Vec<NewState>,
    /// What the client wants to be told beyond what every client is: `began`, `timeline`.
    #[serde(default)]
    pub(crate) notify: Vec<NewKind>,
    /// How often the client says something, in milliseconds: after four times as long without a word the server
    /// takes it for gone and ends. Default: silence means nothing.
    #[serde(default)]
    #[schemars(range(min = 1_000, max = INTEGER_MAX))]
    pub(crate) heartbeat_ms: Option<u64>,
    /// The client's own name, letters, digits, `-` or `_`: a server that is left of an earlier connection of this
    /// client ends. Default none.
    #[serde(default)]
    pub(crate) client: Option<String>,
    /// Which model to ask, and with which keys: `MEANWHILE_MODEL` and the variables of vendors, before the
    /// environment and the settings file. Kept in memory for this connection, and shown nowhere.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    pub(crate) secrets: Secrets,
}

/// Variables about models, as a client gives them. No error and no debug text shows one.
#[derive(Clone, PartialEq, Eq, Default)]
pub(crate) struct Secrets(BTreeMap<String, String>);

impl Secrets {
    /// The value of a variable.
    pub(crate) fn get(&self, name: &str) -> Option<String> {
        self.0.get(name).cloned()
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({} hidden)", self.0.len())
    }
}

impl<'de> Deserialize<'de> for Secrets {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let is_known = |name: &str| name == MODEL || vendor::variables().any(|it| it.name == name);
        let Value::Object(members) = Value::deserialize(input)? else {
            return Err(D::Error::custom(
                "expected an object: names of variables and their values",
            ));
        };
        let mut secrets = BTreeMap::new();
        for (name, value) in members {
            let value = value.as_str().filter(|_| is_known(&name)).map(str::to_owned);
            // What stands in the wrong place may be a key all the same.
            let Some(value) = value else {
                let known: Vec<_> = vendor::variables().map(|it| it.name).collect();
                let text =
                    "expected an object whose members are variables of a model, with strings:";
                return Err(D::Error::custom(format!("{text} {MODEL}, {}", known.join(", "))));
            };
            secrets.insert(name, value);
        }
        Ok(Self(secrets))
    }
}

/// What a client that asks for it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum NewKind {
    /// The turn of a task that waited has come.
    Began,
    /// Pieces of the timelines of open sessions.
    Timeline,
    /// One of a version to come.
    #[serde(other)]
    Unknown,
}

/// A state of a task that came after the first release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum NewState {
    /// It waits for its turn.
    Queued,
    /// One of a version to come.
    #[serde(other)]
    Unknown,
}

/// Tells a member that is null (`Some(None)`) from one that is not there (`None`).
fn present<'de, D: Deserializer<'de>>(input: D) -> Result<Option<Option<u64>>, D::Error> {
    Option::<u64>::deserialize(input).map(Some)
}

/// `capabilities.experimental.meanwhile` of the result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Capability {
    /// The version of the protocol.
    pub(crate) protocol_version: u32,
    /// The methods the server answers.
    pub(crate) methods: Vec<&'static str>,
    /// The pushes the server sends.
    pub(crate) notifications: Vec<&'static str>,
    /// What came after version 0.1.0: parameters as `method.parameter`, which a server that lacks one
    /// refuses, and members of objects as `Object.member`.
    pub(crate) features: Vec<&'static str>,
    /// How far `task/spawn` can confine a task on this machine. Empty: not at all.
    pub(crate) confine: Vec<ConfineMode>,
    /// Every limit a request can run into.
    pub(crate) limits: Limits,
    /// The environment variables that hold a key of a model. A task is given one only if its spawn
    /// names it, so a client that passes its own environment on leaves these out.
    pub(crate) secret_variables: Vec<&'static str>,
    /// What the store is called that this server works on; only for a client that gave its name (`client`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) store: Option<String>,
    /// Where the state is kept, only where that is not the usual directory because that one is not on
    /// a local disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) state_moved: Option<StateMoved>,
}

/// The state is kept elsewhere than usual.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StateMoved {
    /// The directory it is in.
    pub(crate) path: String,
    /// The usual one.
    pub(crate) from: String,
    /// The file system of the usual one, as `nfs`.
    pub(crate) file_system: String,
}

/// The limits, in bytes, milliseconds or items.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Limits {
    /// Bytes of one message in either direction.
    pub(crate) message_bytes: u64,
    /// Requests that wait, at once.
    pub(crate) waiting_requests: u64,
    /// Tasks running at once in one workspace.
    pub(crate) running_tasks: u64,
    /// Bytes of a command, and of one argument of an argv.
    pub(crate) command_bytes: u64,
    /// Bytes of all arguments and of the environment given.
    pub(crate) arguments_bytes: u64,
    /// Bytes of a label, a queue's name, a client token or a watch's id.
    pub(crate) name_bytes: u64,
    /// Watches of one task.
    pub(crate) watches: u64,
    /// Bytes of a watch's pattern.
    pub(crate) pattern_bytes: u64,
    /// Most notifications one watch makes.
    pub(crate) watch_limit: u64,
    /// Bytes of both ends of an output in a notification.
    pub(crate) preview_bytes: u64,
    /// Bytes of a matched line.
    pub(crate) match_line_bytes: u64,
    /// Most bytes of output in one reply.
    pub(crate) read_bytes: u64,
    /// Most bytes of one `task/output`.
    pub(crate) push_bytes: u64,
    /// Shortest time between two `task/output` of a task.
    pub(crate) push_interval_ms: u64,
    /// Shortest time between two progress reports of a task.
    pub(crate) progress_interval_ms: u64,
    /// Most tasks one `task/check` lists.
    pub(crate) list: u64,
    /// Most notifications one `task/drain` returns.
    pub(crate) drain: u64,
    /// Most ids in one request.
    pub(crate) ids: u64,
    /// Bytes of one `task/write`.
    pub(crate) write_bytes: u64,
    /// Longest grace of a stop.
    pub(crate) stop_grace_ms: u64,
    /// Longest deadline, linger time or wait.
    pub(crate) time_ms: u64,
    /// Tasks that one task follows.
    pub(crate) after: u64,
    /// Most rows or columns of a terminal.
    pub(crate) pty_side: u64,
}
