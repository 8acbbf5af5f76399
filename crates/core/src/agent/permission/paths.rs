//! What a path is to the rules, and whether what lies there is a secret.
//!
//! Owns what rules and patterns stand for, and the list of files that good agents don't touch
//! unasked. Where a path really leads is found by the function that the tools open it by, so that
//! what is judged is what is touched. It reads names and links, never what a file holds.

use std::path::{Component, Path, PathBuf};

use regex::Regex;

pub(super) use crate::agent::tools::follow as resolve;

/// How many files a pattern such as `*.rs` may stand for and still be looked at one by one.
const MATCHES_MAX: usize = 4_096;

/// Directories of the home directory that hold keys or give rights, and the files with them.
const SECRETS_OF_HOME: [&str; 23] = [
    ".ssh",
    ".gnupg",
    ".aws",
    ".azure",
    ".kube",
    ".docker",
    ".config/gcloud",
    ".config/gh",
    ".config/hub",
    ".config/meanwhile",
    // The rules that were remembered, among others.
    ".local/state/meanwhile",
    ".config/op",
    ".config/rclone",
    ".password-store",
    ".local/share/keyrings",
    ".cargo/credentials",
    ".cargo/credentials.toml",
    ".vault-token",
    ".terraform.d",
    ".mozilla",
    ".config/google-chrome",
    ".config/chromium",
    ".gem/credentials",
];

/// Files that hold keys wherever they are.
const SECRET_NAMES: [&str; 15] = [
    ".env",
    ".envrc",
    ".netrc",
    "_netrc",
    ".npmrc",
    ".pypirc",
    ".pgpass",
    ".my.cnf",
    ".htpasswd",
    ".git-credentials",
    "id_rsa",
    "id_dsa",
    "id_ecdsa",
    "id_ed25519",
    "master.key",
];
const SECRET_EXTENSIONS: [&str; 8] = ["pem", "key", "p12", "pfx", "jks", "keystore", "kdbx", "ppk"];
/// `.env.example` and its like are there to be read.
const EXAMPLES: [&str; 6] = ["example", "sample", "template", "dist", "defaults", "schema"];

/// What paths are measured by.
#[derive(Debug, Clone)]
pub(super) struct Places {
    /// The workspace, resolved.
    pub(super) workspace: PathBuf,
    /// The home directory, as it is called.
    pub(super) home: Option<PathBuf>,
}

impl Places {
    pub(super) fn new(workspace: &Path, home: Option<&Path>) -> Self {
        // A workspace that leads nowhere contains nothing, as no path resolves to this one.
        let workspace = resolve(workspace).unwrap_or_else(|| workspace.to_owned());
        Self { workspace, home: home.map(Path::to_owned) }
    }

    /// A path as a rule writes it: from the workspace, from home with `~`, or absolute.
    pub(super) fn of_rule(&self, text: &str) -> Option<PathBuf> {
        match (text.strip_prefix('~'), &self.home) {
            (Some(""), home) => home.clone(),
            (Some(rest), home) if rest.starts_with('/') => {
                Some(home.as_ref()?.join(rest.trim_start_matches('/')))
            }
            _ => Some(self.workspace.join(text)),
        }
    }

    /// Whether a resolved path lies in the workspace.
    pub(super) fn is_inside(&self, resolved: &Path) -> bool {
        resolved.starts_with(&self.workspace)
    }

    /// A path as a person would write it.
    pub(super) fn show(&self, path: &Path) -> String {
        let shown = match path.strip_prefix(&self.workspace) {
            Ok(rest) if rest.as_os_str().is_empty() => ".".to_owned(),
            Ok(rest) => rest.display().to_string(),
            Err(_) => path.display().to_string(),
        };
        shown.chars().flat_map(char::escape_debug).collect()
    }

    /// Whether a path holds keys, or may be asked of nobody but the person for another reason.
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

    /// Whether to write a path is to give oneself rights: a repository's own settings and hooks are
    /// programs that `git status` runs.
    pub(super) fn is_guarded(&self, path: &Path) -> bool {
        let is_git = |component: Component<'_>| component.as_os_str().eq_ignore_ascii_case(".git");
        self.is_secret(path) || path.components().any(is_git)
    }
}

fn is_secret_name(name: &str) -> bool {
    // Some file systems know no difference between capital letters and small ones.
    let name = name.to_lowercase();
    let extension = name.rsplit_once('.').filter(|(stem, _)| !stem.is_empty()).map(|(_, it)| it);
    if extension.is_some_and(|it| EXAMPLES.contains(&it)) {
        return false;
    }
    SECRET_NAMES.contains(&name.as_str())
        || name.starts_with(".env.")
        || extension.is_some_and(|it| SECRET_EXTENSIONS.contains(&it))
}

/// What a word with `*`, `?` or `[` in it may stand for, or more. `None`: too much to tell.
/// `chars` say whether they were quoted.
pub(super) fn expand(from: &Path, chars: &[(char, bool)]) -> Option<Vec<PathBuf>> {
    let mut found = vec![if chars.first().is_some_and(|(c, _)| *c == '/') {
        PathBuf::from("/")
    } else {
        from.to_owned()
    }];
    for part in chars.split(|(c, _)| *c == '/').filter(|part| !part.is_empty()) {
        let is_glob = part.iter().any(|pair| matches!(pair, ('*' | '?' | '[', false)));
        if !is_glob {
            let name: String = part.iter().map(|(c, _)| c).collect();
            for path in &mut found {
                path.push(&name);
            }
            continue;
        }
        // `.*` stands for `..` in some shells.
        if part.first().is_none_or(|(c, _)| *c == '.') {
            return None;
        }
        let pattern = pattern(part)?;
        let mut next = Vec::new();
        for directory in &found {
            let Ok(entries) = std::fs::read_dir(directory) else { continue };
            for entry in entries.flatten() {
                let name = entry.file_name();
                let name = name.to_string_lossy();
                if !name.starts_with('.') && pattern.is_match(&name) {
                    next.push(entry.path());
                }
                if next.len() > MATCHES_MAX {
                    return None;
                }
            }
        }
        // Where nothing fits, the shell leaves the word as it is.
        let name: String = part.iter().map(|(c, _)| c).collect();
        next.extend(found.iter().map(|directory| directory.join(&name)));
        found = next;
    }
    Some(found)
}

/// As a regular expression, which may fit more: a bracket counts as any text.
fn pattern(part: &[(char, bool)]) -> Option<Regex> {
    let mut text = String::from("(?is)^");
    for pair in part {
        match pair {
            ('*', false) => text.push_str(".*"),
            ('[', false) => {
                text.push_str(".*$");
                break;
            }
            ('?', false) => text.push('.'),
            (c, _) => text.push_str(&regex::escape(&c.to_string())),
        }
    }
    if !text.ends_with(".*$") {
        text.push('$');
    }
    Regex::new(&text).ok()
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

    #[test]
    fn a_pattern_stands_for_all_it_may_fit() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let top = dir.path();
        std::fs::create_dir_all(top.join("a/b")).expect("it is ours");
        for file in ["a/x.rs", "a/y.rs", "a/z.txt", "a/b/x.rs", "q[1]", ".env"] {
            std::fs::write(top.join(file), "").expect("it is ours");
        }
        let check = |pattern: &str, expected: Option<&[&str]>| {
            let chars: Vec<_> = pattern.chars().map(|c| (c, false)).collect();
            let found = expand(top, &chars).map(|mut found| {
                found.sort();
                found
            });
            let expected = expected.map(|it| it.iter().map(|it| top.join(it)).collect::<Vec<_>>());
            assert_eq!(found, expected, "{pattern}");
        };
        check("a/*.rs", Some(&["a/*.rs", "a/x.rs", "a/y.rs"]));
        check("*/x.rs", Some(&["*/x.rs", "a/x.rs", "q[1]/x.rs"]));
        check("a/?.txt", Some(&["a/?.txt", "a/z.txt"]));
        check("a/[xz].rs", Some(&["a/[xz].rs", "a/b", "a/x.rs", "a/y.rs", "a/z.txt"]));
        check("none/*", Some(&["none/*"]));
        check(".e*", None);
        check("a/.*", None);
    }
}
