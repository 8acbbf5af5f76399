//! What the agent may do without asking, what it has to ask for, and what it may not do.
//!
//! This module owns the rules and applies them. It asks no person itself, and reads no rules from a workspace: a
//! checked-out repository must not grant itself permissions (docs/settings.md).
//!
//! A call is split into everything it touches, a shell line into each command it would run and each file it names.
//! Each part is judged on its own, and the strictest verdict counts. A line that cannot be split needs permission.

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

/// What to do with a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Run it. A command runs under this confinement, if there is one.
    Allow(Option<Confine>),
    /// Ask the person.
    Ask {
        /// The reason, for the person: `rm -rf b` has no rule.
        why: String,
        /// The rules that "always" would add, so that this call and similar ones are not asked about again. Empty
        /// if it must be asked about every time.
        always: Vec<Rule>,
    },
    /// Do not run it.
    Deny {
        /// The reason, for the model.
        why: String,
    },
}

/// The effect of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Run without asking.
    Allow,
    /// Ask each time.
    Ask,
    /// Never run it.
    Deny,
}

/// One rule: `allow bash git status`, `deny write_file`, `ask read ../`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// What happens to matching calls.
    pub effect: Effect,
    /// Which tools, files or places the rule covers.
    pub scope: Scope,
    /// For commands, the words with which a command must start; for files, a path that must contain the file.
    /// `None` for any command or file.
    pub prefix: Option<String>,
}

/// The rules in force: from the settings, then the remembered ones, then the built-in ones.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    rules: Vec<Rule>,
    home: Option<PathBuf>,
    /// Whether commands that rules allow are confined, too.
    confines_allowed: bool,
    /// Whether commands confined to work may use the network.
    network: bool,
    /// The permissions that the person chose for the whole session.
    permissions: Permissions,
}

/// The verdict on one part of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Standing {
    /// A rule or a default allows it.
    Allow,
    /// No rule allows it: ask, unless a rule for the whole call allows it.
    Unruled {
        /// The reason, for the person.
        why: String,
        /// The rule that would allow it from now on; `None` if there is none.
        always: Option<Rule>,
    },
    /// A rule requires a question each time.
    Held {
        /// The reason, for the person.
        why: String,
    },
    /// A rule forbids it.
    Denied {
        /// The reason, for the model.
        why: String,
    },
}

impl Rules {
    /// These rules in addition to the built-in ones. Among matching rules, `deny` wins over `ask`, and `ask` over
    /// `allow`. Without a match, reads in the workspace are allowed and everything else is asked about.
    pub fn new(rules: Vec<Rule>) -> Self {
        let home = std::env::var_os("HOME").map(PathBuf::from);
        Self { rules, home, ..Self::default() }
    }

    /// Sets whether commands that a rule allows run confined to work ([`Mode::Work`]).
    #[must_use]
    pub fn confining(mut self, allowed: bool) -> Self {
        self.confines_allowed = allowed;
        self
    }

    /// Sets whether commands confined to work may use the network.
    #[must_use]
    pub fn with_network(mut self, network: bool) -> Self {
        self.network = network;
        self
    }

    /// The permissions that the person chose for the whole session.
    pub fn permissions(&self) -> Permissions {
        self.permissions
    }

    /// Adds a rule, as a person's "always" does.
    pub fn add(&mut self, rule: Rule) {
        if !self.rules.contains(&rule) {
            self.rules.push(rule);
        }
    }

    /// The verdict on a call: that of its strictest part. Looks up file names and links, which may block as long as
    /// the disk does.
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
                // A session may control the tasks that it started.
                Access::Task(_) => {}
            }
        }
        strictest(found, confine)
    }

    /// The verdicts on a line that runs at a place. Nothing confines it there, so only rules that name the place
    /// allow it; rules that deny or ask apply there, too.
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
            let why = format!("it runs at `{place}`, where nothing restricts it to reading");
            judged.found.push(Standing::Unruled { why, always: None });
        }
        judged.found
    }

    /// The confinement of a command that runs with this verdict. Adds to `judged` what the command may not do
    /// without asking.
    fn manner(
        &self,
        judged: &mut line::Judged,
        level: Option<Level>,
        places: &Places,
    ) -> Option<Confine> {
        let level = self.level(judged, level);
        let asks_for_more = match level {
            Some(Level::Work) if self.permissions == Permissions::Work => None,
            Some(Level::Work) => judged.looks.then_some("it asks for more than read access"),
            Some(Level::Full) if judged.looks => Some("it asks for more than read access"),
            Some(Level::Full) => self.confines_allowed.then_some("it asks to run unconfined"),
            None | Some(Level::Look) => None,
        };
        if let Some(why) = asks_for_more {
            // No rule can grant it more.
            judged.found.push(Standing::Unruled { why: why.to_owned(), always: None });
        }
        let mode = match level {
            None if judged.looks => Mode::Look,
            Some(Level::Look) => {
                // In look mode it can do no more than read, whatever it is.
                judged.found.retain(|it| !matches!(it, Standing::Unruled { .. }));
                Mode::Look
            }
            Some(Level::Work) => Mode::Work,
            None if self.confines_allowed => Mode::Work,
            None | Some(Level::Full) => return self.belt(places),
        };
        let mut confine = self.confine(mode, places);
        // A command that a rule or a person allowed to work may need these files, and hiding them would prevent it
        // from reading what it creates next to them.
        let by_leeway = self.permissions == Permissions::Work && level == Some(Level::Work);
        match confine.as_mut() {
            Some(confine) if mode == Mode::Look => confine.hidden.append(&mut judged.kept),
            Some(confine) if by_leeway => self.seal(confine, judged, places),
            Some(_) | None => {}
        }
        if confine.is_none() {
            let why = "rules exclude everything that could be read".to_owned();
            judged.found.push(Standing::Held { why });
        }
        confine
    }

    /// The confinement that the rules require; `None` if they exclude all reading.
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

    /// What the rules exclude for a command that is otherwise unconfined; `None` if nothing.
    fn belt(&self, places: &Places) -> Option<Confine> {
        let denied = |files| files::denied(&self.rules, places, files);
        let (hidden, sealed) = (denied(Files::Read), denied(Files::Write));
        (!hidden.is_empty() || !sealed.is_empty()).then(|| Confine {
            hidden,
            sealed,
            ..Mode::Open.into()
        })
    }

    /// How a command that the person has allowed is confined.
    pub fn open(&self, workspace: &Path) -> Option<Confine> {
        self.belt(&Places::new(workspace, self.home.as_deref()))
    }

    /// How a command is confined that the person has allowed to run only confined.
    pub fn confined(&self, workspace: &Path) -> Option<Confine> {
        self.confine(Mode::Work, &Places::new(workspace, self.home.as_deref()))
    }

    /// The paths that an allowed search must skip: those below its directory that a rule denies or requires a
    /// question for. The person is not asked about a whole workspace because of a part of it.
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

    /// The verdicts of rules that name only the tool, for calls without a part that is judged by itself.
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
            // Rules do not trust what a server says about its tools.
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

/// The verdict on a call from those on its parts.
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
