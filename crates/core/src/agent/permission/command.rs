//! What the rules say of a line of shell: of each command in it, and of each file it touches.

use std::path::{Path, PathBuf};

use super::files::{self, Files};
use super::paths::{self, Places};
use super::shell::{self, Redirect, Simple, Word};
use super::{Effect, Rule, Standing, git, known, suggest, wrap};

/// How deep `sh -c` and its like may be nested before it is asked.
const DEPTH_MAX: usize = 8;
/// In how many directories a command may find itself and still be judged by the files it names.
const PLACES_MAX: usize = 16;
/// How much of a command a person is shown, in characters.
const SHOWN_MAX: usize = 160;

/// The judgement of a line, as it is put together.
pub(super) struct Lines<'a> {
    rules: &'a [Rule],
    places: &'a Places,
    /// The directories the command may be in; `None`: who knows.
    from: Option<Vec<PathBuf>>,
    depth: usize,
}

/// Whether a command begins with the words of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fit {
    /// It does not.
    No,
    /// Nobody knows before it runs, or there are options between.
    Perhaps,
    /// It does.
    Yes,
    /// It does, with the variables set before it.
    WithVariables,
}

impl<'a> Lines<'a> {
    pub(super) fn new(rules: &'a [Rule], places: &'a Places, from: &Path) -> Self {
        Self { rules, places, from: paths::resolve(from).map(|it| vec![it]), depth: 0 }
    }

    /// Judges a line and all it runs: one standing for each thing it does.
    pub(super) fn line(&mut self, line: &str) -> Vec<Standing> {
        let script = shell::parse(line);
        if self.from.is_none() && self.depth == 0 {
            let why = "cannot tell in which directory it runs".to_owned();
            return vec![Standing::Unruled { why, always: None }];
        }
        let moves = |it: &Simple| it.words.first().is_some_and(|it| it.text() == "cd");
        if script.repeats && script.commands.iter().any(moves) {
            // Each time round it is somewhere else.
            self.from = None;
        }
        let mut found = Vec::new();
        if self.depth == 0 {
            let judge =
                |path: &PathBuf| files::judge(self.rules, self.places, None, Files::Read, path);
            found.extend(self.from.iter().flatten().map(judge));
        }
        for simple in &script.commands {
            found.extend(self.simple(simple));
        }
        if let Some(why) = script.hidden {
            found.push(self.hidden(format!("cannot tell what it runs: {why}")));
        }
        let everything =
            |it: &Rule| it.effect == Effect::Allow && it.prefix.is_none() && it.is_about_commands();
        if self.rules.iter().any(everything) { lift(found) } else { found }
    }

    /// Something may run that nobody can name. A rule for all commands covers that, but not where
    /// another rule holds some of them back.
    fn hidden(&self, why: String) -> Standing {
        let holds_back = |it: &Rule| it.effect != Effect::Allow && it.is_about_commands();
        match self.rules.iter().any(holds_back) {
            true => Standing::Held { why },
            false => Standing::Unruled { why, always: None },
        }
    }

    fn simple(&mut self, simple: &Simple) -> Vec<Standing> {
        let mut found = Vec::new();
        for redirect in &simple.redirects {
            match redirect {
                // What runs in it is judged with the other commands.
                Redirect::Read(word) | Redirect::Write(word) if word.is_process => {}
                Redirect::Read(word) => found.extend(self.file(word, Files::Read)),
                Redirect::Write(word) => found.extend(self.file(word, Files::Write)),
            }
        }
        if simple.words.is_empty() {
            let odd = |(name, value): &&(String, Word)| {
                !wrap::is_local(name) && !wrap::is_harmless(name, value.literal().as_deref())
            };
            found.extend(simple.assignments.iter().filter(odd).map(|(name, _)| {
                let why = format!("it sets `{name}` for the commands after it");
                Standing::Unruled { why, always: None }
            }));
            let values = simple.assignments.iter().flat_map(|(_, value)| &value.parameters);
            found.extend(hides(values.chain(&simple.given)));
        } else {
            found.extend(self.command(&simple.words, &simple.assignments, &simple.given));
        }
        found
    }

    /// Judges one command with all it runs and reads, and the parameters it is `given`.
    fn command(
        &mut self,
        words: &[Word],
        assignments: &[(String, Word)],
        given: &[String],
    ) -> Vec<Standing> {
        let (mut allow, mut with_variables, mut found) = (false, false, Vec::new());
        for rule in self.rules.iter().filter(|it| it.is_about_commands()) {
            let shown = show(words);
            match (rule.effect, fit(rule, words, assignments)) {
                (_, Fit::No) | (Effect::Allow, Fit::Perhaps) => {}
                (Effect::Allow, Fit::Yes) => allow = true,
                (Effect::Allow, Fit::WithVariables) => (allow, with_variables) = (true, true),
                (Effect::Ask | Effect::Deny, Fit::Perhaps) => found.push(Standing::Held {
                    why: format!("`{shown}` may fall under the rule `{rule}`"),
                }),
                (Effect::Ask, Fit::Yes | Fit::WithVariables) => found.push(Standing::Held {
                    why: format!("`{shown}` falls under the rule `{rule}`"),
                }),
                (Effect::Deny, Fit::Yes | Fit::WithVariables) => found
                    .push(Standing::Denied { why: format!("the rule `{rule}` forbids `{shown}`") }),
            }
        }
        // A rule for a command is for all it runs and reads, unless another rule is about that.
        let mut own = self.unlifted(words);
        own.extend(hides(given));
        found.extend(if allow { lift(own) } else { own });
        let odd =
            |(name, value): &&(String, Word)| !wrap::is_harmless(name, value.literal().as_deref());
        if let Some((name, _)) = assignments.iter().find(odd).filter(|_| !with_variables) {
            let why = format!("it sets `{name}` for `{}`", show(words));
            found.push(Standing::Unruled { why, always: None });
        }
        if !with_variables {
            found.extend(hides(assignments.iter().flat_map(|(_, value)| &value.parameters)));
        }
        found
    }

    /// What a command comes to where no rule is about it.
    fn unlifted(&mut self, words: &[Word]) -> Vec<Standing> {
        let Some(name) = words.first().and_then(Word::literal) else {
            let why = format!("which command `{}` is shows only when it runs", show(words));
            return vec![self.hidden(why)];
        };
        let program = name.rsplit('/').next().unwrap_or_default();
        if let Some(wrapped) = wrap::unwrap(program, words) {
            let mut found = self.wrapped(wrapped);
            if name != program {
                // Another program of that name may do anything.
                found.push(unruled(words));
            }
            return found;
        }
        if name == "cd" {
            return self.change_directory(words);
        }
        match known::reads(words) {
            Some(reads) if self.is_fit_for(&name) => {
                reads.iter().flat_map(|word| self.file(word, Files::Read)).collect()
            }
            Some(_) | None => vec![unruled(words)],
        }
    }

    fn wrapped(&mut self, wrapped: wrap::Wrapped) -> Vec<Standing> {
        let mut found = Vec::new();
        if self.depth >= DEPTH_MAX {
            return vec![self.hidden("commands within commands are nested too deep".to_owned())];
        }
        self.depth += 1;
        for words in &wrapped.commands {
            found.extend(self.command(words, &[], &[]));
        }
        for line in &wrapped.lines {
            found.extend(self.line(line));
        }
        for word in &wrapped.reads {
            found.extend(self.file(word, Files::Read));
        }
        self.depth -= 1;
        found.extend(wrapped.why.map(|why| match wrapped.is_hiding {
            true => self.hidden(why),
            false => Standing::Unruled { why, always: None },
        }));
        found
    }

    /// Whether git can be trusted here: it runs what the settings of a repository name, and a
    /// checkout may bring a repository along.
    fn is_fit_for(&self, name: &str) -> bool {
        let is_own = |from: &PathBuf| {
            self.places.is_inside(from) && !git::is_disguised(from, &self.places.workspace)
        };
        name != "git" || self.from.as_ref().is_some_and(|from| from.iter().all(is_own))
    }

    /// `cd DIRECTORY`: what comes after may be there, or where it was if that failed.
    fn change_directory(&mut self, words: &[Word]) -> Vec<Standing> {
        let target = match words {
            [_, target] if !target.is_glob() && !target.text().starts_with('-') => target,
            _ => &Word::unknown(),
        };
        let moved = self.paths(target).filter(|_| !target.text().is_empty());
        match (moved, &mut self.from) {
            (Some(moved), Some(from)) if from.len() + moved.len() <= PLACES_MAX => {
                from.extend(moved.iter().filter_map(|it| paths::resolve(it)));
                from.sort();
                from.dedup();
                let judge =
                    |path: &PathBuf| files::judge(self.rules, self.places, None, Files::Read, path);
                moved.iter().map(judge).collect()
            }
            _ => {
                self.from = None;
                let why = format!("where `{}` leads shows only when it runs", show(words));
                vec![Standing::Unruled { why, always: None }]
            }
        }
    }

    /// The paths a word may stand for; `None`: nobody knows.
    fn paths(&self, word: &Word) -> Option<Vec<PathBuf>> {
        if word.is_dynamic() {
            return None;
        }
        if word.starts_with_tilde() {
            let rest = word.chars().get(2..).unwrap_or_default();
            return paths::expand(self.places.home.as_ref()?, rest);
        }
        let text = word.text();
        if text.starts_with('/') && !word.is_glob() {
            return Some(vec![PathBuf::from(text)]);
        }
        let mut paths = Vec::new();
        for from in self.from.as_ref()? {
            if word.is_glob() {
                paths.extend(paths::expand(from, word.chars())?);
            } else {
                paths.push(from.join(&text));
            }
        }
        Some(paths)
    }

    /// Judges a file that the line touches.
    fn file(&self, word: &Word, files: Files) -> Vec<Standing> {
        const NO_FILES: [&str; 5] = ["-", "/dev/null", "/dev/stdin", "/dev/stdout", "/dev/stderr"];
        if word.literal().is_some_and(|it| NO_FILES.contains(&it.as_str())) {
            return Vec::new();
        }
        match self.paths(word) {
            None => vec![files::judge_unknown(self.rules, files)],
            Some(paths) => paths
                .iter()
                .map(|path| files::judge(self.rules, self.places, None, files, path))
                .collect(),
        }
    }
}

/// What a rule that allows makes of what no other rule is about.
fn lift(found: Vec<Standing>) -> Vec<Standing> {
    let is_ruled = |it: &Standing| matches!(it, Standing::Held { .. } | Standing::Denied { .. });
    found.into_iter().filter(is_ruled).collect()
}

/// What is to be said where a command comes to know a variable that the model may not see: what it
/// makes of it may be seen.
fn hides<'a>(parameters: impl IntoIterator<Item = &'a String>) -> Option<Standing> {
    let hidden = parameters.into_iter().find(|it| !known::is_shown(it))?;
    Some(Standing::Unruled { why: format!("`${hidden}` may hold a key"), always: None })
}

fn unruled(words: &[Word]) -> Standing {
    Standing::Unruled {
        why: format!("`{}` has no rule", show(words)),
        always: suggest::always(words),
    }
}

/// Whether a rule is about a command.
fn fit(rule: &Rule, words: &[Word], assignments: &[(String, Word)]) -> Fit {
    if rule.prefix.is_none() {
        return Fit::WithVariables;
    }
    let Some(wanted) = rule.words() else { return Fit::No };
    if begins(&wanted, words, rule.effect) {
        return Fit::Yes;
    }
    if rule.effect == Effect::Allow {
        let set = |(name, value): &(String, Word)| Some(format!("{name}={}", value.literal()?));
        let set: Option<Vec<String>> = assignments.iter().map(set).collect();
        let Some(set) = set.filter(|set| !set.is_empty()) else { return Fit::No };
        let rest = wanted.strip_prefix(set.as_slice()).filter(|rest| !rest.is_empty());
        let fits = rest.is_some_and(|rest| begins(rest, words, rule.effect));
        return if fits { Fit::WithVariables } else { Fit::No };
    }
    if may_begin(&wanted, words) { Fit::Perhaps } else { Fit::No }
}

fn begins(wanted: &[String], words: &[Word], effect: Effect) -> bool {
    wanted.len() <= words.len()
        && wanted.iter().zip(words).enumerate().all(|(i, (wanted, word))| {
            word.literal()
                .is_some_and(|it| it == *wanted || (i == 0 && is_same(effect, &it, wanted)))
        })
}

/// What is forbidden is so under its whole path, too; what is allowed is that program and no other.
fn is_same(effect: Effect, name: &str, wanted: &str) -> bool {
    effect != Effect::Allow && name.rsplit_once('/').is_some_and(|(_, program)| program == wanted)
}

/// Whether a command may come to begin with the words of a rule: a word is known only when it
/// runs, or there are options before the next (`git -C x push`).
fn may_begin(wanted: &[String], words: &[Word]) -> bool {
    let (mut wanted, mut first, mut may_skip) = (wanted.iter().peekable(), true, 0);
    for word in words {
        let Some(next) = wanted.peek() else { return true };
        match word.literal() {
            None => return true,
            Some(it) if it == **next || (first && is_same(Effect::Deny, &it, next)) => {
                wanted.next();
                may_skip = 0;
            }
            Some(_) if first => return false,
            Some(it) if it.starts_with('-') => may_skip = 1,
            Some(_) if may_skip > 0 => may_skip -= 1,
            Some(_) => return false,
        }
        first = false;
    }
    wanted.peek().is_none()
}

/// A command as a person is shown it.
fn show(words: &[Word]) -> String {
    let shown: Vec<String> = words
        .iter()
        .map(|word| match word.text() {
            text if word.is_dynamic() => format!("{text}$.."),
            text => text,
        })
        .collect();
    let shown = shown.join(" ");
    let text: String = shown.chars().take(SHOWN_MAX).flat_map(char::escape_debug).collect();
    if shown.chars().count() > SHOWN_MAX { format!("{text}..") } else { text }
}
