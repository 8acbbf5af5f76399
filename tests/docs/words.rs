//! Finds words that are hard for a reader who is new to the project or to English.

use std::fs;

use crate::pages::{files, has_extension};
use crate::root;

/// Words that hide who acts: the daemon, a client, a person, a process. Write "again" instead of "anew".
const WORDS: [&str; 4] = ["nobody", "somebody", "whoever", "anew"];
/// Verbs after which "no" is hard to read: write "is not a".
const VERBS: [&str; 4] = ["is", "are", "was", "were"];
/// Words that are plain after "is no".
const PLAIN: [&str; 4] = ["longer", "more", "one", "such"];
/// Words that name the owner after "of": write, for example, "a model that you choose".
const OWNERS: [&str; 3] = ["ours", "yours", "theirs"];
/// Documents that are not in the repository. The protocol is `docs/protocol.md`.
const ABSENT: [&str; 5] =
    ["the contract", "(contract", "(issue", "design, decision", "the first proposal"];
/// Lines that quote these words as examples.
const EXAMPLES: [&str; 2] = ["| `/// Tells whoever waits.` |", "| `\"is no id\"` |"];
/// Files that are not checked: this one, and types that a program generates from the schema.
const OTHERS: [&str; 2] = ["tests/docs/words.rs", "editors/vscode/src/protocol/generated.ts"];
const WRITTEN: [&str; 7] = ["rs", "md", "py", "ts", "lua", "sh", "toml"];

/// The first odd word in a line.
fn odd(line: &str) -> Option<String> {
    if EXAMPLES.iter().any(|example| line.starts_with(example)) {
        return None;
    }
    let lower = line.to_lowercase();
    if let Some(absent) = ABSENT.iter().find(|absent| lower.contains(**absent)) {
        return Some((*absent).to_owned());
    }
    let words: Vec<&str> =
        lower.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).collect();
    let at = |place: usize| words.get(place).copied().unwrap_or_default();
    (0..words.len()).find_map(|place| {
        let (word, next) = (at(place), at(place + 1));
        let before = place.checked_sub(1).map_or("", at);
        let is_no = VERBS.contains(&word) && next == "no" && before != "there";
        match () {
            () if WORDS.contains(&word) => Some(word.to_owned()),
            () if is_no && !PLAIN.contains(&at(place + 2)) => Some(format!("{word} no")),
            () if word == "of" && OWNERS.contains(&next) => Some(format!("of {next}")),
            () => None,
        }
    })
}

#[test]
fn the_words_are_plain() {
    let mut found = Vec::new();
    for path in files().into_iter().filter(|path| has_extension(path, &WRITTEN)) {
        let name = path.strip_prefix(root()).expect("a file of the repository");
        let Ok(text) = fs::read_to_string(&path) else { continue };
        if OTHERS.iter().any(|other| name.ends_with(other)) {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            let Some(odd) = odd(line) else { continue };
            found.push(format!("{}:{}: `{odd}`", name.display(), number + 1));
        }
    }
    assert!(found.is_empty(), "write who acts, and \"is not a\":\n{}", found.join("\n"));
}

#[test]
fn odd_words_are_found_and_plain_ones_are_not() {
    for plain in [
        "there is no task",
        "it is no longer kept",
        "there are no more results",
        "the body is not a message",
        "a part of it, ours and theirs",
    ] {
        assert_eq!(odd(plain), None, "{plain}");
    }
    for (line, word) in [
        ("// Nobody waits.", "nobody"),
        ("it is drawn anew;", "anew"),
        ("`{0}` is no id", "is no"),
        ("a model of yours", "of yours"),
        ("as the contract has it", "the contract"),
    ] {
        assert_eq!(odd(line).as_deref(), Some(word), "{line}");
    }
}
