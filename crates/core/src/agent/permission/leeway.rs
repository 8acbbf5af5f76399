//! How much a session may do without asking: the person's choice for the whole session, in addition to the rules
//! for single commands and files.

use std::path::Path;

use super::files::{self, Files};
use super::paths::{self, Places};
use super::{Rules, Standing, line};
use crate::agent::tools::{Access, Builtin, Intent, Level};
use crate::confine::{Confine, Mode, has_mounts, led_to};

/// How much the agent may do without asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Permissions {
    /// The agent changes nothing: commands can only read, whatever they are.
    Look,
    /// The agent asks before everything that no rule allows.
    #[default]
    Ask,
    /// The agent writes in the workspace, and runs commands that the kernel confines to the workspace, without
    /// asking.
    Work,
}

impl Permissions {
    /// All values, the most restrictive first.
    pub const ALL: [Self; 3] = [Self::Look, Self::Ask, Self::Work];

    /// The value's name in settings and in the ledger.
    pub fn name(self) -> &'static str {
        match self {
            Self::Look => "look",
            Self::Ask => "ask",
            Self::Work => "work",
        }
    }

    /// The name for people, and its description.
    pub fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Look => ("Look only", "Changes nothing: commands can only read"),
            Self::Ask => ("Ask", "Asks before everything that no rule allows"),
            Self::Work => (
                "Work in the workspace",
                "Writes files of the workspace and runs commands confined to it without asking; asks before everything else",
            ),
        }
    }

    /// The value with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.name() == name)
    }
}

/// Why a look-only session refuses something.
pub(in crate::agent) const LOOKS_ONLY: &str =
    "this session is look-only (permissions: look) until the person changes that";

impl Rules {
    /// Sets the permissions of the session.
    #[must_use]
    pub fn leaving(mut self, permissions: Permissions) -> Self {
        self.permissions = permissions;
        self
    }

    /// The level at which a command may run, given the level that it requests. Removes from `judged` what needs no
    /// question at this level.
    pub(super) fn level(&self, judged: &mut line::Judged, level: Option<Level>) -> Option<Level> {
        let is_unruled = |it: &Standing| matches!(it, Standing::Unruled { .. });
        match (self.permissions, level) {
            (Permissions::Ask, level) => level,
            (Permissions::Look, None | Some(Level::Look)) => Some(Level::Look),
            (Permissions::Look, Some(Level::Work | Level::Full)) => {
                judged.found.push(Standing::Denied { why: LOOKS_ONLY.to_owned() });
                level
            }
            (Permissions::Work, Some(Level::Work)) => {
                judged.found.retain(|it| !is_unruled(it));
                level
            }
            // Rules allow all of it to run unconfined, or it only reads.
            (Permissions::Work, None) if judged.looks || !judged.found.iter().any(is_unruled) => {
                None
            }
            (Permissions::Work, None) => {
                judged.found.retain(|it| !is_unruled(it));
                Some(Level::Work)
            }
            (Permissions::Work, Some(Level::Look | Level::Full)) => level,
        }
    }

    /// Restricts a command that neither a rule nor a person has allowed: seals paths that rules protect from
    /// writes, and the files through which a repository runs programs. If this machine cannot do that, the command
    /// needs permission.
    pub(super) fn seal(&self, confine: &mut Confine, judged: &mut line::Judged, places: &Places) {
        let git = places.workspace.join(".git");
        let repositories = if git.is_dir() { vec![git] } else { led_to(&places.workspace) };
        let mut sealed = files::written_by_leave(&self.rules, places);
        for repository in repositories {
            let programs = ["hooks", "config"].map(|name| repository.join(name));
            match programs.iter().all(|it| it.exists()) {
                true => sealed.extend(programs),
                // The command could create the missing one.
                false => sealed.push(repository),
            }
        }
        // Outside of the workspace and caches it cannot write anyway.
        sealed.retain(|path| path.exists() || path.starts_with(&places.workspace));
        let why = match sealed.iter().find(|path| !path.exists()) {
            Some(path) => Some(format!("it could create `{}`", path.display())),
            None if sealed.is_empty() || has_mounts() => None,
            None => sealed.first().map(|path| {
                format!("this machine cannot keep it from writing `{}`", path.display())
            }),
        };
        judged.found.extend(why.map(|why| Standing::Held { why }));
        confine.sealed = sealed;
        confine.hidden.append(&mut judged.kept);
    }

    /// How a command that the person allowed is confined if the session has since become look-only; an error says
    /// why it may not run.
    pub fn only_looking(
        &self,
        intent: &Intent,
        workspace: &Path,
    ) -> Result<Option<Confine>, &'static str> {
        if self.by_tool(intent).is_some() {
            return Err(LOOKS_ONLY);
        }
        let places = Places::new(workspace, self.home.as_deref());
        let mut held = None;
        for access in &intent.access {
            match access {
                Access::Write(_) | Access::Elsewhere { .. } => return Err(LOOKS_ONLY),
                Access::Command { line, cwd, .. } => {
                    let mut judged = line::judge(&self.rules, &places, cwd, line);
                    let mut confine = self.confine(Mode::Look, &places).ok_or(LOOKS_ONLY)?;
                    confine.hidden.append(&mut judged.kept);
                    held = Some(confine);
                }
                Access::Read(_) | Access::Task(_) => {}
            }
        }
        Ok(held)
    }

    /// The verdict on a file that a tool writes, adjusted to the session's permissions.
    pub(super) fn written(&self, standing: Standing, places: &Places, path: &Path) -> Standing {
        let is_plain = || {
            let leads = paths::resolve(path);
            leads.is_some_and(|it| places.is_inside(&it) && !places.is_guarded(&it))
                && !places.is_guarded(path)
        };
        match (self.permissions, standing) {
            (
                Permissions::Look,
                Standing::Allow | Standing::Unruled { .. } | Standing::Held { .. },
            ) => Standing::Denied { why: LOOKS_ONLY.to_owned() },
            (Permissions::Work, Standing::Unruled { .. }) if is_plain() => Standing::Allow,
            (_, standing) => standing,
        }
    }

    /// The verdict that follows from the tool alone.
    pub(super) fn by_tool(&self, intent: &Intent) -> Option<Standing> {
        let changes = match intent.tool.builtin() {
            // A program reads what it writes, and may act on it.
            Some(Builtin::WriteBackground) | None => true,
            Some(
                Builtin::Bash
                | Builtin::BackgroundRun
                | Builtin::CheckBackground
                | Builtin::TaskOutput
                | Builtin::StopBackground
                | Builtin::ReadFile
                | Builtin::WriteFile
                | Builtin::EditFile
                | Builtin::Glob
                | Builtin::Grep
                | Builtin::UpdatePlan,
            ) => false,
        };
        (self.permissions == Permissions::Look && changes)
            .then(|| Standing::Denied { why: LOOKS_ONLY.to_owned() })
    }

    /// The verdict on a file that `intent` writes.
    pub(super) fn write(&self, intent: &Intent, places: &Places, path: &Path) -> Standing {
        let judged = files::judge(&self.rules, places, Some(&intent.tool), Files::Write, path);
        self.written(judged, places, path)
    }
}
