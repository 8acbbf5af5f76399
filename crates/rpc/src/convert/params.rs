//! Parses parameters: an error names the field by its path and is worded in terms of the protocol.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::error::invalid;
use super::servers;
use crate::wire::Error;

type Result<T> = std::result::Result<T, Error>;

/// Parses the parameters of a method.
///
/// # Errors
///
/// Returns -32602 with the name of the field.
pub(crate) fn parse<T: DeserializeOwned>(mut params: Value) -> Result<T> {
    servers::tidy(&mut params);
    read("", params)
}

/// Parses a member that is an object. A missing, null or empty-list value is read as an empty object, because Lua,
/// PHP and Vim write an empty table as an empty list.
///
/// # Errors
///
/// Returns -32602 with the path of the field, starting with the member's name.
pub(crate) fn within<T: DeserializeOwned>(member: &str, value: Option<Value>) -> Result<T> {
    let is_empty = |value: &Value| value.is_null() || value.as_array().is_some_and(Vec::is_empty);
    let value = value.filter(|value| !is_empty(value));
    read(member, value.unwrap_or_else(|| Value::Object(Map::new())))
}

fn read<T: DeserializeOwned>(prefix: &str, value: Value) -> Result<T> {
    if !value.is_object() {
        let field = if prefix.is_empty() { "params" } else { prefix };
        return Err(invalid(field, "is not an object; expected named parameters"));
    }
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        let path = if path == "." { "" } else { &path };
        let (field, message) = explain(join(prefix, path), &error.inner().to_string());
        invalid(field, message)
    })
}

/// Translates serde's error message: which field, and what was expected.
fn explain(path: String, said: &str) -> (String, String) {
    if let Some((name, rest)) = quoted(said, "missing field `") {
        debug_assert!(rest.is_empty(), "serde says no more than the name");
        return (join(&path, name), "is missing".to_owned());
    }
    if let Some((name, rest)) = quoted(said, "unknown field `") {
        // The path may already end with the name.
        let field = if path == name || path.ends_with(&format!(".{name}")) {
            path
        } else {
            join(&path, name)
        };
        let rest = rest.trim_start_matches([',', ' ']);
        return (field, format!("is not a parameter here; {rest}"));
    }
    // ACP deserializes this field as a flattened untagged enum, so the error path does not name it.
    if said.ends_with("untagged enum SessionConfigOptionValue") {
        return (join(&path, "value"), "is missing or not a string".to_owned());
    }
    let mut message = said.to_owned();
    for (rust, wire) in [
        ("expected u64", "expected an integer of 0 or more"),
        ("expected u32", "expected an integer from 0 to 4294967295"),
        ("expected u16", "expected an integer from 0 to 65535"),
        ("expected struct PtyParam", "expected an object with `rows` and `cols`"),
        ("expected struct WatchParam", "expected an object with `pattern`"),
        ("expected internally tagged enum ContentBlock", "expected an object with a `type`"),
        ("expected string or map", "expected a string"),
        ("expected a sequence", "expected an array"),
        ("expected a map", "expected an object"),
        ("invalid type: map", "invalid type: object"),
        ("invalid type: sequence", "invalid type: array"),
    ] {
        message = message.replace(rust, wire);
    }
    (if path.is_empty() { "params".to_owned() } else { path }, message)
}

fn quoted<'a>(said: &'a str, before: &str) -> Option<(&'a str, &'a str)> {
    said.strip_prefix(before)?.split_once('`')
}

fn join(prefix: &str, path: &str) -> String {
    match (prefix, path) {
        ("", path) => path.to_owned(),
        (prefix, "") => prefix.to_owned(),
        (prefix, path) => format!("{prefix}.{path}"),
    }
}
