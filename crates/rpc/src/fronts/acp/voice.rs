//! The messages that an ACP client is sent without a request: `session/update`, and questions to the person. It sends
//! nothing else, because clients warn about messages that they do not know, or exit.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use serde_json::json;
use tokio::sync::watch;

use super::terminals::Terminals;
use super::watched;
use crate::peer::{Follow, Outbox, Voice};
use crate::wire::{Push, TurnState, acp};

/// Sends messages to an ACP client.
#[derive(Debug)]
pub(super) struct AcpVoice {
    /// The number of turns that have ended, in all sessions.
    turns: AtomicU64,
    /// Changes when a task listens on different ports.
    listening: watch::Sender<()>,
    messages: Mutex<Messages>,
    pub(super) terminals: Terminals,
}

/// The current message of each session: clients join the chunks with the same message id.
#[derive(Debug, Default)]
struct Messages {
    last: u64,
    open: HashMap<String, (Speaker, u64)>,
    /// For each session whose last update was an answer: the id of that message.
    answered: HashMap<String, acp::MessageId>,
}

/// The author of a message that further chunks may extend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Speaker {
    Answer,
    Thought,
}

impl Messages {
    /// Sets the message id of a chunk. Returns the id of the previous message if this answer directly follows another
    /// answer.
    fn name(&mut self, update: &mut acp::SessionNotification) -> Option<acp::MessageId> {
        let session = update.session_id.0.to_string();
        if let acp::SessionUpdate::AgentMessageChunk(chunk) = &mut update.update {
            let name = self.going_on(session.clone(), Speaker::Answer);
            chunk.message_id = Some(name.clone());
            let before = self.answered.insert(session, name.clone());
            return before.filter(|before| *before != name);
        }
        if let acp::SessionUpdate::AgentThoughtChunk(chunk) = &mut update.update {
            self.answered.remove(&session);
            chunk.message_id = Some(self.going_on(session, Speaker::Thought));
        } else if let acp::SessionUpdate::UserMessageChunk(chunk) = &mut update.update {
            // These messages are complete. Most clients do not show those that a person did not write.
            self.open.remove(&session);
            if chunk.meta.is_none() {
                self.answered.remove(&session);
            }
            chunk.message_id = Some(self.next(&session).0);
        } else if let acp::SessionUpdate::ToolCall(_) = &update.update {
            self.open.remove(&session);
            self.answered.remove(&session);
        }
        None
    }

    fn next(&mut self, session: &str) -> (acp::MessageId, u64) {
        self.last += 1;
        (acp::MessageId::new(format!("{session}/{}", self.last)), self.last)
    }

    fn going_on(&mut self, session: String, speaker: Speaker) -> acp::MessageId {
        match self.open.get(&session) {
            Some((open, number)) if *open == speaker => {
                acp::MessageId::new(format!("{session}/{number}"))
            }
            Some(_) | None => {
                let (name, number) = self.next(&session);
                self.open.insert(session, (speaker, number));
                name
            }
        }
    }
}

#[derive(Debug, Serialize)]
struct Notification<'a> {
    jsonrpc: &'static str,
    method: &'static str,
    params: &'a acp::SessionNotification,
}

/// The text for people in a message of the server itself.
fn notice(chunk: &acp::ContentChunk) -> Option<&str> {
    let ours = chunk.meta.as_ref()?.get("meanwhile")?;
    if ours.get("origin")? != "notice" { None } else { ours.get("shown")?.as_str() }
}

fn send(params: &acp::SessionNotification, outbox: &Outbox) {
    outbox.send(&Notification { jsonrpc: "2.0", method: "session/update", params });
}

impl AcpVoice {
    /// Creates a voice for a new connection.
    pub(super) fn new(terminals: Terminals) -> Self {
        let (turns, listening, messages) = Default::default();
        Self { turns, listening, messages, terminals }
    }

    /// The number of turns that have ended, in all sessions.
    pub(super) fn turns(&self) -> u64 {
        self.turns.load(Ordering::Relaxed)
    }

    /// Removes a closed session.
    pub(super) fn forget(&self, session: &str) {
        let mut messages = self.messages();
        messages.open.remove(session);
        messages.answered.remove(session);
        drop(messages);
        self.terminals.forget(session);
    }

    /// Changes when a task listens on different ports.
    pub(super) fn listening(&self) -> watch::Receiver<()> {
        self.listening.subscribe()
    }

    fn messages(&self) -> MutexGuard<'_, Messages> {
        // A panic under the lock leaves every message id in use at most once.
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An update in the form that the client can show; `None` if nothing is left of it.
    fn shown(&self, mut update: acp::SessionNotification) -> Option<acp::SessionNotification> {
        let session = update.session_id.0.to_string();
        if let acp::SessionUpdate::UsageUpdate(usage) = &update.update
            && usage.size == 0
        {
            // Omit a usage without a known size, because 0 would be wrong.
            return None;
        }
        if let acp::SessionUpdate::UserMessageChunk(chunk) = &update.update
            && let Some(text) = notice(chunk)
        {
            // Most clients do not show a message of the person that they have not sent themselves.
            let text = acp::ContentBlock::Text(acp::TextContent::new(format!("{text}\n")));
            let thought = acp::ContentChunk::new(text).meta(chunk.meta.clone());
            update.update = acp::SessionUpdate::AgentThoughtChunk(thought);
        }
        if let acp::SessionUpdate::ToolCall(call) = &mut update.update {
            self.terminals.called(&session, call);
        } else if let acp::SessionUpdate::ToolCallUpdate(call) = &mut update.update {
            self.terminals.updated(&session, call);
        }
        Some(update)
    }

    /// Answers the person in a separate message that is not the model's.
    pub(super) fn say(&self, session: &str, text: String, outbox: &Outbox) {
        self.messages().open.remove(session);
        let text = acp::ContentBlock::Text(acp::TextContent::new(text));
        let update = acp::SessionUpdate::AgentMessageChunk(acp::ContentChunk::new(text));
        self.update(acp::SessionNotification::new(session.to_owned(), update), outbox);
        self.messages().open.remove(session);
    }

    /// Records that the person has sent a prompt, so that the next answer belongs to it.
    pub(super) fn asked(&self, session: &str) {
        self.messages().answered.remove(session);
    }

    /// Shows the person something that the model is not told.
    pub(super) fn think(&self, session: &str, text: String, outbox: &Outbox) {
        let text = acp::ContentBlock::Text(acp::TextContent::new(text));
        let update = acp::SessionUpdate::AgentThoughtChunk(acp::ContentChunk::new(text));
        self.update(acp::SessionNotification::new(session.to_owned(), update), outbox);
    }

    pub(super) fn update(&self, mut params: acp::SessionNotification, outbox: &Outbox) {
        let before = self.messages().name(&mut params);
        if let Some(before) = before {
            // acpx and CodeCompanion join the chunks of a prompt regardless of their message ids.
            let text = acp::ContentBlock::Text(acp::TextContent::new("\n\n"));
            let end = acp::ContentChunk::new(text).message_id(before);
            let end = acp::SessionUpdate::AgentMessageChunk(end);
            send(&acp::SessionNotification::new(params.session_id.clone(), end), outbox);
        }
        send(&params, outbox);
    }
}

impl Voice for AcpVoice {
    fn push(&self, push: &Push, outbox: &Outbox) {
        match push {
            Push::Session(update) => {
                if let Some(update) = self.shown((**update).clone()) {
                    self.update(update, outbox);
                }
            }
            Push::Turn(turn) => {
                // The messages of a new turn do not continue those of the previous one.
                self.messages().open.remove(&turn.session_id);
                if turn.state == TurnState::Ended {
                    self.turns.fetch_add(1, Ordering::Relaxed);
                }
            }
            Push::Retrying(retrying) => {
                // The answer so far is void.
                self.messages().open.remove(&retrying.session_id);
                let text = format!("The model call is repeated: {}\n", retrying.message);
                self.think(&retrying.session_id, text, outbox);
            }
            Push::Output(output) => {
                if let Some(told) = self.terminals.output(output) {
                    self.update(told, outbox);
                }
            }
            Push::Watched(watched) => {
                if let Some(text) = watched::told(watched) {
                    self.think(&watched.session_id, text, outbox);
                }
            }
            Push::Listening(_) => self.listening.send_modify(|()| {}),
            Push::Started(_)
            | Push::Began(_)
            | Push::Progress(_)
            | Push::State(_)
            | Push::Notified(_)
            | Push::Exited(_)
            | Push::Changed(_)
            | Push::Traced(_)
            | Push::Timeline(_) => {}
        }
    }

    fn ask(&self, id: &str, question: &acp::RequestPermissionRequest, outbox: &Outbox) {
        let method = "session/request_permission";
        outbox.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": question}));
    }

    fn withdraw(&self, id: &str, outbox: &Outbox) {
        let params = json!({"requestId": id});
        outbox.send(&json!({"jsonrpc": "2.0", "method": "$/cancel_request", "params": params}));
    }

    fn follow(&self, _: Follow, _: &Outbox) {}
}
