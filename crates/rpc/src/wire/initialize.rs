//! What the handshake adds to LSP (docs/protocol.md, "Lifecycle").

use std::collections::BTreeMap;
use std::fmt;

use meanwhile_core::agent::vendor::{self, MODEL};
use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::{ConfineMode, INTEGER_MAX};

/// `initializationOptions`. Unknown members are ignored, because editors put their own settings here.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InitializationOptions {
    /// The queue for every request that does not name one; default `default`.
    #[serde(default)]
    pub(crate) queue: Option<String>,
    /// How many milliseconds a task outlives the last daemon of its workspace; null: without limit. Default an hour.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Option<u64>", range(max = INTEGER_MAX))]
    pub(crate) linger_ms: Option<Option<u64>>,
    /// The states newer than version 0.1.0 that the client knows: `queued`. The server sends no others.
    #[serde(default)]
    pub(crate) states: Vec<NewState>,
    /// The optional pushes that the client wants: `began`, `timeline`, `state`.
    #[serde(default)]
    pub(crate) notify: Vec<NewKind>,
    /// How often the client sends something, in milliseconds: after four times as long without a message the server
    /// assumes that the client is gone, and exits. Default: no such check.
    #[serde(default)]
    #[schemars(range(min = 1_000, max = INTEGER_MAX))]
    pub(crate) heartbeat_ms: Option<u64>,
    /// A name that identifies the client, of letters, digits, `-` or `_`: a server that remains from an earlier
    /// connection of this client exits. Default none.
    #[serde(default)]
    pub(crate) client: Option<String>,
    /// Which model to use, and the keys for it: `MEANWHILE_MODEL` and the variables of vendors; they take precedence
    /// over the environment and the settings file. Kept in memory for this connection, and never shown.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    pub(crate) secrets: Secrets,
}

/// Variables about models from a client. No error and no debug text shows a value.
#[derive(Clone, PartialEq, Eq, Default)]
pub(crate) struct Secrets(BTreeMap<String, String>);

impl Secrets {
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
            // An unknown variable, or a value that is not a string, may still be a key: do not show it.
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

/// The pushes that a client has to ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum NewKind {
    /// `task/began`: a task that waited has started.
    Began,
    /// `session/timeline`: changed pieces of the timelines of open sessions.
    Timeline,
    /// `task/state`: a task no longer waits for input, the contact with its place was lost or restored, or what is known
    /// of it there has changed.
    State,
    /// A push of a later version.
    #[serde(other)]
    Unknown,
}

/// A state of a task that was added after version 0.1.0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum NewState {
    /// It waits for its turn.
    Queued,
    /// A state of a later version.
    #[serde(other)]
    Unknown,
}

/// Distinguishes a null member (`Some(None)`) from a missing one (`None`).
fn present<'de, D: Deserializer<'de>>(input: D) -> Result<Option<Option<u64>>, D::Error> {
    Option::<u64>::deserialize(input).map(Some)
}

/// `capabilities.experimental.meanwhile` in the result of `initialize`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Capability {
    /// The version of the protocol.
    pub(crate) protocol_version: u32,
    /// The methods the server supports.
    pub(crate) methods: Vec<&'static str>,
    /// The notifications that the server may send.
    pub(crate) notifications: Vec<&'static str>,
    /// What was added after version 0.1.0: parameters as `method.parameter`, which a server without this feature
    /// refuses, and members of objects as `Object.member`.
    pub(crate) features: Vec<&'static str>,
    /// The modes in which `task/spawn` can confine a task on this machine. Empty if it cannot.
    pub(crate) confine: Vec<ConfineMode>,
    /// Every limit that applies to requests.
    pub(crate) limits: Limits,
    /// The environment variables that hold keys of models. A task gets one only if its spawn names it, so a client
    /// that passes its own environment leaves these out.
    pub(crate) secret_variables: Vec<&'static str>,
    /// The name of the store that this server uses; only for a client that sent its name (`client`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) store: Option<String>,
    /// Where the state is kept; only if the usual directory is not used because it is not on a local disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) state_moved: Option<StateMoved>,
}

/// Where the state is kept, if not in the usual directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StateMoved {
    /// The directory that holds the state.
    pub(crate) path: String,
    /// The usual directory.
    pub(crate) from: String,
    /// The file system type of the usual directory, such as `nfs`.
    pub(crate) file_system: String,
}

/// The limits, in bytes, milliseconds or items.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Limits {
    /// The maximum number of bytes of one message, in either direction.
    pub(crate) message_bytes: u64,
    /// The maximum number of requests that wait at the same time.
    pub(crate) waiting_requests: u64,
    /// The maximum number of tasks that run at the same time in one workspace.
    pub(crate) running_tasks: u64,
    /// The maximum number of bytes of a command, and of one argument of an argv.
    pub(crate) command_bytes: u64,
    /// The maximum number of bytes of all arguments together, and of the given environment.
    pub(crate) arguments_bytes: u64,
    /// The maximum number of bytes of a label, a queue's name, a client token or a watch's id.
    pub(crate) name_bytes: u64,
    /// The maximum number of watches of one task.
    pub(crate) watches: u64,
    /// The maximum number of bytes of a watch's pattern.
    pub(crate) pattern_bytes: u64,
    /// The maximum number of notifications of one watch.
    pub(crate) watch_limit: u64,
    /// The maximum number of bytes of the two ends of an output in a notification.
    pub(crate) preview_bytes: u64,
    /// The maximum number of bytes of a matched line.
    pub(crate) match_line_bytes: u64,
    /// The maximum number of bytes of output in one reply.
    pub(crate) read_bytes: u64,
    /// The maximum number of bytes of one `task/output`.
    pub(crate) push_bytes: u64,
    /// Shortest time between two `task/output` of a task, in milliseconds.
    pub(crate) push_interval_ms: u64,
    /// Shortest time between two progress reports of a task, in milliseconds.
    pub(crate) progress_interval_ms: u64,
    /// The maximum number of tasks in one `task/check`.
    pub(crate) list: u64,
    /// The maximum number of notifications in one `task/drain`.
    pub(crate) drain: u64,
    /// The maximum number of ids in one request.
    pub(crate) ids: u64,
    /// The maximum number of bytes of one `task/write`.
    pub(crate) write_bytes: u64,
    /// Longest grace period of a stop, in milliseconds.
    pub(crate) stop_grace_ms: u64,
    /// Longest deadline, linger time or wait, in milliseconds.
    pub(crate) time_ms: u64,
    /// The maximum number of tasks that one task runs after.
    pub(crate) after: u64,
    /// The maximum number of rows or columns of a terminal.
    pub(crate) pty_side: u64,
}
