//! A session's story: how the result of each task came into the conversation.
//!
//! Built from facts and tasks as they arrive, or from a whole trace. Clients receive it as cards and as the lanes
//! of a timeline. Pure: it uses no clock and no ledger.

mod card;
pub mod piece;
mod timeline;

use std::collections::HashMap;
use std::time::Duration;

pub use card::{Card, CardKind, card_kind, step};
pub use timeline::{LANES_MAX, Timeline};

use super::trace::{DeliveredKind, Event, Fact, Origin, Trace};
use crate::background::task::{Task, TaskId, Timestamp};
use crate::background::words;

/// The events of a session so far.
#[derive(Debug, Clone, Default)]
pub struct Story {
    /// The number of the last fact.
    last: u64,
    /// What started the last turn, and when.
    turn: Option<(Origin, Timestamp)>,
    /// Model calls, in order.
    calls: Vec<Call>,
    /// Background tasks, by id.
    tasks: HashMap<TaskId, Passage>,
}

/// A model call.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Call {
    number: u64,
    /// When its request was sent: the results in it entered the conversation at this time.
    start: Timestamp,
    /// When its answer was complete.
    end: Option<Timestamp>,
    /// Whether this is the first call of a turn that started without a prompt.
    wakes: bool,
}

/// A background task, and the model call that its result entered.
#[derive(Debug, Clone)]
pub struct Passage {
    /// The task in the state last received.
    pub task: Task,
    /// The model call whose request contained its end; `None` before that.
    entered: Option<u64>,
}

/// How a result came into the conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Way {
    /// The model call that was running when the task ended, if one was.
    during: Option<u64>,
    /// The model call whose request contained the result.
    call: u64,
    /// Whether the result started that call's turn.
    woke: bool,
    /// The time between the task's end and that request.
    waited: Duration,
}

impl Way {
    /// Formats the values as text: `ended during call 2, entered call 3, waited 786 ms`.
    fn words(&self) -> String {
        let ended = match self.during {
            Some(during) => format!("ended during call {during}"),
            None if self.woke => "ended while the agent was idle".to_owned(),
            None => "ended between two calls".to_owned(),
        };
        let entered = if self.woke { "woke the agent with call" } else { "entered call" };
        let waited = match self.waited.as_millis() {
            millis @ 0..1_000 => format!("{millis} ms"),
            _ => words::elapsed(self.waited),
        };
        format!("{ended}, {entered} {}, waited {waited}", self.call)
    }
}

impl Story {
    /// Builds the story of a trace.
    pub fn of(trace: &Trace) -> Self {
        let mut story = Self::default();
        for journey in trace.journeys.iter().filter(|journey| !journey.task.is_step) {
            let entered = journey.delivered.map(|(call, _)| call);
            let passage = Passage { task: journey.task.clone(), entered };
            story.tasks.insert(passage.task.id, passage);
        }
        for event in &trace.events {
            story.take(event);
        }
        story
    }

    /// The tasks that have not ended, as far as the story knows.
    pub fn running(&self) -> Vec<TaskId> {
        let runs = self.tasks.values().filter(|passage| passage.task.end().is_none());
        runs.map(|passage| passage.task.id).collect()
    }

    /// Adds a fact; ignores one that was added before.
    pub fn take(&mut self, event: &Event) {
        if event.n <= self.last {
            return;
        }
        self.last = event.n;
        let at = event.at;
        match &event.fact {
            Fact::TurnStarted { origin, .. } => self.turn = Some((*origin, at)),
            Fact::CallStarted { call, .. } => {
                let wakes = self.turn.is_some_and(|(origin, began)| {
                    let is_first = self.calls.last().is_none_or(|call| call.start < began);
                    origin == Origin::Background && is_first
                });
                self.calls.push(Call { number: *call, start: at, end: None, wakes });
            }
            Fact::CallEnded { call, .. } => {
                let number = *call;
                if let Some(call) = self.calls.iter_mut().rev().find(|it| it.number == number) {
                    call.end.get_or_insert(at);
                }
            }
            Fact::Delivered { call, task_id, kind: DeliveredKind::Exited, .. } => {
                let passage = task_id.parse().ok().and_then(|id| self.tasks.get_mut(&id));
                if let Some(passage) = passage {
                    passage.entered = Some(*call);
                }
            }
            // A call that was running when the process died ended at the latest here.
            Fact::Resumed {} => {
                for call in self.calls.iter_mut().rev().take_while(|call| call.end.is_none()) {
                    call.end = Some(at);
                }
            }
            Fact::TurnEnded { .. }
            | Fact::TaskSpawned { .. }
            | Fact::ToolStarted { .. }
            | Fact::ToolEnded { .. }
            | Fact::Asked { .. }
            | Fact::Answered { .. }
            | Fact::Delivered { .. }
            | Fact::Compacted { .. } => {}
        }
    }

    /// Stores the current state of a task.
    fn keep(&mut self, task: Task) {
        let entered = self.tasks.get(&task.id).and_then(|passage| passage.entered);
        self.tasks.insert(task.id, Passage { task, entered });
    }

    /// Adds a task that moved to the background.
    pub fn began(&mut self, task: Task) {
        self.tasks.entry(task.id).or_insert(Passage { task, entered: None });
    }

    /// Adds a task that has ended, and the model call that its end entered.
    pub fn ended(&mut self, task: Task, call: u64) {
        let known = self.tasks.get(&task.id).and_then(|passage| passage.entered);
        // The fact about its delivery may have arrived before the task.
        let entered = known.or(Some(call));
        self.tasks.insert(task.id, Passage { task, entered });
    }

    /// The task with this id.
    pub fn passage(&self, id: TaskId) -> Option<&Passage> {
        self.tasks.get(&id)
    }

    /// How a task's result came into the conversation; `None` if it has not.
    fn way(&self, passage: &Passage) -> Option<Way> {
        let end = passage.task.end()?.at;
        let number = passage.entered?;
        let call = self.calls.iter().rev().find(|call| call.number == number)?;
        // The call whose request contains it may have started in the same millisecond.
        let is_during = |call: &&Call| {
            call.number < number && call.start <= end && call.end.is_none_or(|over| end < over)
        };
        Some(Way {
            during: self.calls.iter().rev().find(is_during).map(|call| call.number),
            call: number,
            woke: call.wakes,
            waited: call.start.since(end),
        })
    }
}

#[cfg(test)]
mod tests;
