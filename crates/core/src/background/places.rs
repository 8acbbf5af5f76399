//! Places, other machines on which tasks run: their settings, how a directory is mapped to one there, and how the
//! courier, the process that looks after a place's tasks, is started.

pub mod sbatch;

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use meanwhile_shim::{lock, place};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

pub use crate::background::home::put_shim;
use crate::background::task::{Contact, Timestamp};
use crate::background::words::reason;
use crate::error::Error;

/// The subcommand with which this program runs as a courier.
pub const COURIER: &str = "courier";
/// The most bytes of a failed `before` command's output in the error.
const SAID_BYTES: usize = 2_048;
/// The interval of checks whether the `before` command of another spawn has ended.
const ROUND: Duration = Duration::from_millis(20);
/// Bytes in one read of a command's output, and the number of reads that empty a pipe (pipe(7), "Pipe capacity").
const PIECE_BYTES: usize = 8_192;
const PIPE_PIECES: usize = 8;
/// The interval, in milliseconds, of checks whether a silent command has ended and left a process behind.
const ROUND_MS: u16 = 50;

/// A place (`config.toml`, sections `places`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place {
    /// How the place is reached.
    pub kind: PlaceKind,
    /// The directory there that corresponds to the workspace: absolute, or below the home directory, as `~/src/app`.
    /// `None`: the same path as on this machine, relative to the home directory if it is below that.
    pub workspace: Option<String>,
    /// The command that runs on this machine, in the workspace, before each spawn. Empty if there is none.
    pub before: Vec<String>,
    /// How the sources here are compared with those there at each spawn; `None`: not at all.
    pub check: Option<Check>,
}

/// How the sources of two machines are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// The commit and the uncommitted changes, as `git status` reports them.
    Git,
}

impl Place {
    /// Whether a task there can ask for resources. What the place of another place is, only that one knows.
    pub fn has_resources(&self) -> bool {
        match self.kind {
            PlaceKind::Command(_) => false,
            PlaceKind::Slurm(_) | PlaceKind::Via(_) => true,
        }
    }
}

/// How a place is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlaceKind {
    /// The program whose standard input and output are those of a `meanwhile serve` there, and its arguments.
    Command(Vec<String>),
    /// A batch system whose commands are installed on this machine.
    Slurm(Slurm),
    /// The place of the same name that is set up on the machine of this other place, which has a command.
    Via(String),
}

impl Default for PlaceKind {
    fn default() -> Self {
        Self::Command(Vec::new())
    }
}

/// A Slurm cluster.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Slurm {
    /// A directory that this machine and the nodes see under the same path.
    pub shared: PathBuf,
    /// Options that each `sbatch` gets.
    pub options: Vec<String>,
}

/// Places by their names.
pub type Places = BTreeMap<String, Place>;

/// The directory at a place that corresponds to `cwd`.
///
/// # Errors
///
/// `cwd` is outside of the workspace, and the place sets a directory for the workspace.
pub fn map(
    place: &Place,
    workspace: &Path,
    cwd: &Path,
    home: Option<&Path>,
) -> Result<PathBuf, String> {
    if let Some(there) = &place.workspace {
        let Ok(inside) = cwd.strip_prefix(workspace) else {
            return Err(format!(
                "`{}` is outside of the workspace `{}`, which is `{there}` at the place; expected a directory in it",
                cwd.display(),
                workspace.display()
            ));
        };
        return Ok(match inside.as_os_str().is_empty() {
            true => PathBuf::from(there),
            false => Path::new(there).join(inside),
        });
    }
    let below = home.and_then(|home| cwd.strip_prefix(home).ok());
    Ok(below.map_or_else(|| cwd.to_owned(), |below| Path::new("~").join(below)))
}

/// The directory here that corresponds to one at a place: the reverse of [`map`].
pub fn unmap(place: &Place, workspace: &Path, there: &Path, home: Option<&Path>) -> PathBuf {
    let (root, here) = match &place.workspace {
        Some(root) => (Path::new(root), Some(workspace)),
        None => (Path::new("~"), home),
    };
    match (there.strip_prefix(root), here) {
        (Ok(inside), Some(here)) => here.join(inside),
        (Ok(_), None) | (Err(_), _) => there.to_owned(),
    }
}

/// Finds the place of this name.
///
/// # Errors
///
/// No place has this name; the text lists the known ones.
pub fn find<'a>(places: &'a Places, name: &str) -> Result<&'a Place, Error> {
    places.get(name).ok_or_else(|| {
        let known: Vec<String> = places.keys().map(|name| format!("`{name}`")).collect();
        let known = match known.as_slice() {
            [] => "none is set up".to_owned(),
            known => format!("there are {}", known.join(", ")),
        };
        let message = format!("unknown place `{name}`: {known}");
        Error::Invalid { field: "on".to_owned(), message }
    })
}

/// Starts the courier of a place, unless it has one. Waits only for the process that starts it, which exits at once.
pub fn start_courier(state: &Path, name: &str) {
    if place::has_courier(state, name) {
        return;
    }
    // The link leads to the running program even if its file was replaced.
    let started = Command::new("/proc/self/exe")
        .args([COURIER, name])
        .env("MEANWHILE_STATE_DIR", state)
        .stdin(Stdio::null())
        .output();
    let why = match started {
        Ok(done) if done.status.success() => return,
        Ok(done) => String::from_utf8_lossy(&done.stderr).into_owned(),
        Err(error) => reason(&error),
    };
    let contact = place::Contact {
        lost_since_ms: Some(Timestamp::now().0),
        why: format!("its courier cannot be started: {}", why.trim()),
        ..place::Contact::read(state, name).unwrap_or_default()
    };
    // If this cannot be written either, the tasks keep their state.
    let _ = contact.write(state, name);
}

/// Runs the `before` command of a place, one at a time.
///
/// # Errors
///
/// The command cannot be started or failed, so nothing may be spawned. The text includes the end of its output.
pub fn prepare(state: &Path, name: &str, place: &Place, workspace: &Path) -> Result<(), Error> {
    let Some((program, arguments)) = place.before.split_first() else { return Ok(()) };
    let refused = |message: String| Error::Invalid { field: "on".to_owned(), message };
    let words = place.before.join(" ");
    let folder = place::folder(state, name);
    let lock = std::fs::create_dir_all(&folder).and_then(|()| {
        let path = folder.join("before");
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
    });
    let lock = lock.map_err(|error| refused(format!("`{}`: {error}", folder.display())))?;
    while !lock::exclusive(&lock).unwrap_or(true) {
        thread::sleep(ROUND);
    }
    let mut command = Command::new(program);
    command.args(arguments).current_dir(workspace).stdin(Stdio::null());
    let (status, said) = run_with_tail(command).map_err(|error| {
        refused(format!(
            "`{words}`, which runs before each spawn at `{name}`, cannot be started: {error}"
        ))
    })?;
    if status.success() {
        return Ok(());
    }
    Err(refused(format!(
        "`{words}`, which runs before each spawn at `{name}`, failed ({status}), and nothing was spawned: {}",
        String::from_utf8_lossy(&said).trim()
    )))
}

/// Runs a command and keeps the last [`SAID_BYTES`] of its output. A process that it leaves behind, such as ssh's
/// master connection, may keep the pipe open, so the output ends with the command.
fn run_with_tail(mut command: Command) -> std::io::Result<(ExitStatus, Vec<u8>)> {
    let (mut reader, writer) = std::io::pipe()?;
    fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    let mut child = command.stdout(writer.try_clone()?).stderr(writer).spawn()?;
    // It holds the writing ends of the pipe.
    drop(command);
    let (mut tail, mut piece) = (Vec::new(), [0; PIECE_BYTES]);
    let (mut status, mut rest) = (None, PIPE_PIECES);
    while rest > 0 {
        match reader.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => {
                tail.extend_from_slice(&piece[..count]);
                let beyond = tail.len().saturating_sub(SAID_BYTES);
                tail.drain(..beyond);
                // What was in the pipe when the command ended; a process that it has left may write for ever.
                rest -= usize::from(status.is_some());
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock && status.is_some() => break,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let mut fds = [PollFd::new(reader.as_fd(), PollFlags::POLLIN)];
                let _ = poll(&mut fds, PollTimeout::from(ROUND_MS));
                status = child.try_wait()?;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    let status = status.map_or_else(|| child.wait(), Ok)?;
    Ok((status, tail))
}

/// Whether a place could be reached when its courier last tried; `None` if it has not tried yet.
pub fn contact(state: &Path, name: &str) -> Option<Contact> {
    let found = place::Contact::read(state, name)?;
    Some(Contact {
        lost_since: found.lost_since_ms.map(Timestamp),
        why: found.why,
        needs_you: found.needs_you,
        version: (!found.version.is_empty()).then_some(found.version),
    })
}

#[cfg(test)]
mod tests {
    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;

    use super::*;

    #[test]
    fn a_directory_is_mapped_relative_to_the_workspace() {
        let (workspace, home) = (Path::new("/users/you/src/app"), Path::new("/users/you"));
        let set = Place { workspace: Some("~/there/app".to_owned()), ..Place::default() };
        let check = |place: &Place, cwd: &str, expected: Result<&str, &str>| {
            let found = map(place, workspace, Path::new(cwd), Some(home));
            let found = found.as_deref().map(|path| path.to_str().unwrap_or_default());
            match expected {
                Ok(path) => assert_eq!(found, Ok(path), "{cwd}"),
                Err(part) => assert!(found.is_err_and(|why| why.contains(part)), "{cwd}"),
            }
        };
        check(&set, "/users/you/src/app", Ok("~/there/app"));
        check(&set, "/users/you/src/app/crates/core", Ok("~/there/app/crates/core"));
        check(&set, "/tmp", Err("outside of the workspace"));
        check(&Place::default(), "/users/you/src/app", Ok("~/src/app"));
        check(&Place::default(), "/srv/app", Ok("/srv/app"));
        for (place, cwd) in [
            (&set, "/users/you/src/app"),
            (&set, "/users/you/src/app/crates/core"),
            (&Place::default(), "/users/you/src/app"),
            (&Place::default(), "/srv/app"),
        ] {
            let there = map(place, workspace, Path::new(cwd), Some(home)).expect("inside");
            assert_eq!(unmap(place, workspace, &there, Some(home)), Path::new(cwd));
        }
    }

    #[test]
    fn a_failed_before_command_refuses_the_spawn_with_its_output() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let before = |line: &str| Place {
            before: ["sh", "-c", line].map(str::to_owned).to_vec(),
            ..Place::default()
        };
        let run = |line: &str| prepare(dir.path(), "build", &before(line), dir.path());
        assert!(run("touch done").is_ok() && dir.path().join("done").exists());
        let refused =
            run("echo no space left there >&2; exit 3").expect_err("it failed").to_string();
        assert!(
            refused.contains("no space left there") && refused.contains("exit status: 3"),
            "{refused}"
        );
        // A process that is left behind keeps the output open; only the end of a long output is kept.
        let refused = run("sleep 1000 & echo $! > left; yes | head -c 9000000; echo last; exit 4");
        let refused = refused.expect_err("it failed").to_string();
        let left = std::fs::read_to_string(dir.path().join("left")).expect("written");
        let left = Pid::from_raw(left.trim().parse().expect("a pid"));
        kill(left, Signal::SIGKILL).expect("it still runs");
        assert!(refused.ends_with("last") && refused.len() < 4_000, "{}", refused.len());
        let missing = Place { before: vec!["/no/such".to_owned()], ..Place::default() };
        let refused =
            prepare(dir.path(), "build", &missing, dir.path()).expect_err("it is missing");
        assert!(refused.to_string().contains("cannot be started"), "{refused}");
    }
}
