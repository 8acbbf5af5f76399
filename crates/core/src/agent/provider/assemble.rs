//! Assembles a streamed answer from its events.
//!
//! An [`Assembler`] receives the data of each event and holds no connection, so that every recorded stream can be
//! replayed into it. Objects keep the order of their fields and the text of their values, because the answer is
//! later sent back and must be the same answer.

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::{RawValue, to_raw_value};

use super::super::failure::{Failure, Peer};
use super::super::message::{Arguments, Block};
use super::{CutCall, Delta, StopReason, Turn};

/// Collects the pieces of one answer.
pub(crate) trait Assembler: Send {
    /// Processes the data of one event, or a complete answer that arrived as one object.
    fn event(&mut self, data: &str, peer: &Peer) -> Result<Vec<Delta>, Failure>;
    /// Whether the protocol's end marker has arrived.
    fn is_whole(&self) -> bool;
    /// The complete answer, or an error that says what is missing.
    fn finish(self, peer: &Peer) -> Result<Turn, Failure>;
}

/// A JSON object with its original field order and number format.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fields(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Fields;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Fields::default();
                while let Some((key, value)) = map.next_entry::<String, _>()? {
                    fields.set(&key, value);
                }
                Ok(fields)
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

/// Parses the fields of an event; `None` for `[DONE]`, the end marker of OpenAI's streams, which some servers of
/// other formats send, too.
///
/// # Errors
///
/// If the data is not a JSON object.
pub(super) fn fields(data: &str, peer: &Peer) -> Result<Option<Fields>, Failure> {
    if data.trim() == "[DONE]" {
        return Ok(None);
    }
    match serde_json::from_str(data) {
        Ok(fields) => Ok(Some(fields)),
        Err(_) => Err(peer.garbage("an event that is not a JSON object", data)),
    }
}

impl Fields {
    pub(crate) fn get(&self, key: &str) -> Option<&RawValue> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| &**value)
    }

    /// The string under a key; `None` if the key is missing or has another type.
    pub(crate) fn string(&self, key: &str) -> Option<String> {
        serde_json::from_str(self.get(key)?.get()).ok()
    }

    pub(crate) fn set(&mut self, key: &str, value: Box<RawValue>) {
        match self.0.iter_mut().find(|(name, _)| name == key) {
            Some((_, old)) => *old = value,
            None => self.0.push((key.to_owned(), value)),
        }
    }

    pub(crate) fn set_string(&mut self, key: &str, text: &str) {
        self.set(key, to_raw_value(text).expect("a string is JSON"));
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &RawValue)> {
        self.0.iter().map(|(key, value)| (key.as_str(), &**value))
    }

    /// The fields whose keys pass the filter.
    pub(crate) fn only(&self, keep: impl Fn(&str) -> bool) -> Self {
        Self(self.0.iter().filter(|(key, _)| keep(key)).cloned().collect())
    }

    pub(crate) fn into_raw(self) -> Box<RawValue> {
        to_raw_value(&self).expect("raw values under string keys are JSON")
    }
}

impl serde::Serialize for Fields {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

/// An object that grows by deltas: strings are appended to, arrays are extended. All known kinds of delta work like
/// this, so a new kind most likely does, too.
#[derive(Debug, Default)]
pub(crate) struct Growing {
    fields: Fields,
    strings: Vec<(String, String)>,
    arrays: Vec<(String, Vec<Box<RawValue>>)>,
}

impl Growing {
    pub(crate) fn new(fields: Fields) -> Self {
        Self { fields, ..Self::default() }
    }

    /// Appends to the string under `key`.
    pub(crate) fn append(&mut self, key: &str, more: &str) {
        match self.strings.iter_mut().find(|(name, _)| name == key) {
            Some((_, text)) => text.push_str(more),
            None => {
                let mut text = self.fields.string(key).unwrap_or_default();
                text.push_str(more);
                self.strings.push((key.to_owned(), text));
            }
        }
    }

    /// Appends elements to the array under `key`.
    pub(crate) fn extend(&mut self, key: &str, more: Vec<Box<RawValue>>) {
        match self.arrays.iter_mut().find(|(name, _)| name == key) {
            Some((_, array)) => array.extend(more),
            None => {
                let old = self.fields.get(key).map(RawValue::get).unwrap_or_default();
                let mut array: Vec<_> = serde_json::from_str(old).unwrap_or_default();
                array.extend(more);
                self.arrays.push((key.to_owned(), array));
            }
        }
    }

    /// Adds a field of a delta, whatever its type.
    pub(crate) fn grow(&mut self, key: &str, value: &RawValue) {
        if let Ok(text) = serde_json::from_str::<String>(value.get()) {
            self.append(key, &text);
        } else if let Ok(array) = serde_json::from_str(value.get()) {
            self.extend(key, array);
        } else if value.get() != "null" {
            self.fields.set(key, value.to_owned());
        }
    }

    /// The object in its final form.
    pub(crate) fn into_fields(mut self) -> Fields {
        for (key, text) in self.strings {
            self.fields.set_string(&key, &text);
        }
        for (key, array) in self.arrays {
            self.fields.set(&key, to_raw_value(&array).expect("an array of raw values is JSON"));
        }
        self.fields
    }
}

/// What happens to a call at the end of an answer.
pub(crate) enum Fate {
    /// The call is part of the answer; these are its arguments as the history stores them.
    Kept(Box<RawValue>),
    /// The call was cut off, or the answer was a refusal.
    Dropped(CutCall),
}

/// Decides from the stop reason whether a call is complete. A truncated object does not parse, and empty arguments
/// may be the start of some.
pub(crate) fn fate(stop: &StopReason, name: &str, arguments: &str) -> Fate {
    let cut = || Fate::Dropped(CutCall { name: name.to_owned(), arguments: arguments.to_owned() });
    let input = Arguments::parse(arguments);
    match stop {
        StopReason::Refusal => cut(),
        StopReason::MaxTokens | StopReason::ContextFull => match input {
            Arguments::Object(raw) if !arguments.trim().is_empty() => Fate::Kept(raw),
            Arguments::Object(_) | Arguments::Invalid { .. } => cut(),
        },
        StopReason::EndTurn
        | StopReason::ToolUse
        | StopReason::StopSequence
        | StopReason::PauseTurn
        | StopReason::Other(_) => Fate::Kept(input.to_raw()),
    }
}

/// Corrects the server's stop reason by whether there are calls, because each call must be answered.
pub(crate) fn settle(stop: StopReason, has_calls: bool) -> StopReason {
    match (stop, has_calls) {
        (
            StopReason::EndTurn
            | StopReason::StopSequence
            | StopReason::PauseTurn
            | StopReason::Other(_),
            true,
        ) => StopReason::ToolUse,
        (StopReason::ToolUse, false) => StopReason::EndTurn,
        (stop, _) => stop,
    }
}

pub(crate) fn block(fields: Fields) -> Block {
    Block::new(fields.into_raw())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_grows_and_keeps_its_order_and_spelling() {
        let start = r#"{"z":1.0,"text":"a","type":"t","list":[1.50],"n":null}"#;
        let mut growing = Growing::new(serde_json::from_str(start).unwrap());
        let delta: Fields =
            serde_json::from_str(r#"{"text":"b\"","list":[{"b":2,"a":1}],"n":null,"new":7e2}"#)
                .unwrap();
        for (key, value) in delta.iter() {
            growing.grow(key, value);
        }
        growing.append("text", "c");
        assert_eq!(
            growing.into_fields().into_raw().get(),
            r#"{"z":1.0,"text":"ab\"c","type":"t","list":[1.50,{"b":2,"a":1}],"n":null,"new":7e2}"#
        );
    }

    #[test]
    fn a_cut_call_is_never_kept() {
        let check = |stop, arguments: &str, want: Option<&str>| {
            let kept = match fate(&stop, "bash", arguments) {
                Fate::Kept(raw) => Some(raw.get().to_owned()),
                Fate::Dropped(cut) => {
                    assert_eq!((cut.name.as_str(), cut.arguments.as_str()), ("bash", arguments));
                    None
                }
            };
            assert_eq!(kept.as_deref(), want, "{stop:?} {arguments}");
        };
        let whole = r#"{"command":"rm -rf build"}"#;
        for stop in [StopReason::MaxTokens, StopReason::ContextFull] {
            for end in 0..whole.len() {
                check(stop.clone(), &whole[..end], None);
            }
            check(stop, whole, Some(whole));
        }
        check(StopReason::Refusal, whole, None);
        check(StopReason::ToolUse, "", Some("{}"));
        check(StopReason::EndTurn, "ls", Some(r#"{"INVALID_JSON":"ls"}"#));
    }

    #[test]
    fn calls_decide_whether_tools_are_run() {
        for stop in [StopReason::EndTurn, StopReason::Other("x".into()), StopReason::ToolUse] {
            assert_eq!(settle(stop, true), StopReason::ToolUse);
        }
        assert_eq!(settle(StopReason::ToolUse, false), StopReason::EndTurn);
        assert_eq!(settle(StopReason::MaxTokens, true), StopReason::MaxTokens);
    }
}
