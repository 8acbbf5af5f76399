//! The changes of one file.

use std::fmt::Display;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use meanwhile_core::background::words::reason;
use serde_json::{Map, Value, json};
use toml_edit::{DocumentMut, Item, Table};

use super::parts::{Part, add};
use super::shown;
use crate::cli::failure::Failure;
use crate::cli::files;

/// A change of one file.
#[derive(Debug)]
pub(super) struct Change {
    path: PathBuf,
    before: Option<String>,
    /// `None` removes the file.
    after: Option<String>,
}

/// The changes that add or remove these parts. Several parts may belong to one file.
pub(super) fn changes(parts: &[Part], undo: bool) -> Result<Vec<Change>, Failure> {
    let mut changes: Vec<Change> = Vec::new();
    for part in parts {
        let place = match changes.iter().position(|change| change.path == part.path()) {
            Some(place) => place,
            None => {
                changes.push(Change::unchanged(part.path())?);
                changes.len() - 1
            }
        };
        let change = &mut changes[place];
        change.after = after(part, change.after.as_deref(), undo)?;
    }
    changes.retain(|change| change.before != change.after);
    Ok(changes)
}

/// The text of a file with a part added or removed.
fn after(part: &Part, before: Option<&str>, undo: bool) -> Result<Option<String>, Failure> {
    match part {
        Part::Member { .. } | Part::Hooks { .. } => json_after(part, before, undo),
        Part::Table { at, table, .. } => toml_after(part, *at, table, before, undo),
        Part::File { text, .. } => Ok((!undo).then(|| text.clone())),
    }
}

impl Change {
    /// Reads a file; the change does nothing yet.
    fn unchanged(path: &Path) -> Result<Self, Failure> {
        let before = match fs::read_to_string(path) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(cannot("read", path, &error)),
        };
        Ok(Self { path: path.to_owned(), after: before.clone(), before })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The removed and added lines.
    pub(super) fn shown(&self) -> String {
        let old: Vec<&str> = self.before.iter().flat_map(|text| text.lines()).collect();
        let new: Vec<&str> = self.after.iter().flat_map(|text| text.lines()).collect();
        let first = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
        let rest = old.len().min(new.len()) - first;
        let last = old.iter().rev().zip(new.iter().rev());
        let last = last.take(rest).take_while(|(old, new)| old == new).count();
        let mut text = format!("{}:\n", shown(&self.path));
        for line in &old[first..old.len() - last] {
            text.push_str(&format!("- {line}\n"));
        }
        for line in &new[first..new.len() - last] {
            text.push_str(&format!("+ {line}\n"));
        }
        text
    }

    /// Makes the change, atomically.
    pub(super) fn make(&self) -> Result<(), Failure> {
        let fail = |error: std::io::Error| cannot("write", &self.path, &error);
        let Some(after) = &self.after else {
            return fs::remove_file(&self.path).map_err(fail);
        };
        files::replace(&self.path, after, 0o666).map_err(fail)
    }
}

fn cannot(what: &str, path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format!("cannot {what} `{}`: {}", shown(path), reason(error)))
}

fn json_after(part: &Part, before: Option<&str>, undo: bool) -> Result<Option<String>, Failure> {
    let text = before.filter(|text| !text.trim().is_empty());
    let unreadable = |why: &dyn Display| unchangeable(part, why);
    let mut file: Value = match text {
        Some(text) => serde_json::from_str(text).map_err(|why| unreadable(&why))?,
        None => json!({}),
    };
    let original = file.clone();
    let Some(members) = file.as_object_mut() else {
        return Err(unreadable(&"it is not an object"));
    };
    match part {
        Part::Member { at: [outer, inner], value, .. } => {
            let outer_value = members.entry(*outer).or_insert_with(|| json!({}));
            let Some(object) = outer_value.as_object_mut() else {
                return Err(unreadable(&format!("`{outer}` is not an object")));
            };
            match undo {
                true => drop(object.shift_remove(*inner)),
                // Members that a person has added are kept.
                false => drop(object.entry(*inner).or_insert_with(|| value.clone())),
            }
            remove_empty(members, outer);
        }
        Part::Hooks { groups, host, .. } => {
            let hooks = members.entry("hooks").or_insert_with(|| json!({}));
            let Some(hooks) = hooks.as_object_mut() else {
                return Err(unreadable(&"`hooks` is not an object"));
            };
            match undo {
                true => hooks.values_mut().for_each(|list| remove_own(list, host)),
                false => {
                    for (event, group) in groups {
                        let list = hooks.entry(*event).or_insert_with(|| json!([]));
                        let Some(list) = list.as_array_mut() else {
                            return Err(unreadable(&format!("`hooks.{event}` is not a list")));
                        };
                        if !list.contains(group) {
                            list.push(group.clone());
                        }
                    }
                }
            }
            hooks.retain(|_, list| list.as_array().is_none_or(|list| !list.is_empty()));
            remove_empty(members, "hooks");
        }
        Part::Table { .. } | Part::File { .. } => {}
    }
    if file == original {
        return Ok(before.map(str::to_owned));
    }
    // A file that contained nothing else is removed.
    if undo && file.as_object().is_some_and(Map::is_empty) {
        return Ok(None);
    }
    Ok(Some(format!("{file:#}\n")))
}

fn remove_empty(members: &mut Map<String, Value>, name: &str) {
    if members.get(name).and_then(Value::as_object).is_some_and(Map::is_empty) {
        members.shift_remove(name);
    }
}

/// Whether a host's hook runs `meanwhile`, by its path, which may be quoted.
pub(crate) fn is_own(hook: &Value, host: &str) -> bool {
    let command = hook.get("command").and_then(Value::as_str).unwrap_or_default();
    let command = command.strip_suffix(" --rewake").unwrap_or(command);
    ["meanwhile", "meanwhile'"].iter().any(|end| command.ends_with(&format!("{end} hook {host}")))
}

/// Removes the hooks of `meanwhile` from an event's groups, and groups that are then empty.
fn remove_own(groups: &mut Value, host: &str) {
    let Some(groups) = groups.as_array_mut() else { return };
    let is_own = |hook: &Value| is_own(hook, host);
    groups.retain_mut(|group| {
        let Some(hooks) = group.get_mut("hooks").and_then(Value::as_array_mut) else { return true };
        let count = hooks.len();
        hooks.retain(|hook| !is_own(hook));
        hooks.len() == count || !hooks.is_empty()
    });
}

fn unchangeable(part: &Part, why: &dyn Display) -> Failure {
    Failure::new(format!("`{}` cannot be changed: {why}", shown(part.path())))
        .hint("`--print` shows what to add to it by hand")
}

/// The host writes to the same file, beside and inside this table; comments and the order are kept.
fn toml_after(
    part: &Part,
    at: [&str; 2],
    table: &Table,
    before: Option<&str>,
    undo: bool,
) -> Result<Option<String>, Failure> {
    let text = before.unwrap_or_default();
    let mut file: DocumentMut = text.parse().map_err(|why| unchangeable(part, &why))?;
    let [outer, inner] = at;
    if undo {
        let place = file.get_mut(outer).and_then(Item::as_table_like_mut);
        let Some(place) = place.filter(|place| place.contains_key(inner)) else {
            return Ok(before.map(str::to_owned));
        };
        place.remove(inner);
        if place.is_empty() {
            file.remove(outer);
        }
        let left = file.to_string();
        return Ok((!left.trim().is_empty()).then_some(left));
    }
    if !add(&mut file, at, table) {
        return Err(unchangeable(part, &format!("`{outer}` is not a table")));
    }
    Ok(Some(file.to_string()))
}
