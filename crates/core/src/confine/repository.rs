//! Where git keeps a workspace's repository, and whether its history contains keys.

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use meanwhile_shim::confine::{self, Mode, Plan, Right};
use meanwhile_shim::launch::{self, Fd, Launch};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::wait::WaitStatus;
use nix::unistd::Pid;

use super::secrets::is_secret_name;

/// The directories of the repository that `workspace` belongs to, if they lie outside of it: a workspace may be
/// a part of a repository, a work tree, or a submodule. Never at or above the home directory: for a person who
/// keeps their home in git, that would open everything in it.
pub(super) fn of(workspace: &Path, home: Option<&Path>) -> Vec<PathBuf> {
    let is_above_home = |path: &Path| home.is_some_and(|home| home.starts_with(path));
    let places = workspace.ancestors().take_while(|it| *it == workspace || !is_above_home(it));
    let Some(dot) = places.map(|it| it.join(".git")).find(|it| it.exists()) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    let own = if dot.is_dir() { Some(dot) } else { named(&dot, "gitdir: ") };
    if let Some(own) = own.and_then(|it| it.canonicalize().ok()).filter(|it| is_repository(it)) {
        found.extend(named(&own.join("commondir"), "").and_then(|it| it.canonicalize().ok()));
        found.push(own);
    }
    found.retain(|it| is_repository(it) && !is_above_home(it) && !it.starts_with(workspace));
    found
}

/// The directories that a work tree's `.git` leads to: the repository itself and the one that it shares.
pub fn led_to(work_tree: &Path) -> Vec<PathBuf> {
    behind(work_tree.join(".git")).filter_map(|it| it.canonicalize().ok()).collect()
}

/// The repository that `.git` is or points to, and the one that it shares.
fn behind(dot: PathBuf) -> impl Iterator<Item = PathBuf> {
    let own = if dot.is_dir() { Some(dot) } else { named(&dot, "gitdir: ") };
    let shared = own.as_ref().and_then(|own| named(&own.join("commondir"), ""));
    own.into_iter().chain(shared)
}

/// The path in a one-line file, relative to the file's directory.
fn named(file: &Path, prefix: &str) -> Option<PathBuf> {
    let text = std::fs::read_to_string(file).ok()?;
    Some(file.parent()?.join(text.strip_prefix(prefix)?.trim_end()))
}

/// Whether the path looks like a repository. It must be checked, because any process that can write the
/// workspace can write the file that names it.
fn is_repository(path: &Path) -> bool {
    path.join("HEAD").is_file()
        && (path.join("commondir").is_file()
            || (path.join("objects").is_dir() && path.join("refs").is_dir()))
}

/// The object directories of a directory's repository: its own and those that it shares.
pub(crate) fn objects(cwd: &Path) -> Vec<PathBuf> {
    // Like git's own search: a bare repository hides one further up.
    let is_top = |it: &&Path| it.join(".git").exists() || is_repository(it);
    let Some(top) = cwd.ancestors().find(is_top) else { return Vec::new() };
    let dot = top.join(".git");
    let kept = behind(if dot.exists() { dot } else { top.to_owned() });
    kept.filter_map(|it| it.join("objects").canonicalize().ok()).collect()
}

/// How long git may take to list the paths in a repository.
const LOOK_TIME: Duration = Duration::from_secs(2);
/// Maximum bytes of output that it may print.
const LOOK_BYTES: usize = 16 << 20;
/// How long its result is reused.
const LOOK_FRESH: Duration = Duration::from_secs(20);

/// For each directory: when its repository was read, and the paths found in it.
type Seen = Vec<(PathBuf, Instant, Arc<[String]>)>;
static SEEN: Mutex<Seen> = Mutex::new(Vec::new());

/// A path in the index or the history of the repository that a command in `cwd` would use, if `is_key` or its
/// name says that it holds keys. If git does not answer in time, assumes that there is one.
///
/// The kernel can keep a command from a file, but not from a part of a packfile.
pub(crate) fn key_in_history(
    cwd: &Path,
    workspace: &Path,
    is_key: impl Fn(&str) -> bool,
) -> Option<String> {
    let paths = remembered(cwd).unwrap_or_else(|| {
        let paths: Arc<[String]> = look(cwd.to_owned(), workspace.to_owned()).into();
        let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|(_, at, _)| at.elapsed() < LOOK_FRESH);
        seen.push((cwd.to_owned(), Instant::now(), paths.clone()));
        paths
    });
    let names_key = |path: &&String| path.split('/').any(is_secret_name) || is_key(path);
    paths.iter().find(names_key).cloned()
}

fn remembered(cwd: &Path) -> Option<Arc<[String]>> {
    let seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    let found = seen.iter().find(|(of, at, _)| of == cwd && at.elapsed() < LOOK_FRESH);
    found.map(|(.., paths)| paths.clone())
}

/// All paths of a repository. Its settings may name programs, so git runs confined: a thread confines itself,
/// starts git and ends.
fn look(cwd: PathBuf, workspace: PathBuf) -> Vec<String> {
    let unknown = || vec!["id_rsa".to_owned()];
    let is_one = |it: &Path| {
        let dot = it.join(".git");
        dot.is_file() || is_repository(&dot) || is_repository(it)
    };
    let is_in_one = cwd.ancestors().any(is_one);
    let started = std::thread::spawn(move || -> io::Result<Option<(Pid, OwnedFd)>> {
        let home = std::env::var_os("HOME").map(PathBuf::from);
        let home = home.and_then(|home| home.canonicalize().ok());
        let mut read = super::places::readable(home.as_deref());
        read.extend(of(&cwd, home.as_deref()));
        read.extend(workspace.canonicalize());
        let mut rules: Vec<(Right, PathBuf)> =
            read.into_iter().map(|path| (Right::Read, path)).collect();
        rules.extend(super::places::devices().map(|path| (Right::Device, path)));
        let (output, end) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
        let plan = Plan { mode: Mode::Look, network: false, rules, abi_max: None };
        confine::enter::restrict(&plan)?;
        let argv = ["git", "--no-optional-locks", "rev-list", "--objects", "--all", "--reflog"];
        let argv: Vec<OsString> =
            argv.into_iter().chain(["--indexed-objects"]).map(Into::into).collect();
        let env: Vec<(OsString, OsString)> = ["PATH", "HOME"]
            .into_iter()
            .filter_map(|name| Some((name.into(), std::env::var_os(name)?)))
            .collect();
        let path = std::env::var_os("PATH");
        let program = launch::candidates("git".as_ref(), path.as_deref());
        let program = program.into_iter().find(|it| launch::probe(it).is_ok());
        // Without git, no program can read a packfile.
        let Some(program) = program else { return Ok(None) };
        let fds = [
            (0, Fd::Open(c"/dev/null", libc::O_RDONLY)),
            (1, Fd::Share(end.as_fd())),
            (2, Fd::Open(c"/dev/null", libc::O_WRONLY)),
        ];
        let child =
            Launch { program: &program, argv: &argv, env: &env, cwd: Some(&cwd), fds: &fds };
        let pid = child.start()?;
        Ok(Some((Pid::from_raw(i32::try_from(pid).unwrap_or(i32::MAX)), output)))
    });
    let (pid, output) = match started.join() {
        Ok(Ok(Some(started))) => started,
        Ok(Ok(None)) => return Vec::new(),
        Ok(Err(_)) | Err(_) => return unknown(),
    };
    // Kill from this thread: older kernels forbid a confined thread to send signals.
    let text = read_in_time(output);
    if text.is_none() {
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
    }
    // If the daemon is process 1, it may have reaped git already.
    let has_ended_well = match nix::sys::wait::waitpid(pid, None) {
        Ok(WaitStatus::Exited(_, 0)) | Err(Errno::ECHILD) => true,
        Ok(_) | Err(_) => false,
    };
    match text {
        Some(text) if has_ended_well || !is_in_one => {
            let names = text.lines().filter_map(|line| line.split_once(' '));
            names.map(|(_, path)| path.to_owned()).filter(|path| !path.is_empty()).collect()
        }
        Some(_) | None => unknown(),
    }
}

/// The complete output; `None` if it takes too long or is too large.
fn read_in_time(output: OwnedFd) -> Option<String> {
    let until = Instant::now() + LOOK_TIME;
    let mut output = std::fs::File::from(output);
    let (mut text, mut buffer) = (Vec::new(), [0; 64 << 10]);
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let mut fds = [PollFd::new(output.as_fd(), PollFlags::POLLIN)];
        let ready = poll(&mut fds, PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO));
        match ready {
            Ok(0) => return None,
            Err(Errno::EINTR) => continue,
            Err(_) => return None,
            Ok(_) => {}
        }
        match output.read(&mut buffer).ok()? {
            0 => return Some(String::from_utf8_lossy(&text).into_owned()),
            read => text.extend_from_slice(buffer.get(..read)?),
        }
        if text.len() > LOOK_BYTES {
            return None;
        }
    }
}
