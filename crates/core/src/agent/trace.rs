//! The facts about a session that a timeline draws, in the order in which they happened.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::session::Error;
use crate::background::Background;
use crate::background::ledger::{NewFact, StoredFact};
use crate::background::task::{DeliveredBy, NotificationKind, Task, TaskId, Timestamp};

/// Maximum number of events in one page of a trace.
pub const EVENTS_MAX: u32 = 5_000;

/// One recorded fact, with its number and time.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// The number, ascending within the session from 1.
    pub n: u64,
    /// When it happened, by the daemon's clock.
    pub at: Timestamp,
    /// What happened, with its data.
    pub fact: Fact,
}

/// What started a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// A prompt from a person.
    Prompt,
    /// Results of background tasks, while the agent was idle.
    Background,
}

/// Kinds of facts. Stored as JSON under these names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum Fact {
    /// A turn started.
    TurnStarted {
        /// The turn's number in the session, from 1.
        turn: u64,
        /// What started it.
        origin: Origin,
        /// The beginning of the prompt, used as a label.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        title: Option<String>,
    },
    /// A request was sent to the model.
    CallStarted {
        /// The number of the turn.
        turn: u64,
        /// The number of the model call in the session, from 1.
        call: u64,
    },
    /// The answer was complete, or the call failed after its last retry.
    CallEnded {
        /// The number of the turn.
        turn: u64,
        /// The number of the model call.
        call: u64,
        /// The model's stop reason.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stop_reason: Option<String>,
        /// The error, if the call failed.
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
        /// The cost in US dollars.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cost_usd: Option<f64>,
    },
    /// A tool call started.
    ToolStarted {
        /// The model call whose answer requested it.
        call: u64,
        /// The id that the model gave the tool call.
        tool_call_id: String,
        /// The tool's name, as in the request.
        name: String,
        /// The title that a person sees.
        title: String,
    },
    /// A tool call ended.
    ToolEnded {
        /// The id that the model gave the tool call.
        tool_call_id: String,
        /// Whether the tool failed.
        is_error: bool,
    },
    /// A person is asked whether a tool may run. Not sent to clients as a fact, because old ones do not know
    /// it.
    Asked {
        /// The model call whose answer requested the tool.
        call: u64,
        /// The id that the model gave the tool call.
        tool_call_id: String,
        /// The question, to follow "may the agent".
        question: String,
        /// Why the person is asked.
        #[serde(default)]
        why: String,
    },
    /// The question was answered or withdrawn.
    Answered {
        /// The id that the model gave the tool call.
        tool_call_id: String,
    },
    /// A tool started a task.
    TaskSpawned {
        /// The model call whose answer requested it.
        call: u64,
        /// The id that the model gave the tool call.
        tool_call_id: String,
        /// The task's id.
        task_id: String,
        /// The command line.
        command: String,
        /// Whether the command started in the foreground and was moved to the background.
        moved: bool,
    },
    /// A request to the model contains a notification.
    Delivered {
        /// The model call whose request contains it.
        call: u64,
        /// The task's id.
        task_id: String,
        /// The notification's number, if it came from the queue.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seq: Option<u64>,
        /// What the notification reports.
        kind: DeliveredKind,
        /// How the notification got into the request.
        #[serde(with = "StoredBy")]
        by: DeliveredBy,
    },
    /// A turn ended.
    TurnEnded {
        /// The number of the turn.
        turn: u64,
        /// How the turn ended: `end_turn`, `failed`, or another word of `TurnEnd`.
        stop_reason: String,
        /// The error message, if the turn failed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    /// The history was replaced by a summary to save context.
    Compacted {
        /// The model call that wrote the summary.
        call: u64,
    },
    /// The session was loaded from the ledger.
    Resumed {},
}

/// What a delivered notification reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveredKind {
    /// The task ended.
    Exited,
    /// A watch matched a line of its output.
    Matched,
    /// The task waits for input.
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

/// A fact in the form that is stored.
#[derive(Serialize)]
struct Stored<'a> {
    #[serde(flatten)]
    fact: &'a Fact,
    #[serde(skip_serializing_if = "Option::is_none")]
    said: Option<u64>,
}

/// The last message of the step whose last fact this is, if the stored row says so.
pub(crate) fn said_by(row: &StoredFact) -> Option<u64> {
    #[derive(Deserialize)]
    struct Said {
        said: Option<u64>,
    }
    serde_json::from_str::<Said>(&row.fact).ok()?.said
}

/// The stored names of [`DeliveredBy`], whose own module uses no JSON.
#[derive(Serialize, Deserialize)]
#[serde(remote = "DeliveredBy", rename_all = "snake_case")]
enum StoredBy {
    Drain,
    Wait,
    Check,
}

/// A task of a session, from the call that started it to the delivery of its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Journey {
    /// The task in its current state.
    pub task: Task,
    /// The tool call that started it, if one did.
    pub tool_call_id: Option<String>,
    /// The model call whose answer requested that tool call.
    pub spawned_in_call: Option<u64>,
    /// When the notification of its end was queued, and the notification's number.
    pub queued: Option<(Timestamp, u64)>,
    /// The model call whose request contained its end, and how the notification was delivered.
    pub delivered: Option<(u64, DeliveredBy)>,
}

/// One page of a trace.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    /// Facts, oldest first.
    pub events: Vec<Event>,
    /// Every task of the session, oldest first.
    pub journeys: Vec<Journey>,
    /// The number to continue after.
    pub next: u64,
    /// Whether a living process has the session open.
    pub is_open: bool,
}

impl Fact {
    /// The task that the fact is about.
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
    /// The row for the ledger. `said` marks the last fact of a step and is the number of the step's last
    /// message, because timestamps alone would not give the order.
    pub(crate) fn to_row(&self, said: Option<u64>) -> NewFact {
        let stored = Stored { fact: &self.fact, said };
        NewFact {
            n: self.n,
            at: self.at,
            task: self.fact.task(),
            fact: serde_json::to_string(&stored).expect("a fact has string keys only"),
        }
    }

    /// Parses a row of the ledger; `None` for a kind of fact that only a newer version knows.
    pub(crate) fn from_row(row: &StoredFact) -> Option<Self> {
        let fact = serde_json::from_str(&row.fact).ok()?;
        Some(Self { n: row.n, at: row.at, fact })
    }
}

/// Reads a page of a session's trace, at most `limit` events, with the current state of its tasks.
pub(crate) async fn read(
    background: &Background,
    id: &str,
    after: u64,
    limit: u32,
) -> Result<Trace, Error> {
    // Writes of an open session that its front already knows of may still be queued.
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
        // Read after the facts, so that every task that they name exists; its state may be more recent.
        let journeys = ledger.journeys(&workspace, &name, &ids)?;
        let trace = Trace { events, journeys: Vec::new(), next, is_open };
        Ok(Some((trace, spawns(of_tasks), journeys)))
    });
    let (mut trace, mut spawns, stored) =
        found.await?.ok_or_else(|| Error::Unknown(id.to_owned()))?;
    for journey in stored {
        let mut task = journey.task;
        if task.end().is_none() {
            // The supervisor has a more recent state, and some of it is never in the ledger.
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

/// For each task, the tool call that started it and the model call that requested it.
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
