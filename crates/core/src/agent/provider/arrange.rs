//! A history as a server takes it: which messages stand where, and under which ids.
//!
//! Without concessions this is the history as it is, borrowed.

use std::borrow::Cow;

use super::super::message::{Assistant, Image, Message};
use super::form::{Concession, Form};

/// One message to be sent.
#[derive(Debug)]
pub(crate) enum Item<'a> {
    /// A user message, and the images in it.
    User(Cow<'a, str>, Vec<&'a Image>),
    /// The results of an answer's calls.
    Results(Vec<Shown<'a>>),
    /// An answer.
    Answer(&'a Assistant),
    /// An answer of a few words, between tool results and what a person says next.
    Pause,
}

/// A tool result to be sent.
#[derive(Debug)]
pub(crate) struct Shown<'a> {
    pub(crate) call_id: Cow<'a, str>,
    pub(crate) content: Cow<'a, str>,
    pub(crate) is_error: bool,
}

/// What [`Item::Pause`] says.
pub(crate) const PAUSE: &str = "(The turn ended here.)";

/// What a model is told that takes no images, of a conversation that has some.
const UNSEEN: &str = "\n\n(The images are left out: this model takes none.)";

/// Puts a history in the order that a form asks for; with its images, where the model takes them.
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
            // It says in its own tags that the program wrote it.
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

/// What the program tells: at the end of the last tool result where no user message may stand there.
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

/// An id as the server takes it.
pub(crate) fn fit<'a>(id: &'a str, form: &Form) -> Cow<'a, str> {
    if form.has(Concession::Ids) { Cow::Owned(nine(id)) } else { Cow::Borrowed(id) }
}

/// Nine letters and digits, which the strictest server wants (Mistral); the same for the same id.
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
