//! A result that entered a conversation, as a person sees it: a card instead of the text that the model gets.

use super::{Passage, Story};
use crate::agent::notice;
use crate::agent::tools::read_end;
use crate::background::task::TaskId;
use crate::background::words;

/// A result, formatted for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Card {
    /// The task that the result is about.
    pub task: TaskId,
    /// What the result reports.
    pub kind: CardKind,
    /// The task's label or command; for a task that is no longer stored, the first line of the model's text.
    pub title: String,
    /// The command, if the task has a label.
    pub command: Option<String>,
    /// How it ended, or what happened: `exited 3 after 2.0s`.
    pub says: String,
    /// How its end came into the conversation: `ended during call 2, entered call 3, waited 786 ms`.
    pub way: Option<String>,
    /// The output that the model was shown, without escapes.
    pub output: String,
}

/// What a result reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CardKind {
    /// The task ended.
    Exited,
    /// A watch matched a line of the output.
    Matched,
    /// The task waits for input.
    Stalled,
}

impl Story {
    /// The results in a message that entered with this call, in the order of the message.
    ///
    /// The cards are built from the stored message, so they are the same live and after a load.
    pub fn cards(&self, call: u64, message: &str) -> Vec<Card> {
        let entries = notice::read(message).into_iter();
        entries.map(|entry| card(self, call, entry)).collect()
    }
}

fn card(story: &Story, call: u64, entry: notice::Entry) -> Card {
    let notice::Entry { task, head, output } = entry;
    let kind = card_kind(&head);
    let Some(passage) = story.passage(task) else {
        let (command, way) = (None, None);
        return Card { task, kind, title: head, command, says: String::new(), way, output };
    };
    let title = words::title(&passage.task);
    let command = passage.task.label.is_some().then(|| words::one_line(&passage.task.command));
    let says = match kind {
        CardKind::Exited => words::told(&passage.task),
        CardKind::Matched | CardKind::Stalled => None,
    };
    Card {
        task,
        kind,
        title,
        command: command.map(|line| words::shorten(&line, words::CALLED_BYTES)),
        says: says.unwrap_or_else(|| what(&head, passage)),
        way: match kind {
            CardKind::Exited => way(story, passage, call),
            CardKind::Matched | CardKind::Stalled => None,
        },
        output,
    }
}

/// A card for a command in the foreground, built from the stored text that the model got about its end, like other
/// results.
pub fn step(task: TaskId, title: String, message: &str) -> Card {
    let (says, output) = read_end(message);
    let (says, output) = (says.to_owned(), output.to_owned());
    Card { task, kind: CardKind::Exited, title, command: None, says, way: None, output }
}

/// What an entry reports, judged by its first line.
pub fn card_kind(head: &str) -> CardKind {
    match head {
        _ if head.starts_with("output matched `") => CardKind::Matched,
        _ if head.starts_with("waits for input") => CardKind::Stalled,
        _ => CardKind::Exited,
    }
}

/// The first line without the command, which is in the title.
fn what(head: &str, passage: &Passage) -> String {
    let command = notice::harmless(&words::one_line(&passage.task.command), false);
    let said = head.strip_suffix(&command).and_then(|said| said.strip_suffix(": "));
    said.unwrap_or(head).to_owned()
}

fn way(story: &Story, passage: &Passage, call: u64) -> Option<String> {
    let way = story.way(passage)?;
    (way.call == call).then(|| way.words())
}
