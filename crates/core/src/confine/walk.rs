//! Finds files in a workspace that are likely to hold keys.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use super::secrets::is_secret_name;
use crate::limits::CONFINE_WALK_MAX;

/// Directories that are skipped: published packages and build results, which hold hundreds of test keys and
/// certificates, and `.git`, whose objects have no names.
const SKIPPED: &[&str] =
    &["node_modules", "site-packages", "dist-packages", "target", "__pycache__", ".git"];

/// The files and directories below `workspace` whose names indicate that they hold keys. Searches breadth
/// first, and at most [`CONFINE_WALK_MAX`] entries.
pub(super) fn secrets(workspace: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut seen = 0;
    let mut waiting = VecDeque::from([workspace.to_owned()]);
    while let Some(directory) = waiting.pop_front() {
        let Ok(entries) = std::fs::read_dir(&directory) else { continue };
        for entry in entries.flatten() {
            seen += 1;
            if seen > CONFINE_WALK_MAX {
                return found;
            }
            let name = entry.file_name();
            if is_secret_name(&name.to_string_lossy()) {
                // A link's target has another name. Outside of the workspace, only directories that any command
                // may read are open; keys in them are not this workspace's.
                let target = entry.path().canonicalize().ok();
                found.extend(target.filter(|target| target.starts_with(workspace)));
                found.push(entry.path());
            } else if entry.file_type().is_ok_and(|it| it.is_dir())
                && !SKIPPED.iter().any(|skipped| name == *skipped)
            {
                waiting.push_back(entry.path());
            }
        }
    }
    found
}
