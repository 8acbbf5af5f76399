//! A store and a workspace, and functions that run the binary with them.
//!
//! The binary does not see the caller's settings, state or terminal. At the end every task is stopped, so
//! that no process is left.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long to wait for a condition on a busy machine before the test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A store with one workspace.
pub(crate) struct Store {
    dir: tempfile::TempDir,
}

/// The exit code and the output of a program that was run.
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Store {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Self { dir };
        fs::create_dir(store.workspace()).unwrap();
        store
    }

    pub(crate) fn workspace(&self) -> PathBuf {
        self.dir.path().join("project")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.dir.path().join("config").join("meanwhile").join("config.toml")
    }

    pub(crate) fn write_config(&self, text: &str) {
        fs::create_dir_all(self.config().parent().unwrap()).unwrap();
        fs::write(self.config(), text).unwrap();
    }

    /// A command that runs the binary with these arguments in the workspace.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = self.program(env!("CARGO_BIN_EXE_meanwhile"));
        command.args(args);
        command
    }

    /// Runs a line with sh(1); `$0` is the binary.
    pub(crate) fn shell(&self, line: &str) -> Ran {
        let args = ["-c", line, env!("CARGO_BIN_EXE_meanwhile")];
        Ran::from(self.program("/bin/sh").args(args).output().unwrap())
    }

    /// A command that runs a program in the workspace, without the caller's environment.
    pub(crate) fn program(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.workspace())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.dir.path())
            .env("MEANWHILE_STATE_DIR", self.state())
            .env("XDG_CONFIG_HOME", self.dir.path().join("config"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs the binary until it exits.
    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        Ran::from(self.command(args).output().unwrap())
    }

    /// Runs the binary with this standard input until it exits.
    pub(crate) fn run_with_input(&self, args: &[&str], input: &[u8]) -> Ran {
        let mut child = self.command(args).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        Ran::from(child.wait_with_output().unwrap())
    }

    /// Runs the binary, asserts that it exits with 0, and returns its standard output.
    #[track_caller]
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let ran = self.run(args);
        assert_eq!(ran.code, Some(0), "{args:?}: {}{}", ran.text(), ran.stderr);
        ran.text()
    }

    /// The same, with the output parsed as JSON.
    #[track_caller]
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let text = self.ok(args);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{args:?}: {error}: {text}"))
    }

    /// Runs the binary and asserts its exit code and a text on standard error.
    #[track_caller]
    pub(crate) fn check(&self, args: &[&str], code: i32, says: &str) -> Ran {
        let ran = self.run(args);
        assert_eq!(ran.code, Some(code), "{args:?}: {}{}", ran.text(), ran.stderr);
        assert!(ran.stderr.contains(says), "{args:?} does not say `{says}`: {}", ran.stderr);
        ran
    }

    /// Starts a task and returns its id.
    #[track_caller]
    pub(crate) fn spawn(&self, line: &str) -> String {
        let text = self.ok(&["spawn", "--", "/bin/sh", "-c", line]);
        let id = text.strip_suffix('\n').unwrap_or_else(|| panic!("{text:?} is not a line"));
        assert!(id.len() == 8 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{id:?} is not an id");
        id.to_owned()
    }

    /// Starts a task that runs until [`Store::release`], and ends with `code`.
    #[track_caller]
    pub(crate) fn spawn_held(&self, code: i32) -> String {
        self.spawn(&format!("until [ -e go ]; do sleep 0.02; done; exit {code}"))
    }

    /// Lets the held tasks end.
    pub(crate) fn release(&self) {
        fs::write(self.workspace().join("go"), "").unwrap();
    }

    /// The task as `ps` lists it.
    #[track_caller]
    pub(crate) fn task(&self, id: &str) -> Value {
        let listed = self.json(&["ps", "--all", "--json"]);
        let tasks = listed["tasks"].as_array().expect("a list of tasks");
        tasks.iter().find(|task| task["id"] == id).cloned().expect("the task is listed")
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let ended = self.run(&["stop", "--all", "--grace", "0s"]);
        if !std::thread::panicking() {
            assert_eq!(ended.code, Some(0), "tasks are left: {}{}", ended.text(), ended.stderr);
        }
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Ran {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard output as JSON lines.
    #[track_caller]
    pub(crate) fn json_lines(&self) -> Vec<Value> {
        let text = self.text();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
            .collect()
    }
}

/// Waits until a condition holds.
#[track_caller]
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
