//! Lenient parsing of what servers send, beyond the rules of JSON and the vendors' documentation.
//!
//! Only content, calls and the end of an answer matter. A count written as a float, a member that is null or has
//! another type, or a character that is split by the end of an event is not an error.

use std::collections::BTreeMap;

use serde_json::Value;
use serde_json::value::RawValue;

use super::assemble::Fields;

/// An integer, written as `3`, `3.0` or `"3"`.
pub(crate) fn number(raw: &RawValue) -> Option<u64> {
    let text = raw.get().trim().trim_matches('"');
    text.parse::<u64>().ok().or_else(|| {
        let number = text.parse::<f64>().ok().filter(|number| (0.0..9e15).contains(number))?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "checked to be in range just above"
        )]
        Some(number as u64)
    })
}

/// An object; any other value becomes an empty object.
pub(crate) fn object(raw: &RawValue) -> Fields {
    serde_json::from_str(raw.get()).unwrap_or_default()
}

/// The elements of a list; a single value becomes a list of one, and null an empty list.
pub(crate) fn list(raw: &RawValue) -> Vec<Box<RawValue>> {
    match raw.get().trim() {
        "null" => Vec::new(),
        text if text.starts_with('[') => serde_json::from_str(text).unwrap_or_default(),
        _ => vec![raw.to_owned()],
    }
}

/// Strings whose characters may be split: the first half of a surrogate pair is at the end of one piece, the second
/// half at the beginning of the next.
#[derive(Debug, Default)]
pub(crate) struct Halves(BTreeMap<String, u16>);

impl Halves {
    /// The text of a JSON string that is the next piece under `key`; `None` if it is not a string. A half without
    /// its other half becomes U+FFFD.
    pub(crate) fn string(&mut self, key: &str, raw: &RawValue) -> Option<String> {
        let first = self.0.remove(key);
        if first.is_none()
            && let Ok(text) = serde_json::from_str(raw.get())
        {
            return Some(text);
        }
        let inner = raw.get().trim().strip_prefix('"')?.strip_suffix('"')?;
        let mut units: Vec<u16> = first.into_iter().collect();
        let mut chars = inner.chars();
        while let Some(c) = chars.next() {
            if c != '\\' {
                units.extend_from_slice(c.encode_utf16(&mut [0; 2]));
                continue;
            }
            match chars.next()? {
                'u' => {
                    let digits: String = chars.by_ref().take(4).collect();
                    units.push(u16::from_str_radix(&digits, 16).ok()?);
                }
                'n' => units.push(u16::from(b'\n')),
                't' => units.push(u16::from(b'\t')),
                'r' => units.push(u16::from(b'\r')),
                'b' => units.push(8),
                'f' => units.push(12),
                other => units.extend_from_slice(other.encode_utf16(&mut [0; 2])),
            }
        }
        if let Some(last) = units.last().copied().filter(|unit| (0xd800..0xdc00).contains(unit)) {
            units.pop();
            self.0.insert(key.to_owned(), last);
        }
        Some(String::from_utf16_lossy(&units))
    }
}

/// The text and the reasoning in a content that is a string, a list of parts, or a single part.
pub(crate) fn content(halves: &mut Halves, key: &str, raw: &RawValue) -> (String, String) {
    if let Some(text) = halves.string(key, raw) {
        return (text, String::new());
    }
    let (mut said, mut thought) = (String::new(), String::new());
    for part in list(raw) {
        if let Some(text) = halves.string(key, &part) {
            said.push_str(&text);
            continue;
        }
        let part = object(&part);
        let thinking = ["thinking", "reasoning"].into_iter().find_map(|key| part.get(key));
        if let Some(thinking) = thinking {
            let (text, more) = content(halves, "thinking", thinking);
            thought.push_str(&text);
            thought.push_str(&more);
        } else if let Some(text) = part.get("text").or(part.get("refusal")) {
            // Some servers wrap the text once more: `{"text": {"value": ".."}}`.
            let text = halves
                .string(key, text)
                .or_else(|| object(text).string("value"))
                .unwrap_or_default();
            match part.string("type").as_deref() {
                Some("reasoning" | "thinking") => thought.push_str(&text),
                Some(_) | None => said.push_str(&text),
            }
        }
    }
    (said, thought)
}

/// The arguments of a call as JSON text, whether they arrived as a string or as an object.
pub(crate) fn arguments(halves: &mut Halves, key: &str, raw: &RawValue) -> String {
    match raw.get().trim() {
        "null" => String::new(),
        text if text.starts_with('"') => halves.string(key, raw).unwrap_or_default(),
        text => text.to_owned(),
    }
}

/// The object that a text was meant to be, if it is almost one: encoded twice, or with unescaped line breaks and
/// tabs in its strings.
pub(crate) fn nearly_object(text: &str) -> Option<Box<RawValue>> {
    let parse = |text: &str| serde_json::from_str::<Box<RawValue>>(text).ok();
    let raw = parse(text).or_else(|| parse(&escaped(text)))?;
    if raw.get().starts_with('{') {
        return Some(raw);
    }
    let inner: String = serde_json::from_str(raw.get()).ok()?;
    let raw = parse(&inner).or_else(|| parse(&escaped(&inner)))?;
    raw.get().starts_with('{').then_some(raw)
}

/// Escapes the control characters inside strings.
fn escaped(text: &str) -> String {
    let (mut fixed, mut in_string, mut is_escaped) = (String::new(), false, false);
    for c in text.chars() {
        if in_string && u32::from(c) < 0x20 {
            fixed.push_str(match c {
                '\n' => "\\n",
                '\r' => "\\r",
                '\t' => "\\t",
                _ => "\\u",
            });
            if !matches!(c, '\n' | '\r' | '\t') {
                fixed.push_str(&format!("{:04x}", u32::from(c)));
            }
            is_escaped = false;
            continue;
        }
        in_string ^= c == '"' && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        fixed.push(c);
    }
    fixed
}

/// Whether an `error` member reports an error.
pub(crate) fn is_error(raw: &RawValue) -> bool {
    match serde_json::from_str(raw.get()) {
        Ok(Value::Null | Value::Bool(false)) => false,
        Ok(Value::Object(object)) => !object.is_empty(),
        Ok(Value::String(text)) => !text.is_empty(),
        Ok(Value::Bool(true) | Value::Number(_) | Value::Array(_)) | Err(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    #[test]
    fn numbers_are_read_however_they_are_written() {
        for (text, want) in [
            ("3", Some(3)),
            ("3.0", Some(3)),
            ("\"3\"", Some(3)),
            ("1e3", Some(1_000)),
            ("null", None),
            ("-1", None),
            ("{}", None),
        ] {
            assert_eq!(number(&raw(text)), want, "{text}");
        }
    }

    #[test]
    fn a_character_that_is_cut_in_two_is_joined() {
        let mut halves = Halves::default();
        let mut read = |text: &str| halves.string("content", &raw(text)).unwrap();
        assert_eq!(read(r#""before \ud83d""#), "before ");
        assert_eq!(read(r#""\ude00 \"after\"\n""#), "\u{1f600} \"after\"\n");
        assert_eq!(read(r#""alone \ud83d""#), "alone ");
        assert_eq!(read(r#""then é""#), "\u{fffd}then é");
        assert_eq!(read(r#""\ude00 low""#), "\u{fffd} low");
    }

    #[test]
    fn arguments_are_taken_for_what_they_mean() {
        for (text, want) in [
            ("{\"a\": 1}", Some("{\"a\": 1}")),
            ("{\"a\": \"x\ny\t\"}", Some("{\"a\": \"x\\ny\\t\"}")),
            (r#""{\"a\": 1}""#, Some("{\"a\": 1}")),
            ("\"ls\"", None),
            ("[1]", None),
            ("{\"a\": ", None),
            ("{} {}", None),
        ] {
            assert_eq!(nearly_object(text).as_deref().map(RawValue::get), want, "{text:?}");
        }
    }

    #[test]
    fn a_list_of_parts_is_text_and_reasoning() {
        let mut halves = Halves::default();
        let mut read = |text: &str| content(&mut halves, "content", &raw(text));
        let parts = r#"[{"type":"thinking","thinking":[{"type":"text","text":"hm"}]},
                        {"type":"text","text":"42"},{"type":"image"},"!"]"#;
        assert_eq!(read(parts), ("42!".to_owned(), "hm".to_owned()));
        assert_eq!(read(r#"{"type":"text","text":"x"}"#), ("x".to_owned(), String::new()));
        assert_eq!(read("null"), (String::new(), String::new()));
    }
}
