//! Reads the items of an answer of OpenAI's Responses API, which has items instead of messages.

use serde::Deserialize;

use super::{Arguments, Block, ToolCall, View};

/// The separator between the parts of a reasoning summary.
pub(crate) const BETWEEN_SUMMARIES: &str = "\n\n";

impl Block {
    /// Parses the block as an item of the Responses API.
    pub(crate) fn item(&self) -> View {
        let Ok(head) = serde_json::from_str::<ItemHead>(self.0.get()) else {
            return View::Other;
        };
        match (head.kind.as_deref(), head.call_id, head.name) {
            (Some("message"), ..) => View::Text(head.content.text("")),
            (Some("reasoning"), ..) => {
                let summary = head.summary.text(BETWEEN_SUMMARIES);
                View::Thinking(if summary.is_empty() { head.content.text("") } else { summary })
            }
            (Some("function_call"), Some(id), Some(name)) => {
                let input = match head.arguments {
                    Some(serde_json::Value::String(text)) => Arguments::parse(&text),
                    Some(other) => Arguments::parse(&other.to_string()),
                    None => Arguments::parse(""),
                };
                View::Call(ToolCall { id, name, input })
            }
            _ => View::Other,
        }
    }
}

/// The fields of a Responses API item that this program reads.
#[derive(Deserialize)]
struct ItemHead {
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    content: Parts,
    #[serde(default)]
    summary: Parts,
    call_id: Option<String>,
    name: Option<String>,
    arguments: Option<serde_json::Value>,
}

/// A text, given as one string or in parts.
#[derive(Deserialize, Default)]
#[serde(untagged)]
enum Parts {
    Text(String),
    List(Vec<Part>),
    #[default]
    None,
}

#[derive(Deserialize)]
struct Part {
    text: Option<String>,
    refusal: Option<String>,
}

impl Parts {
    fn text(self, between: &str) -> String {
        match self {
            Self::Text(text) => text,
            Self::List(parts) => {
                let text = |part: Part| part.text.or(part.refusal).unwrap_or_default();
                parts.into_iter().map(text).collect::<Vec<_>>().join(between)
            }
            Self::None => String::new(),
        }
    }
}
