//! Assembles a streamed answer of the Responses API.
//!
//! Each item is sent again as a whole when it ends, and the whole answer once more at the very end. The pieces
//! count only if a server omits the whole.

use super::super::super::failure::{Failure, Peer};
use super::super::super::message::{Assistant, BETWEEN_SUMMARIES, Dialect, View};
use super::super::super::usage::{self, Usage};
use super::super::assemble::{Assembler, Fate, Fields, block, fate, fields, settle};
use super::super::lenient::{Halves, arguments, is_error, list, number, object};
use super::super::{CutCall, Delta, StopReason, Turn};

/// The event with more of a reasoning summary.
const SUMMARY: &str = "response.reasoning_summary_text.delta";

/// The state of a streamed answer.
pub(crate) struct Stream {
    model: String,
    official: bool,
    items: Vec<Piece>,
    usage: Usage,
    end: Option<End>,
    /// Whether the stream ended with `[DONE]`, as in chat completions.
    closed: bool,
    halves: Halves,
}

/// How an answer ended.
enum End {
    Completed,
    Incomplete(String),
}

/// An item, as far as it has arrived.
#[derive(Default)]
struct Piece {
    /// The index and the id that the server sent.
    index: Option<u64>,
    id: Option<String>,
    fields: Fields,
    text: String,
    refusal: String,
    summary: String,
    /// The index of the summary part that is growing.
    part: Option<u64>,
    thought: String,
    arguments: String,
    is_whole: bool,
    /// Whether `CallStarted` was sent for it.
    is_told: bool,
}

impl Piece {
    fn kind(&self) -> String {
        self.fields.string("type").unwrap_or_default()
    }

    /// Whether it contains a refusal.
    fn is_refusal(&self) -> bool {
        let parts = self.fields.get("content").map(list).unwrap_or_default();
        let says_no = |part: &Fields| part.string("type").as_deref() == Some("refusal");
        !self.refusal.is_empty() || parts.iter().any(|part| says_no(&object(part)))
    }

    /// The item; assembled from its pieces if it was never sent whole.
    fn into_fields(mut self) -> Fields {
        if self.is_whole {
            return self.fields;
        }
        let part = |kind: &str, text: &str| serde_json::json!([{"type": kind, "text": text}]);
        let raw = |value: &serde_json::Value| {
            serde_json::value::to_raw_value(value).expect("a list of parts is JSON")
        };
        match self.kind().as_str() {
            "message" => {
                let content = match self.refusal.as_str() {
                    "" => part("output_text", &self.text),
                    refusal => serde_json::json!([{"type": "refusal", "refusal": refusal}]),
                };
                self.fields.set("content", raw(&content));
                self.fields.set_string("status", "completed");
            }
            "reasoning" => {
                let summary = match self.summary.as_str() {
                    "" => serde_json::json!([]),
                    summary => part("summary_text", summary),
                };
                self.fields.set("summary", raw(&summary));
                if !self.thought.is_empty() {
                    self.fields.set("content", raw(&part("reasoning_text", &self.thought)));
                }
            }
            _ => {}
        }
        self.fields
    }
}

impl Stream {
    pub(crate) fn new(model: &str, official: bool) -> Self {
        Self {
            model: model.to_owned(),
            official,
            items: Vec::new(),
            usage: Usage::default(),
            end: None,
            closed: false,
            halves: Halves::default(),
        }
    }

    /// The item that an event is about: by id, then by index, otherwise the last one.
    fn item(&mut self, event: &Fields) -> Option<usize> {
        let id = event.string("item_id").filter(|id| !id.is_empty());
        let index = event.get("output_index").and_then(number);
        self.find(id.as_deref(), index).or_else(|| self.items.len().checked_sub(1))
    }

    fn find(&self, id: Option<&str>, index: Option<u64>) -> Option<usize> {
        let by_index = || {
            let index = index?;
            self.items.iter().rposition(|item| item.index == Some(index))
        };
        let by_id =
            id.and_then(|id| self.items.iter().rposition(|it| it.id.as_deref() == Some(id)));
        by_id.or_else(by_index)
    }

    /// Adds an item at its start or as a whole, and returns the deltas not sent yet.
    fn take(&mut self, index: Option<u64>, fields: Fields, is_whole: bool) -> Vec<Delta> {
        let id = fields.string("id").filter(|id| !id.is_empty());
        let at = self.find(id.as_deref(), index).unwrap_or_else(|| {
            self.items.push(Piece { index, id, ..Piece::default() });
            self.items.len() - 1
        });
        let item = &mut self.items[at];
        item.is_whole |= is_whole;
        item.fields = fields;
        let mut deltas = Vec::new();
        if item.kind() == "function_call" {
            if !std::mem::replace(&mut item.is_told, true) {
                let text = |key: &str| item.fields.string(key).unwrap_or_default();
                let (id, name) = (text("call_id"), text("name"));
                deltas.push(Delta::CallStarted { index: at, id, name });
            }
            let whole = item.fields.get("arguments");
            let whole = whole.map(|raw| arguments(&mut Halves::default(), "", raw));
            let whole = whole.unwrap_or_default();
            if item.arguments.is_empty() && !whole.is_empty() {
                deltas.push(Delta::CallInput { index: at, json: whole.clone() });
            }
            if is_whole && !whole.is_empty() {
                item.arguments = whole;
            }
        } else if is_whole {
            let has_said = !(item.text.is_empty() && item.refusal.is_empty());
            let has_thought = !(item.summary.is_empty() && item.thought.is_empty());
            match block(item.fields.clone()).item() {
                View::Text(text) if !has_said && !text.is_empty() => deltas.push(Delta::Text(text)),
                View::Thinking(text) if !has_thought && !text.is_empty() => {
                    deltas.push(Delta::Thinking(text));
                }
                View::Text(_) | View::Thinking(_) | View::Call(_) | View::Other => {}
            }
        }
        deltas
    }

    /// Adds a piece of an item.
    fn grow(&mut self, kind: &str, event: &Fields) -> Vec<Delta> {
        let Some(at) = self.item(event) else { return Vec::new() };
        let Some(raw) = event.get("delta") else { return Vec::new() };
        let key = format!("{at} {kind}");
        let Some(mut more) = self.halves.string(&key, raw) else { return Vec::new() };
        if more.is_empty() {
            return Vec::new();
        }
        let item = &mut self.items[at];
        if kind == SUMMARY {
            let part = event.get("summary_index").and_then(number);
            if part != std::mem::replace(&mut item.part, part) && !item.summary.is_empty() {
                more.insert_str(0, BETWEEN_SUMMARIES);
            }
        }
        let (place, delta) = match kind {
            "response.output_text.delta" => (&mut item.text, Delta::Text(more.clone())),
            "response.refusal.delta" => (&mut item.refusal, Delta::Text(more.clone())),
            SUMMARY => (&mut item.summary, Delta::Thinking(more.clone())),
            "response.function_call_arguments.delta" => {
                let json = more.clone();
                (&mut item.arguments, Delta::CallInput { index: at, json })
            }
            _ => (&mut item.thought, Delta::Thinking(more.clone())),
        };
        place.push_str(&more);
        vec![delta]
    }

    /// Processes the complete answer that the last event contains.
    fn whole(&mut self, response: &Fields) -> Vec<Delta> {
        self.model = response
            .string("model")
            .filter(|it| !it.is_empty())
            .unwrap_or_else(|| self.model.clone());
        if let Some(usage) = response.get("usage").map(object) {
            let count = |fields: &Fields, key: &str| fields.get(key).and_then(number);
            let details = usage.get("input_tokens_details").map(object).unwrap_or_default();
            let cached = count(&details, "cached_tokens").unwrap_or_default();
            self.usage = Usage {
                input: count(&usage, "input_tokens").unwrap_or_default().saturating_sub(cached),
                output: count(&usage, "output_tokens").unwrap_or_default(),
                cache_read: cached,
                cache_write: 0,
            };
        }
        let details = response.get("incomplete_details").map(object).unwrap_or_default();
        self.end = Some(match response.string("status").as_deref() {
            Some("incomplete") => End::Incomplete(details.string("reason").unwrap_or_default()),
            Some(_) | None => End::Completed,
        });
        let output = response.get("output").map(list).unwrap_or_default();
        let is_missing = |item: &Piece| !item.is_whole;
        if !self.items.is_empty() && !self.items.iter().any(is_missing) {
            return Vec::new();
        }
        let mut deltas = Vec::new();
        for (index, item) in output.iter().enumerate() {
            deltas.extend(self.take(u64::try_from(index).ok(), object(item), true));
        }
        deltas
    }
}

impl Assembler for Stream {
    fn event(&mut self, data: &str, peer: &Peer) -> Result<Vec<Delta>, Failure> {
        let Some(event) = fields(data, peer)? else {
            self.closed = true;
            return Ok(Vec::new());
        };
        let part = |key: &str| event.get(key).map(object).unwrap_or_default();
        let index = event.get("output_index").and_then(number);
        let kind = event.string("type").unwrap_or_default();
        Ok(match kind.as_str() {
            "response.output_item.added" => self.take(index, part("item"), false),
            "response.output_item.done" => self.take(index, part("item"), true),
            "response.output_text.delta"
            | "response.refusal.delta"
            | SUMMARY
            | "response.reasoning_text.delta"
            | "response.reasoning.delta"
            | "response.function_call_arguments.delta" => self.grow(&kind, &event),
            "response.completed" | "response.incomplete" => self.whole(&part("response")),
            "response.failed" | "response.cancelled" => {
                let error = part("response").get("error").map(|it| it.get().to_owned());
                return Err(peer.broke_off(&wrapped(error.as_deref().unwrap_or("{}"))));
            }
            "error" if event.get("error").is_some_and(is_error) => return Err(peer.broke_off(data)),
            "error" => {
                let error = event.only(|key| key != "type").into_raw();
                return Err(peer.broke_off(&wrapped(error.get())));
            }
            _ if event.get("error").is_some_and(is_error) => return Err(peer.broke_off(data)),
            // The complete answer at once, from a server that does not stream.
            _ if event.get("output").is_some() => self.whole(&event),
            // Starts and ends of parts, pings, and event types added in the future.
            _ => Vec::new(),
        })
    }

    fn is_whole(&self) -> bool {
        self.end.is_some()
    }

    fn finish(self, peer: &Peer) -> Result<Turn, Failure> {
        let are_whole = !self.items.is_empty() && self.items.iter().all(|item| item.is_whole);
        let end = match self.end {
            Some(end) => end,
            None if self.closed && are_whole => End::Completed,
            None => return Err(peer.unfinished("the stream ended without `response.completed`")),
        };
        let is_refused = self.items.iter().any(Piece::is_refusal);
        let stop = match end {
            _ if is_refused => StopReason::Refusal,
            End::Completed => StopReason::EndTurn,
            End::Incomplete(why) => match why.as_str() {
                "max_output_tokens" | "" => StopReason::MaxTokens,
                "content_filter" => StopReason::Refusal,
                _ => StopReason::Other(why),
            },
        };
        let mut cut: Option<CutCall> = None;
        let mut blocks = Vec::new();
        let mut has_calls = false;
        for item in self.items {
            let is_call = item.kind() == "function_call";
            let written = item.arguments.clone();
            let mut fields = item.into_fields();
            if is_call {
                let name = fields.string("name").unwrap_or_default();
                match fate(&stop, &name, &written) {
                    Fate::Kept(input) => fields.set_string("arguments", input.get()),
                    Fate::Dropped(call) => {
                        cut = Some(call);
                        continue;
                    }
                }
                // The call itself is complete, although the answer was cut elsewhere.
                fields.set_string("status", "completed");
                has_calls = true;
            }
            blocks.push(block(fields));
        }
        let cost = self.official.then(|| usage::list_price(&self.model, self.usage)).flatten();
        let answer = Assistant {
            dialect: Dialect::Responses,
            model: self.model,
            from: Some(peer.origin()),
            blocks,
        };
        Ok(Turn { answer, stop: settle(stop, has_calls), cut, usage: self.usage, cost })
    }
}

/// Wraps an error object like those of the other events.
fn wrapped(error: &str) -> String {
    format!(r#"{{"error":{error}}}"#)
}
