//! Opens an existing session: reads and shows its conversation, and repairs what a crash left unfinished.
//!
//! A crash leaves at most one answer whose calls have no results. The task of a call that runs a command is found by
//! the token with which it was spawned; the outcome of other calls is unknown.

use std::collections::HashSet;
use std::time::Duration;

use meanwhile_shim::tree;

use super::again::{self, Started};
use super::calls::token;
use super::step::{Counts, new_messages, rows};
use super::turn::ended;
use super::watching::Since;
use super::work::{Begun, Replay, Told, Work};
use super::{Error, SessionId, Update};
use crate::agent::message::{Message, ToolCall, ToolResult};
use crate::agent::tools::Builtin;
use crate::agent::trace::{Event, Fact, Origin};
use crate::agent::usage::Cost;
use crate::background::Background;
use crate::background::ledger::{self, Addition, Claim, SessionRow};
use crate::background::task::{DeliveredBy, Timestamp};

/// The delay before a claim tries again, if the pid of the holder does not exist.
const CLAIM_ROUND: Duration = Duration::from_millis(10);
/// How many times it tries.
const CLAIM_PATIENCE: u32 = 200;

/// Claims a session for this process.
///
/// A holder that was killed while it started a child seems alive until the child has closed its copy of the bell. And
/// if the pid belongs to another container, a missing pid proves nothing. So neither sign decides at once.
pub(super) async fn claim(background: &Background, id: &str) -> Result<SessionId, Error> {
    let mut patience = CLAIM_PATIENCE;
    loop {
        let (workspace, name) = (background.workspace().to_owned(), id.to_owned());
        let (holder, alive) = (background.holder().to_owned(), background.liveness());
        let claim = background.store().write(move |ledger| {
            ledger.claim_session(&workspace, &name, (&holder, std::process::id()), &alive)
        });
        let pid = match claim.await? {
            Claim::Taken(SessionRow { id, .. }) => return Ok(SessionId(id)),
            // Its directory may have moved, as `mv project project-2` does.
            Claim::Unknown if adopt(background, id).await? => continue,
            Claim::Unknown => return Err(Error::Unknown(id.to_owned())),
            Claim::Held { pid } => pid,
        };
        if patience == 0 || tree::is_alive(pid) {
            return Err(Error::Busy { id: SessionId(id.to_owned()), pid });
        }
        patience -= 1;
        tokio::time::sleep(CLAIM_ROUND).await;
    }
}

/// Moves the session with this full id to this workspace if its own directory no longer exists. Returns whether there
/// was one.
async fn adopt(background: &Background, id: &str) -> Result<bool, Error> {
    let name = id.to_owned();
    let found = background.store().read(move |ledger| ledger.session_anywhere(&name)).await?;
    let Some(row) = found.filter(|row| !row.workspace.exists()) else { return Ok(false) };
    let workspace = background.workspace().to_owned();
    tracing::info!("session `{id}` of `{}` continues in this workspace", row.workspace.display());
    background.store().write(move |ledger| ledger.move_session(&row.id, &workspace)).await?;
    Ok(true)
}

/// Reads a session that this process has claimed, and repairs it.
pub(super) async fn read(background: &Background, id: &SessionId) -> Result<Begun, Error> {
    let (workspace, name) = (background.workspace().to_owned(), id.0.clone());
    let stored = background.store().read(move |ledger| {
        let title = ledger.session(&workspace, &name)?.and_then(|session| session.title);
        Ok((title, ledger.messages(&name)?, ledger.trace(&name)?))
    });
    let (title, rows, facts) = stored.await?;
    let mut begun = Begun { titled: title.is_some(), ..Begun::default() };
    begun.replay.title = title;
    begun.counts.messages = rows.last().map_or(0, |row| row.n);
    begun.counts.facts = facts.last().map_or(0, |row| row.n);
    begun.since = Since { message: begun.counts.messages, fact: begun.counts.facts };
    let facts: Vec<Event> = facts.iter().filter_map(Event::from_row).collect();
    let mut past = Past::read(&facts);
    begun.counts.calls = past.calls;
    begun.counts.turns = past.turns;
    begun.cost = past.cost;
    begun.used = past.used;
    begun.wakes = std::mem::take(&mut past.wakes);
    let mut answered = Vec::new();
    for row in &rows {
        let message = Message::from_json(&row.body).map_err(|error| {
            let why = format!("message {} of session `{id}` cannot be read: {error}", row.n);
            Error::Core(crate::Error::unavailable(crate::StoreFaultKind::Other, why))
        })?;
        if row.fresh {
            begun.history.clear();
        }
        if message.assistant().is_some() {
            answered.push(past.answered_by(row.at));
        }
        begun.history.push(message.clone());
        begun.replay.messages.push(message);
    }
    begun.resumed = true;
    tidy(&mut begun.history, &mut begun.ids);
    let is_open = |last: &Message| match last.assistant() {
        Some(answer) => !answer.calls().is_empty(),
        None => true,
    };
    begun.again = past.is_unfinished_wake() && begun.history.last().is_some_and(is_open);
    repair(background, id, &mut begun, &past).await?;
    begun.replay.told = Told {
        carried: past.carried.into_iter(),
        answered: answered.into_iter(),
        call: None,
        started: started(facts.iter().chain(&begun.replay.repair)),
    };
    Ok(begun)
}

/// The tasks that tool calls started.
fn started<'a>(facts: impl Iterator<Item = &'a Event>) -> Started {
    let spawned = facts.filter_map(|event| {
        let Fact::TaskSpawned { call, tool_call_id, task_id, .. } = &event.fact else {
            return None;
        };
        Some(((*call, tool_call_id.clone()), task_id.parse().ok()?))
    });
    spawned.collect()
}

/// Corrects ids of calls that an older version or another server left in a history. The stored messages do not change.
fn tidy(history: &mut [Message], ids: &mut HashSet<String>) {
    let mut changed: Vec<(String, String)> = Vec::new();
    for message in history {
        match message {
            Message::Assistant(answer) => {
                let old = answer.tidy(ids);
                let new = answer.calls().into_iter().map(|call| call.id);
                changed = old.into_iter().zip(new).collect();
            }
            Message::ToolResults { results } => {
                for (result, (old, new)) in results.iter_mut().zip(&changed) {
                    if result.call_id == *old {
                        result.call_id.clone_from(new);
                    }
                }
            }
            Message::Prompt { .. } | Message::Background { .. } | Message::Notice { .. } => {}
        }
    }
}

/// The state of a session, computed from its trace.
#[derive(Default)]
struct Past {
    calls: u64,
    turns: u64,
    cost: Option<Cost>,
    /// Tokens of the history.
    used: u64,
    wakes: Vec<Duration>,
    /// The model calls whose requests contained results from the queue: one for each such message, in order.
    carried: Vec<u64>,
    /// The model calls that were answered, and when.
    answered: Vec<(Timestamp, u64)>,
    open_turn: Option<u64>,
    /// Whether results started the last turn.
    was_wake: bool,
    /// Whether the last turn failed.
    has_failed: bool,
    open_call: Option<u64>,
    /// Tool calls that did not end.
    open_tools: Vec<String>,
    /// The tasks that the trace records as spawned.
    spawned: Vec<String>,
}

impl Past {
    fn read(facts: &[Event]) -> Self {
        let mut past = Self::default();
        let now = Timestamp::now();
        for event in facts {
            match &event.fact {
                Fact::TurnStarted { turn, origin, .. } => {
                    past.turns = past.turns.max(*turn);
                    past.open_turn = Some(*turn);
                    past.was_wake = *origin == Origin::Background;
                    past.has_failed = false;
                    if *origin == Origin::Background {
                        past.wakes.push(now.since(event.at));
                    }
                }
                Fact::CallStarted { call, .. } => {
                    past.calls = past.calls.max(*call);
                    past.open_call = Some(*call);
                }
                Fact::CallEnded { call, error, cost_usd, input_tokens, output_tokens, .. } => {
                    past.open_call = None;
                    if error.is_none() {
                        past.answered.push((event.at, *call));
                    }
                    // A failed call has no token counts.
                    if let Some(input) = input_tokens {
                        past.used = input.saturating_add(output_tokens.unwrap_or(0));
                    }
                    if let Some(cost) = cost_usd.and_then(Cost::from_dollars) {
                        *past.cost.get_or_insert_default() += cost;
                    }
                }
                Fact::ToolStarted { tool_call_id, .. } => {
                    past.open_tools.push(tool_call_id.clone());
                }
                Fact::ToolEnded { tool_call_id, .. } => {
                    past.open_tools.retain(|open| open != tool_call_id);
                }
                Fact::TaskSpawned { task_id, .. } => past.spawned.push(task_id.clone()),
                Fact::Delivered { call, by, .. } => {
                    if *by == DeliveredBy::Drain && past.carried.last() != Some(call) {
                        past.carried.push(*call);
                    }
                }
                Fact::TurnEnded { stop_reason, .. } => {
                    past.open_turn = None;
                    past.has_failed = stop_reason == "failed";
                }
                Fact::Compacted { .. } => past.used = 0,
                Fact::Asked { .. } | Fact::Answered { .. } | Fact::Resumed {} => {}
            }
        }
        past
    }
}

impl Past {
    /// The model call whose answer was stored at this time: the last one that ended by then.
    fn answered_by(&self, stored: Timestamp) -> Option<u64> {
        self.answered.iter().rev().find(|(at, _)| *at <= stored).map(|(_, call)| *call)
    }

    /// Whether results started the last turn and it failed or was cut off: then nothing else would continue it.
    fn is_unfinished_wake(&self) -> bool {
        self.was_wake && (self.has_failed || self.open_turn.is_some())
    }
}

/// Adds results for the calls that a crash left open, and facts for what the trace left unfinished. Stores them before
/// the conversation is shown, so that every later reader of the session finds it repaired.
async fn repair(
    background: &Background,
    id: &SessionId,
    begun: &mut Begun,
    past: &Past,
) -> Result<(), Error> {
    let (mut messages, mut facts) = (Vec::new(), Vec::new());
    let calls = match begun.history.last() {
        Some(Message::Assistant(answer)) => answer.calls(),
        Some(
            Message::Prompt { .. }
            | Message::ToolResults { .. }
            | Message::Background { .. }
            | Message::Notice { .. },
        )
        | None => Vec::new(),
    };
    if !calls.is_empty() {
        let mut results = Vec::with_capacity(calls.len());
        for (i, call) in calls.iter().enumerate() {
            let token = token(id, begun.counts.messages, i);
            let (content, spawned) = cut_off(background, id, token, call, past).await?;
            facts.extend(spawned);
            results.push(ToolResult { call_id: call.id.clone(), content, is_error: true });
        }
        messages.push(Message::ToolResults { results });
        begun.interrupted = true;
    }
    for tool_call_id in &past.open_tools {
        facts.push(Fact::ToolEnded { tool_call_id: tool_call_id.clone(), is_error: true });
    }
    let error = || Some("cut off by a restart of the agent".to_owned());
    if let Some(call) = past.open_call {
        facts.push(ended(past.turns, call, None, error()));
    }
    if let Some(turn) = past.open_turn {
        facts.push(Fact::TurnEnded { turn, stop_reason: "failed".to_owned(), error: error() });
        begun.interrupted = true;
    }
    facts.push(Fact::Resumed {});
    let (at, first) = (Timestamp::now(), begun.counts.facts + 1);
    let facts: Vec<_> =
        facts.into_iter().zip(first..).map(|(fact, n)| Event { n, at, fact }).collect();
    store(background, id, begun.counts, (&messages, &facts)).await?;
    begun.counts.messages += messages.len() as u64;
    begun.counts.facts += facts.len() as u64;
    begun.replay.messages.extend(messages.iter().cloned());
    begun.history.extend(messages);
    begun.replay.repair = facts;
    Ok(())
}

async fn store(
    background: &Background,
    id: &SessionId,
    counts: Counts,
    (messages, facts): (&[Message], &[Event]),
) -> Result<(), Error> {
    let first = counts.messages + 1;
    let addition = Addition {
        session: id.0.clone(),
        workspace: background.workspace().to_owned(),
        title: None,
        messages: new_messages(messages, first, false),
        facts: rows(facts, messages.len(), first),
        seen: Vec::new(),
        claims: Vec::new(),
        call: counts.calls,
        drain: 0,
        only_with_news: false,
    };
    let alive = background.liveness();
    let write = background
        .store()
        .write(move |ledger| ledger.append(&addition, &alive, |_| (ledger::Told::default(), ())));
    write.await?;
    background.tell_said();
    Ok(())
}

/// The result for a call that was cut off, and the fact of the task that it started if the trace lacks it.
async fn cut_off(
    background: &Background,
    id: &SessionId,
    token: String,
    call: &ToolCall,
    past: &Past,
) -> Result<(String, Option<Fact>), Error> {
    let workspace = background.workspace().to_owned();
    let known = background.store().read(move |l| l.token(&workspace, &token)).await?;
    let task = match known {
        Some(task) => match background.get(task).await {
            Ok(task) => Some(task),
            Err(crate::Error::UnknownTask(_)) => None,
            Err(error) => return Err(error.into()),
        },
        None => None,
    };
    let Some(task) = task.filter(|task| task.queue == id.0) else {
        let text = "interrupted by a restart of the agent: it may or may not have happened, so look \
                    before you do it again";
        return Ok((text.to_owned(), None));
    };
    // Its result will arrive as a notification, so it must be a background task for every later load, even if ended.
    if task.is_step && task.delivered.is_none() {
        background.promote(task.id).await?;
    }
    let is_known = past.spawned.iter().any(|spawned| spawned == task.id.as_str());
    let spawned = (!is_known).then(|| Fact::TaskSpawned {
        call: past.calls,
        tool_call_id: call.id.clone(),
        task_id: task.id.to_string(),
        command: task.command.clone(),
        moved: Builtin::named(&call.name) == Some(Builtin::Bash),
    });
    let id = task.id;
    let text = match (task.end(), &task.delivered) {
        (None, _) => format!(
            "the agent was restarted while this ran; it goes on in the background as task {id}, and \
             its result comes by itself"
        ),
        (Some(_), None) => format!(
            "the agent was restarted while this ran; it has ended meanwhile, as task {id}, and its \
             result comes by itself"
        ),
        (Some(_), Some(_)) => format!(
            "the agent was restarted while this ran; it has ended, as task {id}, and \
             task_output(\"{id}\") shows what it wrote"
        ),
    };
    Ok((text, spawned))
}

impl Work {
    /// Shows the conversation so far, and the facts of the repair.
    pub(super) async fn begin_again(&mut self, replay: Replay) {
        if let Some(title) = replay.title {
            self.out.send(Update::Title(title)).await;
        }
        let mut past = replay.told;
        for message in replay.messages {
            let call = match &message {
                Message::Background { .. } => past.carried.next(),
                Message::Assistant(_) => {
                    past.call = past.answered.next().flatten();
                    past.call
                }
                Message::Prompt { .. } | Message::ToolResults { .. } | Message::Notice { .. } => {
                    past.call
                }
            };
            for update in again::updates(&self.toolbox, message, call, &past.started).await {
                self.out.send(update).await;
            }
        }
        for event in replay.repair {
            self.show(event).await;
        }
    }

    /// Tells the model, in the first turn after a load, that its last turn was cut off, and which tasks run.
    pub(super) async fn tell_resumed(&mut self) {
        let interrupted = std::mem::take(&mut self.interrupted);
        let mut text = String::from("The session was resumed. No human input in this message.");
        if interrupted {
            text.push_str(" The agent was restarted in the middle of its last turn.");
        }
        match self.running().await {
            Some(running) => text.push_str(&format!("\n{running}")),
            None if interrupted => {}
            // The model knows everything already.
            None => return,
        }
        self.notice(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_of_two_answers_with_one_id_started_two_tasks() {
        let spawned = |n: u64, task_id: &str| Event {
            n,
            at: Timestamp(0),
            fact: Fact::TaskSpawned {
                call: n,
                tool_call_id: "call_0".to_owned(),
                task_id: task_id.to_owned(),
                command: String::new(),
                moved: false,
            },
        };
        let facts = [spawned(1, "aaaaaaaa"), spawned(2, "bbbbbbbb")];
        let started = started(facts.iter());
        let of = |call| started[&(call, "call_0".to_owned())].to_string();
        assert_eq!((of(1), of(2)), ("aaaaaaaa".to_owned(), "bbbbbbbb".to_owned()));
    }
}
