//! What the agent may do without asking, what it has to ask for, and what it may not do.
//!
//! Owns the rules and their judgement. Asks no person itself, and reads no file of a workspace: a
//! checked-out repository must not give itself rights (docs/settings.md).
//!
//! A call is taken apart into everything it touches, a line of shell into each command it would run
//! and each file it names; each part is judged by itself and the strictest decides. What cannot be
//! taken apart is asked.

mod files;
mod fit;
mod leeway;
mod line;
mod paths;
mod programs;
mod rule;
mod shell;

use std::path::{Path, PathBuf};

pub(super) use leeway::LOOKS_ONLY;
pub use leeway::Permissions;
pub use rule::{BadRule, Scope};

use self::files::Files;
use self::paths::Places;
use super::tools::{Access, Builtin, Intent, Level};
use crate::confine::{Confine, Mode};

/// What is to be done with a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Run it; a command, confined so.
    Allow(Option<Confine>),
    /// Ask the person.
    Ask {
        /// Why, for the person: `rm -rf b` has no rule.
        why: String,
        /// The rules that "always" would add, so that this call and its like are not asked again.
        /// Empty: it has to be asked every time.
        always: Vec<Rule>,
    },
    /// Don't run it.
    Deny {
        /// Why, for the model.
        why: String,
    },
}

/// What a rule says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Run without asking.
    Allow,
    /// Ask each time.
    Ask,
    /// Never.
    Deny,
}

/// One rule: `allow bash git status`, `deny write_file`, `ask read ../`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// What it says.
    pub effect: Effect,
    /// What it is about.
    pub scope: Scope,
    /// For commands, the words a command must begin with; for files, the path it must lie in. `None`:
    /// any.
    pub prefix: Option<String>,
}

/// The rules in force: those of the settings, then those remembered, then the built-in ones.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    rules: Vec<Rule>,
    home: Option<PathBuf>,
    /// Confine what rules allow, too.
    confines_allowed: bool,
    /// What runs confined to work may use the network.
    network: bool,
    /// What the person chose for all of the session.
    permissions: Permissions,
}

/// What one part of a call comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Standing {
    /// It may be.
    Allow,
    /// Nothing allows it: to be asked, unless a rule for the whole allows it.
    Unruled {
        /// Why.
        why: String,
        /// The rule that would allow it from now on.
        always: Option<Rule>,
    },
    /// A rule holds it back: to be asked each time.
    Held {
        /// Why.
        why: String,
    },
    /// A rule forbids it.
    Denied {
        /// Why.
        why: String,
    },
}

impl Rules {
    /// These rules and the built-in ones. Of the rules that fit, `deny` wins over `ask`, and `ask`
    /// over `allow`; nothing fits: reads in the workspace are allowed, all else is asked.
    pub fn new(rules: Vec<Rule>) -> Self {
        let home = std::env::var_os("HOME").map(PathBuf::from);
        Self { rules, home, ..Self::default() }
    }

    /// The same, but what a rule allows runs confined to work ([`Mode::Work`]).
    #[must_use]
    pub fn confining(mut self, allowed: bool) -> Self {
        self.confines_allowed = allowed;
        self
    }

    /// The same, but what runs confined to work may use the network.
    #[must_use]
    pub fn with_network(mut self, network: bool) -> Self {
        self.network = network;
        self
    }

    /// What the person chose for all of the session.
    pub fn permissions(&self) -> Permissions {
        self.permissions
    }

    /// Adds a rule, as a person's "always" does.
    pub fn add(&mut self, rule: Rule) {
        if !self.rules.contains(&rule) {
            self.rules.push(rule);
        }
    }

    /// Judges a call by everything it touches; the strictest part decides. Looks at the names of
    /// files and at links, which may block for as long as the disk does.
    pub fn judge(&self, intent: &Intent, workspace: &Path) -> Verdict {
        let places = Places::new(workspace, self.home.as_deref());
        let mut found = self.tool(intent);
        found.extend(self.by_tool(intent));
        let mut confine = None;
        for access in &intent.access {
            match access {
                Access::Command { line, cwd, level } => {
                    let mut judged = line::judge(&self.rules, &places, cwd, line);
                    confine = self.manner(&mut judged, *level, &places);
                    found.extend(judged.found);
                }
                Access::Elsewhere { place, line, cwd } => {
                    found.extend(self.elsewhere(place, line, &places, cwd));
                }
                Access::Read(path) => {
                    found.push(files::judge(
                        &self.rules,
                        &places,
                        Some(&intent.tool),
                        Files::Read,
                        path,
                    ));
                }
                Access::Write(path) => found.push(self.write(intent, &places, path)),
                // What a session started it may steer.
                Access::Task(_) => {}
            }
        }
        strictest(found, confine)
    }

    /// What a line at a place comes to. Nothing confines it there: only rules that name the place let it run, those
    /// that deny or ask hold there, too.
    fn elsewhere(&self, place: &str, line: &str, places: &Places, cwd: &Path) -> Vec<Standing> {
        if self.permissions == Permissions::Look {
            return vec![Standing::Denied { why: LOOKS_ONLY.to_owned() }];
        }
        let rules: Vec<Rule> = self.rules.iter().filter_map(|rule| rule.at(place)).collect();
        let mut judged = line::judge(&rules, places, cwd, line);
        for standing in &mut judged.found {
            if let Standing::Unruled { always: Some(rule), .. } = standing {
                rule.scope = Scope::At { tool: Builtin::Bash, place: place.to_owned() };
            }
        }
        if judged.looks {
            let why = format!("it runs at `{place}`, where nothing holds it to looking");
            judged.found.push(Standing::Unruled { why, always: None });
        }
        judged.found
    }

    /// How a command is confined that runs as it was judged; what it may not do unasked is added.
    fn manner(
        &self,
        judged: &mut line::Judged,
        level: Option<Level>,
        places: &Places,
    ) -> Option<Confine> {
        let level = self.level(judged, level);
        let asks_for_more = match level {
            Some(Level::Work) if self.permissions == Permissions::Work => None,
            Some(Level::Work) => judged.looks.then_some("it asks for more than looking"),
            Some(Level::Full) if judged.looks => Some("it asks for more than looking"),
            Some(Level::Full) => self.confines_allowed.then_some("it asks to run unconfined"),
            None | Some(Level::Look) => None,
        };
        if let Some(why) = asks_for_more {
            // No rule lets it have more.
            judged.found.push(Standing::Unruled { why: why.to_owned(), always: None });
        }
        let mode = match level {
            None if judged.looks => Mode::Look,
            Some(Level::Look) => {
                // Whatever it is: there it can do no more.
                judged.found.retain(|it| !matches!(it, Standing::Unruled { .. }));
                Mode::Look
            }
            Some(Level::Work) => Mode::Work,
            None if self.confines_allowed => Mode::Work,
            None | Some(Level::Full) => return self.belt(places),
        };
        let mut confine = self.confine(mode, places);
        // Work that a rule or a person lets run needs them, and closing them would keep it from reading what
        // it makes beside them.
        let by_leeway = self.permissions == Permissions::Work && level == Some(Level::Work);
        match confine.as_mut() {
            Some(confine) if mode == Mode::Look => confine.hidden.append(&mut judged.kept),
            Some(confine) if by_leeway => self.seal(confine, judged, places),
            Some(_) | None => {}
        }
        if confine.is_none() {
            let why = "a rule holds back all that could be read".to_owned();
            judged.found.push(Standing::Held { why });
        }
        confine
    }

    /// The confinement that the rules ask for. `None`: they let nothing be read.
    fn confine(&self, mode: Mode, places: &Places) -> Option<Confine> {
        let hidden = files::hidden(&self.rules, places)?;
        let readable = files::shown(&self.rules, places);
        let network = self.network && mode == Mode::Work;
        let sealed = match mode {
            Mode::Work => files::denied(&self.rules, places, Files::Write),
            Mode::Look | Mode::Open => Vec::new(),
        };
        Some(Confine { mode, network, hidden, readable, sealed })
    }

    /// What rules keep from a command that runs as it is otherwise; `None`: nothing.
    fn belt(&self, places: &Places) -> Option<Confine> {
        let denied = |files| files::denied(&self.rules, places, files);
        let (hidden, sealed) = (denied(Files::Read), denied(Files::Write));
        (!hidden.is_empty() || !sealed.is_empty()).then(|| Confine {
            hidden,
            sealed,
            ..Mode::Open.into()
        })
    }

    /// How a command runs that a person lets run.
    pub fn open(&self, workspace: &Path) -> Option<Confine> {
        self.belt(&Places::new(workspace, self.home.as_deref()))
    }

    /// How a command runs that a person lets run confined only.
    pub fn confined(&self, workspace: &Path) -> Option<Confine> {
        self.confine(Mode::Work, &Places::new(workspace, self.home.as_deref()))
    }

    /// What an allowed search has to leave out: what lies below its directory and a rule forbids to
    /// read, or wants asked. No person is asked for the whole of a workspace because of a part of it.
    pub fn left_out(&self, intent: &Intent, workspace: &Path) -> Vec<PathBuf> {
        let places = Places::new(workspace, self.home.as_deref());
        let below = |access: &Access| match access {
            Access::Read(path) => files::held_below(&self.rules, &places, &intent.tool, path),
            Access::Command { .. }
            | Access::Elsewhere { .. }
            | Access::Write(_)
            | Access::Task(_) => Vec::new(),
        };
        intent.access.iter().flat_map(below).collect()
    }

    /// What rules say of a tool by its name alone, where no part of the call is judged by it.
    fn tool(&self, intent: &Intent) -> Vec<Standing> {
        let is_judged = |access: &Access| match access {
            Access::Command { .. }
            | Access::Elsewhere { .. }
            | Access::Read(_)
            | Access::Write(_) => true,
            Access::Task(_) => false,
        };
        if intent.access.iter().any(is_judged) {
            return Vec::new();
        }
        let about = |rule: &&Rule| rule.prefix.is_none() && rule.scope.names(&intent.tool);
        if intent.tool.builtin().is_none() && !self.rules.iter().any(|rule| about(&rule)) {
            // What a server says of its tools is believed by no rule.
            let scope = Scope::of(&intent.tool);
            let always = Some(Rule { effect: Effect::Allow, scope, prefix: None });
            return vec![Standing::Unruled {
                why: format!("`{}` has no rule", intent.tool),
                always,
            }];
        }
        let standing = |rule: &Rule| match rule.effect {
            Effect::Allow => Standing::Allow,
            Effect::Ask => Standing::Held { why: format!("it falls under the rule `{rule}`") },
            Effect::Deny => Standing::Denied { why: format!("the rule `{rule}` forbids it") },
        };
        self.rules.iter().filter(about).map(standing).collect()
    }
}

/// What the parts of a call come to together.
fn strictest(found: Vec<Standing>, confine: Option<Confine>) -> Verdict {
    let (mut reasons, mut always, mut every_time) = (Vec::new(), Vec::new(), false);
    for standing in found {
        match standing {
            Standing::Allow => {}
            Standing::Denied { why } => return Verdict::Deny { why },
            Standing::Held { why } => {
                every_time = true;
                reasons.push(why);
            }
            Standing::Unruled { why, always: rule } => {
                every_time |= rule.is_none();
                always.extend(rule.filter(|rule| !always.contains(rule)));
                reasons.push(why);
            }
        }
    }
    reasons.dedup();
    if reasons.is_empty() {
        return Verdict::Allow(confine);
    }
    if every_time {
        always.clear();
    }
    Verdict::Ask { why: reasons.join("; "), always }
}

#[cfg(test)]
mod tests;
