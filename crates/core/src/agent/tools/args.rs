//! Parses the arguments of a call, as models write them.
//!
//! Lenient where the meaning is clear: `null` counts as missing, `"30"` is 30, names that other agents use are
//! accepted, remarks are ignored. Where information would be lost, an error names the field, the expected value and
//! what to do: a model that gets such an error corrects its call.

use std::time::Duration;

use serde_json::{Map, Value};

use super::Builtin;
use crate::background::task::TaskId;
use crate::limits;

/// Fields in which models explain their call. They have no effect.
const REMARKS: [&str; 7] =
    ["description", "explanation", "reason", "rationale", "thought", "thoughts", "justification"];

/// The arguments of one call, removed one by one as they are parsed.
pub(super) struct Fields {
    tool: Builtin,
    fields: Map<String, Value>,
    taken: Vec<&'static str>,
}

impl Fields {
    /// Parses the arguments of a call of `tool`, a JSON object.
    pub(super) fn new(tool: Builtin, json: &str) -> Result<Self, String> {
        let fields = serde_json::from_str(json).map_err(|error| {
            format!("the arguments of `{tool}` are not a JSON object: {error}; write them again")
        })?;
        Ok(Self { tool, fields, taken: Vec::new() })
    }

    /// Removes a field, by the first of its names that has a value. The first name is the documented one.
    fn take(&mut self, names: &[&'static str]) -> Option<(&'static str, Value)> {
        self.taken.push(names[0]);
        for name in names {
            match self.fields.get(*name) {
                None | Some(Value::Null) => {}
                Some(_) => return self.fields.remove(*name).map(|value| (*name, value)),
            }
        }
        None
    }

    /// A required text.
    pub(super) fn text(&mut self, names: &[&'static str], what: &str) -> Result<String, String> {
        self.optional_text(names)?.ok_or_else(|| self.missing(names[0], what))
    }

    fn missing(&self, name: &str, what: &str) -> String {
        let others = self.fields.keys().map(|key| format!("`{key}`")).collect::<Vec<_>>();
        let got = match others.is_empty() {
            true => String::new(),
            false => format!("; it also has {}", others.join(", ")),
        };
        format!("`{name}` is missing in the call of {}: expected {what}{got}", self.tool)
    }

    pub(super) fn optional_text(
        &mut self,
        names: &[&'static str],
    ) -> Result<Option<String>, String> {
        match self.take(names) {
            None => Ok(None),
            Some((_, Value::String(text))) => Ok(Some(text)),
            Some((name, other)) => {
                Err(format!("`{name}`: expected a string, got {}", kind(&other)))
            }
        }
    }

    pub(super) fn flag(&mut self, names: &[&'static str]) -> Result<Option<bool>, String> {
        match self.take(names) {
            None => Ok(None),
            Some((_, Value::Bool(flag))) => Ok(Some(flag)),
            Some((name, Value::String(text))) => match text.trim() {
                "true" | "True" => Ok(Some(true)),
                "false" | "False" => Ok(Some(false)),
                "" => Ok(None),
                _ => Err(format!("`{name}`: expected true or false, got \"{}\"", brief(&text))),
            },
            Some((name, other)) => {
                Err(format!("`{name}`: expected true or false, got {}", kind(&other)))
            }
        }
    }

    /// A whole number that is not negative.
    pub(super) fn count(&mut self, names: &[&'static str]) -> Result<Option<u64>, String> {
        let Some((name, number)) = self.number(names)? else { return Ok(None) };
        // Whole numbers that a model has a use for are exact in an f64.
        if number < 0.0 || number.fract() != 0.0 || number > 9e15 {
            return Err(format!("`{name}`: expected a whole number, 0 or more, got {number}"));
        }
        Ok(Some(number as u64))
    }

    /// A limit in seconds. 0 means no limit, because models write it for that: a small one did so in every call.
    pub(super) fn seconds(&mut self, names: &[&'static str]) -> Result<Option<Duration>, String> {
        let Some((name, number)) = self.number(names)? else { return Ok(None) };
        if number < 0.0 {
            return Err(format!(
                "`{name}`: expected seconds, 0 or more, got {number}; leave it out for no limit"
            ));
        }
        if number == 0.0 {
            return Ok(None);
        }
        Ok(Some(time(number)))
    }

    /// A duration in seconds that may be 0.
    pub(super) fn patience(&mut self, names: &[&'static str]) -> Result<Duration, String> {
        let Some((name, number)) = self.number(names)? else { return Ok(Duration::ZERO) };
        if number < 0.0 {
            return Err(format!("`{name}`: expected seconds, 0 or more, got {number}"));
        }
        Ok(time(number))
    }

    fn number(&mut self, names: &[&'static str]) -> Result<Option<(&'static str, f64)>, String> {
        let (name, number) = match self.take(names) {
            None => return Ok(None),
            Some((name, Value::Number(number))) => (name, number.as_f64()),
            Some((name, Value::String(text))) => match text.trim() {
                "" => return Ok(None),
                digits => match digits.parse::<f64>() {
                    Ok(number) => (name, Some(number)),
                    Err(_) => {
                        return Err(format!(
                            "`{name}`: expected a number, got \"{}\"",
                            brief(&text)
                        ));
                    }
                },
            },
            Some((name, other)) => {
                return Err(format!("`{name}`: expected a number, got {}", kind(&other)));
            }
        };
        match number.filter(|number| number.is_finite()) {
            Some(number) => Ok(Some((name, number))),
            None => Err(format!("`{name}`: expected a number that can be counted")),
        }
    }

    /// A list of texts; a single text counts as a list of one.
    pub(super) fn texts(&mut self, names: &[&'static str]) -> Result<Vec<String>, String> {
        match self.take(names) {
            None => Ok(Vec::new()),
            // The list may be JSON inside a string.
            Some((_, Value::String(text))) => {
                let list = serde_json::from_str::<Vec<String>>(&text);
                Ok(list.unwrap_or_else(|_| vec![text]))
            }
            Some((name, Value::Array(values))) => {
                let texts = values.iter().enumerate().map(|(i, value)| {
                    value.as_str().map(str::to_owned).ok_or_else(|| {
                        format!("`{name}[{i}]`: expected a string, got {}", kind(value))
                    })
                });
                texts.collect()
            }
            Some((name, other)) => {
                Err(format!("`{name}`: expected a list of strings, got {}", kind(&other)))
            }
        }
    }

    /// A required list of objects.
    pub(super) fn objects(
        &mut self,
        names: &[&'static str],
        what: &str,
    ) -> Result<Vec<Fields>, String> {
        let tool = self.tool;
        let (name, values) = match self.take(names) {
            None => return Err(self.missing(names[0], what)),
            Some((name, value)) => match meant(value) {
                Value::Array(values) => (name, values),
                // A single object counts as a list of one.
                value @ Value::Object(_) => (name, vec![value]),
                other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => {
                    return Err(format!("`{name}`: expected a list, {what}, got {}", kind(&other)));
                }
            },
        };
        let objects = values.into_iter().enumerate().map(|(i, value)| {
            let value = meant(value);
            let got = kind(&value);
            if let Value::Object(fields) = value {
                return Ok(Self { tool, fields, taken: Vec::new() });
            }
            Err(format!("`{name}[{i}]`: expected an object, got {got}"))
        });
        objects.collect()
    }

    /// An optional task id. The form used in messages, `[bg:b3f9c2a1]`, is accepted, too.
    pub(super) fn optional_task(
        &mut self,
        names: &[&'static str],
    ) -> Result<Option<TaskId>, String> {
        let Some((name, value)) = self.take(names) else { return Ok(None) };
        task_id(name, &value)
    }

    /// A list of task ids; a single id counts as a list of one.
    pub(super) fn tasks(&mut self, names: &[&'static str]) -> Result<Vec<TaskId>, String> {
        match self.take(names).map(|(name, value)| (name, meant(value))) {
            None => Ok(Vec::new()),
            Some((name, Value::Array(values))) => {
                let ids = values.iter().enumerate();
                let ids = ids.map(|(i, value)| task_id(&format!("{name}[{i}]"), value));
                ids.filter_map(Result::transpose).collect()
            }
            Some((name, one)) => Ok(task_id(name, &one)?.into_iter().collect()),
        }
    }

    pub(super) fn task(&mut self, names: &[&'static str]) -> Result<TaskId, String> {
        self.optional_task(names)?
            .ok_or_else(|| self.missing(names[0], "the id that the task was started with"))
    }

    /// Rejects fields that are left over, unless they are empty.
    pub(super) fn finish(self) -> Result<(), String> {
        self.finish_with(|_| None)
    }

    /// The same; `hint` may name an alternative.
    pub(super) fn finish_with(
        self,
        hint: impl Fn(&str) -> Option<&'static str>,
    ) -> Result<(), String> {
        let says_something = |value: &Value| match value {
            Value::Null | Value::Bool(false) => false,
            Value::Bool(true) | Value::Number(_) => true,
            Value::String(text) => !text.trim().is_empty(),
            Value::Array(values) => !values.is_empty(),
            Value::Object(fields) => !fields.is_empty(),
        };
        for (name, value) in &self.fields {
            if REMARKS.contains(&name.as_str()) || !says_something(value) {
                continue;
            }
            let what = match hint(name) {
                Some(hint) => hint.to_owned(),
                None => format!("it takes {}", self.taken.join(", ")),
            };
            return Err(format!(
                "`{}` is not a parameter of {}: {what}; nothing was done",
                brief(name),
                self.tool
            ));
        }
        Ok(())
    }
}

/// Decodes a list or an object that the model wrote as JSON inside a string.
fn meant(value: Value) -> Value {
    let Value::String(text) = &value else { return value };
    match serde_json::from_str(text) {
        Ok(inner @ (Value::Array(_) | Value::Object(_))) => inner,
        Ok(_) | Err(_) => value,
    }
}

/// Parses a task id as models write it; `None` if it is empty.
fn task_id(name: &str, value: &Value) -> Result<Option<TaskId>, String> {
    let text = match value {
        Value::String(text) => text.clone(),
        // An id of digits only, written without quotes; leading zeros are lost.
        Value::Number(number) => number.to_string(),
        other @ (Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_)) => {
            return Err(format!("`{name}`: expected a task's id, got {}", kind(other)));
        }
    };
    let bare = text.trim().trim_start_matches('[').trim_end_matches(']');
    let bare = bare.strip_prefix("bg:").unwrap_or(bare);
    if bare.is_empty() {
        return Ok(None);
    }
    match bare.parse() {
        Ok(id) => Ok(Some(id)),
        Err(_) => Err(format!(
            "`{name}`: `{}` is not a task's id: expected 8 hex digits as in `b3f9c2a1`; \
             check_background without task_id lists the tasks",
            brief(&text)
        )),
    }
}

fn time(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(limits::TIME_MAX).min(limits::TIME_MAX)
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn brief(text: &str) -> String {
    text.chars().take(80).collect()
}
