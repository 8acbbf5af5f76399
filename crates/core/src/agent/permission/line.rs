//! What the rules say of a line of shell, and whether it only looks.
//!
//! It decides whether to ask, and nothing else: a line that only looks runs confined, and there the
//! kernel decides what is possible. So a word that only the shell will know does no harm, and no table
//! of options is needed. Where a rule lets a command run as it is, the whole line does; what stands
//! beside it then has to be asked, unless it only passes on what it is given.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

mod touched;

use self::touched::is_no_file;
use super::files::{self, Files};
use super::fit::{Fit, fit, fits_with};
use super::paths::{self, Places};
use super::programs::{self, Program};
use super::shell::{self, Redirect, Simple, Word};
use super::{Effect, Rule, Standing};
use crate::background::quote::quote_argv;

/// Longest line that is read, in bytes. A longer one is asked.
const LINE_MAX: usize = 32 << 10;
/// Most words that are looked at.
const WORDS_MAX: usize = 4_096;
/// How long a line may be looked at. The disk may be slow to say where a path leads.
const TIME_MAX: Duration = Duration::from_millis(500);
/// How deep `sh -c` and its like may be nested before it is asked.
const DEPTH_MAX: usize = 8;
/// How much of a command a person is shown, in characters.
const SHOWN_MAX: usize = 160;

/// What a line comes to.
#[derive(Debug, Default)]
pub(super) struct Judged {
    /// What each of its parts comes to.
    pub(super) found: Vec<Standing>,
    /// All of it looks: it may run, if what is found allows it, where it can do nothing else.
    pub(super) looks: bool,
}

/// What a command is to the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// A rule lets it run as it is.
    Allowed,
    /// It looks.
    Looking,
    /// Neither.
    Other,
}

/// A command of the line.
struct Part {
    class: Class,
    words: Vec<Word>,
    /// Where it runs.
    cwd: Option<PathBuf>,
}

/// Judges a line and all it runs.
pub(super) fn judge(rules: &[Rule], places: &Places, cwd: &Path, line: &str) -> Judged {
    let mut reader = Reader {
        rules,
        places,
        cwd: paths::resolve(cwd),
        found: Vec::new(),
        parts: Vec::new(),
        files: Vec::new(),
        hidden: None,
        is_fed: false,
        depth: 0,
        words: 0,
        until: Instant::now() + TIME_MAX,
    };
    reader.found.push(files::judge(rules, places, None, Files::Read, cwd));
    reader.line(line);
    reader.finish()
}

struct Reader<'a> {
    rules: &'a [Rule],
    places: &'a Places,
    /// Where it runs; `None` once that shows only when it runs.
    cwd: Option<PathBuf>,
    found: Vec<Standing>,
    parts: Vec<Part>,
    /// The files it is connected to, and those of where it runs.
    files: Vec<(Files, Word, Option<PathBuf>)>,
    /// Why it may run more than was found.
    hidden: Option<String>,
    /// Something in it is given text that shows only when it runs.
    is_fed: bool,
    depth: usize,
    words: usize,
    until: Instant,
}

impl Reader<'_> {
    fn line(&mut self, line: &str) {
        if line.len() > LINE_MAX || self.depth >= DEPTH_MAX {
            self.hide("it is too long or nested too deep");
            return;
        }
        let script = shell::parse(line);
        for simple in script.commands {
            self.words += simple.words.len() + simple.redirects.len();
            if self.words > WORDS_MAX || Instant::now() > self.until {
                self.hide("it has too many words");
                return;
            }
            self.simple(simple);
        }
        self.is_fed |= script.is_fed;
        if let Some(why) = script.hidden {
            self.hide(&why);
        }
    }

    fn hide(&mut self, why: &str) {
        self.hidden.get_or_insert_with(|| format!("cannot tell what it runs: {why}"));
    }

    fn simple(&mut self, simple: Simple) {
        for redirect in simple.redirects {
            match redirect {
                // What runs in it is judged with the other commands.
                Redirect::Read(word) | Redirect::Write(word) if word.is_process => {}
                Redirect::Read(word) => self.files.push((Files::Read, word, self.cwd.clone())),
                Redirect::Write(word) => self.files.push((Files::Write, word, self.cwd.clone())),
            }
        }
        let alone = simple.words.is_empty();
        let odd = |(name, value): &&(String, Word)| {
            let is_pager = ["PAGER", "GIT_PAGER"].contains(&name.as_str());
            let is_plain = is_pager && value.literal().as_deref() == Some("cat");
            !(is_plain || programs::is_harmless(name) || alone && programs::is_local(name))
        };
        let with_variables = self.command(simple.words, &simple.assignments);
        let set = simple.assignments.iter().find(odd).map(|(name, _)| name);
        if let Some(name) = set.filter(|_| !with_variables) {
            let why = format!("it sets `{name}` for a command");
            self.found.push(Standing::Unruled { why, always: None });
        }
    }

    /// Judges one command with all it runs. Returns whether a rule allows it with the variables that
    /// are set for it.
    fn command(&mut self, words: Vec<Word>, assignments: &[(String, Word)]) -> bool {
        if words.is_empty() {
            return false;
        }
        let (mut allowed, mut with_variables, mut everything) = (false, false, false);
        for rule in self.rules.iter().filter(|it| it.is_about_commands()) {
            let shown = || show(&words);
            match (rule.effect, fit(rule, &words)) {
                (Effect::Allow, fit) => {
                    let named = fits_with(rule, &words, assignments);
                    allowed |= fit == Fit::Yes || named;
                    everything |= rule.prefix.is_none();
                    with_variables |= named || (fit == Fit::Yes && rule.prefix.is_none());
                }
                (Effect::Ask | Effect::Deny, Fit::No) => {}
                (Effect::Ask | Effect::Deny, Fit::Perhaps) => self.found.push(Standing::Held {
                    why: format!("`{}` may fall under the rule `{rule}`", shown()),
                }),
                (Effect::Ask, Fit::Yes) => self.found.push(Standing::Held {
                    why: format!("`{}` falls under the rule `{rule}`", shown()),
                }),
                (Effect::Deny, Fit::Yes) => self.found.push(Standing::Denied {
                    why: format!("the rule `{rule}` forbids `{}`", shown()),
                }),
            }
        }
        let named = words.first().and_then(Word::literal);
        let program = named.as_deref().map(programs::program);
        match program {
            None => {
                self.hide(&format!("which command `{}` is shows only then", show(&words)));
                return with_variables;
            }
            Some(Program::Other) => {
                let literal: Vec<Option<String>> = words.iter().map(Word::literal).collect();
                if named.as_deref() == Some("meanwhile")
                    && !programs::looks(&literal)
                    && (!allowed || self.holds_some())
                {
                    self.hide("`meanwhile` starts tasks");
                }
            }
            Some(Program::BeforeOthers | Program::Shell | Program::Running) => {
                let name = named.unwrap_or_default();
                let hidden = self.hidden.clone();
                let (found, parts) = (self.found.len(), self.parts.len());
                let known = self.runs_others(&name, &words);
                if allowed {
                    // A rule for it is one for what it runs, but for what another holds back.
                    let kept: Vec<Standing> = self.found.drain(found..).filter(is_ruled).collect();
                    self.found.extend(kept);
                    self.parts.truncate(parts);
                    if !self.holds_some() {
                        self.hidden = hidden;
                    }
                } else {
                    // Another program of that name may do anything.
                    if !known || name.contains('/') {
                        self.parts.push(Part { class: Class::Other, words, cwd: None });
                    }
                    return with_variables;
                }
            }
        }
        let literal: Vec<Option<String>> = words.iter().map(Word::literal).collect();
        if allowed && !everything && self.is_elsewhere(literal.first()) {
            let why = format!("`{}` would run what a repository there names", show(&words));
            self.found.push(Standing::Unruled { why, always: None });
        }
        let class = match allowed {
            true => Class::Allowed,
            false if programs::looks(&literal) => Class::Looking,
            false => Class::Other,
        };
        let cwd = self.cwd.clone();
        if literal.first().and_then(Option::as_deref) == Some("cd") {
            self.change_directory(&literal);
        }
        if literal.first().and_then(Option::as_deref) == Some("find") {
            self.find(&words);
        }
        self.parts.push(Part { class, words, cwd });
        with_variables
    }

    /// Whether git runs where a checkout may have brought a repository along, whose settings name
    /// programs. A rule for `git status` is not for those.
    fn is_elsewhere(&self, name: Option<&Option<String>>) -> bool {
        if name.and_then(Option::as_deref) != Some("git") {
            return false;
        }
        let Some(cwd) = &self.cwd else { return true };
        let own = &self.places.workspace;
        let below = cwd.ancestors().take_while(|it| it != own && it.starts_with(own));
        below.into_iter().any(|it| it.join("HEAD").symlink_metadata().is_ok())
    }

    /// A command that runs others: looks at those. Returns whether all that it runs was found.
    fn runs_others(&mut self, name: &str, words: &[Word]) -> bool {
        self.depth += 1;
        let args = words.get(1..).unwrap_or_default();
        let text = |at: usize| args.get(at).and_then(Word::literal);
        if name == "env" {
            self.env(args);
        }
        let known = match programs::program(name) {
            Program::Shell => {
                let flag = text(0).filter(|it| it.starts_with('-') && it.ends_with('c'));
                let is_plain = |it: &String| it.chars().skip(1).all(|c| "ceuxl".contains(c));
                match (flag.filter(is_plain), text(1)) {
                    (Some(_), Some(line)) => {
                        self.line(&line);
                        true
                    }
                    _ => false,
                }
            }
            Program::BeforeOthers => match self.inner(name, args) {
                Some([]) => name != "env",
                Some(inner) => {
                    let mut inner = inner.to_vec();
                    if name == "xargs" {
                        inner.push(Word::unknown());
                    }
                    // Only looking is done with what comes from elsewhere.
                    let is_fed_shell = name == "xargs"
                        && inner
                            .first()
                            .and_then(Word::literal)
                            .is_none_or(|it| programs::program(&it) != Program::Other);
                    self.command(inner, &[]);
                    !is_fed_shell
                }
                None => false,
            },
            Program::Running | Program::Other => false,
        };
        if !known {
            self.hide(&format!("what `{name}` runs cannot be told beforehand"));
            // A rule may forbid it all the same.
            for at in 0..args.len() {
                let rest = args.get(at..).unwrap_or_default();
                let held = |rule: &&Rule| {
                    rule.effect != Effect::Allow
                        && rule.prefix.is_some()
                        && rule.is_about_commands()
                };
                if let Some(rule) =
                    self.rules.iter().filter(held).find(|rule| fit(rule, rest) == Fit::Yes)
                {
                    self.found.push(match rule.effect {
                        Effect::Deny => Standing::Denied {
                            why: format!("the rule `{rule}` forbids `{}`", show(rest)),
                        },
                        Effect::Allow | Effect::Ask => Standing::Held {
                            why: format!("`{}` falls under the rule `{rule}`", show(rest)),
                        },
                    });
                }
            }
        }
        self.depth -= 1;
        known
    }

    /// The variables that `env` sets.
    fn env(&mut self, args: &[Word]) {
        let is_before = |it: &String| it.starts_with('-') || it.contains('=');
        let set = args.iter().map_while(|it| it.literal().filter(is_before));
        let mut names = set.filter_map(|it| it.split_once('=').map(|(name, _)| name.to_owned()));
        if let Some(odd) = names.find(|it| !programs::is_harmless(it)) {
            let why = format!("it sets `{odd}` for a command");
            self.found.push(Standing::Unruled { why, always: None });
        }
    }

    /// The command after the options of another; `None`: an option is not a plain one.
    fn inner<'w>(&self, name: &str, args: &'w [Word]) -> Option<&'w [Word]> {
        let is_number = |text: &str| text.starts_with(|c: char| c.is_ascii_digit());
        let (mut at, mut after_option) = (0, name == "timeout");
        while let Some(word) = args.get(at) {
            let text = word.literal()?;
            let set = text.split_once('=').map(|(variable, _)| variable);
            if name == "command" && (text == "-v" || text == "-V") {
                // It says what runs, and runs nothing.
                return Some(&[]);
            }
            if text.starts_with('-') {
                after_option = text.len() == 2;
                let takes_name = matches!(
                    (name, text.as_str()),
                    ("env", "-u" | "-C" | "-S") | ("time", "-o" | "-f") | ("xargs", "-a")
                );
                if takes_name
                    || text.starts_with("--")
                        && !text.contains('=')
                        && ![
                            "--",
                            "--foreground",
                            "--preserve-status",
                            "--null",
                            "--no-run-if-empty",
                        ]
                        .contains(&text.as_str())
                {
                    return None;
                }
                if name == "xargs" && text.starts_with("-I") && text.len() == 2 {
                    // The word that stands for what is read.
                    at += 1;
                }
            } else if name == "env" && set.is_some() {
            } else if after_option
                && (is_number(&text) || text.starts_with("KILL") || text == "TERM")
            {
                after_option = false;
            } else {
                return args.get(at..);
            }
            at += 1;
        }
        Some(&[])
    }

    /// What `find` runs for each file.
    fn find(&mut self, words: &[Word]) {
        let (mut rest, here) = (words.iter(), self.cwd.clone());
        while let Some(flag) = rest.find(|it| ["-exec", "-execdir"].contains(&it.text().as_str())) {
            if flag.text() == "-execdir" {
                // Where the file is that it finds.
                self.cwd = None;
            }
            let ends = |word: &&Word| word.text() != ";" && word.text() != "+";
            let mut inner: Vec<Word> = rest.by_ref().take_while(ends).cloned().collect();
            for word in inner.iter_mut().filter(|word| word.text().contains("{}")) {
                *word = Word::unknown();
            }
            self.depth += 1;
            if self.depth > DEPTH_MAX {
                self.hide("it is nested too deep");
            } else {
                self.command(inner, &[]);
            }
            self.depth -= 1;
            self.cwd.clone_from(&here);
        }
    }

    /// `cd DIRECTORY`. A link, or `..`, is read in two ways, so nobody knows where it leads.
    fn change_directory(&mut self, words: &[Option<String>]) {
        let from = self.cwd.take();
        let [_, Some(target)] = words else { return };
        if target.is_empty() || target.starts_with('-') || target.split('/').any(|it| it == "..") {
            return;
        }
        let to = from.as_ref().map(|from| from.join(target));
        let leads = to.as_ref().and_then(|to| paths::resolve(to));
        self.cwd = leads.filter(|leads| Some(leads) == to.as_ref() && leads.is_dir());
    }

    /// Whether a rule holds some commands back.
    fn holds_some(&self) -> bool {
        self.rules.iter().any(|it| it.effect != Effect::Allow && it.is_about_commands())
    }

    fn finish(mut self) -> Judged {
        let everything =
            |it: &Rule| it.effect == Effect::Allow && it.prefix.is_none() && it.is_about_commands();
        let lets_all_run = self.rules.iter().any(everything);
        let holds_some =
            self.rules.iter().any(|it| it.effect != Effect::Allow && it.is_about_commands());
        if let Some(why) = self.hidden.take() {
            self.found.push(match holds_some {
                true => Standing::Held { why },
                false => Standing::Unruled { why, always: None },
            });
        }
        let writes = |(files, word, _): &(Files, Word, Option<PathBuf>)| {
            *files == Files::Write && !is_no_file(word)
        };
        let looks = !lets_all_run
            && self.parts.iter().all(|part| part.class == Class::Looking)
            && !self.files.iter().any(writes);
        for (files, word, cwd) in std::mem::take(&mut self.files) {
            if !looks || files == Files::Write || word.literal().is_some() {
                let standing = self.file(&word, files, cwd.as_deref());
                self.found.extend(standing);
            }
        }
        if self.is_fed && !looks && self.parts.iter().any(|it| it.class == Class::Looking) {
            let why = "what a command is given shows only when it runs".to_owned();
            self.found.push(Standing::Unruled { why, always: None });
        }
        for part in std::mem::take(&mut self.parts) {
            if lets_all_run {
                self.held(&part);
                continue;
            }
            match part.class {
                // A rule for a command is for what it reads, unless another is about that.
                Class::Allowed => self.held(&part),
                Class::Looking if looks => {
                    self.named(&part.words);
                    self.kept(&part);
                }
                Class::Looking => {
                    self.kept(&part);
                    self.beside(&part.words);
                }
                Class::Other => self.found.push(unruled(&part.words)),
            }
        }
        if lets_all_run {
            self.found.retain(is_ruled);
        }
        Judged { found: self.found, looks }
    }
}

/// Whether a rule is about it.
fn is_ruled(standing: &Standing) -> bool {
    matches!(standing, Standing::Held { .. } | Standing::Denied { .. })
}

fn unruled(words: &[Word]) -> Standing {
    let literal: Vec<Option<String>> = words.iter().map(Word::literal).collect();
    let always = programs::often(&literal).and_then(|prefix| {
        let rule =
            Rule::with_effect(Effect::Allow, &format!("bash {}", quote_argv(&prefix))).ok()?;
        // What reads back as another rule is not a rule to keep.
        (rule.words()? == prefix).then_some(rule)
    });
    Standing::Unruled { why: format!("`{}` has no rule", show(words)), always }
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
