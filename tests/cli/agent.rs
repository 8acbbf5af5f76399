//! Scripted models for the commands that run an agent.

use std::process::Command;

use crate::harness::{Ran, Store};

impl Store {
    /// A command that runs the binary with these arguments and a model that follows this script.
    pub(crate) fn scripted(&self, script: &str, args: &[&str]) -> Command {
        let path = self.workspace().with_file_name("script.toml");
        std::fs::write(&path, script).unwrap();
        let mut command = self.command(args);
        command.env("MEANWHILE_MODEL", format!("script/{}", path.display()));
        command
    }

    /// Runs that command and waits until it exits.
    pub(crate) fn agent(&self, script: &str, args: &[&str]) -> Ran {
        Ran::from(self.scripted(script, args).output().unwrap())
    }
}

/// A script in which the agent starts a task that waits for [`Store::release`], says that it runs, and gets its
/// result.
pub(crate) const HELD: &str = r#"
[[turn]]
text = "I start it."
[[turn.call]]
tool = "background_run"
input = { command = "until [ -e go ]; do sleep 0.02; done; echo built; exit 3" }
save = { task = "[0-9a-f]{8}" }

[[turn]]
text = "It runs."

[[turn]]
expect = ["[bg:{{task}}] exited 3"]
text = "It has failed."
"#;

/// The rule that allows the command of [`HELD`].
pub(crate) const RULE: &str = "bash until";
