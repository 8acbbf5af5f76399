//! Tests of the documentation: commands in the README are run, links of pages are checked.

mod examples;
mod pages;
mod protocol;
mod runs;
mod tour;
mod words;

use std::path::{Path, PathBuf};
use std::process::Command;

/// The top of the repository.
fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().expect("the crate is in the repository")
}

fn readme() -> String {
    std::fs::read_to_string(root().join("README.md")).expect("the README is there")
}

/// The contents of the README's code blocks in one language.
fn blocks(language: &str) -> Vec<String> {
    let (mut blocks, mut open) = (Vec::new(), None::<(String, String)>);
    for line in readme().lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(language)) => open = Some((language.to_owned(), String::new())),
            (None, None) => {}
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some((_, text)), None) => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    blocks.into_iter().filter(|(of, _)| of == language).map(|(_, text)| text).collect()
}

/// A temporary directory with a store and a workspace.
struct Scratch(tempfile::TempDir);

impl Scratch {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        std::fs::create_dir(dir.path().join("work")).expect("the test owns it");
        Self(dir)
    }

    /// A command that finds the binary under test first on the PATH, and does not see the caller's store.
    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let binary = Path::new(env!("CARGO_BIN_EXE_meanwhile"));
        let mut path = binary.parent().expect("it is in a directory").as_os_str().to_owned();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        let mut command = Command::new(program);
        command
            .current_dir(self.0.path().join("work"))
            .env("PATH", path)
            .env("MEANWHILE_STATE_DIR", self.0.path().join("state"))
            .env("XDG_CONFIG_HOME", self.0.path().join("config"))
            .stdin(std::process::Stdio::null());
        command
    }

    /// Runs a command until it exits; returns its standard output followed by its standard error.
    fn run(&self, command: &mut Command) -> String {
        let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let mut text = String::from_utf8(output.stdout).expect("text");
        text.push_str(std::str::from_utf8(&output.stderr).expect("text"));
        assert!(output.status.success(), "{command:?}: {}\n{text}", output.status);
        text
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Stop all tasks, whatever the result of the test.
        let _ = self.command("meanwhile").args(["stop", "--all", "--grace", "0s"]).output();
    }
}
