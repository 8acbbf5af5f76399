//! Arranges a history for a server: the order of messages, and the ids of calls.
//!
//! Without concessions, the result is the unchanged history, borrowed.

use std::borrow::Cow;

use super::super::message::{Assistant, Image, Message};
use super::form::{Concession, Form};

/// One message to send.
#[derive(Debug)]
pub(crate) enum Item<'a> {
    /// A user message with its images.
    User(Cow<'a, str>, Vec<&'a Image>),
    /// The results of an answer's calls.
    Results(Vec<Shown<'a>>),
    /// An answer of the model.
    Answer(&'a Assistant),
    /// A short answer between tool results and the next prompt.
    Pause,
}

/// A tool result to send.
#[derive(Debug)]
pub(crate) struct Shown<'a> {
    pub(crate) call_id: Cow<'a, str>,
    pub(crate) content: Cow<'a, str>,
    pub(crate) is_error: bool,
}

/// The text of [`Item::Pause`].
pub(crate) const PAUSE: &str = "(The turn ended here.)";

/// Replaces the images of a prompt for a model that does not accept images.
const UNSEEN: &str = "\n\n(The images are left out: this model takes none.)";

/// Arranges a history as the form requires; includes images if the model accepts them.
pub(crate) fn arrange<'a>(history: &'a [Message], form: &Form, images: bool) -> Vec<Item<'a>> {
    let mut items: Vec<Item<'a>> = Vec::with_capacity(history.len());
    for message in history {
        match message {
            Message::Prompt { text, images: shown } => {
                if form.has(Concession::UserAfterTool)
                    && matches!(items.last(), Some(Item::Results(_)))
                {
                    items.push(Item::Pause);
                }
                let text = match images || shown.is_empty() {
                    true => Cow::Borrowed(&**text),
                    false => Cow::Owned(format!("{text}{UNSEEN}")),
                };
                let shown = if images { shown.iter().collect() } else { Vec::new() };
                say(&mut items, text, shown, form);
            }
            // The tags in the text already say that the program wrote it.
            Message::Background { text } => told(&mut items, Cow::Borrowed(text), form),
            Message::Notice { text } => {
                let is_after_tool = form.has(Concession::UserAfterTool)
                    && matches!(items.last(), Some(Item::Results(_)));
                let text = match is_after_tool {
                    true => Cow::Owned(format!("<notice>\n{text}\n</notice>")),
                    false => Cow::Borrowed(&**text),
                };
                told(&mut items, text, form);
            }
            Message::ToolResults { results } => {
                let shown = results.iter().map(|result| Shown {
                    call_id: fit(&result.call_id, form),
                    content: Cow::Borrowed(&result.content),
                    is_error: result.is_error,
                });
                items.push(Item::Results(shown.collect()));
            }
            Message::Assistant(answer) => items.push(Item::Answer(answer)),
        }
    }
    items
}

/// Adds a text of the program: at the end of the last tool result, if no user message may follow tool results.
fn told<'a>(items: &mut Vec<Item<'a>>, text: Cow<'a, str>, form: &Form) {
    if form.has(Concession::UserAfterTool)
        && let Some(Item::Results(results)) = items.last_mut()
        && let Some(last) = results.last_mut()
    {
        let content = last.content.to_mut();
        content.push_str("\n\n");
        content.push_str(&text);
        return;
    }
    match text {
        Cow::Borrowed(_) => say(items, text, Vec::new(), form),
        Cow::Owned(text) => items.push(Item::User(Cow::Owned(text), Vec::new())),
    }
}

fn say<'a>(items: &mut Vec<Item<'a>>, text: Cow<'a, str>, images: Vec<&'a Image>, form: &Form) {
    if form.has(Concession::UserAfterUser)
        && let Some(Item::User(said, shown)) = items.last_mut()
    {
        let said = said.to_mut();
        said.push_str("\n\n");
        said.push_str(&text);
        shown.extend(images);
        return;
    }
    items.push(Item::User(text, images));
}

/// An id in the form that the server accepts.
pub(crate) fn fit<'a>(id: &'a str, form: &Form) -> Cow<'a, str> {
    if form.has(Concession::Ids) { Cow::Owned(nine(id)) } else { Cow::Borrowed(id) }
}

/// Nine letters and digits, as required by the strictest server (Mistral); always the same for the same id.
fn nine(id: &str) -> String {
    if id.len() == 9 && id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return id.to_owned();
    }
    const LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    // FNV-1a, 64 bits: <http://www.isthe.com/chongo/tech/comp/fnv/>.
    let mut hash = id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let mut letters = String::with_capacity(9);
    for _ in 0..9 {
        let at = usize::try_from(hash % 62).unwrap_or_default();
        letters.push(char::from(LETTERS[at]));
        hash /= 62;
    }
    letters
}

#[cfg(test)]
mod tests {
    use super::super::super::message::ToolResult;
    use super::*;

    #[test]
    fn what_stands_behind_results_is_moved_only_where_it_is_refused() {
        let results = || Message::ToolResults {
            results: vec![ToolResult {
                call_id: "functions.bash:0".into(),
                content: "out".into(),
                is_error: false,
            }],
        };
        let history = [
            results(),
            Message::Background { text: "<background-results>x</background-results>".into() },
            Message::Notice { text: "resumed".into() },
            Message::prompt("go on"),
            Message::prompt("please"),
        ];
        let show = |form: &Form| -> Vec<String> {
            let show = |item: Item<'_>| match item {
                Item::User(text, _) => format!("user {text}"),
                Item::Results(results) => {
                    let of = |it: Shown<'_>| format!("{} {}", it.call_id, it.content);
                    format!("tool {}", results.into_iter().map(of).collect::<String>())
                }
                Item::Answer(_) => "answer".to_owned(),
                Item::Pause => "pause".to_owned(),
            };
            arrange(&history, form, false).into_iter().map(show).collect()
        };
        assert_eq!(
            show(&Form::default()),
            [
                "tool functions.bash:0 out",
                "user <background-results>x</background-results>",
                "user resumed",
                "user go on",
                "user please"
            ]
        );
        let plain = show(&Form::default().plainest());
        let id = nine("functions.bash:0");
        assert!(id.len() == 9 && id.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        assert_eq!(nine(&id), id);
        assert_eq!(
            plain,
            [
                format!(
                    "tool {id} out\n\n<background-results>x</background-results>\n\n\
                     <notice>\nresumed\n</notice>"
                ),
                "pause".to_owned(),
                "user go on\n\nplease".to_owned()
            ]
        );
    }
}
