//! One step of a session, until it is stored in the ledger.
//!
//! Everything that becomes part of the history goes through [`Work::commit`]: one transaction for the new messages,
//! the facts, and the notifications taken from the queue. Only stored messages enter the history; those that the
//! ledger refused wait here, in order, for the next step.

use super::Update;
use super::work::Work;
use crate::agent::message::Message;
use crate::agent::notice;
use crate::agent::tools::Held;
use crate::agent::trace::{DeliveredKind, Event, Fact, Origin};
use crate::background::ledger::{Addition, NewFact, NewMessage, News, Told};
use crate::background::task::{DeliveredBy, Notification, TaskId, Timestamp};

/// The content of the next transaction.
#[derive(Debug, Default)]
pub(super) struct Step {
    /// Messages, in order.
    pub(super) messages: Vec<Message>,
    /// Whether the first message restarts the model's history.
    pub(super) fresh: bool,
    /// Ends of tasks that the messages contain.
    pub(super) seen: Vec<(TaskId, DeliveredBy)>,
    /// Tokens of the commands that the messages request, and the task ids reserved for them.
    pub(super) claims: Vec<(String, TaskId)>,
    /// Facts, in order.
    pub(super) facts: Vec<Event>,
    /// The session's title, if it was just chosen.
    pub(super) title: Option<String>,
}

/// Whether a step drains the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Drain {
    /// No, because no request follows.
    No,
    /// Yes, because a request follows.
    Yes,
    /// Yes; if the queue is empty, no step is stored.
    OnlyNews,
}

/// The counters of a session. Each holds the last number used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Counts {
    pub(super) messages: u64,
    pub(super) facts: u64,
    pub(super) calls: u64,
    pub(super) turns: u64,
}

/// What a transaction added for the model, to be shown to the front.
struct Tidings {
    text: Option<String>,
    notifications: Vec<Notification>,
    facts: Vec<Event>,
    acked: bool,
}

impl Work {
    /// Adds a message to the next step.
    pub(super) fn say(&mut self, message: Message) {
        self.step.messages.push(message);
    }

    /// Adds a fact to the next step.
    pub(super) fn note(&mut self, fact: Fact) {
        self.counts.facts += 1;
        self.step.facts.push(Event { n: self.counts.facts, at: Timestamp::now(), fact });
    }

    /// Stores the facts so far, without waiting: a trace that lacks a fact after a crash does no harm.
    pub(super) async fn tell_facts(&mut self) {
        let facts = std::mem::take(&mut self.step.facts);
        if facts.is_empty() {
            return;
        }
        let rows: Vec<_> = facts.iter().map(|event| event.to_row(None)).collect();
        let session = self.id.0.clone();
        drop(self.background.store().write(move |l| l.append_facts(&session, &rows)));
        self.background.tell_said();
        for event in facts {
            self.show(event).await;
        }
    }

    /// Stores the step. Returns `Ok(false)` if, with [`Drain::OnlyNews`], the queue was empty; then nothing is
    /// stored. After an error the step is unchanged.
    pub(super) async fn commit(&mut self, drain: Drain) -> Result<bool, crate::Error> {
        let first = self.counts.messages + 1;
        let addition = Addition {
            session: self.id.0.clone(),
            workspace: self.background.workspace().to_owned(),
            title: self.step.title.clone(),
            messages: new_messages(&self.step.messages, first, self.step.fresh),
            facts: rows(&self.step.facts, self.step.messages.len(), first),
            seen: self.seen(),
            claims: self.step.claims.clone(),
            // If no request follows now, the next request will contain it.
            call: self.counts.calls + u64::from(drain == Drain::No),
            drain: if drain == Drain::No { 0 } else { notice::ENTRIES_MAX },
            only_with_news: drain == Drain::OnlyNews,
        };
        let n = first + self.step.messages.len() as u64;
        let (call, facts) = (addition.call, self.counts.facts);
        let (alive, held) = (self.background.liveness(), self.toolbox.held());
        let write = self.background.store().write(move |ledger| {
            ledger.append(&addition, &alive, |news| tell(news, n, call, facts, &held))
        });
        let tidings = write.await?;
        self.background.tell_said();
        if self.forget_stopped().await {
            self.recount().await;
        }
        let Some(tidings) = tidings else { return Ok(false) };
        self.committed(tidings).await;
        Ok(true)
    }

    /// The ends of tasks that are acknowledged with this step.
    fn seen(&self) -> Vec<(TaskId, DeliveredBy)> {
        let stopped = self.stopped.iter().map(|task| (*task, DeliveredBy::Wait));
        self.step.seen.iter().copied().chain(stopped).collect()
    }

    /// Forgets stopped commands whose end is stored and thus acknowledged. Returns whether there were any.
    async fn forget_stopped(&mut self) -> bool {
        let before = self.stopped.len();
        for task in std::mem::take(&mut self.stopped) {
            if self.background.get(task).await.is_ok_and(|task| task.delivered.is_none()) {
                self.stopped.push(task);
            }
        }
        self.stopped.len() < before
    }

    /// Notifications were acknowledged: updates the clients that show how many are waiting.
    async fn recount(&self) {
        // Fails only while the daemon shuts down, when no client is left.
        let _ = self.background.changed().await;
    }

    async fn committed(&mut self, tidings: Tidings) {
        let step = std::mem::take(&mut self.step);
        if step.fresh {
            self.history.clear();
        }
        self.counts.messages += step.messages.len() as u64;
        self.counts.facts += tidings.facts.len() as u64;
        if tidings.acked {
            self.recount().await;
        }
        if let Some(title) = step.title {
            self.titled = true;
            self.out.send(Update::Title(title)).await;
        }
        for event in step.facts.into_iter().chain(tidings.facts) {
            self.show(event).await;
        }
        for message in step.messages {
            if let Message::Notice { text } = &message {
                self.out.send(Update::Notice(text.clone())).await;
            }
            self.history.push(message);
        }
        if let Some(text) = tidings.text {
            self.counts.messages += 1;
            self.history.push(Message::Background { text: text.clone() });
            let notifications = tidings.notifications;
            let call = self.counts.calls;
            self.out.send(Update::Background { call, text, notifications }).await;
        }
    }

    /// Reports a fact to the front.
    pub(super) async fn show(&mut self, event: Event) {
        if let Fact::TurnStarted { turn, origin, .. } = event.fact {
            let prompt = self.said.take();
            self.out.send(Update::TurnStarted { turn, origin, prompt }).await;
        }
        self.out.send(Update::Traced(event)).await;
    }
}

/// The messages as rows with the numbers from `first` on; with `fresh`, the first restarts the model's history.
pub(super) fn new_messages(messages: &[Message], first: u64, fresh: bool) -> Vec<NewMessage> {
    let bodies = messages.iter().zip(first..).map(|(message, n)| NewMessage {
        n,
        fresh: fresh && n == first,
        body: message.to_json(),
    });
    bodies.collect()
}

/// The facts as rows, stored together with `messages` messages, the first of which has the number `first`.
pub(super) fn rows(facts: &[Event], messages: usize, first: u64) -> Vec<NewFact> {
    let said = (messages > 0).then(|| first + messages as u64 - 1);
    let last = facts.last().map(|event| event.n);
    facts.iter().map(|event| event.to_row(said.filter(|_| Some(event.n) == last))).collect()
}

/// Formats notifications as a message, inside the transaction that takes them from the queue.
fn tell(news: News, n: u64, call: u64, facts: u64, held: &Held) -> (Told, Tidings) {
    let seen = news.seen.iter().map(|seen| Fact::Delivered {
        call,
        task_id: seen.task.to_string(),
        seq: Some(seen.seq),
        kind: DeliveredKind::Exited,
        by: seen.by,
    });
    let drained = news.drained.iter().map(|notification| Fact::Delivered {
        call,
        task_id: notification.task.id.to_string(),
        seq: Some(notification.seq),
        kind: DeliveredKind::from(&notification.kind),
        by: DeliveredBy::Drain,
    });
    let at = Timestamp::now();
    let facts: Vec<Event> =
        seen.chain(drained).zip(facts + 1..).map(|(fact, n)| Event { n, at, fact }).collect();
    let drained = &news.drained;
    let text = (!drained.is_empty())
        .then(|| notice::message(drained, news.remaining) + &held.lines(drained));
    let message = text.as_ref().map(|text| NewMessage {
        n,
        fresh: false,
        body: Message::Background { text: text.clone() }.to_json(),
    });
    let told = Told { facts: rows(&facts, usize::from(message.is_some()), n), message };
    let acked = !news.seen.is_empty() || !news.drained.is_empty();
    (told, Tidings { text, notifications: news.drained, facts, acked })
}

/// The beginning of a prompt, used as a label.
pub(super) fn title(prompt: &str) -> String {
    let line = prompt.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    crate::background::words::shorten(&crate::background::words::one_line(line), TITLE_BYTES)
}

/// Maximum bytes of a title.
const TITLE_BYTES: usize = 80;

/// What started a turn: a prompt or, without one, task results.
pub(super) fn origin(by_prompt: bool) -> Origin {
    if by_prompt { Origin::Prompt } else { Origin::Background }
}
