//! What a timeline draws: facts about a session, kept in the order they happened.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::session::Error;
use crate::background::Background;
use crate::background::ledger::{NewFact, StoredFact};
use crate::background::task::{DeliveredBy, NotificationKind, Task, TaskId, Timestamp};

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
    /// A person is asked whether a tool may run. Not told to clients as a fact: old ones do not know it.
    Asked {
        /// The model call whose answer asked for it.
        call: u64,
        /// The model's id of the call.
        tool_call_id: String,
        /// What is asked, after "may the agent".
        question: String,
        /// Why it is asked.
        #[serde(default)]
        why: String,
    },
    /// The question was answered, or is not asked any more.
    Answered {
        /// The model's id of the call.
        tool_call_id: String,
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
        /// What it tells.
        kind: DeliveredKind,
        /// How it came into the request.
        #[serde(with = "StoredBy")]
        by: DeliveredBy,
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

/// What a notification that stands in a request tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveredKind {
    /// The task ended.
    Exited,
    /// A watch matched a line of its output.
    Matched,
    /// It waits for input.
    Stalled,
}

impl From<&NotificationKind> for DeliveredKind {
    fn from(kind: &NotificationKind) -> Self {
        match kind {
            NotificationKind::Exited => Self::Exited,
            NotificationKind::Matched(_) => Self::Matched,
            NotificationKind::Stalled => Self::Stalled,
        }
    }
}

/// A fact as it is stored.
#[derive(Serialize)]
struct Stored<'a> {
    #[serde(flatten)]
    fact: &'a Fact,
    #[serde(skip_serializing_if = "Option::is_none")]
    said: Option<u64>,
}

/// The last message of the step that a stored fact is the last one of, where it says so.
pub(crate) fn said_by(row: &StoredFact) -> Option<u64> {
    #[derive(Deserialize)]
    struct Said {
        said: Option<u64>,
    }
    serde_json::from_str::<Said>(&row.fact).ok()?.said
}

/// How [`DeliveredBy`], which knows no JSON, is stored.
#[derive(Serialize, Deserialize)]
#[serde(remote = "DeliveredBy", rename_all = "snake_case")]
enum StoredBy {
    Drain,
    Wait,
    Check,
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
    /// A living process has the session open.
    pub is_open: bool,
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
            | Self::Asked { .. }
            | Self::Answered { .. }
            | Self::TurnEnded { .. }
            | Self::Compacted { .. }
            | Self::Resumed {} => None,
        }
    }
}

impl Event {
    /// As the ledger keeps it. With `said` it is the last fact of a step whose last message has this number: times
    /// alone would not say which came first.
    pub(crate) fn to_row(&self, said: Option<u64>) -> NewFact {
        let stored = Stored { fact: &self.fact, said };
        NewFact {
            n: self.n,
            at: self.at,
            task: self.fact.task(),
            fact: serde_json::to_string(&stored).expect("a fact has string keys only"),
        }
    }

    /// From the ledger; `None` for a fact that only a newer program knows.
    pub(crate) fn from_row(row: &StoredFact) -> Option<Self> {
        let fact = serde_json::from_str(&row.fact).ok()?;
        Some(Self { n: row.n, at: row.at, fact })
    }
}

/// Reads a piece of a session's trace, at most `limit` events, and the way of its tasks as it stands now.
pub(crate) async fn read(
    background: &Background,
    id: &str,
    after: u64,
    limit: u32,
) -> Result<Trace, Error> {
    // What an open session has told its front may be on its way still.
    background.store().write(|_| Ok(())).await?;
    let (workspace, name) = (background.workspace().to_owned(), id.to_owned());
    let alive = background.liveness();
    let found = background.store().read(move |ledger| {
        let Some(traced) = ledger.traced(&workspace, &name, after, limit)? else {
            return Ok(None);
        };
        let is_open = traced.holder.is_some_and(|holder| alive(&holder));
        let next = traced.facts.last().map_or(after, |row| row.n);
        let events = traced.facts.iter().filter_map(Event::from_row).collect();
        let of_tasks: Vec<Event> = traced.of_tasks.iter().filter_map(Event::from_row).collect();
        let ids: Vec<TaskId> = of_tasks.iter().filter_map(|event| event.fact.task()).collect();
        // After the facts: a task that one of them names is there, and may stand further.
        let journeys = ledger.journeys(&workspace, &name, &ids)?;
        let trace = Trace { events, journeys: Vec::new(), next, is_open };
        Ok(Some((trace, spawns(of_tasks), journeys)))
    });
    let (mut trace, mut spawns, stored) =
        found.await?.ok_or_else(|| Error::Unknown(id.to_owned()))?;
    for journey in stored {
        let mut task = journey.task;
        if task.end().is_none() {
            // The supervisor knows better how it stands; what only it knows is in no ledger.
            task = background.get(task.id).await.unwrap_or(task);
        }
        let (tool_call_id, spawned_in_call) = spawns.remove(&task.id).unzip();
        let delivered = task.delivered.as_ref();
        trace.journeys.push(Journey {
            delivered: delivered.and_then(|told| Some((told.turn?, told.by))),
            queued: journey.queued,
            tool_call_id,
            spawned_in_call,
            task,
        });
    }
    Ok(trace)
}

/// For each task the tool call that started it and the model call that asked for that.
fn spawns(of_tasks: Vec<Event>) -> HashMap<TaskId, (String, u64)> {
    let mut spawns = HashMap::new();
    for Event { fact, .. } in of_tasks {
        let Some(task) = fact.task() else { continue };
        if let Fact::TaskSpawned { call, tool_call_id, .. } = fact {
            spawns.entry(task).or_insert((tool_call_id, call));
        }
    }
    spawns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_is_stored_in_these_words() {
        let words = [
            (DeliveredKind::Exited, DeliveredBy::Drain, "exited", "drain"),
            (DeliveredKind::Matched, DeliveredBy::Wait, "matched", "wait"),
            (DeliveredKind::Stalled, DeliveredBy::Check, "stalled", "check"),
        ];
        for (kind, by, kind_word, by_word) in words {
            let fact =
                Fact::Delivered { call: 3, task_id: "0123abcd".into(), seq: Some(1), kind, by };
            let stored = format!(
                r#"{{"type":"delivered","call":3,"taskId":"0123abcd","seq":1,"kind":"{kind_word}","by":"{by_word}"}}"#
            );
            let event = Event { n: 1, at: Timestamp(0), fact };
            let row = event.to_row(None);
            assert_eq!(row.fact, stored);
            let row = StoredFact { n: 1, at: Timestamp(0), fact: stored };
            assert_eq!(Event::from_row(&row), Some(event));
        }
    }
}
