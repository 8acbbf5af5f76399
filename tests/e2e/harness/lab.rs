//! A temporary store and workspace for one test, and the check of what is left of it.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::{BINARY, Daemon, Gate, Process, Start, eventually, procs, until};

/// A store and a workspace. Clones share them; dropping the last one checks for leftovers.
#[derive(Clone)]
pub(crate) struct Lab(Arc<Rooms>);

struct Rooms {
    directory: TempDir,
}

impl Lab {
    pub(crate) fn new() -> Self {
        let directory = tempfile::Builder::new()
            .prefix("meanwhile-e2e-")
            .tempdir()
            .expect("the temporary directory is writable");
        let lab = Self(Arc::new(Rooms { directory }));
        for room in [lab.workspace(), lab.home()] {
            fs::create_dir(room).expect("the test's directory is new");
        }
        lab
    }

    /// The directory that contains everything; its path marks all processes of this test.
    pub(crate) fn root(&self) -> &Path {
        self.0.directory.path()
    }

    /// The value of `$MEANWHILE_STATE_DIR`, the store.
    pub(crate) fn state(&self) -> PathBuf {
        self.root().join("state")
    }

    pub(crate) fn workspace(&self) -> PathBuf {
        self.root().join("workspace")
    }

    /// The value of `$HOME`, which keeps the user's settings away from the test.
    pub(crate) fn home(&self) -> PathBuf {
        self.root().join("home")
    }

    /// A file in the workspace.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.workspace().join(name)
    }

    /// The text of a file in the workspace; empty if it does not exist.
    pub(crate) fn text(&self, name: &str) -> String {
        fs::read_to_string(self.file(name)).unwrap_or_default()
    }

    /// A gate for tasks in the workspace.
    pub(crate) fn gate(&self, name: &str) -> Gate {
        Gate::new(&self.file(name))
    }

    /// Waits until a file in the workspace has a complete line, and returns its text.
    pub(crate) fn line_in(&self, name: &str) -> String {
        eventually(&format!("a line in the file `{name}`"), || {
            Some(self.text(name)).filter(|text| text.ends_with('\n'))
        })
    }

    /// Waits for a number that a task writes into a file of the workspace.
    pub(crate) fn pid_in(&self, name: &str) -> i32 {
        let text = self.line_in(name);
        text.trim().parse().unwrap_or_else(|_| panic!("`{name}` holds no number: {text:?}"))
    }

    /// Starts a daemon and does the handshake.
    pub(crate) fn daemon(&self) -> Daemon {
        self.start().go()
    }

    /// Starts two daemons that have opened the workspace: a daemon does not push the start or the end of a task that
    /// started or ended before that.
    pub(crate) fn daemons(&self) -> (Daemon, Daemon) {
        let both = (self.daemon(), self.daemon());
        for daemon in [&both.0, &both.1] {
            daemon.call("task/check", serde_json::json!({}));
        }
        both
    }

    /// A builder for a daemon with other than the usual settings.
    pub(crate) fn start(&self) -> Start {
        Start::new(self)
    }

    /// Runs the binary with these arguments in the workspace.
    pub(crate) fn cli(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the binary runs")
    }

    /// A command that runs the binary with these arguments, in the workspace and the environment of this test.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(BINARY);
        command.args(arguments);
        self.dress(&mut command);
        command
    }

    /// Sets the working directory and the environment of a command to those of this test.
    pub(crate) fn dress(&self, command: &mut Command) {
        command
            .current_dir(self.workspace())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.home())
            .env("MEANWHILE_STATE_DIR", self.state());
    }

    /// The processes of this test that are alive: daemons, shims, tasks.
    pub(crate) fn processes(&self) -> Vec<Process> {
        procs::carrying(self.root())
    }

    /// The shims of this store that are alive.
    pub(crate) fn shims(&self) -> Vec<Process> {
        self.called("meanwhile-shim")
    }

    /// The keepers of this store that are alive.
    pub(crate) fn keepers(&self) -> Vec<Process> {
        self.called("meanwhile-keep")
    }

    fn called(&self, wanted: &str) -> Vec<Process> {
        let is_called = |process: &Process| {
            fs::read_to_string(format!("/proc/{}/comm", process.pid))
                .is_ok_and(|name| name.trim_end() == wanted)
        };
        self.processes().into_iter().filter(is_called).collect()
    }

    /// How many bytes the store takes on disk, without holes.
    pub(crate) fn disk_usage(&self) -> u64 {
        use std::os::unix::fs::MetadataExt;
        let mut bytes = 0;
        walk(&self.state(), &mut |path| {
            bytes += fs::symlink_metadata(path).map_or(0, |about| about.blocks() * 512);
        });
        bytes
    }

    /// Waits until no process of this test is alive.
    pub(crate) fn expect_no_process(&self) {
        eventually("every process of this test to be gone", || {
            self.processes().is_empty().then_some(())
        });
    }
}

impl Drop for Rooms {
    fn drop(&mut self) {
        let mark = self.directory.path();
        if thread::panicking() {
            sweep(mark);
            return;
        }
        let gone =
            until(Duration::from_secs(10), || procs::carrying(mark).is_empty().then_some(()));
        if gone.is_none() {
            let left = procs::carrying(mark);
            sweep(mark);
            panic!("processes left by this test: {left:#?}");
        }
        let strays = strays(&mark.join("state"));
        assert!(strays.is_empty(), "files left in the state directory: {strays:#?}");
    }
}

/// Kills the processes that a failed test left, so that they do not disturb the next one.
fn sweep(mark: &Path) {
    until(Duration::from_secs(5), || {
        let left = procs::carrying(mark);
        for process in &left {
            // It may have exited meanwhile.
            let _gone = kill(Pid::from_raw(process.pid), Signal::SIGKILL);
        }
        left.is_empty().then_some(())
    });
}

/// Files that no task and no daemon needs any more: pipes, sockets, files with a temporary name.
fn strays(state: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    walk(state, &mut |path| {
        let Ok(about) = fs::symlink_metadata(path) else { return };
        let kind = about.file_type();
        let name = path.file_name().unwrap_or(OsStr::new("")).to_string_lossy().into_owned();
        if kind.is_fifo() || kind.is_socket() || name.contains("tmp") {
            found.push(path.to_owned());
        }
    });
    found
}

fn walk(directory: &Path, visit: &mut dyn FnMut(&Path)) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        visit(&path);
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(&path, visit);
        }
    }
}
