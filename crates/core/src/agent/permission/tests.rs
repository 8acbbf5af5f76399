//! Tables of what is allowed, asked about, or denied.

use std::os::unix::fs::symlink;

use super::*;
use crate::agent::tools::{Builtin, Kind, ToolName};

mod builtin;
mod hiding;
mod leeway;
mod rules;

/// A home directory that contains a workspace and files of all kinds.
struct Scene {
    _dir: tempfile::TempDir,
    home: PathBuf,
    workspace: PathBuf,
}

impl Scene {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let home = dir.path().canonicalize().expect("it is there").join("home");
        let workspace = home.join("work");
        for directory in
            ["work/src", "work/.git", "work/bare/objects", "work/bare/refs", ".ssh", "other"]
        {
            std::fs::create_dir_all(home.join(directory)).expect("it is ours");
        }
        for file in [
            "work/a.txt",
            "work/src/main.rs",
            "work/.env",
            "work/bare/HEAD",
            ".ssh/id_rsa",
            "other/file",
        ] {
            std::fs::write(home.join(file), "").expect("it is ours");
        }
        symlink("../bare/objects", workspace.join("src/deep")).expect("it is ours");
        symlink("../other", workspace.join("out")).expect("it is ours");
        symlink("../../other/file", workspace.join("src/link.rs")).expect("it is ours");
        Self { _dir: dir, home, workspace }
    }

    fn judge(&self, rules: &[&str], tool: &'static str, access: Vec<Access>) -> Verdict {
        let rules = rules.iter().map(|it| it.parse().expect(it)).collect();
        let home = Some(self.home.clone());
        let rules = Rules { rules, home, ..Rules::default() };
        let tool = Builtin::named(tool).expect(tool);
        let intent = Intent::new(tool, String::new(), Kind::Execute, access);
        rules.judge(&intent, &self.workspace)
    }

    fn line(&self, rules: &[&str], line: &str) -> Verdict {
        self.line_in(rules, line, "")
    }

    fn line_in(&self, rules: &[&str], line: &str, cwd: &str) -> Verdict {
        let (line, cwd) = (line.to_owned(), self.workspace.join(cwd));
        let access = Access::Command { line, cwd, level: None };
        self.judge(rules, "bash", vec![access])
    }
}

/// `allow`, `ask` or `deny`; for `ask` with the rules that "always" would add.
fn said(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Allow(None) => "allow".to_owned(),
        Verdict::Allow(Some(confine)) => confine.mode.name().to_owned(),
        Verdict::Deny { .. } => "deny".to_owned(),
        Verdict::Ask { always, .. } if always.is_empty() => "ask".to_owned(),
        Verdict::Ask { always, .. } => {
            let rules: Vec<_> = always.iter().map(|it| format!("+ {it}")).collect();
            format!("ask {}", rules.join(" "))
        }
    }
}

/// Only `allow`, `ask` or `deny`.
fn effect(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Allow(None) => "allow",
        Verdict::Allow(Some(confine)) => confine.mode.name(),
        Verdict::Ask { .. } => "ask",
        Verdict::Deny { .. } => "deny",
    }
}

/// A table that is always checked to its end, so that one run shows all errors.
#[derive(Default)]
struct Table(Vec<String>);

impl Table {
    fn row(&mut self, said: impl Into<String>, expected: &str, what: String) {
        let said = said.into();
        if said != expected {
            self.0.push(format!("{what}: expected {expected}, was {said}"));
        }
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        assert!(std::thread::panicking() || self.0.is_empty(), "{}", self.0.join("\n"));
    }
}
