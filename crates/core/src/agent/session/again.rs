//! Converts stored messages back into updates: for a front that loads a session, and for one that watches it.

use std::collections::HashMap;

use super::Update;
use super::calls::locations;
use crate::agent::message::{Message, ToolCall, ToolResult};
use crate::agent::tools::{Builtin, Intent, Kind, Toolbox};
use crate::background::Token;
use crate::background::task::TaskId;

/// The tasks that tool calls started, by the model call whose answer contains the tool call, and the tool call's
/// id. Such an id is unique only within one answer; some servers number them from the start in each.
pub(super) type Started = HashMap<(u64, String), TaskId>;

/// The updates for a stored message. `call` is the model call that the message belongs to: that gave this answer,
/// whose tool calls have these results, or whose request contains it.
pub(super) async fn updates(
    toolbox: &Toolbox,
    message: Message,
    call: Option<u64>,
    started: &Started,
) -> Vec<Update> {
    match message {
        Message::Prompt { text, images } => {
            let images = images.into_iter().map(Update::Image);
            std::iter::once(Update::Prompt(text)).chain(images).collect()
        }
        Message::Notice { text } => vec![Update::Notice(text)],
        Message::Background { text } => {
            let call = call.unwrap_or(0);
            vec![Update::Background { call, text, notifications: Vec::new() }]
        }
        Message::ToolResults { results } => {
            let ended = |ToolResult { call_id: id, content, is_error }| {
                let task = call.and_then(|call| started.get(&(call, id.clone()))).copied();
                Update::ToolEnded { id, content, is_error, denied: false, diff: None, task }
            };
            results.into_iter().map(ended).collect()
        }
        Message::Assistant(answer) => {
            let mut updates: Vec<_> =
                call.map(|call| Update::Answer { call }).into_iter().collect();
            let (thinking, text) = (answer.thinking(), answer.text());
            if !thinking.is_empty() {
                updates.push(Update::Thinking(thinking));
            }
            if !text.is_empty() {
                updates.push(Update::Text(text));
            }
            for call in answer.calls() {
                called(toolbox, call, &mut updates).await;
            }
            updates
        }
    }
}

/// Adds a tool call, and the plan that the call set, if it is one that sets a plan.
async fn called(toolbox: &Toolbox, call: ToolCall, updates: &mut Vec<Update>) {
    let read = toolbox.read(&call);
    let (title, kind, locations) = match &read {
        Ok(intent) => (intent.title.clone(), intent.kind, locations(intent)),
        Err(_) => (call.name.clone(), Kind::Other, Vec::new()),
    };
    let input = call.input.to_raw();
    let (id, name) = (call.id, call.name);
    updates.push(Update::ToolCall { id, name, title, kind, input, locations });
    // Running this tool again only shows the plan; it has no other effect.
    let plans = |intent: &Intent| intent.tool.builtin() == Some(Builtin::UpdatePlan);
    let Some(intent) = read.ok().filter(plans) else { return };
    let (progress, _) = tokio::sync::mpsc::unbounded_channel();
    let outcome = toolbox.run(intent, Token::New(String::new()), progress).await;
    updates.extend(outcome.plan.map(Update::Plan));
}
