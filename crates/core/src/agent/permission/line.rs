//! The verdict of the rules on a shell line, and whether the line only reads.
//!
//! This only decides whether to ask. A line that only reads runs confined, where the kernel decides what is
//! possible, so words that only the shell can compute do no harm. If a rule allows a command to run unconfined, the
//! whole line runs unconfined; then every other command in it needs permission, unless it only passes on its input.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

mod touched;

use super::files::{self, Files};
use super::fit::{Fit, fit, fits_with};
use super::paths::{self, Places};
use super::programs::{self, Program};
use super::shell::{self, Link, Simple, Word};
use super::{Effect, Rule, Standing};
use crate::background::quote::quote_argv;

/// Maximum length of a line in bytes. A longer one needs permission.
const LINE_MAX: usize = 32 << 10;
/// Maximum number of words that are checked.
const WORDS_MAX: usize = 4_096;
/// Time limit for checking a line. The disk may be slow to resolve paths.
const TIME_MAX: Duration = Duration::from_millis(500);
/// Maximum nesting of `sh -c` and similar commands. Deeper nesting needs permission.
const DEPTH_MAX: usize = 8;
/// How many characters of a command a person is shown.
const SHOWN_MAX: usize = 160;

/// The verdict on a line.
#[derive(Debug, Default)]
pub(super) struct Judged {
    /// The verdicts on its parts.
    pub(super) found: Vec<Standing>,
    /// Whether all of it only reads: then, if `found` allows it, it runs in a confinement where it can do nothing
    /// else.
    pub(super) looks: bool,
    /// Object stores of repositories that a hidden call of git in the line could show.
    pub(super) kept: Vec<PathBuf>,
}

/// How the rules treat a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// A rule allows the command to run unconfined.
    Allowed,
    /// The command only reads.
    Looking,
    /// The command sets variables and runs nothing.
    Setting,
    /// No rule allows the command, but a rule for it could.
    Other,
    /// The command needs permission each time.
    Asked,
}

/// Whether a `cd` changes the directory of the shell that runs the rest of the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Yes, in every case.
    Sure,
    /// Yes, if it runs: commands linked to it by `&&` run there; for commands after that, the directory is unknown.
    InChain,
    /// Not known in advance.
    Unsure,
}

/// The working directory of a shell in the line.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stand {
    /// `None` if only known at run time.
    cwd: Option<PathBuf>,
    /// Whether this directory is certain.
    is_sure: bool,
    /// Whether this only holds for commands that are linked by `&&`.
    in_chain: bool,
}

impl Stand {
    const UNKNOWN: Self = Self { cwd: None, is_sure: false, in_chain: false };
}

/// A command of the line.
struct Part {
    class: Class,
    words: Vec<Word>,
    /// Its working directory; `None` if only known at run time.
    cwd: Option<PathBuf>,
}

/// Judges a line and all commands in it.
pub(super) fn judge(rules: &[Rule], places: &Places, cwd: &Path, line: &str) -> Judged {
    let mut reader = Reader {
        rules: rules.iter().filter(|it| it.is_about_commands()).collect(),
        all_rules: rules,
        places,
        stand: Stand { cwd: paths::resolve(cwd), is_sure: true, in_chain: false },
        step: Step::Unsure,
        found: vec![files::judge(rules, places, None, Files::Read, cwd)],
        parts: Vec::new(),
        files: Vec::new(),
        hidden: None,
        keys: RefCell::default(),
        is_fed: false,
        defines: false,
        depth: 0,
        words: 0,
        until: Instant::now() + TIME_MAX,
    };
    reader.line(line);
    reader.finish()
}

struct Reader<'a> {
    /// The rules about commands.
    rules: Vec<&'a Rule>,
    all_rules: &'a [Rule],
    places: &'a Places,
    stand: Stand,
    /// How to treat a `cd` at the current position.
    step: Step,
    found: Vec<Standing>,
    parts: Vec<Part>,
    /// The files that it redirects from or to, with the working directory.
    files: Vec<(Files, Word, Option<PathBuf>)>,
    /// Why it may run more than was found.
    hidden: Option<String>,
    /// For each directory checked so far: a key in its repository that must not be shown, if there is one.
    keys: RefCell<HashMap<PathBuf, Option<String>>>,
    /// Whether a command gets input that is only known at run time.
    is_fed: bool,
    /// Whether it defines functions, which may have the names of other commands.
    defines: bool,
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
        let has_blocks = script.has_blocks;
        // The nested shells that are open, each with the working directory of the shell that started it.
        let mut begun: Vec<(usize, Stand)> = Vec::new();
        for simple in script.commands {
            self.words += simple.words.len() + simple.redirects.len() + simple.assignments.len();
            if self.words > WORDS_MAX || Instant::now() > self.until {
                self.hide("it has too many words");
                return;
            }
            self.enter(&script.shells, simple.shell, &mut begun);
            if simple.link != Link::And && self.stand.in_chain {
                self.stand = Stand::UNKNOWN;
            }
            self.step = match (simple.link, simple.is_apart || has_blocks) {
                (Link::Start, false) => Step::Sure,
                (Link::And, false) => Step::InChain,
                (Link::Other, _) | (_, true) => Step::Unsure,
            };
            self.simple(simple);
        }
        self.enter(&script.shells, 0, &mut begun);
        self.is_fed |= script.is_fed;
        self.defines |= !script.functions.is_empty();
        if let Some(why) = script.hidden {
            self.hide(&why);
        }
    }

    /// Switches to the shell that a command runs in. A new shell starts in the directory of its parent; when it
    /// ends, the parent is still in its old directory.
    fn enter(&mut self, shells: &[usize], shell: usize, begun: &mut Vec<(usize, Stand)>) {
        let starter = |of: usize| shells.get(of).copied().unwrap_or_default();
        let mut way: Vec<usize> = std::iter::successors(Some(shell), |it| Some(starter(*it)))
            .take_while(|it| *it != 0)
            .collect();
        way.reverse();
        let common = begun.iter().zip(&way).take_while(|((has, _), is)| has == *is).count();
        // Restore the directory from before the outermost shell that has ended.
        if let Some((_, stand)) = begun.drain(common..).next() {
            self.stand = stand;
        }
        for begins in way.into_iter().skip(common) {
            begun.push((begins, self.stand.clone()));
            self.stand.in_chain = false;
        }
    }

    fn hide(&mut self, why: &str) {
        self.hidden.get_or_insert_with(|| format!("cannot tell what it runs: {why}"));
    }

    fn part(&mut self, class: Class, words: Vec<Word>) {
        self.parts.push(Part { class, words, cwd: self.stand.cwd.clone() });
    }

    fn simple(&mut self, simple: Simple) {
        let cwd = &self.stand.cwd;
        self.files.extend(simple.redirects.into_iter().map(|(it, word)| (it, word, cwd.clone())));
        let alone = simple.words.is_empty();
        let odd = |(name, value): &&(String, Word)| {
            let is_pager = ["PAGER", "GIT_PAGER"].contains(&name.as_str());
            let is_plain = is_pager && value.literal() == Some("cat");
            !(is_plain || programs::is_harmless(name) || alone && programs::is_local(name))
        };
        let odd = simple.assignments.iter().find(odd).map(|(name, _)| name.clone());
        let values = simple.assignments.iter().map(|(_, value)| value.clone());
        let values: Vec<Word> = std::iter::once(Word::default()).chain(values).collect();
        if values.len() > 1 {
            self.part(Class::Setting, values);
        }
        let with_variables = !alone && self.command(simple.words, &simple.assignments, true);
        if let Some(name) = odd.filter(|_| !with_variables) {
            self.sets(&name);
        }
    }

    fn sets(&mut self, name: &str) {
        let why = format!("it sets `{name}` for a command");
        self.found.push(Standing::Unruled { why, always: None });
    }

    /// Judges one command and all commands that it runs. A command that is not `trusted` may be another than it
    /// seems, so no rule allows it. Returns whether a rule allows it including the variables that are set for it.
    fn command(&mut self, words: Vec<Word>, set: &[(String, Word)], trusted: bool) -> bool {
        let (mut allowed, mut with_variables, mut everything) = (false, false, false);
        for rule in &self.rules {
            let (fits, effect) = (fit(rule, &words), rule.effect);
            if effect == Effect::Allow {
                let named = fits_with(rule, &words, set);
                allowed |= (fits == Fit::Yes || named) && (trusted || rule.prefix.is_none());
                everything |= rule.prefix.is_none();
                with_variables |= named || rule.prefix.is_none();
            }
            self.found.extend(held_back(rule, fits, &words));
        }
        let Some(name) = words.first().and_then(Word::literal).map(str::to_owned) else {
            self.hide(&format!("which command `{}` runs is only known at run time", show(&words)));
            return with_variables;
        };
        let literal: Vec<Option<&str>> = words.iter().map(Word::literal).collect();
        let looks = programs::looks(&literal);
        let is_other = programs::program(&name) == Program::Other;
        if is_other && name == "meanwhile" && !looks && (!allowed || self.holds_some()) {
            self.hide("`meanwhile` starts tasks");
        }
        if !is_other {
            let (found, parts, hidden) = (self.found.len(), self.parts.len(), self.hidden.clone());
            let known = self.runs_others(&name, &words, trusted);
            if !allowed {
                // Another program of that name may do anything.
                if !known || name.contains('/') {
                    self.part(Class::Asked, words);
                }
                return with_variables;
            }
            // A rule for it also covers the commands that it runs, except those that another rule holds back.
            let kept: Vec<Standing> = self.found.drain(found..).filter(is_ruled).collect();
            self.found.extend(kept);
            self.parts.truncate(parts);
            if !self.holds_some() {
                self.hidden = hidden;
            }
        }
        let is_disguised = name == "git" && looks && self.is_within("HEAD");
        let is_elsewhere = || {
            !self.stand.is_sure || self.is_outside(&name) || name == "git" && self.is_within(".git")
        };
        if !everything && (is_disguised || allowed && is_elsewhere()) {
            let why =
                format!("files of a checkout may determine what `{}` does there", show(&words));
            self.found.push(Standing::Unruled { why, always: None });
        }
        if self.holds_some() && computes(&literal) {
            self.hide("bash runs what is in the subscript of a name");
        }
        let class = match (allowed, looks) {
            (true, _) => Class::Allowed,
            (false, _) if name == "for" => {
                if let Some(name) =
                    literal.get(1).copied().flatten().filter(|it| !programs::is_local(it))
                {
                    self.sets(name);
                }
                Class::Setting
            }
            (false, true) => Class::Looking,
            (false, false) if trusted => Class::Other,
            (false, false) => Class::Asked,
        };
        if name == "set" && !programs::sets_plainly(&literal) {
            self.hide("`set` changes how the line is read");
        }
        let from = self.stand.cwd.clone();
        match name.as_str() {
            "cd" if self.step != Step::Unsure => {
                let (cwd, sure) = changed(from.as_deref(), &literal);
                let in_chain = self.stand.in_chain || self.step == Step::InChain;
                self.stand = Stand { cwd, is_sure: self.stand.is_sure && sure, in_chain };
            }
            "cd" | "pushd" | "popd" => self.stand = Stand::UNKNOWN,
            "find" => self.find(&words),
            _ => {}
        }
        self.parts.push(Part { class, words, cwd: from });
        with_variables
    }

    /// Whether a command runs outside of the workspace in a directory that no rule allows to be read, or the
    /// command is git: files there may determine what it does.
    fn is_outside(&self, name: &str) -> bool {
        let Some(cwd) = &self.stand.cwd else { return true };
        let is_let = || {
            let standing = files::judge(self.all_rules, self.places, None, Files::Read, cwd);
            matches!(standing, Standing::Allow)
        };
        !cwd.starts_with(&self.places.workspace) && (name == "git" || !is_let())
    }

    /// Whether a part of a git directory is in the command's directory or a parent of it, below the workspace: a
    /// checkout may have brought it along, with settings that name programs.
    fn is_within(&self, name: &str) -> bool {
        let own = &self.places.workspace;
        let cwd = self.stand.cwd.iter().flat_map(|it| it.ancestors());
        let mut below = cwd.take_while(|it| it != own && it.starts_with(own));
        below.any(|it| it.join(name).symlink_metadata().is_ok())
    }

    /// Judges a command that runs others, and those commands. Returns whether all of them were found.
    fn runs_others(&mut self, name: &str, words: &[Word], trusted: bool) -> bool {
        let name = name.rsplit('/').next().unwrap_or_default();
        let args = words.get(1..).unwrap_or_default();
        let text = |at: usize| args.get(at).and_then(Word::literal);
        let is_command =
            |it: &str| it.ends_with('c') && it.chars().skip(1).all(|c| "ceuxl".contains(c));
        self.depth += 1;
        let (stand, step) = (self.stand.clone(), std::mem::replace(&mut self.step, Step::Unsure));
        let known = match (name, text(0), text(1)) {
            _ if self.depth > DEPTH_MAX => false,
            ("sh" | "bash" | "dash", Some(flag), Some(line))
                if trusted && flag.starts_with('-') && is_command(flag) =>
            {
                self.line(line);
                // The nested shell does not change the directory of this one.
                self.stand = stand;
                true
            }
            // `command -v` prints what would run, but runs nothing.
            ("command", Some("-v" | "-V"), _) => {
                self.part(Class::Looking, args.to_vec());
                true
            }
            _ if programs::program(name) == Program::BeforeOthers => {
                self.before_others(name, args, trusted)
            }
            _ => false,
        };
        self.depth -= 1;
        self.step = step;
        if !known {
            self.hide(&format!("what `{name}` runs cannot be determined in advance"));
            // A rule may forbid it nevertheless.
            self.forbidden(args);
        }
        known
    }

    /// The verdicts of rules on commands that start with any of these words.
    fn forbidden(&mut self, args: &[Word]) {
        for at in 0..args.len() {
            let rest = args.get(at..).unwrap_or_default();
            let rules = self.rules.iter().filter(|it| it.prefix.is_some());
            let certain = rules.filter(|rule| fit(rule, rest) == Fit::Yes);
            self.found.extend(certain.filter_map(|rule| held_back(rule, Fit::Yes, rest)));
        }
    }

    /// Judges the command after the options of another. An option may take the next word as its value, so the word
    /// after an option is not trusted to be the command.
    fn before_others(&mut self, name: &str, args: &[Word], trusted: bool) -> bool {
        let begins = |it: &str| it.starts_with(|c: char| c.is_alphabetic() || "/._[:".contains(c));
        let is_set = |it: &str| name == "env" && !it.starts_with('-') && it.contains('=');
        let is_before = |it: &&Word| it.literal().is_some_and(|it| is_set(it) || !begins(it));
        let (before, inner) = args.split_at(args.iter().take_while(is_before).count());
        let literal = || before.iter().filter_map(Word::literal);
        let names = literal().filter_map(|it| it.split_once('=')).map(|(name, _)| name);
        if let Some(odd) = names.into_iter().find(|it| !programs::is_harmless(it)) {
            self.sets(odd);
        }
        let is_time = |it: &str| it.chars().all(|c| c.is_ascii_digit() || ".smhd".contains(c));
        let is_plain = match before {
            [time] if name == "timeout" => time.literal().is_some_and(is_time),
            _ => literal().all(is_set),
        };
        let mut inner = inner.to_vec();
        let Some(first) = inner.first() else { return name != "env" };
        // A program that runs others gets words that are only known at run time.
        let is_fed = name == "xargs"
            && first
                .literal()
                .is_none_or(|it| it == "find" || programs::program(it) != Program::Other);
        if name == "xargs" {
            inner.push(Word::unknown());
        }
        if !is_plain {
            // Any of its words may be the command.
            self.forbidden(args);
        }
        self.command(inner, &[], trusted && is_plain);
        // This option takes a whole line as one word.
        let is_line = |it: &str| name == "env" && (it.starts_with("-S") || it.starts_with("--sp"));
        !is_fed && !literal().any(is_line)
    }

    /// Judges what `find` runs for each file.
    fn find(&mut self, words: &[Word]) {
        let (mut rest, here) = (words.iter(), self.stand.clone());
        let step = std::mem::replace(&mut self.step, Step::Unsure);
        while let Some(flag) = rest.find(|it| ["-exec", "-execdir"].contains(&it.text())) {
            let ends = |word: &&Word| ![";", "+"].contains(&word.text());
            let inner = rest.by_ref().take_while(ends).cloned();
            let known =
                |word: Word| if word.text().contains("{}") { Word::unknown() } else { word };
            let inner: Vec<Word> = inner.map(known).collect();
            let is_here = flag.text() == "-exec";
            if !is_here {
                // `-execdir` runs the command in the directory of the file: the start directory or below.
                let start = words.get(1).and_then(Word::literal);
                let start = start.and_then(|it| Some(here.cwd.as_ref()?.join(it)));
                let is_file = start.as_ref().is_some_and(|it| !it.is_dir());
                self.stand.cwd =
                    if is_file { start.and_then(|it| Some(it.parent()?.into())) } else { start };
            }
            self.depth += 1;
            match self.depth > DEPTH_MAX || inner.is_empty() {
                true => self.hide("it is nested too deep"),
                false => drop(self.command(inner, &[], is_here)),
            }
            self.depth -= 1;
            self.stand.clone_from(&here);
        }
        self.step = step;
    }

    /// Whether a rule denies or asks about some commands.
    fn holds_some(&self) -> bool {
        self.rules.iter().any(|it| it.effect != Effect::Allow)
    }

    fn finish(mut self) -> Judged {
        let everything = |it: &&Rule| it.effect == Effect::Allow && it.prefix.is_none();
        let lets_all_run = self.rules.iter().copied().any(|it| everything(&it));
        let (files, parts) = (std::mem::take(&mut self.files), std::mem::take(&mut self.parts));
        let is_quiet = |it: &Part| matches!(it.class, Class::Looking | Class::Setting);
        let writes =
            files.iter().any(|(it, word, _)| *it == Files::Write && !touched::is_not_a_file(word));
        let looks = !lets_all_run && parts.iter().all(is_quiet) && !writes;
        if self.defines && !looks {
            self.hide("it defines a function");
        }
        let kept = self.kept_unseen(&parts);
        if let Some(why) = self.hidden.take() {
            self.found.push(match self.holds_some() {
                true => Standing::Held { why },
                false => Standing::Unruled { why, always: None },
            });
        }
        for (files, word, cwd) in files {
            if !looks || files == Files::Write || word.literal().is_some() {
                self.found.extend(self.file(&word, files, cwd.as_deref()));
            }
        }
        if self.is_fed && !looks && parts.iter().any(|it| it.class == Class::Looking) {
            let why = "the input of a command is only known when it runs".to_owned();
            self.found.push(Standing::Unruled { why, always: None });
        }
        for part in parts {
            let found = match part.class {
                _ if lets_all_run => self.held(&part),
                // A rule for a command also covers what it reads, unless another rule is about that.
                Class::Allowed => self.held(&part),
                Class::Looking | Class::Setting if looks => self.looking(&part),
                Class::Setting => self.held(&part),
                Class::Looking => self.beside(&part),
                Class::Other => vec![unruled(&part.words, true)],
                Class::Asked => vec![unruled(&part.words, false)],
            };
            self.found.extend(found);
        }
        if lets_all_run {
            self.found.retain(is_ruled);
        }
        Judged { found: self.found, looks, kept }
    }
}

/// The verdict on a command by a rule that denies or asks.
fn held_back(rule: &Rule, fits: Fit, words: &[Word]) -> Option<Standing> {
    let shown = show(words);
    match (rule.effect, fits) {
        (Effect::Allow, _) | (Effect::Ask | Effect::Deny, Fit::No) => None,
        (Effect::Ask | Effect::Deny, Fit::Perhaps) => {
            Some(Standing::Held { why: format!("`{shown}` may fall under the rule `{rule}`") })
        }
        (Effect::Ask, Fit::Yes) => {
            Some(Standing::Held { why: format!("`{shown}` falls under the rule `{rule}`") })
        }
        (Effect::Deny, Fit::Yes) => {
            Some(Standing::Denied { why: format!("the rule `{rule}` forbids `{shown}`") })
        }
    }
}

/// The directory after `cd DIRECTORY`, judged by the text as shells do; `None` if only known at run time. The
/// second value says whether it is certain: there is no link on the way, which some shells may be set to resolve.
fn changed(from: Option<&Path>, words: &[Option<&str>]) -> (Option<PathBuf>, bool) {
    let ([_, Some(target)], Some(from)) = (words, from) else { return (None, false) };
    if target.is_empty() || target.starts_with('-') {
        return (None, false);
    }
    let mut to = PathBuf::new();
    for part in from.join(target).components() {
        match part {
            Component::ParentDir => drop(to.pop()),
            Component::CurDir => {}
            Component::Normal(_) | Component::RootDir | Component::Prefix(_) => to.push(part),
        }
    }
    let sure = to.is_dir() && paths::resolve(&from.join(target)).as_ref() == Some(&to);
    (Some(to), sure)
}

/// Whether bash may execute text in a word, for commands that take names of variables.
fn computes(words: &[Option<&str>]) -> bool {
    let is_run = |it: &&str| it.contains('[') && it.contains(['$', '`']);
    let takes = words.first().copied().flatten().unwrap_or_default();
    ["test", "[", "read", "printf"].contains(&takes) && words.iter().flatten().any(is_run)
}

/// Whether the verdict comes from a rule.
fn is_ruled(standing: &Standing) -> bool {
    matches!(standing, Standing::Held { .. } | Standing::Denied { .. })
}

/// The verdict on a command that no rule allows, with the rule that would allow it.
fn unruled(words: &[Word], may_last: bool) -> Standing {
    let literal: Vec<Option<&str>> = words.iter().map(Word::literal).collect();
    let prefix = programs::often(&literal).filter(|_| may_last);
    let always = prefix.and_then(|prefix| {
        let rule =
            Rule::with_effect(Effect::Allow, &format!("bash {}", quote_argv(&prefix))).ok()?;
        // Do not offer a rule that would be parsed differently.
        (rule.words()? == prefix).then_some(rule)
    });
    Standing::Unruled { why: format!("`{}` has no rule", show(words)), always }
}

/// A command as a person sees it.
fn show(words: &[Word]) -> String {
    let shown =
        words.iter().map(|it| format!("{}{}", it.text(), if it.is_dynamic() { "$.." } else { "" }));
    let shown = shown.collect::<Vec<_>>().join(" ");
    let text: String = shown.chars().take(SHOWN_MAX).flat_map(char::escape_debug).collect();
    if shown.chars().count() > SHOWN_MAX { format!("{text}..") } else { text }
}
