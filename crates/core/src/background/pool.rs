//! Shims that wait for a task, so that a spawn need not wait for one to start.
//!
//! Owns idle shims and those that are starting. A shim says that it is ready through the doorbell;
//! from then on a spawn is three short system calls: write the spec, rename the folder, say go.
//! Idle shims hold the read end of a pipe whose write end is here: when this process ends, however
//! it ends, they take their folders away and end too.

use std::collections::{HashMap, VecDeque};
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use meanwhile_shim::ctl::{self, Order};
use meanwhile_shim::launch::{Fd, Launch};
use meanwhile_shim::layout;
use meanwhile_shim::spec::{Spec, Stdin};
use nix::fcntl::OFlag;

use crate::agent::vendor::secret_variables;
use crate::background::home::Home;
use crate::background::task::TaskId;

/// Folders of ended tasks that are kept for the next ones.
const SPARES: usize = 16;

/// An idle shim that is ready.
#[derive(Debug)]
struct Idle {
    id: TaskId,
    folder: PathBuf,
    spec: File,
    ctl: File,
    pid: u32,
}

/// Idle shims, ready or starting.
#[derive(Debug)]
pub struct Pool {
    home: Home,
    bell: String,
    env: Vec<(OsString, OsString)>,
    /// Folders of ended tasks, to be used again.
    spares: Vec<(TaskId, PathBuf)>,
    starting: HashMap<TaskId, (u32, PathBuf)>,
    ready: VecDeque<Idle>,
    life: (OwnedFd, OwnedFd),
}

impl Pool {
    /// An empty pool.
    pub fn new(home: Home, bell: String) -> io::Result<Self> {
        // What a shim never had, neither its task nor `/proc/<pid>/environ` can show. A spawn that
        // names a key hands it over in its spec (contract, section 8).
        let secrets: Vec<_> = secret_variables().collect();
        let env = std::env::vars_os()
            .filter(|(name, _)| !secrets.iter().any(|secret| name == secret))
            .collect();
        let life = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
        Ok(Self {
            home,
            bell,
            env,
            spares: Vec::new(),
            starting: HashMap::new(),
            ready: VecDeque::new(),
            life,
        })
    }

    /// How many shims are ready, and how many are on their way.
    pub fn level(&self) -> (usize, usize) {
        (self.ready.len(), self.starting.len())
    }

    /// Starts one more.
    pub fn start_one(&mut self) -> io::Result<()> {
        let (id, folder) = match self.spares.pop() {
            Some(spare) => spare,
            None => self.home.idle_folder(&self.bell)?,
        };
        let life = (3, Fd::Share(self.life.0.as_fd()));
        match launch(&self.home, &self.env, &folder, "idle", Some(life)) {
            Ok(pid) => {
                self.starting.insert(id, (pid, folder));
                Ok(())
            }
            Err(error) => {
                layout::remove_folder(&folder);
                Err(error)
            }
        }
    }

    /// Starts a shim that takes a task over from one that was killed; returns its pid. With
    /// `is_ours` the leader is our child now, and we shall tell its status.
    pub fn start_adopter(&self, id: TaskId, is_ours: bool) -> io::Result<u32> {
        let mode = if is_ours { "adopt-child" } else { "adopt" };
        launch(&self.home, &self.env, &self.home.live(id), mode, None)
    }

    /// A shim says that it is ready. Not one of ours: nothing happens.
    pub fn ready(&mut self, id: TaskId) -> io::Result<()> {
        let Some((pid, folder)) = self.starting.remove(&id) else { return Ok(()) };
        let ready = (|| {
            Ok(Idle {
                id,
                spec: OpenOptions::new()
                    .write(true)
                    .create(true)
                    .truncate(true)
                    .mode(0o600)
                    .open(folder.join(layout::SPEC))?,
                ctl: ctl::open(&folder.join(layout::CTL))?,
                pid,
                folder: folder.clone(),
            })
        })();
        match ready {
            Ok(idle) => {
                self.ready.push_back(idle);
                Ok(())
            }
            Err(error) => {
                end(pid, &folder);
                Err(error)
            }
        }
    }

    /// Puts the folder of an ended task away; whether it can be used again.
    pub fn settle(&mut self, id: TaskId) -> bool {
        if self.spares.len() >= SPARES {
            return false;
        }
        self.home.settle_and_reuse(id, &self.bell).map(|spare| self.spares.push(spare)).is_ok()
    }

    /// Takes away the folders that nobody will use.
    pub fn close(&mut self) {
        for (_, folder) in self.spares.drain(..) {
            layout::remove_folder(&folder);
        }
    }

    /// A shim ended: one of those that are starting or idle? Then its task-to-be is gone.
    pub fn reaped(&mut self, pid: u32) -> bool {
        let starting = self.starting.iter().find(|(_, (of, _))| *of == pid).map(|(id, _)| *id);
        if let Some((_, folder)) = starting.and_then(|id| self.starting.remove(&id)) {
            layout::remove_folder(&folder);
            return true;
        }
        let idle = self.ready.iter().position(|idle| idle.pid == pid);
        if let Some(idle) = idle.and_then(|at| self.ready.remove(at)) {
            layout::remove_folder(&idle.folder);
            return true;
        }
        false
    }

    /// Hands task `id` to a ready shim, whose pid it returns. `None`: none is ready.
    pub fn hand_over(&mut self, id: TaskId, spec: &Spec) -> Option<io::Result<u32>> {
        loop {
            let idle = self.ready.pop_front()?;
            match give(&self.home, &idle, id, spec) {
                Ok(()) => return Some(Ok(idle.pid)),
                // It died while it waited; the next one may live.
                Err(error) if error.raw_os_error() == Some(libc::EPIPE) => {
                    end(idle.pid, &idle.folder);
                }
                Err(error) => {
                    end(idle.pid, &idle.folder);
                    return Some(Err(error));
                }
            }
        }
    }
}

fn give(home: &Home, idle: &Idle, id: TaskId, spec: &Spec) -> io::Result<()> {
    let bytes = spec.to_bytes();
    (&idle.spec).write_all(&bytes)?;
    if spec.sync {
        idle.spec.sync_data()?;
    }
    match spec.stdin {
        Stdin::Null => {}
        Stdin::Pipe | Stdin::Pty { .. } => home.make_input(&idle.folder)?,
    }
    // From here on the task exists. A shim that died a moment ago leaves it to be reported lost.
    fs::rename(&idle.folder, home.live(id))?;
    match Order::Go.send(&idle.ctl, idle.id.as_bytes()) {
        Ok(()) => Ok(()),
        Err(error) => {
            // Nobody was told of it: it never was.
            let _ = fs::rename(home.live(id), &idle.folder);
            Err(error)
        }
    }
}

fn end(pid: u32, folder: &Path) {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).unwrap_or(i32::MAX));
    let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
    layout::remove_folder(folder);
}

fn launch(
    home: &Home,
    env: &[(OsString, OsString)],
    folder: &Path,
    mode: &str,
    extra: Option<(i32, Fd)>,
) -> io::Result<u32> {
    let argv = ["meanwhile-shim".into(), folder.as_os_str().to_owned(), mode.into()];
    let null = |number, flags| (number, Fd::Open(c"/dev/null", flags));
    let mut fds = vec![null(0, libc::O_RDONLY), null(1, libc::O_WRONLY), null(2, libc::O_WRONLY)];
    fds.extend(extra);
    Launch { program: home.shim(), argv: &argv, env, cwd: None, fds: &fds }.start()
}
