//! Shows commands as terminals, for clients that can display the output of an agent's own terminal.
//!
//! In ACP the client owns a terminal and runs its command. Here commands run as tasks, so the client is only sent
//! their output, in the members of `_meta` that Zed reads: `terminal_info` with the first update of a tool call, then
//! `terminal_output`, then `terminal_exit`. A client announces this with `_meta.terminal_output` in its capabilities.
//! Never name a terminal that the client has not been told about: it would drop the whole update.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use meanwhile_core::Background;
use meanwhile_core::agent::tools::Builtin;
use meanwhile_core::background::task::{Task, TaskId};
use meanwhile_core::background::{Mode, Which};
use meanwhile_core::limits;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use crate::convert::to_wire;
use crate::wire::{Encoding, OutputPush, acp};

/// The maximum number of bytes of final output to send at once. Earlier output was already sent, or is left out.
const LAST_BYTES: u64 = 256 << 10;
/// How long the reply to a prompt waits until the ends of its commands have been sent.
const SETTLE: Duration = Duration::from_secs(2);

/// The terminals of a connection.
#[derive(Debug)]
pub(super) struct Terminals {
    state: Mutex<State>,
    wanted: mpsc::UnboundedSender<Wanted>,
    /// Changes when a terminal ends or is removed.
    ended: watch::Sender<()>,
}

/// A task whose output should be shown.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) session: String,
    pub(super) task: TaskId,
}

#[derive(Debug, Default)]
struct State {
    /// Whether the client can show terminals.
    are_shown: bool,
    /// The working directory of each session.
    places: HashMap<String, PathBuf>,
    /// Sessions that are repeating earlier updates: their commands have ended.
    again: Vec<String>,
    /// The calls whose terminal the client knows, by session and call.
    calls: HashMap<(String, String), Call>,
    /// The session and call of each running task.
    tasks: HashMap<String, (String, String)>,
}

#[derive(Debug, Default)]
struct Call {
    task: Option<String>,
    /// The offset of the next byte to send.
    next: u64,
    in_background: bool,
    /// Whether the call has ended.
    is_answered: bool,
    /// Whether the end of its command has been sent.
    has_ended: bool,
}

/// The id of a call's terminal.
fn name(session: &str, call: &str) -> String {
    format!("{session}/{call}")
}

/// An update about the terminal of a call.
fn about(session: &str, call: &str, member: &str, mut what: Value) -> acp::SessionNotification {
    what["terminal_id"] = name(session, call).into();
    let mut meta = acp::Meta::new();
    meta.insert(member.to_owned(), what);
    let update = acp::ToolCallUpdate::new(call.to_owned(), acp::ToolCallUpdateFields::new());
    let update = acp::SessionUpdate::ToolCallUpdate(update.meta(meta));
    acp::SessionNotification::new(session.to_owned(), update)
}

impl Terminals {
    /// Creates an empty set, and the receiver of tasks whose output should be shown.
    pub(super) fn new() -> (Self, mpsc::UnboundedReceiver<Wanted>) {
        let (wanted, incoming) = mpsc::unbounded_channel();
        (Self { state: Mutex::default(), wanted, ended: watch::Sender::new(()) }, incoming)
    }

    /// Reads the client's capabilities.
    pub(super) fn learn(&self, capabilities: &acp::ClientCapabilities) {
        let said = capabilities.meta.as_ref().and_then(|meta| meta.get("terminal_output"));
        self.lock().are_shown = said == Some(&Value::Bool(true));
    }

    /// Records a session's working directory; with `again`, it repeats earlier updates until [`Terminals::is_live`].
    pub(super) fn is_at(&self, session: &str, place: &Path, again: bool) {
        let mut state = self.lock();
        state.places.insert(session.to_owned(), place.to_owned());
        if again {
            state.again.push(session.to_owned());
        }
    }

    /// Records that a session's updates are live from now on.
    pub(super) fn is_live(&self, session: &str) {
        self.lock().again.retain(|it| it != session);
    }

    /// Removes a closed session.
    pub(super) fn forget(&self, session: &str) {
        let mut state = self.lock();
        state.places.remove(session);
        state.again.retain(|it| it != session);
        state.calls.retain(|(of, _), _| of != session);
        state.tasks.retain(|_, (of, _)| of != session);
        drop(state);
        self.ended.send_replace(());
    }

    /// Adds a terminal to a tool call that runs a command.
    pub(super) fn called(&self, session: &str, call: &mut acp::ToolCall) {
        let mut state = self.lock();
        let is_command =
            call.name.as_deref().and_then(Builtin::named).is_some_and(Builtin::runs_commands);
        if !state.are_shown || !is_command || state.again.iter().any(|it| it == session) {
            return;
        }
        let Some(place) = state.places.get(session) else { return };
        let named = call.raw_input.as_ref().and_then(|input| input["cwd"].as_str());
        let cwd = named.map_or_else(|| place.clone(), |named| place.join(named));
        let id = call.tool_call_id.0.to_string();
        let info = json!({"terminal_id": name(session, &id), "cwd": cwd});
        call.meta.get_or_insert_default().insert("terminal_info".to_owned(), info);
        state.calls.insert((session.to_owned(), id), Call::default());
    }

    /// Adjusts an update of a call: it names the announced terminal of its task, or none.
    pub(super) fn updated(&self, session: &str, update: &mut acp::ToolCallUpdate) {
        let id = update.tool_call_id.0.to_string();
        let is_over = matches!(
            update.fields.status,
            Some(acp::ToolCallStatus::Completed | acp::ToolCallStatus::Failed)
        );
        let goes_on = update
            .meta
            .as_ref()
            .and_then(|meta| meta.get("meanwhile"))
            .is_some_and(|ours| ours["background"] == true);
        let mut state = self.lock();
        let key = (session.to_owned(), id.clone());
        let task = update.fields.content.iter().flatten().find_map(|it| match it {
            acp::ToolCallContent::Terminal(terminal) => Some(terminal.terminal_id.0.to_string()),
            acp::ToolCallContent::Content(_) | acp::ToolCallContent::Diff(_) | _ => None,
        });
        let call = state.calls.get_mut(&key);
        let is_shown = call.as_ref().is_some_and(|call| task.is_some() || call.task.is_some());
        let mut begins = None;
        let mut is_whole = false;
        if let Some(call) = call {
            call.in_background |= goes_on;
            call.is_answered |= is_over;
            // The terminal shows the output of a foreground command.
            is_whole = is_over && is_shown && !call.in_background;
            if call.task.is_none() {
                call.task.clone_from(&task);
                begins = task.clone();
            }
        }
        if let Some(task) = begins {
            if let Ok(wanted) = task.parse() {
                let _ = self.wanted.send(Wanted { session: session.to_owned(), task: wanted });
            }
            state.tasks.insert(task, key.clone());
        }
        if is_over && state.calls.get(&key).is_some_and(|call| call.has_ended || !is_shown) {
            state.calls.remove(&key);
        }
        if let Some(content) = &mut update.fields.content {
            content.retain(|it| match it {
                acp::ToolCallContent::Terminal(_) => false,
                acp::ToolCallContent::Content(_) => !is_whole,
                acp::ToolCallContent::Diff(_) | _ => true,
            });
            if is_shown {
                let terminal = acp::Terminal::new(name(session, &id));
                content.insert(0, acp::ToolCallContent::Terminal(terminal));
            }
            if content.is_empty() {
                update.fields.content = None;
            }
        }
    }

    /// The message for a task's output.
    pub(super) fn output(&self, push: &OutputPush) -> Option<acp::SessionNotification> {
        let bytes = match push.encoding {
            Encoding::Utf8 => push.data.clone().into_bytes(),
            Encoding::Base64 => BASE64.decode(&push.data).ok()?,
        };
        self.piece(&push.id, push.offset, &bytes)
    }

    /// The part of a piece of output that the client has not been sent.
    fn piece(&self, task: &str, offset: u64, bytes: &[u8]) -> Option<acp::SessionNotification> {
        let mut state = self.lock();
        let (session, id) = state.tasks.get(task)?.clone();
        let call = state.calls.get_mut(&(session.clone(), id.clone()))?;
        let told = usize::try_from(call.next.saturating_sub(offset)).unwrap_or(usize::MAX);
        let bytes = bytes.get(told..).filter(|bytes| !bytes.is_empty())?;
        let left_out = offset.saturating_sub(call.next);
        call.next = offset.max(call.next) + bytes.len() as u64;
        let text = String::from_utf8_lossy(bytes);
        let data = match left_out {
            0 => text.into_owned(),
            bytes => format!("\n[{bytes} bytes are left out here]\n{text}"),
        };
        Some(about(&session, &id, "terminal_output", json!({ "data": data })))
    }

    /// Ends the terminal of a task whose output has been sent.
    fn end(&self, task: &Task) -> Option<acp::SessionNotification> {
        let mut state = self.lock();
        let key = state.tasks.remove(task.id.as_str())?;
        let call = state.calls.get_mut(&key)?;
        call.has_ended = true;
        if call.is_answered {
            state.calls.remove(&key);
        }
        drop(state);
        self.ended.send_replace(());
        let (code, signal) = match task.end().map(|end| to_wire::exit(end.exit)) {
            Some(exit) => (exit.code, exit.signal),
            None => (None, None),
        };
        let what = json!({"exit_code": code, "signal": signal});
        Some(about(&key.0, &key.1, "terminal_exit", what))
    }

    /// The offset of the next output to send for a task; `None` if its session is closed.
    fn next(&self, task: TaskId) -> Option<u64> {
        let state = self.lock();
        let key = state.tasks.get(task.as_str())?;
        Some(state.calls.get(key)?.next)
    }

    /// Returns once the ends of all commands that the session waited for have been sent.
    pub(super) async fn settled(&self, session: &str) {
        let mut ended = self.ended.subscribe();
        let is_open = |((of, _), call): (&(String, String), &Call)| {
            of == session && call.is_answered && !call.in_background && !call.has_ended
        };
        let settle = ended.wait_for(|()| !self.lock().calls.iter().any(is_open));
        // A client that does not read its output must not hold up the reply to a prompt.
        let _ = tokio::time::timeout(SETTLE, settle).await;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic under the lock leaves the maps consistent: at worst a terminal gets no more output.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends the output of a task to the client with `tell`, until the task ends.
pub(super) async fn show(
    terminals: &Terminals,
    background: &Background,
    id: TaskId,
    tell: impl Fn(acp::SessionNotification),
) {
    // A removed task has no output.
    let _ = background.subscribe(id, Some(0)).await;
    let mut ended = terminals.ended.subscribe();
    let task = tokio::select! {
        waited = background.wait(Which::Ids(vec![id]), Mode::All, limits::TIME_MAX) => {
            waited.ok().and_then(|waited| waited.tasks.into_iter().next())
        }
        _ = ended.wait_for(|()| terminals.next(id).is_none()) => None,
    };
    let (Some(task), Some(next)) = (task, terminals.next(id)) else {
        let _ = background.unsubscribe(id).await;
        return;
    };
    let from = next.max(task.output.total.saturating_sub(LAST_BYTES));
    if let Ok(rest) = background.read(id, from, LAST_BYTES).await
        && let Some(told) = terminals.piece(id.as_str(), rest.offset, &rest.data)
    {
        tell(told);
    }
    if let Some(told) = terminals.end(&task) {
        tell(told);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_told_once_and_what_is_left_out_is_counted() {
        let (terminals, _wanted) = Terminals::new();
        let key = ("s".to_owned(), "c".to_owned());
        terminals.lock().tasks.insert("t".to_owned(), key.clone());
        terminals.lock().calls.insert(key, Call::default());
        let told = |offset, bytes: &[u8]| {
            let update = serde_json::to_value(terminals.piece("t", offset, bytes)?.update).unwrap();
            update["_meta"]["terminal_output"]["data"].as_str().map(str::to_owned)
        };
        assert_eq!(told(0, b"one").as_deref(), Some("one"));
        assert_eq!(told(1, b"ne"), None, "it was told");
        assert_eq!(told(2, b"e two").as_deref(), Some(" two"));
        assert_eq!(told(17, b"end").as_deref(), Some("\n[10 bytes are left out here]\nend"));
        assert_eq!(told(20, b"").as_deref(), None);
        assert!(terminals.piece("another", 0, b"x").is_none());
    }
}
