//! The methods of the contract and how the serve loop conducts each.

use serde_json::Value;

/// How a request is conducted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Conduct {
    /// May wait for something outside: counted, and refused above the limit. The others answer by
    /// themselves and are never refused.
    pub(crate) waits: bool,
    /// May be cancelled. A change is carried out whole instead, and answered with what it did.
    pub(crate) cancellable: bool,
    /// Its reply may be large: few are made at once, and only while the client reads.
    pub(crate) large: bool,
}

/// Answers by itself, and changes something.
const CHANGES: Conduct = Conduct { waits: false, cancellable: false, large: false };
/// Answers by itself, and changes nothing.
const SHOWS: Conduct = Conduct { waits: false, cancellable: true, large: true };
/// Waits for something outside.
const WAITS: Conduct = Conduct { waits: true, cancellable: true, large: false };
/// Waits for something outside, such as the shim's word on `execve`; then it has happened.
const LONG_CHANGES: Conduct = Conduct { waits: true, cancellable: false, large: false };

/// Our own methods, in the order of the contract.
pub(crate) const METHODS: [&str; 18] = [
    "task/spawn",
    "task/check",
    "task/drain",
    "task/ack",
    "task/wait",
    "task/read",
    "task/stop",
    "task/write",
    "task/subscribe",
    "task/unsubscribe",
    "task/remove",
    "session/new",
    "session/load",
    "session/list",
    "session/prompt",
    "session/cancel",
    "session/close",
    "session/trace",
];

/// What we ask the client.
pub(crate) const PERMISSION: &str = "session/request_permission";

/// The commands of `workspace/executeCommand`.
pub(crate) const COMMANDS: [&str; 4] =
    ["meanwhile.spawn", "meanwhile.check", "meanwhile.drain", "meanwhile.stop"];

/// How to conduct a request. LSP's own requests that we do not know answer at once.
pub(crate) fn conduct(method: &str, params: Option<&Value>) -> Conduct {
    match method {
        "task/spawn" => spawn(params),
        "task/check" | "task/read" => SHOWS,
        "task/drain" => Conduct { large: true, ..CHANGES },
        "task/wait" | "task/stop" | "task/write" => WAITS,
        // A model server may be looked for, another process's session asked after.
        "session/new" | "session/load" => LONG_CHANGES,
        "session/list" | "session/trace" => SHOWS,
        // Cancelling it ends the waiting; the turn is ended by `session/cancel`.
        "session/prompt" => WAITS,
        // A command in the foreground is stopped first.
        "session/close" => LONG_CHANGES,
        "workspace/executeCommand" => {
            let member = |name| params.and_then(|params| params.get(name));
            match member("command").and_then(Value::as_str) {
                Some("meanwhile.spawn") => {
                    spawn(member("arguments").and_then(|arguments| arguments.get(0)))
                }
                Some("meanwhile.check") => SHOWS,
                Some("meanwhile.drain") => Conduct { large: true, ..CHANGES },
                Some("meanwhile.stop") => WAITS,
                Some(_) | None => CHANGES,
            }
        }
        _ => CHANGES,
    }
}

/// A line for the shell is answered once it is recorded; an argv once it is known to execute.
fn spawn(params: Option<&Value>) -> Conduct {
    match params.and_then(|params| params.get("command")) {
        Some(Value::Array(_)) => LONG_CHANGES,
        Some(_) | None => CHANGES,
    }
}

/// Whether parameters that were left out mean an empty object.
pub(crate) fn is_ours(method: &str) -> bool {
    METHODS.contains(&method)
}

/// Whether a request is served: one of ours, or one of LSP's that we need.
pub(crate) fn is_known(method: &str) -> bool {
    is_ours(method) || matches!(method, "initialize" | "shutdown" | "workspace/executeCommand")
}
