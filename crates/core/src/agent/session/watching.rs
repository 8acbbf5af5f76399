//! A session that another process has open, as the ledger has it: what was said before, and what is said from then on.
//!
//! Owns how far it has read. It changes nothing, and the process that has the session open waits for nothing: that one
//! rings once it has stored something, and a look each second finds what no bell told. So a model's answer is told
//! when it is stored, whole.

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

/// How often it is looked for what no bell told: the end of a process that was killed, say.
const ROUND: Duration = Duration::from_secs(1);

/// What is seen of a session that is watched, in order.
#[derive(Debug)]
pub enum Seen {
    /// Something was said, or happened. [`Update::Ask`] is not among it, nor pieces of an answer.
    Said(Update),
    /// A task whose result is told next.
    Result {
        /// The task, as it stands.
        task: Task,
        /// The model call that its end entered; `None`: it is not its end that is told.
        entered: Option<u64>,
    },
    /// Who has the session open and what is asked there, whenever that is other than before; the first time once all
    /// that was said before is told.
    Stands(Stands),
}

/// How a session that is watched stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stands {
    /// Who has it open.
    pub holder: Holder,
    /// What a person is asked there, oldest first.
    pub questions: Vec<Question>,
}

/// Who has a session open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// This process.
    Open {
        /// Its pid.
        pid: u32,
    },
    /// None: the one before closed it.
    Closed,
    /// None: this one ended without closing it. A turn that ran is over.
    Gone {
        /// What its pid was.
        pid: u32,
    },
    /// There is no such session any more. Nothing follows.
    Deleted,
}

/// A question to the person that another process asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The call of a tool.
    pub tool_call_id: String,
    /// What is asked, after "may the agent".
    pub question: String,
    /// Why.
    pub why: String,
}

/// A session that is watched. It ends when this is dropped.
#[derive(Debug)]
pub struct Watch {
    before: std::vec::IntoIter<Seen>,
    then: mpsc::Receiver<Seen>,
    stop: Stop,
}

/// Stops a watch where it has come to. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Stop {
    reader: Weak<Mutex<Reader>>,
    run: AbortHandle,
}

/// A watch that stands still: while this is held it looks at nothing, and it goes on once this is dropped.
#[derive(Debug)]
pub struct Stopped {
    reader: OwnedMutexGuard<Reader>,
    run: AbortHandle,
}

impl Watch {
    /// What is seen next; `None` after [`Holder::Deleted`], or once the background manager is closed.
    /// Cancel-safe.
    pub async fn next(&mut self) -> Option<Seen> {
        match self.before.next() {
            Some(seen) => Some(seen),
            None => self.then.recv().await,
        }
    }

    /// What stops it.
    pub fn stop(&self) -> Stop {
        self.stop.clone()
    }
}

impl Stop {
    /// Returns once the watch stands still, which it does when everything that it has read was taken from it.
    /// `None`: it has ended.
    pub async fn hold(&self) -> Option<Stopped> {
        let reader = self.reader.upgrade()?;
        Some(Stopped { reader: reader.lock_owned().await, run: self.run.clone() })
    }
}

impl Stopped {
    /// Ends the watch with what was stored in its session before `opened` opened it: what comes then, that one says.
    pub async fn end_before(mut self, opened: &Session) {
        let mut seen = Vec::new();
        if let Err(error) = self.reader.look(&mut seen, opened.since).await {
            tracing::warn!("the end of session `{}` cannot be looked at: {error}", opened.id);
        }
        // Who has it open now, its client knows.
        seen.retain(|it| !matches!(it, Seen::Stands(_)));
        self.reader.tell(seen).await;
        self.reader.out = None;
        // It waits for the next look, or for this one.
        self.run.abort();
    }
}

impl Session {
    /// Watches a session of the workspace that another process has open, or none.
    pub async fn watch(background: &Background, id: &str) -> Result<Watch, Error> {
        // Before the first look, so that nothing falls between.
        let said = background.said().await?;
        let (sender, then) = mpsc::channel(UPDATES);
        let mut reader = Reader::new(background.clone(), id.to_owned(), sender.clone());
        let mut before = Vec::new();
        if !reader.look(&mut before, Since::MAX).await? {
            return Err(Error::Unknown(id.to_owned()));
        }
        let reader = Arc::new(Mutex::new(reader));
        let weak = Arc::downgrade(&reader);
        // Owned by the watch: it ends when that is dropped.
        let run = tokio::spawn(run(reader, said, sender)).abort_handle();
        let stop = Stop { reader: weak, run };
        Ok(Watch { before: before.into_iter(), then, stop })
    }
}

/// What reads a session behind where it stopped.
#[derive(Debug)]
struct Reader {
    background: Background,
    id: String,
    /// `None`: the watch has ended.
    out: Option<mpsc::Sender<Seen>>,
    /// Reads calls, and carries none out.
    toolbox: Toolbox,
    /// The last message and the last fact that were read.
    read: Since,
    title: Option<String>,
    /// The model call that was answered last, the one whose answer was said last, and the one that carried results.
    answered: Option<u64>,
    spoke: Option<u64>,
    carried: Option<u64>,
    started: Started,
    /// Commands that were told to be in the background.
    moved: HashSet<TaskId>,
    /// The turn that runs, and who began it.
    turn: Option<(u64, Origin)>,
    questions: Vec<Question>,
    told: Option<Stands>,
}

/// Looks at a session when its process rings, and each second, until the watch ends.
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

/// A place in what is stored of a session: behind this message and this fact, by number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Since {
    pub(super) message: u64,
    pub(super) fact: u64,
}

impl Since {
    const MAX: Self = Self { message: u64::MAX, fact: u64::MAX };
}

/// From which fact on things are told as they happen, and whether facts themselves are.
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

    /// Hands out what was seen. `false`: the watch has ended.
    async fn tell(&mut self, seen: Vec<Seen>) -> bool {
        let Some(out) = &self.out else { return false };
        for one in seen {
            if out.send(one).await.is_err() {
                return false;
            }
        }
        true
    }

    /// Looks once more. `false`: the watch has ended.
    async fn round(&mut self) -> bool {
        let mut seen = Vec::new();
        let goes_on = self.look(&mut seen, Since::MAX).await.unwrap_or_else(|error| {
            tracing::warn!("session `{}` cannot be looked at: {error}", self.id);
            true
        });
        if !goes_on {
            let (holder, questions) = (Holder::Deleted, Vec::new());
            seen.push(Seen::Stands(Stands { holder, questions }));
        }
        self.tell(seen).await && goes_on
    }

    /// Takes in what was added, up to a message and a fact. `false`: there is no such session.
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
            // Nothing of an agent outlives the process that ran it.
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

    /// A message; of an answer with the fact that it was whole, which is told behind its words.
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

    /// A command that is not waited for any more went on in the background, which no fact tells.
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

    /// A task as it stands; `None`: it was removed since.
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
            // What was waited for, or looked at, is in the answer to a call.
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

/// What was stored of a session, in the order in which it is told.
#[derive(Debug, PartialEq)]
enum Row {
    Fact(Event),
    /// A message; of an answer with the fact that it was whole.
    Said(StoredMessage, Option<Event>),
}

/// Puts messages and facts in order. A step is stored at once: its last fact says which messages it has. Where none
/// says so, the times do.
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

/// The fact with which the turn began that runs; none is so high.
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

    /// The order in short: `1` a fact, `m1` a message, `m1+2` a message and the fact that it was whole.
    fn order(messages: Vec<StoredMessage>, facts: &[StoredFact]) -> String {
        let shown = in_order(messages, facts).into_iter().map(|row| match row {
            Row::Fact(event) => event.n.to_string(),
            Row::Said(message, None) => format!("m{}", message.n),
            Row::Said(message, Some(event)) => format!("m{}+{}", message.n, event.n),
        });
        shown.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_step_is_told_whole_whatever_the_clock_says() {
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
        // Without anything in it an answer leaves no message.
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
