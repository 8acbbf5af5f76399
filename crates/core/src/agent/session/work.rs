//! What a session knows while it is open, and the ways its parts share.
//!
//! [`Work`] is the one owner of the history. Its methods are the turn (`turn`), the tools (`calls`),
//! the summary (`compact`), the repair (`resume`) and the way into the ledger (`step`).

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

/// How a session begins: empty, or as the ledger has it.
#[derive(Debug, Default)]
pub(super) struct Begun {
    /// Everything said so far, to be shown; the repair included.
    pub(super) replay: Replay,
    /// What of it the model is shown.
    pub(super) history: Vec<Message>,
    pub(super) counts: Counts,
    pub(super) titled: bool,
    pub(super) cost: Option<Cost>,
    /// Tokens of the history, as the model counted them last.
    pub(super) used: u64,
    /// What was stored of it before it was opened, and repaired.
    pub(super) since: Since,
    /// It was loaded: the model is to be told which tasks run.
    pub(super) resumed: bool,
    /// Its last turn was cut off.
    pub(super) interrupted: bool,
    /// How long ago each turn was that the agent started by itself.
    pub(super) wakes: Vec<std::time::Duration>,
    /// The ids of all calls.
    pub(super) ids: HashSet<String>,
    /// Its last turn was begun by results and is not through.
    pub(super) again: bool,
}

/// What a front is shown of a session that is loaded.
#[derive(Debug, Default)]
pub(super) struct Replay {
    pub(super) title: Option<String>,
    pub(super) messages: Vec<Message>,
    /// What the trace tells of them.
    pub(super) told: Told,
    /// What the repair ended, and [`crate::agent::trace::Fact::Resumed`].
    pub(super) repair: Vec<Event>,
}

/// What the trace of a session tells of its messages.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// The calls that carried results out of the queue: one for each such message, in order.
    pub(super) carried: std::vec::IntoIter<u64>,
    /// The calls that were answered: one for each answer, in order, where that is known.
    pub(super) answered: std::vec::IntoIter<Option<u64>>,
    /// The call whose answer was said over last.
    pub(super) call: Option<u64>,
    /// The tasks that calls of tools started.
    pub(super) started: Started,
}

/// The way to the front.
#[derive(Debug)]
pub(super) struct Outlet {
    updates: mpsc::Sender<Update>,
    closing: watch::Receiver<bool>,
}

impl Outlet {
    pub(super) fn new(updates: mpsc::Sender<Update>, closing: watch::Receiver<bool>) -> Self {
        Self { updates, closing }
    }

    /// Whether the session closes.
    pub(super) fn is_closing(&self) -> bool {
        *self.closing.borrow()
    }

    /// Tells the front, waiting for it if it is far behind; but a session that closes does
    /// not wait. A front that is gone has nothing to be told.
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
    /// What the person chose since.
    pub(super) manner: watch::Receiver<Manner>,
    pub(super) toolbox: Toolbox,
    pub(super) servers: Servers,
    pub(super) system: String,
    pub(super) out: Outlet,
    /// The turn that runs is to end.
    pub(super) cancel: watch::Receiver<bool>,
    /// What the model is shown. All of it is in the ledger.
    pub(super) history: Vec<Message>,
    pub(super) counts: Counts,
    /// What is not in the ledger yet.
    pub(super) step: Step,
    /// Commands that a cancelled turn stopped. The answer to their call says so already, so their
    /// ends are not told.
    pub(super) stopped: Vec<TaskId>,
    /// Tokens of the history, as the model counted them last.
    pub(super) used: u64,
    /// The size of the model's context.
    pub(super) window: Option<u64>,
    pub(super) window_asked: bool,
    pub(super) cost: Option<Cost>,
    pub(super) titled: bool,
    pub(super) resumed: bool,
    pub(super) interrupted: bool,
    /// The ids of all calls of the history: no two may be the same.
    pub(super) ids: HashSet<String>,
    /// For how long this turn asks a model again that cannot be asked.
    pub(super) patience: Patience,
    /// How often it has waited to do so since the last answer.
    pub(super) waited: u32,
    /// The person has said something while the turn runs.
    pub(super) spoken: watch::Receiver<bool>,
    /// What this turn had to say to a model that answered with nothing, or wrote a call as text.
    pub(super) nudges: Nudges,
    /// The form that is remembered for the model's server.
    pub(super) form: String,
}

/// How often a model was told, within a turn, that its answer was none.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Nudges {
    /// It answered with nothing.
    pub(super) silent: u32,
    /// It wrote a call as text.
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
            nudges: Nudges::default(),
            form: String::new(),
        };
        (work, begun.replay)
    }

    /// Whether the turn is to end.
    pub(super) fn is_cancelled(&self) -> bool {
        *self.cancel.borrow()
    }

    /// Returns once the turn is to end.
    pub(super) fn cancelled(&self) -> impl Future<Output = ()> + use<> {
        let mut cancel = self.cancel.clone();
        async move {
            // The owner keeps the other end for as long as a turn runs.
            let _ = cancel.wait_for(|cancelled| *cancelled).await;
        }
    }

    /// Takes up what servers offer now. Those that were not heard of yet are waited for, unless the turn is to end.
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

    /// What happened and was not stored yet, as the session closes.
    pub(super) async fn close(mut self) {
        self.tell_facts().await;
    }

    /// Tells the person and, with the next step, the model.
    pub(super) fn notice(&mut self, text: String) {
        self.say(Message::Notice { text });
    }

    /// A fact that is told at once.
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

/// Closes a session that we have open, without waiting for it.
pub(super) fn release(background: &Background, id: &SessionId) {
    let (id, holder) = (id.0.clone(), background.holder().to_owned());
    drop(background.store().write(move |l| l.release_session(&id, &holder)));
    background.tell_said();
}
