//! How much a session may do unasked: what a person chooses for all of it, beside the rules for single commands
//! and files.

use std::path::Path;

use super::files::{self, Files};
use super::paths::{self, Places};
use super::{Rules, Standing, line};
use crate::agent::tools::{Access, Builtin, Intent, Level};
use crate::confine::{Confine, Mode, has_mounts, led_to};

/// How much the agent may do unasked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Permissions {
    /// It changes nothing: commands can only look, whatever they are.
    Look,
    /// What no rule allows is asked.
    #[default]
    Ask,
    /// It writes the workspace, and runs commands that the kernel confines to it, unasked.
    Work,
}

impl Permissions {
    /// All of them, the least first.
    pub const ALL: [Self; 3] = [Self::Look, Self::Ask, Self::Work];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Look => "look",
            Self::Ask => "ask",
            Self::Work => "work",
        }
    }

    /// What it is called on a screen, and what it means.
    pub fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Look => {
                ("Look only", "Nothing is changed: commands run so that they can only look")
            }
            Self::Ask => ("Ask", "What no rule allows is asked"),
            Self::Work => (
                "Work in the workspace",
                "Files of the workspace are written, and commands run confined to it, unasked; all else is asked",
            ),
        }
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.name() == name)
    }
}

/// Why a session that looks does not do something.
pub(in crate::agent) const LOOKS_ONLY: &str =
    "this session only looks (permissions: look), until the person changes that";

impl Rules {
    /// The same, with this leeway.
    #[must_use]
    pub fn leaving(mut self, permissions: Permissions) -> Self {
        self.permissions = permissions;
        self
    }

    /// What a command asks to be allowed to do, as far as it may be let. What need not be asked is taken out of what
    /// was found.
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
            // Rules let all of it run as it is, or it looks.
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

    /// Holds a command that no rule and no person let run: what rules keep from being written without a question,
    /// and what makes a repository run programs, is sealed. Where that cannot be done the command is asked.
    pub(super) fn seal(&self, confine: &mut Confine, judged: &mut line::Judged, places: &Places) {
        let git = places.workspace.join(".git");
        let repositories = if git.is_dir() { vec![git] } else { led_to(&places.workspace) };
        let mut sealed = files::written_by_leave(&self.rules, places);
        for repository in repositories {
            let programs = ["hooks", "config"].map(|name| repository.join(name));
            match programs.iter().all(|it| it.exists()) {
                true => sealed.extend(programs),
                // It could make the one that is missing.
                false => sealed.push(repository),
            }
        }
        // What lies outside, but for caches, it cannot write anyway.
        sealed.retain(|path| path.exists() || path.starts_with(&places.workspace));
        let why = match sealed.iter().find(|path| !path.exists()) {
            Some(path) => Some(format!("it could make `{}`", path.display())),
            None if sealed.is_empty() || has_mounts() => None,
            None => sealed.first().map(|path| {
                format!("this machine cannot keep it from writing `{}`", path.display())
            }),
        };
        judged.found.extend(why.map(|why| Standing::Held { why }));
        confine.sealed = sealed;
        confine.hidden.append(&mut judged.kept);
    }

    /// How what a person lets run is held in a session that looks by now; an error says why it may not run.
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

    /// What is said of a file that a tool writes.
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

    /// What is said of a tool by what it is.
    pub(super) fn by_tool(&self, intent: &Intent) -> Option<Standing> {
        let changes = match intent.tool.builtin() {
            // What it writes is read by a program.
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

    /// What the rules say of a file that `intent` writes.
    pub(super) fn write(&self, intent: &Intent, places: &Places, path: &Path) -> Standing {
        let judged = files::judge(&self.rules, places, Some(&intent.tool), Files::Write, path);
        self.written(judged, places, path)
    }
}
