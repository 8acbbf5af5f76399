//! Converts events of an agent session to the types of the Agent Client Protocol.
//!
//! Each update of the core becomes one push or one question. A [`Teller`] remembers, for one session, which tool
//! calls run as tasks: the protocol replaces a call's whole content, so the last update has to name the task again.
//! It also follows the session's story, so that clients need not: each chunk names its model call, and results become
//! cards.

use std::collections::HashMap;

use meanwhile_core::agent::message::Image;
use meanwhile_core::agent::permission::Scope;
use meanwhile_core::agent::session::{Ask, TurnEnd, Update};
use meanwhile_core::agent::story::{self, CardKind, Story};
use meanwhile_core::agent::tools::{Diff, Kind, PlanEntry, PlanStatus};
use meanwhile_core::agent::trace::{Event, Fact, Origin};
use meanwhile_core::agent::{Cost, Usage};
use meanwhile_core::background::task::{Notification, NotificationKind, Task, TaskId};
use meanwhile_core::background::words;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{to_wire, trace, unseen};
use crate::wire::{
    self, Card, Own, OwnOrigin, OwnQuestion, Push, RetryingPush, TracedPush, TurnPush, TurnState,
    acp,
};

/// Converts the updates of one session.
#[derive(Debug)]
pub(crate) struct Teller {
    session: String,
    /// The task ids of the tool calls in progress.
    terminals: HashMap<String, String>,
    /// The titles of the tool calls in progress.
    titles: HashMap<String, String>,
    story: Story,
    /// The number of the current model call.
    call: Option<u64>,
}

/// The end of a notice, which only models need.
const FOR_MODELS: &str = " No human input in this message.";

/// What the client is sent about an update.
#[derive(Debug)]
pub(crate) enum Told {
    /// A push without a reply.
    Push(Box<Push>),
    /// A question to the person.
    Ask(Box<Ask>),
}

impl Told {
    fn push(push: Push) -> Self {
        Self::Push(Box::new(push))
    }
}

impl Teller {
    /// Creates a teller for this session, with its story so far.
    pub(crate) fn new(session: String, story: Story) -> Self {
        Self { session, terminals: HashMap::new(), titles: HashMap::new(), story, call: None }
    }

    /// Converts an update; `None` if the client is sent nothing.
    #[expect(clippy::too_many_lines, reason = "one arm for each kind of update")]
    pub(crate) fn tell(&mut self, update: Update) -> Option<Told> {
        use acp::SessionUpdate as To;
        let update = match update {
            Update::Ask(ask) => return Some(Told::Ask(Box::new(ask))),
            Update::TurnStarted { turn, origin, prompt } => {
                return Some(self.turn(turn, TurnState::Started, origin, prompt, None));
            }
            Update::TurnEnded { turn, origin, end } => {
                self.terminals.clear();
                self.titles.clear();
                return Some(self.turn(turn, TurnState::Ended, origin, None, Some(end)));
            }
            Update::Answer { call } => {
                self.call = Some(call);
                return None;
            }
            Update::Traced(event) => {
                self.story.take(&event);
                if let Fact::CallStarted { call, .. } = event.fact {
                    self.call = Some(call);
                }
                let event = trace::event(event)?;
                let session_id = self.session.clone();
                return Some(Told::push(Push::Traced(TracedPush { session_id, event })));
            }
            Update::Retrying { attempt, delay, why } => {
                return Some(Told::push(Push::Retrying(RetryingPush {
                    session_id: self.session.clone(),
                    attempt,
                    call: self.call,
                    delay_ms: to_wire::millis(delay),
                    says: format!(
                        "{why}; asked again in {} (attempt {attempt})",
                        words::elapsed(delay)
                    ),
                    message: why,
                })));
            }
            Update::Prompt(text) => To::UserMessageChunk(chunk(text)),
            Update::Image(Image { kind, data }) => {
                let image = acp::ImageContent::new(data, kind);
                To::UserMessageChunk(acp::ContentChunk::new(acp::ContentBlock::Image(image)))
            }
            Update::Text(text) => To::AgentMessageChunk(chunk(text).meta(self.said())),
            Update::Thinking(text) => To::AgentThoughtChunk(chunk(text).meta(self.said())),
            Update::ToolCall { id, name, title, kind, input, locations } => To::ToolCall({
                self.titles.insert(id.clone(), title.clone());
                acp::ToolCall::new(id, title)
                    .name(name)
                    .kind(self::kind(kind))
                    .raw_input(value(&input))
                    .locations(locations.into_iter().map(acp::ToolCallLocation::new).collect())
                    .meta(self.said())
            }),
            Update::ToolRunning { id, confined } => {
                let status = acp::ToolCallStatus::InProgress;
                let update = acp::ToolCallUpdateFields::new().status(status);
                let update = acp::ToolCallUpdate::new(id, update);
                To::ToolCallUpdate(match confined {
                    Some(mode) => {
                        update.meta(meta(&Own { confined: Some(mode.name()), ..Own::default() }))
                    }
                    None => update,
                })
            }
            Update::ToolTask { id, task, background } => {
                let name = task.id.to_string();
                self.terminals.insert(id.clone(), name.clone());
                if background {
                    self.story.began(task);
                }
                let fields = acp::ToolCallUpdateFields::new().content(vec![terminal(&name)]);
                let update = acp::ToolCallUpdate::new(id, fields);
                To::ToolCallUpdate(update.meta(background.then(|| in_background(name))))
            }
            Update::ToolEnded { id, content, is_error, diff, task, denied: _ } => {
                let live = self.terminals.remove(&id);
                let shown = live.or_else(|| task.map(|task| task.to_string()));
                let task = shown.as_deref().and_then(|id| id.parse().ok());
                let title = self.titles.remove(&id).unwrap_or_else(|| id.clone());
                let own = match (task, &shown) {
                    (Some(task), Some(shown)) if self.story.passage(task).is_some() => {
                        Some(in_background(shown.clone()))
                    }
                    (Some(task), _) => step_card(task, title, &content)
                        .map(|card| meta(&Own { card: Some(card), ..Own::default() })),
                    (None, _) => None,
                };
                To::ToolCallUpdate(ended(id, content, is_error, diff, shown.as_deref()).meta(own))
            }
            Update::Plan(entries) => {
                To::Plan(acp::Plan::new(entries.into_iter().map(step).collect()))
            }
            Update::Background { call, text, notifications } => {
                let about = self.results(call, &text, notifications);
                To::UserMessageChunk(chunk(text).meta(meta(&about)))
            }
            Update::Notice(text) => {
                let (origin, shown) = (Some(OwnOrigin::Notice), Some(text.replace(FOR_MODELS, "")));
                let about = Own { origin, shown, ..Own::default() };
                To::UserMessageChunk(chunk(text).meta(meta(&about)))
            }
            Update::Usage { used, size, last, cost } => {
                To::UsageUpdate(usage(used, size, last, cost))
            }
            Update::Title(title) => {
                To::SessionInfoUpdate(acp::SessionInfoUpdate::new().title(title))
            }
        };
        let session = acp::SessionId::new(self.session.as_str());
        Some(Told::push(Push::Session(Box::new(acp::SessionNotification::new(session, update)))))
    }

    /// Stores a task before its result is converted, and the model call that its end entered, if the result is its
    /// end.
    pub(crate) fn knows(&mut self, task: Task, entered: Option<u64>) {
        match entered {
            Some(call) => self.story.ended(task, call),
            None => self.story.began(task),
        }
    }

    /// The `_meta` of what the model says.
    fn said(&self) -> Option<acp::Meta> {
        self.call.map(|call| meta(&Own { call: Some(call), ..Own::default() }))
    }

    /// The cards and task ids for a message with results.
    fn results(&mut self, call: u64, text: &str, told: Vec<Notification>) -> Own {
        for Notification { task, kind, .. } in told {
            match kind {
                NotificationKind::Exited => self.story.ended(task, call),
                NotificationKind::Matched(_) | NotificationKind::Stalled => {
                    self.story.began(task);
                }
            }
        }
        let cards = self.story.cards(call, text);
        let mut task_ids: Vec<String> = Vec::with_capacity(cards.len());
        for card in &cards {
            let id = card.task.to_string();
            if !task_ids.contains(&id) {
                task_ids.push(id);
            }
        }
        let cards: Vec<_> = cards.into_iter().map(|it| card(&self.story, it)).collect();
        let count = match cards.len() {
            0 | 1 => "A background result".to_owned(),
            more => format!("{more} background results"),
        };
        let says = Some(format!("{count} entered here, with model call {call}"));
        let origin = Some(OwnOrigin::Background);
        Own { origin, call: Some(call), task_ids, says, cards, ..Own::default() }
    }

    fn turn(
        &self,
        turn: u64,
        state: TurnState,
        origin: Origin,
        prompt: Option<String>,
        end: Option<TurnEnd>,
    ) -> Told {
        let (stop_reason, error) = match end.map(stop_reason) {
            None => (None, None),
            Some(Ok(reason)) => (Some(reason), None),
            Some(Err(error)) => (None, Some(error)),
        };
        Told::push(Push::Turn(TurnPush {
            session_id: self.session.clone(),
            turn,
            state,
            origin: trace::origin(origin),
            prompt,
            says: stop_reason.and_then(ending),
            stop_reason,
            error,
        }))
    }
}

/// ACP's reason for the end of a turn, or what went wrong.
pub(crate) fn stop_reason(end: TurnEnd) -> Result<acp::StopReason, String> {
    Ok(match end {
        TurnEnd::EndTurn => acp::StopReason::EndTurn,
        TurnEnd::MaxTokens => acp::StopReason::MaxTokens,
        TurnEnd::MaxCalls => acp::StopReason::MaxTurnRequests,
        TurnEnd::Refusal => acp::StopReason::Refusal,
        TurnEnd::Cancelled => acp::StopReason::Cancelled,
        TurnEnd::Failed(why) => return Err(why),
    })
}

/// A sentence about the end of a turn; `None` if the turn ended normally.
fn ending(reason: acp::StopReason) -> Option<&'static str> {
    match reason {
        acp::StopReason::Cancelled => Some("Cancelled. Background tasks go on."),
        acp::StopReason::Refusal => Some("The model refused to go on."),
        acp::StopReason::MaxTokens => {
            Some("The answer reached its maximum length and was cut off.")
        }
        acp::StopReason::MaxTurnRequests => {
            Some("The turn was ended at the maximum number of model calls.")
        }
        acp::StopReason::EndTurn | _ => None,
    }
}

/// Converts a question to a request to the client.
pub(crate) fn permission(session: &str, ask: &Ask) -> acp::RequestPermissionRequest {
    let fields = acp::ToolCallUpdateFields::new()
        .title(ask.title.as_str())
        .kind(kind(ask.kind))
        .status(acp::ToolCallStatus::Pending);
    let why = text_content(ask.why.clone());
    let fields = match &ask.change {
        // The diff contains everything that the arguments say.
        Some(change) => fields.content(vec![shown(change.clone()), why]),
        None => fields.raw_input(value(&ask.input)).content(vec![why]),
    };
    let call = acp::ToolCallUpdate::new(ask.id.clone(), fields);
    let option = |kind: acp::PermissionOptionKind, name: String| {
        acp::PermissionOption::new(option_id(kind), name, kind)
    };
    use acp::PermissionOptionKind as Choice;
    let mut options = vec![option(Choice::AllowOnce, "Allow".to_owned())];
    let like = like(ask);
    if ask.can_confine {
        let name = "Allow, confined to the workspace";
        options.push(acp::PermissionOption::new(ALLOW_CONFINED, name, Choice::AllowOnce));
    }
    if let Some(like) = &like {
        options.push(option(Choice::AllowAlways, format!("Always allow {like}")));
    }
    options.push(option(Choice::RejectOnce, "Reject".to_owned()));
    if let Some(like) = &like {
        options.push(option(Choice::RejectAlways, format!("Never allow {like}")));
    }
    let unseen = ask.change.as_ref().map(|it| unseen::of(it.old.as_deref(), &it.new));
    let own = OwnQuestion {
        // The id is assigned when the request is sent.
        request: None,
        question: ask.question.clone(),
        unseen: unseen.unwrap_or_default(),
    };
    acp::RequestPermissionRequest::new(session.to_owned(), call, options).meta(meta(&own))
}

/// What "always" would cover: `npm test`, edits in `src`. `None` if "always" is not offered.
pub(crate) fn like(ask: &Ask) -> Option<String> {
    let named = ask.always.iter().map(|rule| match (&rule.scope, rule.prefix.as_deref()) {
        (Scope::Writes, Some(".")) => "edits in the workspace".to_owned(),
        (Scope::Writes, Some(path)) if path.starts_with('/') => format!("edits of `{path}`"),
        (Scope::Writes, Some(path)) => format!("edits in `{path}`"),
        (Scope::Reads, Some(path)) => format!("reading in `{path}`"),
        (Scope::Everything | Scope::Tool(_), Some(prefix)) => format!("`{prefix}`"),
        (Scope::At { place, .. }, Some(prefix)) => format!("`{prefix}` at {place}"),
        (scope @ Scope::Server { .. }, Some(_)) | (scope, None) => format!("`{scope}`"),
    });
    let named: Vec<_> = named.collect();
    (!named.is_empty()).then(|| named.join(" and "))
}

/// The id of the option that lets a command run confined: a second one of kind `allow_once`.
pub(crate) const ALLOW_CONFINED: &str = "allow_confined";

/// The id of an option on the wire, which is the name of its kind.
pub(crate) fn option_id(kind: acp::PermissionOptionKind) -> &'static str {
    match kind {
        acp::PermissionOptionKind::AllowOnce => "allow_once",
        acp::PermissionOptionKind::AllowAlways => "allow_always",
        acp::PermissionOptionKind::RejectAlways => "reject_always",
        // An unknown kind is not consent.
        acp::PermissionOptionKind::RejectOnce | _ => "reject_once",
    }
}

/// Whether this is the last update that repeats the earlier conversation of a loaded session.
pub(crate) fn is_resumed(update: &Update) -> bool {
    matches!(update, Update::Traced(Event { fact: Fact::Resumed {}, .. }))
}

fn chunk(text: String) -> acp::ContentChunk {
    acp::ContentChunk::new(acp::ContentBlock::Text(acp::TextContent::new(text)))
}

/// The project's `_meta` of an ACP update.
fn meta(own: &impl serde::Serialize) -> acp::Meta {
    let mut meta = acp::Meta::new();
    meta.insert("meanwhile".to_owned(), json!(own));
    meta
}

/// The `_meta` of a command that runs in the background as this task.
fn in_background(task: String) -> acp::Meta {
    meta(&Own { task_id: Some(task), background: true, ..Own::default() })
}

/// The first words of the text that tells a model how a command ended.
const ENDS: [(&str, wire::Standing); 6] = [
    ("exited 0 ", wire::Standing::Succeeded),
    ("exited ", wire::Standing::Failed),
    ("ended ", wire::Standing::Failed),
    ("stopped ", wire::Standing::Stopped),
    ("timed out ", wire::Standing::TimedOut),
    ("lost after ", wire::Standing::Lost),
];

/// The card of a command that the agent waited for. `None` if the text reports no end.
fn step_card(task: TaskId, title: String, text: &str) -> Option<Card> {
    let (_, outcome) = ENDS.iter().find(|(begins, _)| text.starts_with(begins))?;
    Some(wire_card(story::step(task, title, text), Some(*outcome)))
}

fn card(story: &Story, card: story::Card) -> Card {
    let outcome = |task: TaskId| Some(to_wire::standing(&story.passage(task)?.task.state));
    let outcome = match card.kind {
        CardKind::Exited => outcome(card.task),
        // A later card reports the end.
        CardKind::Matched | CardKind::Stalled => Some(wire::Standing::Running),
    };
    wire_card(card, outcome)
}

fn wire_card(card: story::Card, outcome: Option<wire::Standing>) -> Card {
    Card {
        outcome,
        task_id: card.task.to_string(),
        kind: match card.kind {
            CardKind::Exited => wire::NotificationKind::Exited,
            CardKind::Matched => wire::NotificationKind::Matched,
            CardKind::Stalled => wire::NotificationKind::Stalled,
        },
        title: card.title,
        command: card.command,
        says: card.says,
        way: card.way,
        output: card.output,
    }
}

fn ended(
    id: String,
    text: String,
    is_error: bool,
    diff: Option<Diff>,
    task: Option<&str>,
) -> acp::ToolCallUpdate {
    let status = match is_error {
        true => acp::ToolCallStatus::Failed,
        false => acp::ToolCallStatus::Completed,
    };
    let mut content: Vec<acp::ToolCallContent> = task.map(terminal).into_iter().collect();
    content.extend(diff.map(shown));
    content.push(text_content(text));
    let fields = acp::ToolCallUpdateFields::new().status(status).content(content);
    acp::ToolCallUpdate::new(id, fields)
}

fn shown(Diff { path, old, new }: Diff) -> acp::ToolCallContent {
    acp::ToolCallContent::Diff(acp::Diff::new(path, new).old_text(old))
}

fn terminal(task: &str) -> acp::ToolCallContent {
    acp::ToolCallContent::Terminal(acp::Terminal::new(task.to_owned()))
}

fn text_content(text: String) -> acp::ToolCallContent {
    let block = acp::ContentBlock::Text(acp::TextContent::new(text));
    acp::ToolCallContent::Content(acp::Content::new(block))
}

/// The arguments of a call. If the model wrote invalid JSON, they are returned as text.
fn value(raw: &RawValue) -> Value {
    serde_json::from_str(raw.get()).unwrap_or_else(|_| Value::from(raw.get()))
}

fn kind(kind: Kind) -> acp::ToolKind {
    match kind {
        Kind::Read => acp::ToolKind::Read,
        Kind::Edit => acp::ToolKind::Edit,
        Kind::Search => acp::ToolKind::Search,
        Kind::Execute => acp::ToolKind::Execute,
        Kind::Think => acp::ToolKind::Think,
        Kind::Other => acp::ToolKind::Other,
    }
}

fn step(entry: PlanEntry) -> acp::PlanEntry {
    let status = match entry.status {
        PlanStatus::Pending => acp::PlanEntryStatus::Pending,
        PlanStatus::InProgress => acp::PlanEntryStatus::InProgress,
        PlanStatus::Completed => acp::PlanEntryStatus::Completed,
    };
    acp::PlanEntry::new(entry.content, acp::PlanEntryPriority::Medium, status)
}

fn usage(used: u64, size: Option<u64>, last: Usage, cost: Option<Cost>) -> acp::UsageUpdate {
    // ACP requires a size, so 0 means unknown.
    let mut says = match size {
        Some(size) if size > 0 => {
            format!("{}% of the context", used.saturating_mul(100) / size)
        }
        Some(_) | None => format!("{} tokens", words::thousands(used)),
    };
    if let Some(Cost(billionths)) = cost {
        says.push_str(&format!(", ${:.4}", billionths as f64 / 1e9));
    }
    let update = acp::UsageUpdate::new(used, size.unwrap_or(0)).meta(meta(&json!({
        "says": says,
        "last": {
            "inputTokens": last.input,
            "outputTokens": last.output,
            "cacheReadTokens": last.cache_read,
            "cacheWriteTokens": last.cache_write,
        },
    })));
    match cost {
        Some(Cost(billionths)) => update.cost(acp::Cost::new(billionths as f64 / 1e9, "USD")),
        None => update,
    }
}

#[cfg(test)]
mod tests;
