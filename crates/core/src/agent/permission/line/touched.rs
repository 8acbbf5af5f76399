//! The files that the commands of a line use, as far as its words show.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::{Class, Part, Reader, is_ruled, show, unruled};
use crate::agent::permission::files::{self, Files};
use crate::agent::permission::shell::Word;
use crate::agent::permission::{Standing, programs};
use crate::confine::is_secret_name;

/// Directories that every confined command can read anyway.
const SYSTEM: [&str; 7] = ["/usr", "/proc", "/sys", "/bin", "/lib", "/opt", "/etc/os-release"];
/// Names that do not refer to a file.
const NO_FILES: [&str; 4] = ["/dev/null", "/dev/stdin", "/dev/stdout", "/dev/stderr"];

impl Reader<'_> {
    fn judge(&self, files: Files, path: &Path) -> Standing {
        if Instant::now() > self.until {
            let why = "it names more files than can be looked up in time".to_owned();
            return Standing::Held { why };
        }
        files::judge(self.all_rules, self.places, None, files, path)
    }

    /// The path that a word refers to, if the word is nothing but a path.
    fn path(&self, word: &Word, cwd: Option<&Path>) -> Option<PathBuf> {
        match (word.literal(), word.of_home()) {
            (Some(text), _) if text.starts_with('/') => Some(text.into()),
            (Some(text), _) => Some(cwd?.join(text)),
            (None, rest) => Some(self.places.home.as_ref()?.join(rest?)),
        }
    }

    /// The verdicts on files that a command names literally, that exist or are outside of the workspace, and that
    /// it reads.
    fn named(&self, part: &Part) -> Vec<Standing> {
        let name = part.words.first().map(Word::text).unwrap_or_default();
        let mut awaits_pattern = ["grep", "egrep", "fgrep", "rg"].contains(&name);
        let mut found = Vec::new();
        for (before, word) in part.words.iter().zip(part.words.iter().skip(1)) {
            let text = word.text();
            let is_number = text.starts_with(|c: char| c.is_ascii_digit());
            let of_option = before.text().len() == 2 && before.text().starts_with('-');
            let is_option = text.starts_with('-') || of_option && is_number;
            let outside = text.starts_with(['/', '~']) || text.starts_with("../");
            // The word may be a file all the same, if an option gives the pattern.
            if !is_option && std::mem::take(&mut awaits_pattern) && outside {
                continue;
            }
            let Some(path) = self.path(word, part.cwd.as_deref()) else { continue };
            // The word after a test of `find` is a name or a number.
            let is_value = name == "find" && before.text().starts_with('-');
            let is_passed = ["/", "..", ""].contains(&text) || is_not_a_file(word) || is_value;
            let is_there = || Instant::now() > self.until || path.exists();
            let is_open = || is_system(&path) && !self.places.is_secret(&path);
            if !is_passed && (outside || is_there()) && !is_open() {
                found.push(self.judge(Files::Read, &path));
            }
        }
        found
    }

    /// A command of a line that only reads: needs a question only for files that it names and would not be able to
    /// see, and for the contents of repositories.
    pub(super) fn looking(&self, part: &Part) -> Vec<Standing> {
        // These only check whether a file exists.
        let is_test = part.words.first().is_some_and(|it| ["test", "["].contains(&it.text()));
        let mut found = if is_test { Vec::new() } else { self.named(part) };
        found.extend(self.kept(part));
        found
    }

    /// A command that runs unconfined: rules may still protect the files that it names literally. File names that
    /// only the shell can compute cannot be checked.
    pub(super) fn held(&self, part: &Part) -> Vec<Standing> {
        let mut found = self.named(part);
        for word in part.words.iter().skip(1) {
            let path = self.path(word, part.cwd.as_deref());
            let is_somewhere =
                path.is_none() && word.literal().is_some_and(|it| !it.starts_with('-'));
            if is_somewhere && part.cwd.is_none() {
                found.extend(
                    [Files::Read, Files::Write].map(|it| files::judge_unknown(self.all_rules, it)),
                );
            }
            match path.map(|path| self.judge(Files::Write, &path)) {
                // The file may only be read.
                Some(Standing::Held { why } | Standing::Denied { why }) => {
                    found.push(Standing::Held { why });
                }
                Some(Standing::Allow | Standing::Unruled { .. }) | None => {}
            }
        }
        found.retain(is_ruled);
        found
    }

    /// A read-only command in a line where a rule allows another command to run unconfined; then the whole line
    /// runs unconfined.
    pub(super) fn beside(&self, part: &Part) -> Vec<Standing> {
        let mut found: Vec<Standing> = self.kept(part).into_iter().collect();
        let words: Option<Vec<&str>> = part.words.iter().map(Word::literal).collect();
        let file = |word: &str| {
            let path = part.cwd.as_ref().map(|cwd| cwd.join(word));
            found.extend(path.as_ref().map(|path| self.judge(Files::Read, path)));
            path.is_some()
        };
        if !words.is_some_and(|it| programs::passes_on(&it, file)) {
            found.push(unruled(&part.words, false));
        }
        found
    }

    /// The object stores of repositories whose contents a part of the line could show through a hidden call of git:
    /// a `sed` expression, a script. If the line itself calls git, only stores that contain keys, so that git keeps
    /// working.
    pub(super) fn kept_unseen(&self, parts: &[Part]) -> Vec<PathBuf> {
        let may_run = |part: &Part| {
            let words: Vec<Option<&str>> = part.words.iter().map(Word::literal).collect();
            part.class != Class::Setting && programs::may_run_git(&words)
        };
        if self.hidden.is_none() && !parts.iter().any(may_run) {
            return Vec::new();
        }
        let is_git = |part: &Part| part.words.first().is_some_and(|it| it.text() == "git");
        let has_git = parts.iter().any(is_git);
        let mut at: BTreeSet<&Path> = parts.iter().filter_map(|it| it.cwd.as_deref()).collect();
        at.insert(&self.places.workspace);
        let at = at.into_iter().filter(|it| !has_git || self.key_at(it).is_some());
        at.flat_map(crate::confine::objects).collect()
    }

    /// A key that the history of a directory's repository contains and must not show. Searched once per line.
    fn key_at(&self, cwd: &Path) -> Option<String> {
        let known = self.keys.borrow().get(cwd).cloned();
        if let Some(known) = known {
            return known;
        }
        if Instant::now() > self.until {
            return Some("unknown keys".to_owned());
        }
        let own = &self.places.workspace;
        let hidden = files::hidden(self.all_rules, self.places).unwrap_or_default();
        // git names paths relative to the top of the repository, and the workspace may be a part of it.
        let top = cwd.ancestors().find(|it| it.join(".git").exists()).unwrap_or(own);
        let is_hidden = |path: &str| hidden.iter().any(|it| top.join(path).starts_with(it));
        let key = crate::confine::key_in_history(cwd, own, is_hidden);
        self.keys.borrow_mut().insert(cwd.to_owned(), key.clone());
        key
    }

    /// A command that shows repository contents with keys: the kernel cannot prevent this, however little access
    /// the model requests.
    fn kept(&self, part: &Part) -> Option<Standing> {
        let literal: Vec<Option<&str>> = part.words.iter().map(Word::literal).collect();
        if literal.first() != Some(&Some("git")) || !programs::shows_content(&literal) {
            return None;
        }
        // `git -C` changes the directory.
        let moved = literal.get(1) == Some(&Some("-C"));
        let names_key = |text: &&str| text.rsplit([':', '/']).next().is_some_and(is_secret_name);
        let named = literal.iter().copied().flatten().find(names_key).map(str::to_owned);
        let key = named.or_else(|| match part.cwd.as_ref().filter(|_| !moved) {
            Some(cwd) => self.key_at(cwd),
            None => Some("unknown keys".to_owned()),
        })?;
        let why =
            format!("`{}` may show `{key}`, which the repository contains", show(&part.words));
        Some(Standing::Held { why })
    }

    /// The verdict on a file that the line redirects from or to.
    pub(super) fn file(&self, word: &Word, files: Files, cwd: Option<&Path>) -> Option<Standing> {
        if is_not_a_file(word) {
            return None;
        }
        Some(match self.path(word, cwd) {
            Some(path) => self.judge(files, &path),
            None => files::judge_unknown(self.all_rules, files),
        })
    }
}

/// Whether every confined command can read it anyway. `/proc` entries of a process lead elsewhere.
fn is_system(path: &Path) -> bool {
    let is_process =
        |it: &str| it.ends_with("self") || it.starts_with(|c: char| c.is_ascii_digit());
    let of_process = path.strip_prefix("/proc").ok().and_then(|it| it.iter().next()?.to_str());
    SYSTEM.iter().any(|it| path.starts_with(it)) && !of_process.is_some_and(is_process)
}

pub(super) fn is_not_a_file(word: &Word) -> bool {
    word.literal().is_some_and(|it| NO_FILES.contains(&it))
}
