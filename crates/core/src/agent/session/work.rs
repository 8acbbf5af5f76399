//! The state of an open session, and the helpers that its parts share.
//!
//! [`Work`] is the only owner of the history. Its methods are the turn (`turn`), the tools (`calls`), the summary
//! (`compact`), the repair (`resume`) and the transaction (`step`).

use std::collections::HashSet;
use std::path::PathBuf;

use tokio::sync::{mpsc, watch};

use super::again::Started;
use super::manner::Manner;
use super::outage::Patience;
use super::step::{Counts, Step};
use super::watching::Since;
use super::{SessionId, Terms, Update, prompt};
use crate::agent::message::Message;
use crate::agent::servers::{News, Servers};
use crate::agent::tools::Toolbox;
use crate::agent::trace::{Event, Fact};
use crate::agent::usage::Cost;
use crate::background::Background;
use crate::background::task::TaskId;

/// The initial state of a session: empty, or loaded from the ledger.
#[derive(Debug, Default)]
pub(super) struct Begun {
    /// The whole transcript to show, including the repair.
    pub(super) replay: Replay,
    /// The part of it that the model gets.
    pub(super) history: Vec<Message>,
    pub(super) counts: Counts,
    pub(super) titled: bool,
    pub(super) cost: Option<Cost>,
    /// Tokens of the history, as last counted by the model's server.
    pub(super) used: u64,
    /// The last message and fact that the ledger had when the session was opened, before the repair.
    pub(super) since: Since,
    /// Whether the session was loaded: then the model gets a list of the running tasks.
    pub(super) resumed: bool,
    /// Whether the last turn was cut off.
    pub(super) interrupted: bool,
    /// The age of each turn that the agent started by itself.
    pub(super) wakes: Vec<std::time::Duration>,
    /// The ids of all tool calls.
    pub(super) ids: HashSet<String>,
    /// Whether task results started the last turn, which did not finish.
    pub(super) again: bool,
}

/// What a front shows of a loaded session.
#[derive(Debug, Default)]
pub(super) struct Replay {
    pub(super) title: Option<String>,
    pub(super) messages: Vec<Message>,
    /// What the trace records about the messages.
    pub(super) told: Told,
    /// The facts of the repair, such as ends of calls, and [`crate::agent::trace::Fact::Resumed`].
    pub(super) repair: Vec<Event>,
}

/// What the trace of a session records about its messages.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// The model calls whose requests contained results from the queue: one for each such message, in order.
    pub(super) carried: std::vec::IntoIter<u64>,
    /// The model calls that were answered: one for each answer, in order, if known.
    pub(super) answered: std::vec::IntoIter<Option<u64>>,
    /// The model call whose answer was replayed last.
    pub(super) call: Option<u64>,
    /// The tasks that tool calls started.
    pub(super) started: Started,
}

/// The channel to the front.
#[derive(Debug)]
pub(super) struct Outlet {
    updates: mpsc::Sender<Update>,
    closing: watch::Receiver<bool>,
}

impl Outlet {
    pub(super) fn new(updates: mpsc::Sender<Update>, closing: watch::Receiver<bool>) -> Self {
        Self { updates, closing }
    }

    /// Whether the session is closing.
    pub(super) fn is_closing(&self) -> bool {
        *self.closing.borrow()
    }

    /// Sends an update to the front, and waits if the front is far behind, unless the session is closing. Does
    /// nothing if the front has exited.
    pub(super) async fn send(&self, update: Update) {
        let mut closing = self.closing.clone();
        tokio::select! {
            biased;
            sent = self.updates.reserve() => {
                if let Ok(place) = sent {
                    place.send(update);
                }
            }
            _ = closing.wait_for(|closing| *closing) => {}
        }
    }
}

/// An open session.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) background: Background,
    pub(super) id: SessionId,
    pub(super) workspace: PathBuf,
    pub(super) terms: Terms,
    /// The person's current choices.
    pub(super) manner: watch::Receiver<Manner>,
    pub(super) toolbox: Toolbox,
    pub(super) servers: Servers,
    pub(super) system: String,
    pub(super) out: Outlet,
    /// Whether the running turn must end.
    pub(super) cancel: watch::Receiver<bool>,
    /// The model's history. All of it is stored in the ledger.
    pub(super) history: Vec<Message>,
    pub(super) counts: Counts,
    /// What is not stored in the ledger yet.
    pub(super) step: Step,
    /// Commands that a cancelled turn stopped. The result of their call already says so, so the model gets no
    /// notification of their ends.
    pub(super) stopped: Vec<TaskId>,
    /// Tokens of the history, as last counted by the model's server.
    pub(super) used: u64,
    /// The size of the model's context in tokens; `None` if unknown.
    pub(super) window: Option<u64>,
    pub(super) window_asked: bool,
    pub(super) cost: Option<Cost>,
    pub(super) titled: bool,
    pub(super) resumed: bool,
    pub(super) interrupted: bool,
    /// The ids of all tool calls of the history, which must be unique.
    pub(super) ids: HashSet<String>,
    /// For how long this turn retries while the model cannot be reached.
    pub(super) patience: Patience,
    /// How many times it has waited for a retry since the last answer.
    pub(super) waited: u32,
    /// Whether the person has sent a prompt while the turn runs.
    pub(super) spoken: watch::Receiver<bool>,
    /// The prompt of a turn whose start has not been reported yet.
    pub(super) said: Option<String>,
    /// How often this turn had to ask again, because the answer was empty or contained a tool call as text.
    pub(super) nudges: Nudges,
    /// The stored request form for the model's server.
    pub(super) form: String,
}

/// How often, within a turn, the model's answer was unusable.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Nudges {
    /// The answer was empty.
    pub(super) silent: u32,
    /// The answer contained a tool call as text.
    pub(super) written: u32,
}

impl Work {
    pub(super) fn new(
        background: Background,
        mut terms: Terms,
        id: SessionId,
        (begun, manner): (Begun, watch::Receiver<Manner>),
        out: Outlet,
        cancel: watch::Receiver<bool>,
        spoken: watch::Receiver<bool>,
    ) -> (Self, Replay) {
        let workspace = background.workspace().to_owned();
        let tools = terms.policy.tools.clone();
        let work = Self {
            toolbox: Toolbox::new(background.clone(), id.0.clone(), tools)
                .with_linger(terms.policy.linger)
                .with_editor(terms.editor.clone()),
            servers: Servers::start(std::mem::take(&mut terms.servers), &workspace),
            system: prompt::system(&workspace),
            window: terms.provider.context_window(),
            window_asked: false,
            background,
            id,
            workspace,
            terms,
            manner,
            out,
            cancel,
            history: begun.history,
            counts: begun.counts,
            step: Step::default(),
            stopped: Vec::new(),
            used: begun.used,
            cost: begun.cost,
            titled: begun.titled,
            resumed: begun.resumed,
            interrupted: begun.interrupted,
            ids: begun.ids,
            patience: Patience::lasting(std::time::Duration::ZERO),
            waited: 0,
            spoken,
            said: None,
            nudges: Nudges::default(),
            form: String::new(),
        };
        (work, begun.replay)
    }

    /// Whether the turn must end.
    pub(super) fn is_cancelled(&self) -> bool {
        *self.cancel.borrow()
    }

    /// Returns once the turn must end.
    pub(super) fn cancelled(&self) -> impl Future<Output = ()> + use<> {
        let mut cancel = self.cancel.clone();
        async move {
            // The owner keeps the sender for as long as a turn runs.
            let _ = cancel.wait_for(|cancelled| *cancelled).await;
        }
    }

    /// Adopts the current tools of the servers. Waits for servers that are still connecting, unless the turn must
    /// end.
    pub(super) async fn take_servers(&mut self) {
        let cancelled = self.cancelled();
        tokio::select! {
            biased;
            () = cancelled => return,
            () = self.servers.settled() => {}
        }
        let Some(News { notices, offered }) = self.servers.news() else { return };
        self.toolbox.offer(offered);
        for notice in notices {
            self.out.send(Update::Notice(notice)).await;
        }
    }

    /// Stores the remaining facts when the session closes.
    pub(super) async fn close(mut self) {
        self.tell_facts().await;
    }

    /// Tells the person now and, with the next step, the model.
    pub(super) fn notice(&mut self, text: String) {
        self.say(Message::Notice { text });
    }

    /// Records a fact and reports it at once.
    pub(super) async fn tell(&mut self, fact: Fact) {
        self.note(fact);
        self.tell_facts().await;
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        release(&self.background, &self.id);
    }
}

/// Closes a session that this process has open, without waiting.
pub(super) fn release(background: &Background, id: &SessionId) {
    let (id, holder) = (id.0.clone(), background.holder().to_owned());
    drop(background.store().write(move |l| l.release_session(&id, &holder)));
    background.tell_said();
}
