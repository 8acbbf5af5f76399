//! The verdict of the rules on a file.

use std::path::{Path, PathBuf};

use super::paths::{self, Places};
use super::{Effect, Rule, Scope, Standing};
use crate::agent::tools::ToolName;

/// A kind of access to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Files {
    /// Reading the file, or files below it.
    Read,
    /// Writing, creating or removing the file.
    Write,
}

impl Files {
    /// The scope of rules about this access by any tool.
    fn group(self) -> Scope {
        match self {
            Self::Read => Scope::Reads,
            Self::Write => Scope::Writes,
        }
    }

    /// Whether a rule is about this access by `tool` or, if that is `None`, by a command.
    fn is_meant_by(self, rule: &Rule, tool: Option<&ToolName>) -> bool {
        match (&rule.scope, tool) {
            (scope, Some(tool)) if scope.names(tool) => true,
            (Scope::Everything, _) => true,
            (scope, _) => *scope == self.group(),
        }
    }
}

/// The verdict on a file that `tool` uses. A path is judged by its target; a deny rule also applies to the path as
/// it is written.
pub(super) fn judge(
    rules: &[Rule],
    places: &Places,
    tool: Option<&ToolName>,
    files: Files,
    path: &Path,
) -> Standing {
    let does = files.group();
    let Some(resolved) = paths::resolve(path) else {
        let why = format!("cannot tell where `{}` leads", places.show(path));
        return Standing::Held { why };
    };
    let shown = places.show(&resolved);
    let is_secret = match files {
        Files::Read => places.is_secret(&resolved) || places.is_secret(path),
        Files::Write => places.is_guarded(&resolved) || places.is_guarded(path),
    };
    let (mut allow, mut ask) = (false, None);
    for rule in rules.iter().filter(|rule| files.is_meant_by(rule, tool)) {
        let at = rule.prefix.as_deref().map(|text| places.of_rule(text));
        let at: Option<PathBuf> = match at {
            None => None,
            // The rule uses `~`, and the home directory is not known.
            Some(None) => continue,
            Some(Some(at)) => Some(at),
        };
        let target = at.as_deref().map(|at| paths::resolve(at).unwrap_or_else(|| at.to_owned()));
        let leads_there = target.as_ref().is_none_or(|it| resolved.starts_with(it));
        let is_written_so = at.as_ref().is_some_and(|it| path.starts_with(it));
        match rule.effect {
            Effect::Deny if leads_there || is_written_so => {
                let why = format!("the rule `{rule}` forbids to {does} `{shown}`");
                return Standing::Denied { why };
            }
            Effect::Ask if leads_there || is_written_so => {
                ask = Some(format!("to {does} `{shown}` falls under the rule `{rule}`"));
            }
            // A rule for a directory does not cover the keys in it, unless it names them.
            Effect::Allow if leads_there => {
                allow |= !is_secret
                    || target.is_none_or(|it| match files {
                        Files::Read => places.is_secret(&it),
                        Files::Write => places.is_guarded(&it),
                    });
            }
            Effect::Deny | Effect::Ask | Effect::Allow => {}
        }
    }
    if let Some(why) = ask {
        return Standing::Held { why };
    }
    let is_inside = places.is_inside(&resolved);
    if allow || (files == Files::Read && is_inside && !is_secret) {
        return Standing::Allow;
    }
    let why = match (files, is_secret, is_inside) {
        (Files::Read, true, _) => format!("`{shown}` may hold keys"),
        (Files::Write, true, _) => format!("`{shown}` may hold keys or run programs"),
        (Files::Read, false, _) => format!("it reads `{shown}`, outside of the workspace"),
        (Files::Write, false, true) => format!("it writes `{shown}`"),
        (Files::Write, false, false) => format!("it writes `{shown}`, outside of the workspace"),
    };
    let always = match (is_secret, is_inside, files) {
        (true, _, _) => None,
        (false, true, Files::Read) => of_path(files, Path::new(".")),
        (false, true, Files::Write) => of_path(files, &directory_of(places, &resolved)),
        (false, false, Files::Read) => of_path(files, &neighbourhood(places, &resolved)),
        (false, false, Files::Write) => of_path(files, &resolved),
    };
    Standing::Unruled { why, always }
}

/// The paths below a directory that `tool` may not read without asking.
pub(super) fn held_below(
    rules: &[Rule],
    places: &Places,
    tool: &ToolName,
    directory: &Path,
) -> Vec<PathBuf> {
    let holds =
        |rule: &&Rule| rule.effect != Effect::Allow && Files::Read.is_meant_by(rule, Some(tool));
    let leads = rules.iter().filter(holds).filter_map(|rule| place(rule, places));
    leads.filter(|it| it != directory && it.starts_with(directory)).collect()
}

/// The paths that the rules do not allow any tool to read without asking, with links resolved; `None` if that is
/// everything.
pub(super) fn hidden(rules: &[Rule], places: &Places) -> Option<Vec<PathBuf>> {
    let holds = |rule: &&Rule| rule.effect != Effect::Allow && Files::Read.is_meant_by(rule, None);
    rules.iter().filter(holds).map(|rule| place(rule, places)).collect()
}

/// The resolved path that a rule names; `None` if it names none or the path cannot be resolved.
fn place(rule: &Rule, places: &Places) -> Option<PathBuf> {
    paths::resolve(&places.of_rule(rule.prefix.as_deref()?)?)
}

/// The resolved paths that rules deny for this kind of access. For reads, directories that contain the workspace
/// are left out, because a command could not run without them.
pub(super) fn denied(rules: &[Rule], places: &Places, files: Files) -> Vec<PathBuf> {
    let denies = |rule: &&Rule| rule.effect == Effect::Deny && files.is_meant_by(rule, None);
    let denied = rules.iter().filter(denies).filter_map(|rule| place(rule, places));
    denied.filter(|it| files == Files::Write || !places.workspace.starts_with(it)).collect()
}

/// The resolved paths that rules do not allow to be written without asking.
pub(super) fn written_by_leave(rules: &[Rule], places: &Places) -> Vec<PathBuf> {
    let holds = |rule: &&Rule| rule.effect != Effect::Allow && Files::Write.is_meant_by(rule, None);
    rules.iter().filter(holds).filter_map(|rule| place(rule, places)).collect()
}

/// The resolved paths that rules allow to be read in addition.
pub(super) fn shown(rules: &[Rule], places: &Places) -> Vec<PathBuf> {
    let lets = |rule: &&Rule| rule.effect == Effect::Allow && Files::Read.is_meant_by(rule, None);
    rules.iter().filter(lets).filter_map(|rule| place(rule, places)).collect()
}

/// The verdict on a file whose name is only known at run time.
pub(super) fn judge_unknown(rules: &[Rule], files: Files) -> Standing {
    let mut about = rules.iter().filter(|rule| files.is_meant_by(rule, None));
    let does = files.group();
    let why = format!("which file it would {does} is only known when it runs");
    if about.clone().any(|rule| rule.effect != Effect::Allow) {
        return Standing::Held { why };
    }
    match about.any(|rule| rule.prefix.is_none()) {
        true => Standing::Allow,
        false => Standing::Unruled { why, always: None },
    }
}

/// The directory that contains a workspace file, relative to the workspace as in rules; `.` (the whole workspace) for a file
/// at the top level.
fn directory_of(places: &Places, resolved: &Path) -> PathBuf {
    let inside = resolved.strip_prefix(&places.workspace).ok().and_then(Path::parent);
    let is_plain = |it: &&Path| !it.as_os_str().is_empty() && !it.starts_with("~");
    inside.filter(is_plain).unwrap_or(Path::new(".")).to_owned()
}

/// The directory to allow when a person allows reading one file in it; just the file if the directory would be
/// their home directory or a parent of it.
fn neighbourhood(places: &Places, resolved: &Path) -> PathBuf {
    let directory = if resolved.is_dir() { Some(resolved) } else { resolved.parent() };
    let home = places.home.as_deref().and_then(paths::resolve);
    let is_too_much =
        |it: &Path| it.parent().is_none() || home.as_ref().is_some_and(|home| home.starts_with(it));
    directory.filter(|it| !is_too_much(it)).unwrap_or(resolved).to_owned()
}

fn of_path(files: Files, path: &Path) -> Option<Rule> {
    let text = path.to_str()?;
    let is_all = path.parent().is_none() && path.is_absolute();
    let rule = Rule::with_effect(Effect::Allow, &format!("{} {text}", files.group())).ok()?;
    (!is_all && rule.prefix.as_deref() == Some(text)).then_some(rule)
}
