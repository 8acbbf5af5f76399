//! What a confined task may access: builds the plan that its shim enforces.
//!
//! Decides what a read-only command may read (the workspace, the system, toolchains) and what it never reaches
//! (files that are likely to hold keys). Landlock grants whole directory trees and cannot exclude anything
//! below them, so a file is left out by granting its siblings, and those of each directory above it. That may
//! take too many rules, which is an error and never a wider grant. The shim enforces the plan
//! ([`meanwhile_shim::confine`]).

mod places;
mod repository;
mod secrets;
mod walk;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

pub use meanwhile_shim::confine::Mode;
use meanwhile_shim::confine::{self, Plan, Right};
use meanwhile_shim::launch::{Fd, Launch};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::error::Error;
use crate::limits::CONFINE_RULES_MAX;
pub use repository::led_to;
pub(crate) use repository::{key_in_history, objects};
pub(crate) use secrets::{SECRETS_OF_HOME, is_secret_name};

/// The confinement that a spawn requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confine {
    /// How strictly: read-only, working, or open.
    pub mode: Mode,
    /// Whether it may use the network; only used with [`Mode::Work`].
    pub network: bool,
    /// Further paths that it may not read, symbolic links resolved.
    pub hidden: Vec<PathBuf>,
    /// Further paths that it may read.
    pub readable: Vec<PathBuf>,
    /// Paths that it may not write, symbolic links resolved; with [`Mode::Open`] and [`Mode::Work`]. A path
    /// that does not exist is not protected, and none is where [`has_mounts`] returns false: check it first if
    /// that matters.
    pub sealed: Vec<PathBuf>,
}

impl Confine {
    /// The confinement as shown to a person or a model; `None`: not confined.
    pub fn manner(&self) -> Option<Manner> {
        match self.mode {
            Mode::Look | Mode::Work => Some(Manner { mode: self.mode, network: self.network }),
            Mode::Open => None,
        }
    }
}

/// How strictly a task is confined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Manner {
    /// Read-only or working.
    pub mode: Mode,
    /// Whether it may use the network.
    pub network: bool,
}

impl Manner {
    /// Whether a task confined like this may do no more than one confined like `other`.
    pub fn is_within(self, other: Self) -> bool {
        let writes = |mode| mode != Mode::Look;
        writes(self.mode) <= writes(other.mode) && self.network <= other.network
    }
}

impl From<Mode> for Confine {
    fn from(mode: Mode) -> Self {
        Self { mode, network: false, hidden: vec![], readable: vec![], sealed: vec![] }
    }
}

/// How long findings about a workspace are reused. A key that is added in the meantime is readable until then,
/// as it would be to a command that started just before.
const FRESH: Duration = Duration::from_secs(2);
/// How many workspaces' findings are remembered.
const REMEMBERED: usize = 8;

/// Makes plans, and caches findings about workspaces for two seconds. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Planner {
    /// Locked only while findings are looked up or stored.
    found: Arc<Mutex<Vec<Found>>>,
}

/// Findings about a workspace.
#[derive(Debug, Clone)]
struct Found {
    workspace: PathBuf,
    state: PathBuf,
    at: Instant,
    readable: Arc<[PathBuf]>,
    secrets: Arc<BTreeSet<PathBuf>>,
    /// The rules for the workspace and toolchains without a request's own additions: most requests add nothing.
    /// `None`: too many rules.
    plain: Option<Arc<[(Right, PathBuf)]>>,
}

/// The error if this machine cannot confine; `None`: it can.
pub fn refusal() -> Option<Error> {
    (!confine::is_supported()).then(|| {
        Error::CannotConfine(
            "this kernel has no Landlock (Linux 5.13 and later, where it is turned on)".to_owned(),
        )
    })
}

/// Confines a thread and tries what should be refused. Returns the version of Landlock's ABI in use. The rest
/// of this process is not confined.
pub fn measure() -> io::Result<u32> {
    let tried = std::thread::spawn(|| {
        let rules = vec![(Right::Read, PathBuf::from("/proc"))];
        let plan = Plan { mode: Mode::Look, network: false, rules, abi_max: None };
        confine::enter::restrict(&plan)?;
        std::fs::read_dir("/proc")?;
        let held = [
            ("reading", std::fs::read_dir("/").err()),
            ("a socket", std::os::unix::net::UnixDatagram::unbound().err()),
        ];
        for (what, error) in held {
            if error.is_none_or(|error| error.kind() != io::ErrorKind::PermissionDenied) {
                return Err(io::Error::other(format!("{what} was not refused")));
            }
        }
        Ok(confine::abi())
    });
    tried.join().unwrap_or_else(|_| Err(io::Error::other("the trial panicked")))
}

/// Whether mounts can keep a task from reading or writing paths that it could otherwise access. Only success is
/// remembered: a failure may have been a full disk.
pub fn has_mounts() -> bool {
    static MEASURED: OnceLock<()> = OnceLock::new();
    MEASURED.get().is_some() || measure_mounts().map(|()| MEASURED.get_or_init(|| ())).is_ok()
}

/// Tests whether a path that a rule forbids can be hidden from an otherwise unconfined command: mounts an empty
/// file over one in a mount namespace, and reads it.
pub fn measure_mounts() -> io::Result<()> {
    let dir = std::env::temp_dir().canonicalize()?;
    // In a directory that all users can write, an existing file may be another user's.
    let write = |path: &Path, bytes: &[u8]| File::create_new(path)?.write_all(bytes);
    let file = dir.join(format!("meanwhile-doctor-{}", uuid::Uuid::new_v4()));
    let plan_file = file.with_extension("plan");
    write(&file, b"seen")?;
    let rules = vec![(Right::Hide, file.clone()), (Right::Seal, plan_file.clone())];
    let plan = Plan { mode: Mode::Open, network: true, rules, abi_max: None };
    let shown = write(&plan_file, &plan.to_bytes(&dir)).and_then(|()| show(&file, &plan_file));
    let removed = std::fs::remove_file(&file).and(std::fs::remove_file(&plan_file));
    match shown? {
        text if text.is_empty() => removed,
        _ => Err(io::Error::other("no mount namespace for this user")),
    }
}

/// What `cat` under this plan prints for a file.
fn show(file: &Path, plan: &Path) -> io::Result<String> {
    let shim = crate::background::shim_in_memory()?;
    let (output, end) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
    let plan = std::ffi::CString::new(plan.as_os_str().as_encoded_bytes())?;
    let argv = ["meanwhile-shim", confine::MODE, "/bin/cat", "cat"].map(Into::into);
    let argv: Vec<std::ffi::OsString> = argv.into_iter().chain([file.into()]).collect();
    let fds = [
        (0, Fd::Open(c"/dev/null", libc::O_RDONLY)),
        (1, Fd::Share(end.as_fd())),
        (2, Fd::Open(c"/dev/null", libc::O_WRONLY)),
        (confine::WORD_FD, Fd::Open(c"/dev/null", libc::O_WRONLY)),
        (confine::PLAN_FD, Fd::Open(&plan, libc::O_RDONLY)),
    ];
    let program = PathBuf::from(format!("/proc/self/fd/{}", shim.as_raw_fd()));
    let launch = Launch { program: &program, argv: &argv, env: &[], cwd: None, fds: &fds };
    let pid = Pid::from_raw(i32::try_from(launch.start()?).unwrap_or(i32::MAX));
    drop(end);
    let mut text = String::new();
    File::from(output).read_to_string(&mut text)?;
    let status = waitpid(pid, None)?;
    if status == WaitStatus::Exited(pid, 0) {
        Ok(text)
    } else {
        Err(io::Error::other(format!("the trial ended with {status:?}")))
    }
}

impl Planner {
    /// The plan of a task in `workspace`. Reads directories, which may block as long as the disk does. `state`
    /// is the state directory, which no confined task may read.
    pub fn plan(&self, wish: &Confine, workspace: &Path, state: &Path) -> Result<Plan, Error> {
        let sealed = wish.sealed.iter().map(|path| (Right::Seal, path.clone()));
        if wish.mode == Mode::Open {
            let hidden = wish.hidden.iter().map(|path| (Right::Hide, path.clone()));
            let rules = hidden.chain(sealed).collect();
            return Ok(Plan { mode: wish.mode, network: true, rules, abi_max: None });
        }
        if let Some(error) = refusal() {
            return Err(error);
        }
        let found = self.find(workspace, state);
        let mut rules = match &found.plain {
            Some(plain) if wish.hidden.is_empty() && wish.readable.is_empty() => plain.to_vec(),
            _ => found.rules(&wish.hidden, &wish.readable)?,
        };
        rules.extend(places::devices().map(|path| (Right::Device, path)));
        if wish.mode == Mode::Work {
            let written = places::written(&found.workspace);
            rules.extend(written.into_iter().map(|path| (Right::Write, path)));
            if !wish.sealed.is_empty() && has_mounts() {
                rules.extend(sealed);
            }
        }
        let network = wish.network && wish.mode == Mode::Work;
        Ok(Plan { mode: wish.mode, network, rules, abi_max: None })
    }

    fn find(&self, workspace: &Path, state: &Path) -> Found {
        let mut remembered = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        remembered.retain(|it| it.at.elapsed() < FRESH);
        let same = |it: &&Found| it.workspace == workspace && it.state == state;
        if let Some(found) = remembered.iter().find(same) {
            return found.clone();
        }
        drop(remembered);
        let found = Found::look(workspace, state);
        let mut remembered = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= REMEMBERED {
            remembered.remove(0);
        }
        remembered.push(found.clone());
        found
    }
}

impl Found {
    fn look(workspace: &Path, state: &Path) -> Self {
        let home = std::env::var_os("HOME").map(PathBuf::from);
        let home = home.and_then(|home| home.canonicalize().ok());
        let resolved = workspace.canonicalize().unwrap_or_else(|_| workspace.to_owned());
        let mut secrets: BTreeSet<PathBuf> = walk::secrets(&resolved).into_iter().collect();
        secrets.extend(state.canonicalize());
        if let Some(home) = &home {
            let named = SECRETS_OF_HOME.iter().map(|name| home.join(name));
            secrets.extend(named.filter_map(|path| path.canonicalize().ok()));
        }
        let mut readable = places::readable(home.as_deref());
        readable.extend(repository::of(&resolved, home.as_deref()));
        readable.push(resolved);
        let mut found = Self {
            workspace: workspace.to_owned(),
            state: state.to_owned(),
            at: Instant::now(),
            readable: readable.into(),
            secrets: secrets.into(),
            plain: None,
        };
        found.plain = found.rules(&[], &[]).ok().map(Into::into);
        found.at = Instant::now();
        found
    }

    /// Rules to read everything readable except the secrets and `hidden`, and to read `more`.
    fn rules(&self, hidden: &[PathBuf], more: &[PathBuf]) -> Result<Vec<(Right, PathBuf)>, Error> {
        let mut closed = BTreeSet::clone(&self.secrets);
        closed.extend(hidden.iter().cloned());
        let readable = self.readable.iter().map(|path| (path, Cow::Borrowed(&closed)));
        // A path that a rule names is not a secret to that rule. Its siblings are, and so is the path to other
        // rules.
        let named = more.iter().map(|path| {
            let mut closed = closed.clone();
            closed.retain(|it| !path.starts_with(it) || hidden.contains(it));
            (path, Cow::Owned(closed))
        });
        let mut rules = Vec::new();
        for (path, closed) in readable.chain(named) {
            grant(path.clone(), &closed, &mut rules);
            if rules.len() > CONFINE_RULES_MAX {
                return Err(Error::CannotConfine(format!(
                    "keeping it from files that may hold keys takes more than {CONFINE_RULES_MAX} \
                     rules; put those files in a directory of their own"
                )));
            }
        }
        Ok(rules)
    }
}

/// Grants `path` and everything below it, except what is `closed`.
fn grant(path: PathBuf, closed: &BTreeSet<PathBuf>, rules: &mut Vec<(Right, PathBuf)>) {
    if path.ancestors().any(|above| closed.contains(above)) {
        return;
    }
    let below = closed.range(path.clone()..).take_while(|it| it.starts_with(&path)).next();
    if below.is_none() {
        rules.push((Right::Read, path));
        return;
    }
    let Ok(entries) = std::fs::read_dir(&path) else { return };
    rules.push((Right::List, path));
    for entry in entries.flatten() {
        // A link's target is granted, or not, at its own path.
        if rules.len() <= CONFINE_RULES_MAX
            && entry.file_type().is_ok_and(|it| it.is_dir() || it.is_file())
        {
            grant(entry.path(), closed, rules);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_opens_the_secret_that_it_names_to_itself_alone() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let home = dir.path().canonicalize().expect("it is there");
        std::fs::create_dir(home.join(".ssh")).expect("it is ours");
        for name in ["notes", ".ssh/id_rsa", ".ssh/known_hosts"] {
            std::fs::write(home.join(name), "").expect("it is ours");
        }
        let found = Found {
            workspace: home.join("work"),
            state: home.join("state"),
            at: Instant::now(),
            readable: Vec::<PathBuf>::new().into(),
            secrets: Arc::new(BTreeSet::from([home.join(".ssh")])),
            plain: None,
        };
        let rules = found.rules(&[], &[home.clone(), home.join(".ssh/known_hosts")]);
        let rules = rules.expect("there are few");
        let is_read = |name: &str| rules.contains(&(Right::Read, home.join(name)));
        assert!(is_read("notes") && is_read(".ssh/known_hosts"), "{rules:?}");
        assert!(!is_read(".ssh") && !is_read(".ssh/id_rsa"), "{rules:?}");
    }
}
