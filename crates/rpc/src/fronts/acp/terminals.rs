//! Commands as terminals, for clients that show what an agent's own terminal says.
//!
//! ACP's terminals are the client's: it runs the command. Ours run as tasks, so the client is only told of them, as
//! Zed reads it from `_meta`: `terminal_info` with the first word of a tool call, then `terminal_output`, then
//! `terminal_exit`. A client says that it reads this by `_meta.terminal_output` of its capabilities. No terminal is
//! named that it was not told of: it would drop the whole update.

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

/// Output of an end that is told at once, at most. What lies before it was told, or is left out.
const LAST_BYTES: u64 = 256 << 10;
/// How long the answer to a prompt waits for the ends of its commands to be told.
const SETTLE: Duration = Duration::from_secs(2);

/// The terminals of a connection.
#[derive(Debug)]
pub(super) struct Terminals {
    state: Mutex<State>,
    wanted: mpsc::UnboundedSender<Wanted>,
    /// Changes when a terminal ends or is forgotten.
    ended: watch::Sender<()>,
}

/// A task whose output is to be shown.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) session: String,
    pub(super) task: TaskId,
}

#[derive(Debug, Default)]
struct State {
    /// The client shows terminals.
    are_shown: bool,
    /// Where each session works.
    places: HashMap<String, PathBuf>,
    /// Sessions that say over again what was said: their commands have ended.
    again: Vec<String>,
    /// Calls that the client was told a terminal of, by session and call.
    calls: HashMap<(String, String), Call>,
    /// The same by task, as long as it runs.
    tasks: HashMap<String, (String, String)>,
}

#[derive(Debug, Default)]
struct Call {
    task: Option<String>,
    /// The next byte to be told.
    next: u64,
    in_background: bool,
    /// The call was answered.
    is_answered: bool,
    /// The end of its command was told.
    has_ended: bool,
}

/// The terminal of a call.
fn name(session: &str, call: &str) -> String {
    format!("{session}/{call}")
}

/// An update that says something of the terminal of a call.
fn about(session: &str, call: &str, member: &str, mut what: Value) -> acp::SessionNotification {
    what["terminal_id"] = name(session, call).into();
    let mut meta = acp::Meta::new();
    meta.insert(member.to_owned(), what);
    let update = acp::ToolCallUpdate::new(call.to_owned(), acp::ToolCallUpdateFields::new());
    let update = acp::SessionUpdate::ToolCallUpdate(update.meta(meta));
    acp::SessionNotification::new(session.to_owned(), update)
}

impl Terminals {
    /// None yet, and what asks for their output.
    pub(super) fn new() -> (Self, mpsc::UnboundedReceiver<Wanted>) {
        let (wanted, incoming) = mpsc::unbounded_channel();
        (Self { state: Mutex::default(), wanted, ended: watch::Sender::new(()) }, incoming)
    }

    /// The client said what it can.
    pub(super) fn learn(&self, capabilities: &acp::ClientCapabilities) {
        let said = capabilities.meta.as_ref().and_then(|meta| meta.get("terminal_output"));
        self.lock().are_shown = said == Some(&Value::Bool(true));
    }

    /// A session works here; `again`: it says over again what was said, until [`Terminals::is_live`].
    pub(super) fn is_at(&self, session: &str, place: &Path, again: bool) {
        let mut state = self.lock();
        state.places.insert(session.to_owned(), place.to_owned());
        if again {
            state.again.push(session.to_owned());
        }
    }

    /// What a session says from here on happens now.
    pub(super) fn is_live(&self, session: &str) {
        self.lock().again.retain(|it| it != session);
    }

    /// A session is closed.
    pub(super) fn forget(&self, session: &str) {
        let mut state = self.lock();
        state.places.remove(session);
        state.again.retain(|it| it != session);
        state.calls.retain(|(of, _), _| of != session);
        state.tasks.retain(|_, (of, _)| of != session);
        drop(state);
        self.ended.send_replace(());
    }

    /// A tool is called: a command gets a terminal.
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

    /// There is more of a call: its task's terminal is the one that was told, or none.
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
            // What a command in the foreground said stands in its terminal.
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

    /// Output of a task: what the client is told of it.
    pub(super) fn output(&self, push: &OutputPush) -> Option<acp::SessionNotification> {
        let bytes = match push.encoding {
            Encoding::Utf8 => push.data.clone().into_bytes(),
            Encoding::Base64 => BASE64.decode(&push.data).ok()?,
        };
        self.piece(&push.id, push.offset, &bytes)
    }

    /// A piece of output, as far as the client was not told it.
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

    /// A task has ended, and its output was told.
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

    /// From where on output of a task is to be told; `None`: its session is closed.
    fn next(&self, task: TaskId) -> Option<u64> {
        let state = self.lock();
        let key = state.tasks.get(task.as_str())?;
        Some(state.calls.get(key)?.next)
    }

    /// Returns once the ends of all commands that a session waited for were told.
    pub(super) async fn settled(&self, session: &str) {
        let mut ended = self.ended.subscribe();
        let is_open = |((of, _), call): (&(String, String), &Call)| {
            of == session && call.is_answered && !call.in_background && !call.has_ended
        };
        let settle = ended.wait_for(|()| !self.lock().calls.iter().any(is_open));
        // A client that does not read keeps no prompt.
        let _ = tokio::time::timeout(SETTLE, settle).await;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic under the lock leaves maps that are whole: at worst a terminal is told no more.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Shows the output of a task until it ends; `tell` tells the client.
pub(super) async fn show(
    terminals: &Terminals,
    background: &Background,
    id: TaskId,
    tell: impl Fn(acp::SessionNotification),
) {
    // One that was removed has nothing to show.
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
