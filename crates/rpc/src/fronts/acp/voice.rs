//! What the client is told without asking, in ACP's words: `session/update`, and questions to the person.
//! Nothing else is written: clients warn of what they do not know, or stop.

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

/// How a client of ACP is told.
#[derive(Debug)]
pub(super) struct AcpVoice {
    /// Turns that have ended, of all sessions.
    turns: AtomicU64,
    /// Changes when a task listens on other ports.
    listening: watch::Sender<()>,
    messages: Mutex<Messages>,
    pub(super) terminals: Terminals,
}

/// The message that each session is saying: clients put the chunks of one name together.
#[derive(Debug, Default)]
struct Messages {
    last: u64,
    open: HashMap<String, (Speaker, u64)>,
    /// Of sessions whose last word was an answer: which message that was.
    answered: HashMap<String, acp::MessageId>,
}

/// Whose message it is, as far as it may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Speaker {
    Answer,
    Thought,
}

impl Messages {
    /// Names the message of a chunk. Returns the one before it where another answer begins right behind an answer.
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
            // Each is whole. What no person said, most clients do not show.
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

/// What people are shown of what the server says for itself.
fn notice(chunk: &acp::ContentChunk) -> Option<&str> {
    let ours = chunk.meta.as_ref()?.get("meanwhile")?;
    if ours.get("origin")? != "notice" { None } else { ours.get("shown")?.as_str() }
}

fn send(params: &acp::SessionNotification, outbox: &Outbox) {
    outbox.send(&Notification { jsonrpc: "2.0", method: "session/update", params });
}

impl AcpVoice {
    /// One that has said nothing yet.
    pub(super) fn new(terminals: Terminals) -> Self {
        let (turns, listening, messages) = Default::default();
        Self { turns, listening, messages, terminals }
    }

    /// Turns that have ended, of all sessions.
    pub(super) fn turns(&self) -> u64 {
        self.turns.load(Ordering::Relaxed)
    }

    /// A session is closed.
    pub(super) fn forget(&self, session: &str) {
        let mut messages = self.messages();
        messages.open.remove(session);
        messages.answered.remove(session);
        drop(messages);
        self.terminals.forget(session);
    }

    /// Changes when a task listens on other ports.
    pub(super) fn listening(&self) -> watch::Receiver<()> {
        self.listening.subscribe()
    }

    fn messages(&self) -> MutexGuard<'_, Messages> {
        // A panic under the lock leaves every name in use at most once.
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An update as the client can show it; `None` where nothing is left of it.
    fn shown(&self, mut update: acp::SessionNotification) -> Option<acp::SessionNotification> {
        let session = update.session_id.0.to_string();
        if let acp::SessionUpdate::UsageUpdate(usage) = &update.update
            && usage.size == 0
        {
            // A size that is not known is not 0.
            return None;
        }
        if let acp::SessionUpdate::UserMessageChunk(chunk) = &update.update
            && let Some(text) = notice(chunk)
        {
            // Most clients show nothing of a message of the person's that they have not sent.
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

    /// Answers the person, in a message of its own, what is not the model's.
    pub(super) fn say(&self, session: &str, text: String, outbox: &Outbox) {
        self.messages().open.remove(session);
        let text = acp::ContentBlock::Text(acp::TextContent::new(text));
        let update = acp::SessionUpdate::AgentMessageChunk(acp::ContentChunk::new(text));
        self.update(acp::SessionNotification::new(session.to_owned(), update), outbox);
        self.messages().open.remove(session);
    }

    /// The person says something: what comes now answers that.
    pub(super) fn asked(&self, session: &str) {
        self.messages().answered.remove(session);
    }

    /// Tells the person something that the model is not told.
    pub(super) fn think(&self, session: &str, text: String, outbox: &Outbox) {
        let text = acp::ContentBlock::Text(acp::TextContent::new(text));
        let update = acp::SessionUpdate::AgentThoughtChunk(acp::ContentChunk::new(text));
        self.update(acp::SessionNotification::new(session.to_owned(), update), outbox);
    }

    pub(super) fn update(&self, mut params: acp::SessionNotification, outbox: &Outbox) {
        let before = self.messages().name(&mut params);
        if let Some(before) = before {
            // acpx and CodeCompanion show the chunks of a prompt one behind the other, whatever they are called.
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
                // What a turn says belongs to no message of the turn before.
                self.messages().open.remove(&turn.session_id);
                if turn.state == TurnState::Ended {
                    self.turns.fetch_add(1, Ordering::Relaxed);
                }
            }
            Push::Retrying(retrying) => {
                // What came of the answer so far is void.
                self.messages().open.remove(&retrying.session_id);
                let text = format!("The model is asked again: {}\n", retrying.message);
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
