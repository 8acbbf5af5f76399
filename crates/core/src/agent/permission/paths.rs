//! How rules name paths, and which paths contain secrets.
//!
//! This module resolves the paths in rules, and knows the names of files that an agent should not touch without
//! asking. Paths are resolved by the same function that the tools use to open them, so that the file that is judged
//! is the one that is opened. It reads names and links, never the contents of a file.

use std::path::{Component, Path, PathBuf};

pub(super) use crate::agent::tools::follow as resolve;
use crate::confine::{SECRETS_OF_HOME, is_secret_name};

/// The directories to which paths are relative.
#[derive(Debug, Clone)]
pub(super) struct Places {
    /// The workspace, with links resolved.
    pub(super) workspace: PathBuf,
    /// The home directory, as in `$HOME`.
    pub(super) home: Option<PathBuf>,
}

impl Places {
    pub(super) fn new(workspace: &Path, home: Option<&Path>) -> Self {
        // If a workspace cannot be resolved, nothing is inside it, because no resolved path starts with this one.
        let workspace = resolve(workspace).unwrap_or_else(|| workspace.to_owned());
        Self { workspace, home: home.map(Path::to_owned) }
    }

    /// A path as written in a rule: relative to the workspace, with `~` for the home directory, or absolute.
    pub(super) fn of_rule(&self, text: &str) -> Option<PathBuf> {
        match (text.strip_prefix('~'), &self.home) {
            (Some(""), home) => home.clone(),
            (Some(rest), home) if rest.starts_with('/') => {
                Some(home.as_ref()?.join(rest.trim_start_matches('/')))
            }
            _ => Some(self.workspace.join(text)),
        }
    }

    /// Whether a resolved path is in the workspace.
    pub(super) fn is_inside(&self, resolved: &Path) -> bool {
        resolved.starts_with(&self.workspace)
    }

    /// A path in the form that a person would write.
    pub(super) fn show(&self, path: &Path) -> String {
        let shown = match path.strip_prefix(&self.workspace) {
            Ok(rest) if rest.as_os_str().is_empty() => ".".to_owned(),
            Ok(rest) => rest.display().to_string(),
            Err(_) => path.display().to_string(),
        };
        shown.chars().flat_map(char::escape_debug).collect()
    }

    /// Whether a path contains keys, or needs a question for another reason before it is read.
    pub(super) fn is_secret(&self, path: &Path) -> bool {
        let home = self.home.as_ref().and_then(|home| resolve(home));
        let rest = home.as_ref().and_then(|home| path.strip_prefix(home).ok());
        if rest.is_some_and(|rest| SECRETS_OF_HOME.iter().any(|it| rest.starts_with(it))) {
            return true;
        }
        path.components().any(|component| match component {
            Component::Normal(name) => is_secret_name(&name.to_string_lossy()),
            Component::Prefix(_)
            | Component::RootDir
            | Component::CurDir
            | Component::ParentDir => false,
        })
    }

    /// Whether writing a path could grant permissions: a repository's own settings and hooks name programs that
    /// `git status` runs.
    pub(super) fn is_guarded(&self, path: &Path) -> bool {
        let is_git = |component: Component<'_>| component.as_os_str().eq_ignore_ascii_case(".git");
        self.is_secret(path) || path.components().any(is_git)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_known_by_their_names() {
        let places = Places::new(Path::new("/project"), Some(Path::new("/home/a")));
        let check = |path: &str, secret: bool| {
            assert_eq!(places.is_secret(Path::new(path)), secret, "{path}");
        };
        for path in [
            "/home/a/.ssh",
            "/home/a/.ssh/config",
            "/home/a/.aws/credentials",
            "/home/a/.config/meanwhile/config.toml",
            "/home/a/.local/state/meanwhile/store.db",
            "/project/.env",
            "/project/.ENV",
            "/project/a/.env.local",
            "/project/.env/x",
            "/project/server.pem",
            "/project/tls/Server.Key",
            "/project/id_ed25519",
            "/project/.npmrc",
        ] {
            check(path, true);
        }
        for path in [
            "/project",
            "/project/.ssh",
            "/home/a",
            "/home/a/.sshx",
            "/home/a/src",
            "/project/.env.example",
            "/project/.env.local.example",
            "/project/env",
            "/project/.environment",
            "/project/id_ed25519.pub",
            "/project/key",
            "/project/key.rs",
            "/project/.key",
        ] {
            check(path, false);
        }
        assert!(places.is_guarded(Path::new("/project/.git/hooks/pre-commit")));
        assert!(!places.is_guarded(Path::new("/project/.github/workflows")));
    }
}
