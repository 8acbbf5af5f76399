//! Follows a session that another process has open, through the ledger: its conversation so far, then each new entry.
//!
//! Remembers how far it has read. A watch changes nothing, and never delays the process that has the session open.
//! That process rings a bell after it has stored something; a check each second finds changes without a ring. For this
//! reason a model's answer appears once it is complete and stored.

use std::collections::HashSet;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::{Mutex, OwnedMutexGuard, mpsc, watch};
use tokio::task::AbortHandle;

use super::again::{self, Started};
use super::{Error, Session, TurnEnd, UPDATES, Update};
use crate::agent::message::Message;
use crate::agent::tools::{Budget, Toolbox};
use crate::agent::trace::{DeliveredKind, Event, Fact, Origin, said_by};
use crate::background::Background;
use crate::background::ledger::{Followed, StoredFact, StoredMessage};
use crate::background::task::{DeliveredBy, Task, TaskId};

/// The interval of checks for changes without a ring, such as the end of a process that was killed.
const ROUND: Duration = Duration::from_secs(1);

/// What a watch of a session delivers, in order.
#[derive(Debug)]
pub enum Seen {
    /// An update of the session, except [`Update::Ask`] and pieces of an answer.
    Said(Update),
    /// A task whose notification is in the next update.
    Result {
        /// The task in its current state.
        task: Task,
        /// The model call whose request contains the task's end; `None` if the notification is not about the end.
        entered: Option<u64>,
    },
    /// The holder and the open questions, when they change; the first time after the whole conversation so far.
    Stands(Stands),
}

/// The state of a watched session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stands {
    /// Which process has the session open.
    pub holder: Holder,
    /// The open questions to a person in that process, oldest first.
    pub questions: Vec<Question>,
}

/// Which process has a session open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// A running process has it open.
    Open {
        /// The pid of the process.
        pid: u32,
    },
    /// The last process closed it.
    Closed,
    /// The last process exited without closing it. Its turn, if any, is over.
    Gone {
        /// The pid that the process had.
        pid: u32,
    },
    /// The session was deleted. Nothing follows.
    Deleted,
}

/// A question that another process asks the person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The model's id of the tool call.
    pub tool_call_id: String,
    /// The question as it follows "may the agent": `edit src/main.rs`.
    pub question: String,
    /// Why the person must be asked.
    pub why: String,
}

/// A watch of a session. Dropping it ends the watch.
#[derive(Debug)]
pub struct Watch {
    before: std::vec::IntoIter<Seen>,
    then: mpsc::Receiver<Seen>,
    stop: Stop,
}

/// Pauses a watch. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Stop {
    reader: Weak<Mutex<Reader>>,
    run: AbortHandle,
}

/// A paused watch: it reads nothing while this is held, and continues once this is dropped.
#[derive(Debug)]
pub struct Stopped {
    reader: OwnedMutexGuard<Reader>,
    run: AbortHandle,
}

impl Watch {
    /// Returns what comes next; `None` after [`Holder::Deleted`], or once the background manager is closed.
    /// Cancel-safe.
    pub async fn next(&mut self) -> Option<Seen> {
        match self.before.next() {
            Some(seen) => Some(seen),
            None => self.then.recv().await,
        }
    }

    /// The handle that pauses this watch.
    pub fn stop(&self) -> Stop {
        self.stop.clone()
    }
}

impl Stop {
    /// Pauses the watch once everything that it has read was received. `None` if the watch has ended.
    pub async fn hold(&self) -> Option<Stopped> {
        let reader = self.reader.upgrade()?;
        Some(Stopped { reader: reader.lock_owned().await, run: self.run.clone() })
    }
}

impl Stopped {
    /// Ends the watch after what was stored before `opened` opened the session; later updates come from `opened`.
    pub async fn end_before(mut self, opened: &Session) {
        let mut seen = Vec::new();
        if let Err(error) = self.reader.look(&mut seen, opened.since).await {
            tracing::warn!("the last updates of session `{}` cannot be read: {error}", opened.id);
        }
        // The client has opened the session itself, so it needs no news of the holder.
        seen.retain(|it| !matches!(it, Seen::Stands(_)));
        self.reader.tell(seen).await;
        self.reader.out = None;
        // The run is waiting for its next round or for the lock held here, so aborting it loses nothing.
        self.run.abort();
    }
}

impl Session {
    /// Watches a session of the workspace, which another process may have open.
    pub async fn watch(background: &Background, id: &str) -> Result<Watch, Error> {
        // Subscribe before the first read, so that no change is missed between the two.
        let said = background.said().await?;
        let (sender, then) = mpsc::channel(UPDATES);
        let mut reader = Reader::new(background.clone(), id.to_owned(), sender.clone());
        let mut before = Vec::new();
        if !reader.look(&mut before, Since::MAX).await? {
            return Err(Error::Unknown(id.to_owned()));
        }
        let reader = Arc::new(Mutex::new(reader));
        let weak = Arc::downgrade(&reader);
        // The watch owns this task: it ends when the watch is dropped.
        let run = tokio::spawn(run(reader, said, sender)).abort_handle();
        let stop = Stop { reader: weak, run };
        Ok(Watch { before: before.into_iter(), then, stop })
    }
}

/// Reads a session on from where it last stopped.
#[derive(Debug)]
struct Reader {
    background: Background,
    id: String,
    /// `None` once the watch has ended.
    out: Option<mpsc::Sender<Seen>>,
    /// Parses tool calls; runs none.
    toolbox: Toolbox,
    /// The last message and the last fact that were read.
    read: Since,
    title: Option<String>,
    /// The last model call that was answered, the one whose answer was delivered last, and the last one whose request
    /// contained notifications.
    answered: Option<u64>,
    spoke: Option<u64>,
    carried: Option<u64>,
    started: Started,
    /// Commands that were reported to be in the background.
    moved: HashSet<TaskId>,
    /// The running turn, and what started it.
    turn: Option<(u64, Origin)>,
    questions: Vec<Question>,
    told: Option<Stands>,
}

/// Reads a session when its process rings, and each second, until the watch ends.
async fn run(
    reader: Arc<Mutex<Reader>>,
    mut said: watch::Receiver<()>,
    watched: mpsc::Sender<Seen>,
) {
    loop {
        tokio::select! {
            () = watched.closed() => return,
            changed = said.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(ROUND) => {}
        }
        if !reader.lock().await.round().await {
            return;
        }
    }
}

/// A position in the stored session: after this message and this fact, by number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Since {
    pub(super) message: u64,
    pub(super) fact: u64,
}

impl Since {
    const MAX: Self = Self { message: u64::MAX, fact: u64::MAX };
}

/// Which facts produce live updates: those from number `from` on; and whether the facts themselves are delivered.
#[derive(Debug, Clone, Copy)]
struct Live {
    from: u64,
    traced: bool,
}

impl Reader {
    fn new(background: Background, id: String, out: mpsc::Sender<Seen>) -> Self {
        let toolbox = Toolbox::new(background.clone(), id.clone(), Budget::default());
        Self {
            background,
            id,
            out: Some(out),
            toolbox,
            read: Since::default(),
            title: None,
            answered: None,
            spoke: None,
            carried: None,
            started: Started::new(),
            moved: HashSet::new(),
            turn: None,
            questions: Vec::new(),
            told: None,
        }
    }

    /// Delivers what was read. Returns `false` if the watch has ended.
    async fn tell(&mut self, seen: Vec<Seen>) -> bool {
        let Some(out) = &self.out else { return false };
        for one in seen {
            if out.send(one).await.is_err() {
                return false;
            }
        }
        true
    }

    /// Reads and delivers what is new. Returns `false` if the watch has ended.
    async fn round(&mut self) -> bool {
        let mut seen = Vec::new();
        let goes_on = self.look(&mut seen, Since::MAX).await.unwrap_or_else(|error| {
            tracing::warn!("session `{}` cannot be read: {error}", self.id);
            true
        });
        if !goes_on {
            let (holder, questions) = (Holder::Deleted, Vec::new());
            seen.push(Seen::Stands(Stands { holder, questions }));
        }
        self.tell(seen).await && goes_on
    }

    /// Reads what was added, up to the position `end`. Returns `false` if the session does not exist.
    async fn look(&mut self, out: &mut Vec<Seen>, end: Since) -> Result<bool, Error> {
        let (workspace, name) = (self.background.workspace().to_owned(), self.id.clone());
        let (Since { message, fact }, alive) = (self.read, self.background.liveness());
        let found = self.background.store().read(move |ledger| {
            let Some(found) = ledger.followed(&workspace, &name, message, fact)? else {
                return Ok(None);
            };
            let Followed { session, holder, mut messages, mut facts } = found;
            messages.retain(|row| row.n <= end.message);
            facts.retain(|row| row.n <= end.fact);
            let read = Since {
                message: messages.last().map_or(message, |row| row.n),
                fact: facts.last().map_or(fact, |row| row.n),
            };
            let is_alive = holder.as_ref().is_some_and(|it| alive(&it.0));
            Ok(Some((session, holder, is_alive, in_order(messages, &facts), read)))
        });
        let Some((session, holder, is_alive, rows, read)) = found.await? else {
            return Ok(false);
        };
        let holder = match holder {
            None => Holder::Closed,
            Some((_, pid)) if is_alive => Holder::Open { pid },
            Some((_, pid)) => Holder::Gone { pid },
        };
        if session.title != self.title {
            self.title.clone_from(&session.title);
            out.extend(session.title.map(|title| Seen::Said(Update::Title(title))));
        }
        if self.told.as_ref().is_some_and(|told| told.holder != holder) {
            // Questions end with the process that asked them.
            self.questions.clear();
        }
        let live = match (&self.told, holder) {
            (Some(_), _) => Live { from: 0, traced: true },
            (None, Holder::Open { .. }) => Live { from: open_turn(&rows), traced: false },
            (None, _) => Live { from: u64::MAX, traced: false },
        };
        for row in rows {
            match row {
                Row::Fact(event) => self.fact(event, live, out).await,
                Row::Said(row, answer) => match Message::from_json(&row.body) {
                    Ok(message) => self.message(message, answer, live, out).await,
                    Err(error) => {
                        tracing::warn!("message {} of session `{}`: {error}", row.n, self.id);
                    }
                },
            }
        }
        self.read = read;
        let questions = match holder {
            Holder::Open { .. } => self.questions.clone(),
            Holder::Closed | Holder::Gone { .. } | Holder::Deleted => Vec::new(),
        };
        let stands = Stands { holder, questions };
        if self.told.as_ref() != Some(&stands) {
            self.told = Some(stands.clone());
            out.push(Seen::Stands(stands));
        }
        Ok(true)
    }

    /// Delivers a message; an answer comes with the fact of its completion, which is delivered after the text.
    async fn message(
        &mut self,
        message: Message,
        answer: Option<Event>,
        live: Live,
        out: &mut Vec<Seen>,
    ) {
        if let Some(Event { fact: Fact::CallEnded { call, .. }, .. }) = &answer {
            self.answered = Some(*call);
        }
        let call = match &message {
            Message::Background { .. } => self.carried,
            Message::Assistant(_) => {
                self.spoke = self.answered;
                self.spoke
            }
            Message::Prompt { .. } | Message::ToolResults { .. } | Message::Notice { .. } => {
                self.spoke
            }
        };
        let updates = again::updates(&self.toolbox, message, call, &self.started).await;
        let mut answer = answer;
        for update in updates {
            let is_said =
                matches!(update, Update::Answer { .. } | Update::Thinking(_) | Update::Text(_));
            if let Some(event) = answer.take_if(|_| !is_said) {
                self.fact(event, live, out).await;
            }
            if let Update::ToolEnded { id, task: Some(task), .. } = &update {
                self.may_have_moved(id, *task, out).await;
            }
            out.push(Seen::Said(update));
        }
        if let Some(event) = answer {
            self.fact(event, live, out).await;
        }
    }

    /// Reports a command whose tool call ended before it did: it moved to the background, which no fact records.
    async fn may_have_moved(&mut self, id: &str, task: TaskId, out: &mut Vec<Seen>) {
        if self.told.is_none() || self.moved.contains(&task) {
            return;
        }
        if let Some(task) = self.task(task).await.filter(|task| !task.is_step) {
            self.moved.insert(task.id);
            let id = id.to_owned();
            out.push(Seen::Said(Update::ToolTask { id, task, background: true }));
        }
    }

    /// A task in its current state; `None` if it was removed.
    async fn task(&self, id: TaskId) -> Option<Task> {
        self.background.get(id).await.ok()
    }

    async fn fact(&mut self, event: Event, live: Live, out: &mut Vec<Seen>) {
        let is_live = event.n >= live.from;
        let mut after = None;
        match event.fact.clone() {
            Fact::TurnStarted { turn, origin, .. } => {
                self.turn = Some((turn, origin));
                if is_live {
                    // Its message is shown as on a load.
                    out.push(Seen::Said(Update::TurnStarted { turn, origin, prompt: None }));
                }
            }
            Fact::TurnEnded { turn, stop_reason, error } => {
                self.questions.clear();
                let began = self.turn.take().filter(|(began, _)| *began == turn);
                let origin = began.map_or(Origin::Prompt, |(_, origin)| origin);
                let end = TurnEnd::of(&stop_reason, error);
                after = Some(Update::TurnEnded { turn, origin, end });
            }
            Fact::CallEnded { call, error: None, .. } => self.answered = Some(call),
            Fact::ToolStarted { tool_call_id: id, .. } if is_live => {
                out.push(Seen::Said(Update::ToolRunning { id, confined: None }));
            }
            Fact::TaskSpawned { call, tool_call_id: id, task_id, moved: waited_for, .. } => {
                let Ok(task) = task_id.parse() else { return };
                self.started.insert((call, id.clone()), task);
                if !waited_for {
                    self.moved.insert(task);
                }
                if is_live && let Some(task) = self.task(task).await {
                    let background = !waited_for;
                    out.push(Seen::Said(Update::ToolTask { id, task, background }));
                }
            }
            // Ends that the model got with `wait` or `check` are in the results of those calls.
            Fact::Delivered { call, task_id, kind, by: DeliveredBy::Drain, .. } => {
                self.carried = Some(call);
                if is_live
                    && let Ok(task) = task_id.parse()
                    && let Some(task) = self.task(task).await
                {
                    let entered = (kind == DeliveredKind::Exited).then_some(call);
                    out.push(Seen::Result { task, entered });
                }
            }
            Fact::Asked { tool_call_id, question, why, .. } => {
                self.questions.push(Question { tool_call_id, question, why });
            }
            Fact::Answered { tool_call_id } | Fact::ToolEnded { tool_call_id, .. } => {
                self.questions.retain(|it| it.tool_call_id != tool_call_id);
            }
            Fact::Resumed {} => self.questions.clear(),
            Fact::CallStarted { .. }
            | Fact::CallEnded { error: Some(_), .. }
            | Fact::ToolStarted { .. }
            | Fact::Delivered { .. }
            | Fact::Compacted { .. } => {}
        }
        if live.traced {
            out.push(Seen::Said(Update::Traced(event)));
        }
        out.extend(after.filter(|_| is_live).map(Seen::Said));
    }
}

/// An entry of the stored session, in the order of delivery.
#[derive(Debug, PartialEq)]
enum Row {
    Fact(Event),
    /// A message; an answer comes with the fact of its completion.
    Said(StoredMessage, Option<Event>),
}

/// Merges messages and facts. A step is stored in one transaction, and its last fact has the number of its last
/// message. Entries of older versions, without that number, are ordered by time.
fn in_order(messages: Vec<StoredMessage>, facts: &[StoredFact]) -> Vec<Row> {
    let mut rows = Vec::with_capacity(messages.len() + facts.len());
    let marks: Vec<u64> = facts.iter().map(|row| said_by(row).unwrap_or(0)).collect();
    let marked = marks.iter().copied().max().unwrap_or(0);
    let mut messages = messages.into_iter().peekable();
    for (row, said) in facts.iter().zip(marks) {
        while let Some(message) = messages.next_if(|it| it.n > marked && it.at < row.at) {
            rows.push(Row::Said(message, None));
        }
        let Some(event) = Event::from_row(row) else { continue };
        if matches!(event.fact, Fact::CallEnded { error: None, .. })
            && let Some(answer) = messages.next_if(|it| it.n <= said)
        {
            rows.push(Row::Said(answer, Some(event)));
        } else {
            rows.push(Row::Fact(event));
        }
        while let Some(message) = messages.next_if(|it| it.n <= said) {
            rows.push(Row::Said(message, None));
        }
    }
    rows.extend(messages.map(|message| Row::Said(message, None)));
    rows
}

/// The number of the fact that started the running turn; `u64::MAX` if no turn is running.
fn open_turn(rows: &[Row]) -> u64 {
    let mut began = u64::MAX;
    for row in rows {
        if let Row::Fact(event) = row {
            if matches!(event.fact, Fact::TurnStarted { .. }) {
                began = event.n;
            } else if matches!(event.fact, Fact::TurnEnded { .. } | Fact::Resumed {}) {
                began = u64::MAX;
            }
        }
    }
    began
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::background::task::Timestamp;

    fn fact(n: u64, at: i64, fact: Fact, said: Option<u64>) -> StoredFact {
        let row = Event { n, at: Timestamp(at), fact }.to_row(said);
        StoredFact { n, at: row.at, fact: row.fact }
    }

    fn message(n: u64, at: i64) -> StoredMessage {
        StoredMessage { n, at: Timestamp(at), fresh: false, body: String::new() }
    }

    fn whole(call: u64) -> Fact {
        let (input_tokens, output_tokens, cached_tokens) = (None, None, None);
        let (stop_reason, error, cost_usd) = (None, None, None);
        Fact::CallEnded {
            turn: 1,
            call,
            stop_reason,
            error,
            input_tokens,
            output_tokens,
            cached_tokens,
            cost_usd,
        }
    }

    fn turn_over() -> Fact {
        Fact::TurnEnded { turn: 1, stop_reason: "end_turn".to_owned(), error: None }
    }

    /// The order in short: `1` is a fact, `m1` a message, `m1+2` an answer with the fact of its completion.
    fn order(messages: Vec<StoredMessage>, facts: &[StoredFact]) -> String {
        let shown = in_order(messages, facts).into_iter().map(|row| match row {
            Row::Fact(event) => event.n.to_string(),
            Row::Said(message, None) => format!("m{}", message.n),
            Row::Said(message, Some(event)) => format!("m{}+{}", message.n, event.n),
        });
        shown.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_step_is_delivered_whole_even_if_the_clock_is_set_back() {
        let asks = Fact::CallStarted { turn: 1, call: 1 };
        // A prompt, its answer and the end of the turn within one millisecond, and the clock set back.
        for at in [7, -7] {
            let facts = [
                fact(1, 7, asks.clone(), Some(1)),
                fact(2, at, whole(1), Some(2)),
                fact(3, at, turn_over(), None),
            ];
            assert_eq!(order(vec![message(1, 7), message(2, at)], &facts), "1 m1 m2+2 3", "{at}");
        }
        // An empty answer leaves no message.
        let facts = [fact(4, 7, whole(2), None), fact(5, 7, asks, Some(3))];
        assert_eq!(order(vec![message(3, 7)], &facts), "4 5 m3");
    }

    #[test]
    fn steps_of_an_older_program_are_ordered_by_their_times() {
        let asks = Fact::CallStarted { turn: 1, call: 1 };
        let facts =
            [fact(1, 5, asks, None), fact(2, 8, whole(1), None), fact(3, 9, turn_over(), None)];
        assert_eq!(order(vec![message(1, 6), message(2, 8)], &facts), "1 m1 2 m2 3");
        assert_eq!(order(vec![message(1, 6)], &[]), "m1");
    }
}
