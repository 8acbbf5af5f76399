//! What the commands of a line touch, as far as its words tell.

use std::path::{Path, PathBuf};

use super::{Class, Part, Reader, is_ruled, show, unruled};
use crate::agent::permission::files::{self, Files};
use crate::agent::permission::shell::Word;
use crate::agent::permission::{Standing, programs};
use crate::confine::is_secret_name;

impl Reader<'_> {
    /// A command that shows what is in a repository, where that holds keys.
    pub(super) fn kept(&mut self, part: &Part) {
        let literal: Vec<Option<String>> = part.words.iter().map(Word::literal).collect();
        let is_git = literal.first().and_then(Option::as_deref) == Some("git");
        if !is_git || !programs::shows_content(&literal) {
            return;
        }
        let own = &self.places.workspace;
        let hidden = files::hidden(self.rules, self.places).unwrap_or_default();
        // git names paths from the top of the repository, of which the workspace may be a part.
        let here = part.cwd.as_deref().unwrap_or(own);
        let top = here.ancestors().find(|it| it.join(".git").exists()).unwrap_or(own);
        let is_hidden = |path: &str| hidden.iter().any(|it| top.join(path).starts_with(it));
        // `git -C`: somewhere else.
        let moved = literal.get(1).is_some_and(|it| it.as_deref() == Some("-C"));
        let names_key = |text: &&str| text.rsplit([':', '/']).next().is_some_and(is_secret_name);
        let named = literal.iter().filter_map(Option::as_deref).find(names_key);
        let key = match part.cwd.as_ref().filter(|_| !moved) {
            _ if named.is_some() => named.map(str::to_owned),
            Some(cwd) => crate::confine::key_in_history(cwd, own, is_hidden),
            None => Some("what it holds".to_owned()),
        };
        if let Some(key) = key {
            let why =
                format!("`{}` may show `{key}`, which the repository keeps", show(&part.words));
            // The kernel cannot hold it, however little the model asks for.
            self.found.push(Standing::Held { why });
        }
    }

    /// A command that looks, where all do: it is asked only about what it names in plain words and would
    /// not get to see.
    pub(super) fn named(&mut self, words: &[Word]) {
        // These read nothing of a file but whether it is there.
        if words.first().is_some_and(|it| ["test", "["].contains(&it.text().as_str())) {
            return;
        }
        let is_find = words.first().is_some_and(|it| it.text() == "find");
        let searches = ["grep", "egrep", "fgrep", "rg"];
        let mut has_pattern =
            !words.first().is_some_and(|it| searches.contains(&it.text().as_str()));
        for (before, word) in words.iter().zip(words.iter().skip(1)) {
            let tilde = || word.starts_with_tilde().then(|| word.text());
            let Some(text) = word.literal().or_else(tilde) else { continue };
            let is_number = text.starts_with(|c: char| c.is_ascii_digit());
            let of_option = before.text().len() == 2 && before.text().starts_with('-');
            let is_option = text.starts_with('-') || of_option && is_number;
            if !is_option && !std::mem::replace(&mut has_pattern, true) {
                continue;
            }
            let outside = ["/", "~/", "../"].iter().any(|it| text.starts_with(it)) || text == "~";
            let path = match text.strip_prefix('~') {
                Some(rest) => {
                    let rest = rest.trim_start_matches('/');
                    self.places.home.as_ref().map(|home| home.join(rest))
                }
                None => self.cwd.as_ref().map(|cwd| cwd.join(&text)),
            };
            let Some(path) = path.filter(|path| outside || path.exists()) else { continue };
            let is_value = is_find && before.text().starts_with('-');
            if text == ".." || is_value || is_no_file_named(&text) || is_system(&path) {
                continue;
            }
            self.found.push(files::judge(self.rules, self.places, None, Files::Read, &path));
        }
    }

    /// A command that a rule for all of them lets run: what it names in plain words may be held back all
    /// the same. What it makes of words that only the shell will know, no reader can tell.
    pub(super) fn held(&mut self, part: &Part) {
        let before = self.found.len();
        self.named(&part.words);
        let kept: Vec<Standing> = self.found.drain(before..).filter(is_ruled).collect();
        self.found.extend(kept);
        if part.class == Class::Looking {
            return;
        }
        for text in part.words.iter().skip(1).filter_map(Word::literal) {
            let Some(path) = part.cwd.as_ref().map(|cwd| cwd.join(&text)) else { continue };
            let standing = files::judge(self.rules, self.places, None, Files::Write, &path);
            if let Standing::Held { why } | Standing::Denied { why } = standing {
                self.found.push(Standing::Held { why });
            }
        }
    }

    /// A command that looks beside one that a rule lets run as it is, which all of the line does then.
    pub(super) fn beside(&mut self, words: &[Word]) {
        let literal: Option<Vec<String>> = words.iter().map(Word::literal).collect();
        let Some(literal) =
            literal.filter(|it| it.first().is_some_and(|it| programs::passes_on(it)))
        else {
            self.found.push(unruled(words));
            return;
        };
        let name = literal.first().map(String::as_str).unwrap_or_default();
        let is_text = matches!(name, "echo" | "printf" | "tr" | "cd" | "exit" | "sleep" | "set");
        let is_plain = |option: &str| option.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        for text in literal.iter().skip(1) {
            match text.strip_prefix('-') {
                Some(option) if is_plain(option) => {}
                Some(_) if !is_text => return self.found.push(unruled(words)),
                Some(_) | None if is_text => {}
                Some(_) | None => {
                    let standing = match &self.cwd {
                        Some(cwd) if name == "grep" && cwd.join(text).is_dir() => unruled(words),
                        Some(cwd) => files::judge(
                            self.rules,
                            self.places,
                            None,
                            Files::Read,
                            &cwd.join(text),
                        ),
                        None => unruled(words),
                    };
                    self.found.push(standing);
                }
            }
        }
    }

    /// Judges a file that the line is connected to.
    pub(super) fn file(&self, word: &Word, files: Files, cwd: Option<&Path>) -> Option<Standing> {
        if is_no_file(word) {
            return None;
        }
        let path = match (
            word.literal(),
            word.starts_with_tilde() && !word.is_dynamic() && !word.is_glob(),
        ) {
            (Some(text), _) if text.starts_with('/') => Some(PathBuf::from(text)),
            (Some(text), _) => cwd.map(|cwd| cwd.join(text)),
            (None, true) => self
                .places
                .home
                .as_ref()
                .map(|home| home.join(word.text().trim_start_matches(['~', '/']))),
            (None, false) => None,
        };
        Some(match path {
            Some(path) => files::judge(self.rules, self.places, None, files, &path),
            None => files::judge_unknown(self.rules, files),
        })
    }
}

fn is_no_file_named(text: &str) -> bool {
    ["-", "/dev/null", "/dev/stdin", "/dev/stdout", "/dev/stderr", "/"].contains(&text)
}

pub(super) fn is_no_file(word: &Word) -> bool {
    // After `>` a dash is the name of a file.
    word.literal().is_some_and(|it| is_no_file_named(&it) && it != "/" && it != "-")
}

/// Whether every confined command reads it anyway.
fn is_system(path: &Path) -> bool {
    [
        "/usr",
        "/proc",
        "/sys",
        "/bin",
        "/lib",
        "/opt",
        "/etc/os-release",
        "/etc/hosts",
        "/etc/passwd",
    ]
    .iter()
    .any(|it| path.starts_with(it))
}
