//! What the rules say of a line of shell, and whether it only looks.
//!
//! It decides whether to ask, and nothing else: a line that only looks runs confined, and there the
//! kernel decides what is possible. So a word that only the shell will know does no harm there. Where a
//! rule lets a command run as it is, the whole line does: what stands beside it then has to be asked,
//! unless it only passes on what it is given.

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
    /// What repositories keep, where something in it may run git unseen and show it.
    pub(super) kept: Vec<PathBuf>,
}

/// What a command is to the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// A rule lets it run as it is.
    Allowed,
    /// It looks.
    Looking,
    /// It sets variables, and runs nothing.
    Setting,
    /// A rule for the command itself would allow it.
    Other,
    /// It is asked each time.
    Asked,
}

/// Whether a `cd` is one of the shell that goes on with the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// It is, in any case.
    Sure,
    /// It is if it runs: what hangs on it by `&&` runs there, and what comes after, somewhere.
    InChain,
    /// It cannot be told.
    Unsure,
}

/// Where a shell of the line stands.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stand {
    /// `None`: that shows only when it runs.
    cwd: Option<PathBuf>,
    /// It is there for sure.
    is_sure: bool,
    /// It is there only as far as commands hang on each other by `&&`.
    in_chain: bool,
}

impl Stand {
    const UNKNOWN: Self = Self { cwd: None, is_sure: false, in_chain: false };
}

/// A command of the line.
struct Part {
    class: Class,
    words: Vec<Word>,
    /// Where it runs; `None`: that shows only when it runs.
    cwd: Option<PathBuf>,
}

/// Judges a line and all it runs.
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
    /// What a `cd` would be that is read now.
    step: Step,
    found: Vec<Standing>,
    parts: Vec<Part>,
    /// The files it is connected to, and where it runs.
    files: Vec<(Files, Word, Option<PathBuf>)>,
    /// Why it may run more than was found.
    hidden: Option<String>,
    /// What the repositories of directories keep that may not be shown, as far as it was looked for.
    keys: RefCell<HashMap<PathBuf, Option<String>>>,
    /// Something in it is given text that shows only when it runs.
    is_fed: bool,
    /// It defines functions, whose names may be those of other commands.
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
        // The shells that have begun and not ended, each with where the one stands that started it.
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

    /// Goes to the shell that a command runs in: one that begins stands where the one stands that starts it,
    /// and when it ends that one stands where it did.
    fn enter(&mut self, shells: &[usize], shell: usize, begun: &mut Vec<(usize, Stand)>) {
        let starter = |of: usize| shells.get(of).copied().unwrap_or_default();
        let mut way: Vec<usize> = std::iter::successors(Some(shell), |it| Some(starter(*it)))
            .take_while(|it| *it != 0)
            .collect();
        way.reverse();
        let common = begun.iter().zip(&way).take_while(|((has, _), is)| has == *is).count();
        // The outermost of those that have ended.
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

    /// Judges one command with all it runs. What is not `trusted` may be another than it seems: no rule
    /// allows it. Returns whether a rule allows it with the variables that are set for it.
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
            self.hide(&format!("which command `{}` is shows only then", show(&words)));
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
            // A rule for it is one for what it runs, but for what another holds back.
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
            let why = format!("`{}` may run where a checkout says what it does", show(&words));
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

    /// Whether a command runs outside of the workspace, where no rule lets it read, or it is git: what lies
    /// there may say what it does.
    fn is_outside(&self, name: &str) -> bool {
        let Some(cwd) = &self.stand.cwd else { return true };
        let is_let = || {
            let standing = files::judge(self.all_rules, self.places, None, Files::Read, cwd);
            matches!(standing, Standing::Allow)
        };
        !cwd.starts_with(&self.places.workspace) && (name == "git" || !is_let())
    }

    /// Whether what makes a directory a repository lies where the command runs or above, below the
    /// workspace: a checkout may have brought it along, with settings that name programs.
    fn is_within(&self, name: &str) -> bool {
        let own = &self.places.workspace;
        let cwd = self.stand.cwd.iter().flat_map(|it| it.ancestors());
        let mut below = cwd.take_while(|it| it != own && it.starts_with(own));
        below.any(|it| it.join(name).symlink_metadata().is_ok())
    }

    /// A command that runs others: looks at those. Returns whether all that it runs was found.
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
                // That was another shell.
                self.stand = stand;
                true
            }
            // It says what runs, and runs nothing.
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
            self.hide(&format!("what `{name}` runs cannot be told beforehand"));
            // A rule may forbid it all the same.
            self.forbidden(args);
        }
        known
    }

    /// What rules hold back of a command that begins with one of these words.
    fn forbidden(&mut self, args: &[Word]) {
        for at in 0..args.len() {
            let rest = args.get(at..).unwrap_or_default();
            let rules = self.rules.iter().filter(|it| it.prefix.is_some());
            let certain = rules.filter(|rule| fit(rule, rest) == Fit::Yes);
            self.found.extend(certain.filter_map(|rule| held_back(rule, Fit::Yes, rest)));
        }
    }

    /// The command that stands behind the options of another. An option may have the next word for its
    /// value, so what comes after one is not trusted to be the command.
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
        // A program that runs others is given what only then shows.
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
        // The words of one are a line.
        let is_line = |it: &str| name == "env" && (it.starts_with("-S") || it.starts_with("--sp"));
        !is_fed && !literal().any(is_line)
    }

    /// What `find` runs for each file.
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
                // It runs where the file is that it finds: there, or below.
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

    /// Whether a rule holds some commands back.
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
            let why = "what a command is given shows only when it runs".to_owned();
            self.found.push(Standing::Unruled { why, always: None });
        }
        for part in parts {
            let found = match part.class {
                _ if lets_all_run => self.held(&part),
                // A rule for a command is for what it reads, unless another is about that.
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

/// What a rule that holds back says of a command.
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

/// Where `cd DIRECTORY` leads by its text, as shells read it; `None`: that shows only when it runs. And
/// whether that is sure: no link is on the way, which some may be told to follow.
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

/// Whether bash may run what stands in a word, for a command that takes the names of variables.
fn computes(words: &[Option<&str>]) -> bool {
    let is_run = |it: &&str| it.contains('[') && it.contains(['$', '`']);
    let takes = words.first().copied().flatten().unwrap_or_default();
    ["test", "[", "read", "printf"].contains(&takes) && words.iter().flatten().any(is_run)
}

/// Whether a rule is about it.
fn is_ruled(standing: &Standing) -> bool {
    matches!(standing, Standing::Held { .. } | Standing::Denied { .. })
}

/// A command that nothing allows, and the rule that would.
fn unruled(words: &[Word], may_last: bool) -> Standing {
    let literal: Vec<Option<&str>> = words.iter().map(Word::literal).collect();
    let prefix = programs::often(&literal).filter(|_| may_last);
    let always = prefix.and_then(|prefix| {
        let rule =
            Rule::with_effect(Effect::Allow, &format!("bash {}", quote_argv(&prefix))).ok()?;
        // What reads back as another rule is not a rule to keep.
        (rule.words()? == prefix).then_some(rule)
    });
    Standing::Unruled { why: format!("`{}` has no rule", show(words)), always }
}

/// A command as a person is shown it.
fn show(words: &[Word]) -> String {
    let shown =
        words.iter().map(|it| format!("{}{}", it.text(), if it.is_dynamic() { "$.." } else { "" }));
    let shown = shown.collect::<Vec<_>>().join(" ");
    let text: String = shown.chars().take(SHOWN_MAX).flat_map(char::escape_debug).collect();
    if shown.chars().count() > SHOWN_MAX { format!("{text}..") } else { text }
}
