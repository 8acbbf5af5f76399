//! A session's story: the one fold of its facts, from which every client draws and tells.
//!
//! Takes in facts and tasks as they come, or a whole trace, and says what each result's way was. The
//! daemon, `meanwhile demo` and `meanwhile learn` have this one; editors are told what comes of it.
//! Pure: it asks no clock and no ledger.

mod card;

use std::collections::HashMap;
use std::time::Duration;

pub use card::{Card, CardKind, card_kind};

use super::trace::{DeliveredKind, Event, Fact, Origin, Trace};
use crate::background::task::{DeliveredBy, End, Task, TaskId, Timestamp};
use crate::background::words;

/// What has happened in a session so far.
#[derive(Debug, Clone, Default)]
pub struct Story {
    /// The number of the last fact.
    last: u64,
    /// Turns, in order.
    pub turns: Vec<Turn>,
    /// Model calls, in order.
    pub calls: Vec<Call>,
    /// Background tasks, in the order they were started.
    pub tasks: Vec<Passage>,
    /// Which call asked for a task, where that is known before the task is.
    asked: HashMap<TaskId, u64>,
}

/// A turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// Its number.
    pub number: u64,
    /// Who began it.
    pub origin: Origin,
    /// When it began.
    pub start: Timestamp,
    /// When it ended: until the next one begins the agent is idle.
    pub end: Option<Timestamp>,
}

/// A model call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Its number.
    pub number: u64,
    /// When its request went out: what it carries entered the conversation then.
    pub start: Timestamp,
    /// When its answer was whole.
    pub end: Option<Timestamp>,
    /// It is the first of a turn that no prompt asked for.
    pub wakes: bool,
}

/// A background task, and the way of its result.
#[derive(Debug, Clone)]
pub struct Passage {
    /// The task.
    pub task: Task,
    /// The model call whose answer asked for it; `None`: a client started it.
    pub asked_in: Option<u64>,
    /// When its end was queued.
    pub queued: Option<Timestamp>,
    /// Which model call its end entered, and how.
    pub entered: Option<(u64, DeliveredBy)>,
}

impl Passage {
    /// Its end, once it has one.
    pub fn end(&self) -> Option<&End> {
        self.task.end()
    }
}

/// How a result came into a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Way {
    /// The model call that was under way when the task ended.
    pub during: Option<u64>,
    /// The model call whose request carries the result.
    pub call: u64,
    /// The result began that call's turn by itself.
    pub woke: bool,
    /// When that call began.
    pub at: Timestamp,
    /// How long the result waited for it.
    pub waited: Duration,
}

impl Way {
    /// Where the agent was: `ended during call 2`.
    pub fn ended(&self) -> String {
        match self.during {
            Some(during) => format!("ended during call {during}"),
            None if self.woke => "ended while the agent was idle".to_owned(),
            None => "ended between two calls".to_owned(),
        }
    }

    /// Where the result came in: `entered call 3`.
    pub fn entered(&self) -> String {
        match self.woke {
            true => format!("woke the agent with call {}", self.call),
            false => format!("entered call {}", self.call),
        }
    }

    /// How long it waited: `786 ms`, `4.2s`.
    pub fn waited(&self) -> String {
        match self.waited.as_millis() {
            millis @ 0..1_000 => format!("{millis} ms"),
            _ => words::elapsed(self.waited),
        }
    }

    /// All of it: `ended during call 2, entered call 3, waited 786 ms`.
    pub fn words(&self) -> String {
        format!("{}, {}, waited {}", self.ended(), self.entered(), self.waited())
    }
}

impl Story {
    /// The story that a trace tells.
    pub fn of(trace: &Trace) -> Self {
        let mut story = Self::default();
        for journey in trace.journeys.iter().filter(|journey| !journey.task.is_step) {
            story.tasks.push(Passage {
                task: journey.task.clone(),
                asked_in: journey.spawned_in_call,
                queued: journey.queued.map(|(at, _)| at),
                entered: journey.delivered,
            });
        }
        for event in &trace.events {
            story.take(event);
        }
        story
    }

    /// Takes a fact in, once.
    pub fn take(&mut self, event: &Event) {
        if event.n <= self.last {
            return;
        }
        self.last = event.n;
        let at = event.at;
        match &event.fact {
            Fact::TurnStarted { turn, origin, .. } => {
                self.turns.push(Turn { number: *turn, origin: *origin, start: at, end: None });
            }
            Fact::TurnEnded { .. } => {
                if let Some(turn) = self.turns.last_mut() {
                    turn.end.get_or_insert(at);
                }
            }
            Fact::CallStarted { call, .. } => {
                let wakes = self.turns.last().is_some_and(|turn| {
                    let is_first = self.calls.last().is_none_or(|call| call.start < turn.start);
                    turn.origin == Origin::Background && is_first
                });
                self.calls.push(Call { number: *call, start: at, end: None, wakes });
            }
            Fact::CallEnded { call, .. } => {
                let number = *call;
                if let Some(call) = self.calls.iter_mut().rev().find(|it| it.number == number) {
                    call.end.get_or_insert(at);
                }
            }
            Fact::TaskSpawned { call, task_id, .. } => {
                let Ok(id) = task_id.parse() else { return };
                match self.passage_mut(id) {
                    Some(passage) => passage.asked_in = Some(*call),
                    None => drop(self.asked.insert(id, *call)),
                }
            }
            Fact::Delivered { call, task_id, kind: DeliveredKind::Exited, by, .. } => {
                let entered = Some((*call, *by));
                let passage = task_id.parse().ok().and_then(|id| self.passage_mut(id));
                if let Some(passage) = passage {
                    passage.entered = entered;
                }
            }
            // Nothing outlives the process that ran it.
            Fact::Resumed {} => {
                for turn in self.turns.iter_mut().rev().take_while(|turn| turn.end.is_none()) {
                    turn.end = Some(at);
                }
                for call in self.calls.iter_mut().rev().take_while(|call| call.end.is_none()) {
                    call.end = Some(at);
                }
            }
            Fact::ToolStarted { .. }
            | Fact::ToolEnded { .. }
            | Fact::Delivered { .. }
            | Fact::Compacted { .. } => {}
        }
    }

    /// Takes in a task that went to the background. Returns whether it is new.
    pub fn began(&mut self, task: Task) -> bool {
        if self.passage(task.id).is_some() {
            return false;
        }
        let asked_in = self.asked.remove(&task.id);
        self.tasks.push(Passage { task, asked_in, queued: None, entered: None });
        true
    }

    /// Takes in a task's end, which was queued then. Returns whether it is news.
    pub fn ended(&mut self, task: Task, queued: Timestamp) -> bool {
        self.began(task.clone());
        let Some(passage) = self.passage_mut(task.id) else { return false };
        let is_news = passage.task.end().is_none();
        passage.task = task;
        passage.queued.get_or_insert(queued);
        is_news
    }

    /// Notes which model call a task's end entered, where the fact that says so came before the task was known.
    pub fn entered(&mut self, id: TaskId, call: u64) {
        if let Some(passage) = self.passage_mut(id) {
            passage.entered.get_or_insert((call, DeliveredBy::Drain));
        }
    }

    /// The model call of this number.
    pub fn call(&self, number: u64) -> Option<&Call> {
        self.calls.iter().rev().find(|call| call.number == number)
    }

    /// A task of it.
    pub fn passage(&self, id: TaskId) -> Option<&Passage> {
        self.tasks.iter().rev().find(|passage| passage.task.id == id)
    }

    fn passage_mut(&mut self, id: TaskId) -> Option<&mut Passage> {
        self.tasks.iter_mut().rev().find(|passage| passage.task.id == id)
    }

    /// How a task's result came into the conversation, once it has.
    pub fn way(&self, passage: &Passage) -> Option<Way> {
        let end = passage.end()?.at;
        let (number, _) = passage.entered?;
        let call = self.call(number)?;
        // The call that carries it may have begun in the same millisecond.
        let is_during = |call: &&Call| {
            call.number < number && call.start <= end && call.end.is_none_or(|over| end < over)
        };
        Some(Way {
            during: self.calls.iter().rev().find(is_during).map(|call| call.number),
            call: number,
            woke: call.wakes,
            at: call.start,
            waited: call.start.since(end),
        })
    }
}

#[cfg(test)]
mod tests;
