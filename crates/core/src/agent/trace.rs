//! What a timeline draws: facts about a session, kept in the order they happened.

use serde::{Deserialize, Serialize};

use super::session::Error;
use crate::background::Background;
use crate::ledger::{NewFact, StoredFact};
use crate::task::{DeliveredBy, Task, TaskId, Timestamp};

/// Events in one piece of a trace at most.
pub const EVENTS_MAX: u32 = 5_000;

/// One fact.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Its number: ascending within the session, from 1.
    pub n: u64,
    /// When.
    pub at: Timestamp,
    /// What.
    pub fact: Fact,
}

/// What started a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// A person.
    Prompt,
    /// Results of background tasks, while the agent was idle.
    Background,
}

/// What can happen. Stored as JSON with these names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum Fact {
    /// A turn began.
    TurnStarted {
        /// Its number in the session, from 1.
        turn: u64,
        /// Who began it.
        origin: Origin,
        /// The beginning of the prompt, for a label.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        title: Option<String>,
    },
    /// A request went to the model.
    CallStarted {
        /// The turn.
        turn: u64,
        /// The model call, counted in the session from 1.
        call: u64,
    },
    /// Its answer was whole, or it failed for good.
    CallEnded {
        /// The turn.
        turn: u64,
        /// The model call.
        call: u64,
        /// Why the model stopped.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stop_reason: Option<String>,
        /// Why it failed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
        /// Tokens of the request.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        input_tokens: Option<u64>,
        /// Tokens of the answer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        output_tokens: Option<u64>,
        /// Tokens read from the prompt cache.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cached_tokens: Option<u64>,
        /// What it cost, in US dollars.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cost_usd: Option<f64>,
    },
    /// A tool began to run.
    ToolStarted {
        /// The model call whose answer asked for it.
        call: u64,
        /// The model's id of the call.
        tool_call_id: String,
        /// The tool.
        name: String,
        /// What a person is shown.
        title: String,
    },
    /// It came to an end.
    ToolEnded {
        /// The model's id of the call.
        tool_call_id: String,
        /// It failed.
        is_error: bool,
    },
    /// A tool started a command.
    TaskSpawned {
        /// The model call whose answer asked for it.
        call: u64,
        /// The model's id of the call.
        tool_call_id: String,
        /// The task.
        task_id: String,
        /// The command.
        command: String,
        /// It began in the foreground.
        moved: bool,
    },
    /// A notification stands in a request.
    Delivered {
        /// The model call whose request carries it.
        call: u64,
        /// The task.
        task_id: String,
        /// The notification's number, where it came from the queue.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seq: Option<u64>,
        /// `exited`, `matched` or `stalled`.
        kind: String,
        /// `drain`, `check` or `wait`.
        by: String,
    },
    /// A turn ended.
    TurnEnded {
        /// The turn.
        turn: u64,
        /// Why.
        stop_reason: String,
        /// What went wrong.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    /// The history was replaced by a summary for the model's sake.
    Compacted {
        /// The model call that wrote the summary.
        call: u64,
    },
    /// The session was loaded again.
    Resumed {},
}

/// The way of one task through a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Journey {
    /// The task as it stands.
    pub task: Task,
    /// The tool call that started it, if one did.
    pub tool_call_id: Option<String>,
    /// The model call whose answer asked for it.
    pub spawned_in_call: Option<u64>,
    /// When its end was queued, and under which number.
    pub queued: Option<(Timestamp, u64)>,
    /// The model call whose request carried its end, and by what.
    pub delivered: Option<(u64, DeliveredBy)>,
}

/// A piece of a trace.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    /// Facts, oldest first.
    pub events: Vec<Event>,
    /// Every task of the session, oldest first.
    pub journeys: Vec<Journey>,
    /// Where to go on.
    pub next: u64,
}

impl Fact {
    /// The task it is about.
    fn task(&self) -> Option<TaskId> {
        match self {
            Self::TaskSpawned { task_id, .. } | Self::Delivered { task_id, .. } => {
                task_id.parse().ok()
            }
            Self::TurnStarted { .. }
            | Self::CallStarted { .. }
            | Self::CallEnded { .. }
            | Self::ToolStarted { .. }
            | Self::ToolEnded { .. }
            | Self::TurnEnded { .. }
            | Self::Compacted { .. }
            | Self::Resumed {} => None,
        }
    }
}

impl Event {
    /// As the ledger keeps it.
    pub(crate) fn to_row(&self) -> NewFact {
        NewFact {
            n: self.n,
            at: self.at,
            task: self.fact.task(),
            fact: serde_json::to_string(&self.fact).expect("a fact has string keys only"),
        }
    }

    /// From the ledger; `None` for a fact that only a newer program knows.
    pub(crate) fn from_row(row: &StoredFact) -> Option<Self> {
        let fact = serde_json::from_str(&row.fact).ok()?;
        Some(Self { n: row.n, at: row.at, fact })
    }
}

/// Reads a piece of a session's trace, and the way of its tasks as it stands now.
pub(crate) async fn read(background: &Background, id: &str, after: u64) -> Result<Trace, Error> {
    // What an open session has told its front may be on its way still.
    background.store().write(|_| Ok(())).await?;
    let (workspace, name) = (background.workspace().to_owned(), id.to_owned());
    let found = background.store().read(move |ledger| {
        if ledger.session(&workspace, &name)?.is_none() {
            return Ok(None);
        }
        let rows = ledger.trace(&name, after, EVENTS_MAX, false)?;
        let of_tasks: Vec<Event> =
            ledger.trace(&name, 0, u32::MAX, true)?.iter().filter_map(Event::from_row).collect();
        let ids: Vec<TaskId> = of_tasks.iter().filter_map(|event| event.fact.task()).collect();
        let journeys = ledger.journeys(&workspace, &name, &ids)?;
        Ok(Some((rows, of_tasks, journeys)))
    });
    let (rows, of_tasks, stored) = found.await?.ok_or_else(|| Error::Unknown(id.to_owned()))?;
    let next = rows.last().map_or(after, |row| row.n);
    let mut journeys = Vec::with_capacity(stored.len());
    for journey in stored {
        let mut task = journey.task;
        if task.end().is_none() {
            // The supervisor knows better how it stands; what only it knows is in no ledger.
            task = background.get(task.id).await.unwrap_or(task);
        }
        let spawned = of_tasks.iter().find_map(|event| match &event.fact {
            Fact::TaskSpawned { call, tool_call_id, task_id, .. }
                if task_id == task.id.as_str() =>
            {
                Some((tool_call_id.clone(), *call))
            }
            Fact::TaskSpawned { .. }
            | Fact::TurnStarted { .. }
            | Fact::CallStarted { .. }
            | Fact::CallEnded { .. }
            | Fact::ToolStarted { .. }
            | Fact::ToolEnded { .. }
            | Fact::Delivered { .. }
            | Fact::TurnEnded { .. }
            | Fact::Compacted { .. }
            | Fact::Resumed {} => None,
        });
        let delivered = task.delivered.as_ref();
        journeys.push(Journey {
            delivered: delivered.and_then(|told| Some((told.turn?, told.by))),
            queued: journey.queued,
            tool_call_id: spawned.as_ref().map(|(id, _)| id.clone()),
            spawned_in_call: spawned.map(|(_, call)| call),
            task,
        });
    }
    let events = rows.iter().filter_map(Event::from_row).collect();
    Ok(Trace { events, journeys, next })
}
