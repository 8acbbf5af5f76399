//! What is stored of a conversation, said over again: to a front that loads a session, and to one that watches it.

use std::collections::HashMap;

use super::Update;
use super::calls::locations;
use crate::agent::message::{Message, ToolCall, ToolResult};
use crate::agent::tools::{Builtin, Intent, Kind, Toolbox};
use crate::background::Token;
use crate::background::task::TaskId;

/// The tasks that calls of tools started, by the model call whose answer has the call, and its id there. Such an id
/// is unique within one answer; some servers number them from the beginning in each.
pub(super) type Started = HashMap<(u64, String), TaskId>;

/// What a stored message said. `call` is the model call whose answer it is, whose calls it answers, or whose request
/// carries it.
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

/// A call, and the plan that it made, if it made one.
async fn called(toolbox: &Toolbox, call: ToolCall, updates: &mut Vec<Update>) {
    let read = toolbox.read(&call);
    let (title, kind, locations) = match &read {
        Ok(intent) => (intent.title.clone(), intent.kind, locations(intent)),
        Err(_) => (call.name.clone(), Kind::Other, Vec::new()),
    };
    let input = call.input.to_raw();
    let (id, name) = (call.id, call.name);
    updates.push(Update::ToolCall { id, name, title, kind, input, locations });
    // A plan changes nothing but what is shown, so that it can be made again.
    let plans = |intent: &Intent| intent.tool.builtin() == Some(Builtin::UpdatePlan);
    let Some(intent) = read.ok().filter(plans) else { return };
    let (progress, _) = tokio::sync::mpsc::unbounded_channel();
    let outcome = toolbox.run(intent, Token::New(String::new()), progress).await;
    updates.extend(outcome.plan.map(Update::Plan));
}
