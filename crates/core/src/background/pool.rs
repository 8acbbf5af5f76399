//! Idle shims, started in advance so that a spawn need not wait for a shim to start, and the keeper that starts
//! them.
//!
//! Owns idle shims, those that are starting, and the connection to the keeper (`meanwhile_shim::keep`). A shim
//! reports through the doorbell that it is ready; a spawn is then three short system calls: write the spec,
//! rename the folder, send "go". Idle shims hold the read end of a pipe whose write end is here: when this
//! process ends in any way, they remove their folders and exit.

use std::collections::{HashMap, VecDeque};
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use meanwhile_shim::ctl::{self, Order};
use meanwhile_shim::keep::{self, REPORT_BYTES, Report, Request};
use meanwhile_shim::launch::{Fd, Launch, out_of_the_way};
use meanwhile_shim::spec::{self, Spec, Stdin};
use meanwhile_shim::{layout, record};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, pipe2};
use tokio::net::unix::pipe;

use crate::agent::vendor::secret_variables;
use crate::background::home::{Home, shim_in_memory};
use crate::background::task::TaskId;

/// How many folders of ended tasks are kept for reuse.
const SPARES: usize = 16;
/// Maximum number of reports read at a time.
const REPORTS: usize = 64;

/// An idle shim that is ready.
#[derive(Debug)]
struct Idle {
    id: TaskId,
    folder: PathBuf,
    spec: File,
    ctl: File,
    record: File,
}

/// Ready and starting shims, and the keeper.
#[derive(Debug)]
pub struct Pool {
    home: Home,
    bell: String,
    env: Vec<(OsString, OsString)>,
    /// The environment as encoded in a spec's file.
    base: Vec<u8>,
    /// Folders of ended tasks, to be reused.
    spares: Vec<(TaskId, PathBuf)>,
    starting: HashMap<TaskId, PathBuf>,
    ready: VecDeque<Idle>,
    /// The shim's binary, verified when the first keeper is started. Kept open, so it cannot be deleted.
    program: Option<OwnedFd>,
    keeper: Option<Keeper>,
    /// Processes that started a keeper; each exits at once and must be reaped.
    starters: Vec<Pid>,
}

/// A running keeper.
#[derive(Debug)]
struct Keeper {
    /// When it closes, idle shims exit.
    _life: OwnedFd,
    requests: File,
    reports: pipe::Receiver,
    /// Whether it has started a shim.
    works: bool,
}

/// An event in the pool.
#[derive(Debug)]
pub enum News {
    /// An idle shim has exited; the error says what it lacked, `None` if it was killed.
    Failed(Option<io::Error>),
    /// The keeper now watches this task's shim.
    Kept(TaskId),
    /// A task's shim has exited.
    Orphaned(TaskId),
    /// The keeper has exited, and all idle shims exit. The next start of a shim starts another keeper, which
    /// may not help if this one had not started any shim.
    KeeperGone {
        /// Whether it had started a shim.
        worked: bool,
    },
}

/// The part of this process's environment that child processes get.
pub(crate) fn own_environment() -> Vec<(OsString, OsString)> {
    // Model keys are not passed to shims, so neither a task nor `/proc/<pid>/environ` can show them. A spawn
    // that needs a key passes it in its spec (docs/settings.md). Tasks of a daemon that runs in a task must not
    // carry that task's mark.
    let secrets: Vec<_> = secret_variables().collect();
    let is_kept = |name: &OsString| {
        name != layout::TASK_ID_VARIABLE && !secrets.iter().any(|secret| name == secret)
    };
    std::env::vars_os().filter(|(name, _)| is_kept(name)).collect()
}

impl Pool {
    /// Creates an empty pool.
    pub fn new(home: Home, bell: String) -> io::Result<Self> {
        let env = own_environment();
        Ok(Self {
            program: None,
            home,
            bell,
            base: spec::base_bytes(env.iter().map(|(name, value)| (&**name, &**value))),
            env,
            spares: Vec::new(),
            starting: HashMap::new(),
            ready: VecDeque::new(),
            keeper: None,
            starters: Vec::new(),
        })
    }

    /// How many shims are ready, and how many are starting.
    pub fn level(&self) -> (usize, usize) {
        (self.ready.len(), self.starting.len())
    }

    /// Starts one more shim.
    pub fn start_one(&mut self) -> io::Result<()> {
        let (id, folder) = match self.spares.pop() {
            Some(spare) => spare,
            None => self.home.idle_folder(&self.bell)?,
        };
        let bell = self.bell.as_bytes().try_into().expect("a bell's name has 32 bytes");
        match self.request(Request::Idle { id: *id.as_bytes(), bell }) {
            Ok(()) => {
                self.starting.insert(id, folder);
                Ok(())
            }
            Err(error) => {
                layout::remove_folder(&folder);
                Err(error)
            }
        }
    }

    /// Starts a shim that takes over a task whose shim was killed, if the task's own keeper does not do so.
    pub fn start_adopter(&mut self, id: TaskId) -> io::Result<()> {
        self.request(Request::Adopt { id: *id.as_bytes() })
    }

    /// Makes this keeper watch a task whose own keeper was killed.
    pub fn watch(&mut self, id: TaskId) -> io::Result<()> {
        self.request(Request::Watch { id: *id.as_bytes() })
    }

    fn request(&mut self, request: Request) -> io::Result<()> {
        let keeper = match &mut self.keeper {
            Some(keeper) => keeper,
            None => {
                let program = match self.program.take() {
                    Some(program) => program,
                    None => self.home.open_shim()?,
                };
                let program = self.program.insert(program);
                let (keeper, starter) = start_keeper(program, self.home.root(), &self.env)?;
                self.starters.push(starter);
                self.keeper.insert(keeper)
            }
        };
        // A write below PIPE_BUF is atomic.
        match (&keeper.requests).write(&request.to_bytes()) {
            // The keeper is dead: the end of its reports is about to be read, after which another one is
            // started.
            Err(error) if error.raw_os_error() == Some(libc::EPIPE) => Ok(()),
            written => written.map(|_| ()),
        }
    }

    /// Returns when there may be events for [`Pool::news`]. Cancel-safe.
    pub async fn changed(&self) {
        match &self.keeper {
            Some(keeper) => {
                // This only fails when the runtime shuts down.
                let _ = keeper.reports.readable().await;
            }
            None => std::future::pending().await,
        }
    }

    /// The events since the last call.
    pub fn news(&mut self) -> Vec<News> {
        let Some(keeper) = &self.keeper else { return Vec::new() };
        let mut bytes = [0; REPORTS * REPORT_BYTES];
        match keeper.reports.try_read(&mut bytes) {
            Ok(0) => {
                let worked = keeper.works;
                self.keeper = None;
                self.ready.clear();
                // Shims remove their folders, except one that died during its start.
                for (_, folder) in self.starting.drain() {
                    layout::remove_folder(&folder);
                }
                vec![News::KeeperGone { worked }]
            }
            Ok(len) => {
                let reports = bytes[..len].chunks_exact(REPORT_BYTES);
                let reports = reports.map(|report| report.try_into().expect("chunks of this size"));
                reports
                    .filter_map(Report::parse)
                    .filter_map(|report| self.reported(report))
                    .collect()
            }
            // No report is waiting.
            Err(_) => Vec::new(),
        }
    }

    fn reported(&mut self, report: Report) -> Option<News> {
        let id = |id: [u8; 8]| String::from_utf8_lossy(&id).parse::<TaskId>().ok();
        match report {
            Report::Failed { id: gone, errno } => {
                // The keeper also sends this for a shim that already has a task, if the task was refused.
                if !self.forget(id(gone)?) {
                    return None;
                }
                let error = (errno != 0).then(|| io::Error::from_raw_os_error(errno));
                Some(News::Failed(error))
            }
            Report::Kept { id: task } => Some(News::Kept(id(task)?)),
            Report::Orphaned { id: task, .. } => Some(News::Orphaned(id(task)?)),
        }
    }

    /// Removes the folder of an idle shim that has exited. `false`: it was not an idle one.
    fn forget(&mut self, id: TaskId) -> bool {
        let idle = self.ready.iter().position(|idle| idle.id == id);
        let idle = idle.and_then(|at| self.ready.remove(at)).map(|idle| idle.folder);
        let folder = self.starting.remove(&id).or(idle);
        folder.inspect(|folder| layout::remove_folder(folder)).is_some()
    }

    /// Drops all idle shims, because the state directory was deleted.
    pub fn start_over(&mut self) {
        self.close();
        for idle in self.ready.drain(..) {
            end(&idle.folder);
        }
        // They find no folder or bell, and exit with this process.
        for (_, folder) in self.starting.drain() {
            layout::remove_folder(&folder);
        }
    }

    /// Reaps children. This process has only those that start a keeper; as process 1 it also inherits orphans.
    /// Returns why a keeper could not be started, if so.
    pub fn reap(&mut self) -> Option<io::Error> {
        let mut failure = None;
        let flags = Some(WaitPidFlag::WNOHANG);
        self.starters.retain(|starter| match waitpid(*starter, flags) {
            Ok(WaitStatus::StillAlive) => true,
            Ok(WaitStatus::Exited(_, code @ 1..)) => {
                failure = Some(io::Error::from_raw_os_error(code));
                false
            }
            Ok(_) | Err(_) => false,
        });
        if std::process::id() == 1 {
            while waitpid(Pid::from_raw(-1), flags).is_ok_and(|found| found.pid().is_some()) {}
        }
        failure
    }

    /// A shim has reported that it is ready. Does nothing if it belongs to another pool.
    pub fn ready(&mut self, id: TaskId) -> io::Result<()> {
        let Some(folder) = self.starting.remove(&id) else { return Ok(()) };
        if let Some(keeper) = &mut self.keeper {
            keeper.works = true;
        }
        let ready: io::Result<Idle> = (|| {
            Ok(Idle {
                id,
                spec: OpenOptions::new()
                    .write(true)
                    .create(true)
                    .truncate(true)
                    .mode(0o600)
                    .open(folder.join(layout::SPEC))?,
                ctl: ctl::open(&folder.join(layout::CTL))?,
                record: File::open(folder.join(layout::RECORD))?,
                folder: folder.clone(),
            })
        })();
        match ready {
            Ok(idle) => {
                self.ready.push_back(idle);
                Ok(())
            }
            // The shim was killed after it rang. If one is needed, another one is started.
            Err(error) if error.raw_os_error() == Some(libc::ENXIO) => {
                layout::remove_folder(&folder);
                Ok(())
            }
            Err(error) => {
                end(&folder);
                Err(error)
            }
        }
    }

    /// Puts away the folder of an ended task. Returns whether it will be reused.
    pub fn settle(&mut self, id: TaskId) -> bool {
        if self.spares.len() >= SPARES {
            return false;
        }
        self.home.settle_and_reuse(id, &self.bell).map(|spare| self.spares.push(spare)).is_ok()
    }

    /// Removes the folders kept for reuse.
    pub fn close(&mut self) {
        for (_, folder) in self.spares.drain(..) {
            layout::remove_folder(&folder);
        }
    }

    /// Hands task `id` to a ready shim; returns the task's record. `None`: no shim is ready.
    pub fn hand_over(&mut self, id: TaskId, spec: &Spec) -> Option<io::Result<File>> {
        loop {
            let idle = self.ready.pop_front()?;
            match give(&self.home, &idle, id, (spec, &self.base)) {
                Ok(()) => return Some(Ok(idle.record)),
                // The shim died while it was idle, or its folder is gone; try the next one.
                Err(error) if matches!(error.raw_os_error(), Some(libc::EPIPE | libc::ENOENT)) => {
                    end(&idle.folder);
                }
                Err(error) => {
                    end(&idle.folder);
                    return Some(Err(error));
                }
            }
        }
    }
}

fn give(home: &Home, idle: &Idle, id: TaskId, (spec, base): (&Spec, &[u8])) -> io::Result<()> {
    let bytes = spec.to_bytes_on(base);
    (&idle.spec).write_all(&bytes)?;
    if spec.sync {
        idle.spec.sync_data()?;
    }
    match spec.stdin {
        Stdin::Null | Stdin::Pipe => {}
        Stdin::Pty { .. } => home.make_input(&idle.folder)?,
    }
    match (spec.confine, &spec.plan) {
        (None, None) => {}
        (Some(_), Some(plan)) => home.confine(&idle.folder, id, plan)?,
        // A confined task needs a plan.
        (Some(_), None) | (None, Some(_)) => return Err(io::ErrorKind::InvalidInput.into()),
    }
    // Draw the ticket under the same lock as the rename, so that tickets are in the order of the tasks, and a
    // ticket has no task only if this process dies here. A task that follows others draws its ticket once they
    // have ended.
    let slot = spec.line.slot.as_ref().filter(|_| spec.line.after.is_empty());
    let lock = slot.map(|slot| home.draw(slot, id)).transpose()?;
    // From here on the task exists. If its shim has just died, the task is reported as lost.
    let published = fs::rename(&idle.folder, home.live(id));
    drop(lock);
    if let (Err(_), Some(slot)) = (&published, slot) {
        home.undraw(slot, id);
    }
    published?;
    match Order::Go.send(&idle.ctl, idle.id.as_bytes()) {
        Ok(()) => Ok(()),
        Err(error) => {
            // No client knows of the task yet: it never existed.
            let _ = fs::rename(home.live(id), &idle.folder);
            if let Some(slot) = slot {
                home.undraw(slot, id);
            }
            Err(error)
        }
    }
}

/// Kills an idle shim that cannot be used.
fn end(folder: &Path) {
    let record = layout::open_regular(&folder.join(layout::RECORD));
    if let Ok(record) = record.and_then(|file| record::read(&file))
        && let Some(shim) = record.shim_in(folder)
    {
        shim.signal(libc::SIGKILL);
    }
    layout::remove_folder(folder);
}

/// Starts a keeper; returns it with the process that started it, which must be reaped.
fn start_keeper(
    program: &mut OwnedFd,
    root: &Path,
    env: &[(OsString, OsString)],
) -> io::Result<(Keeper, Pid)> {
    let (life, keeper_life) = new_pipe()?;
    let (keeper_requests, requests) = new_pipe()?;
    let (reports, keeper_reports) = new_pipe()?;
    for own in [&requests, &keeper_reports] {
        fcntl(own, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    }
    let argv = [layout::SHIM.into(), keep::MODE.into(), root.as_os_str().to_owned()];
    let null = |number, flags| (number, Fd::Open(c"/dev/null", flags));
    let fds = [
        null(0, libc::O_RDONLY),
        null(1, libc::O_WRONLY),
        null(2, libc::O_WRONLY),
        (keep::fd::LIFE, Fd::Share(life.as_fd())),
        (keep::fd::REQUESTS, Fd::Share(keeper_requests.as_fd())),
        (keep::fd::REPORTS, Fd::Share(keeper_reports.as_fd())),
    ];
    let start = |program: &OwnedFd| {
        let path = format!("/proc/self/fd/{}", program.as_raw_fd());
        Launch { program: Path::new(&path), argv: &argv, env, cwd: None, fds: &fds }.start()
    };
    let starter = match start(program) {
        // The mount does not allow programs.
        Err(error) if error.raw_os_error() == Some(libc::EACCES) => {
            *program = shim_in_memory()?;
            start(program)?
        }
        started => started?,
    };
    let keeper = Keeper {
        _life: keeper_life,
        requests: requests.into(),
        reports: pipe::Receiver::from_owned_fd(reports)?,
        works: false,
    };
    Ok((keeper, Pid::from_raw(starter as i32)))
}

/// A pipe, reading end first. Moved away from the descriptor numbers that the keeper's ends get, which would
/// otherwise be overwritten while still needed.
fn new_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
    Ok((out_of_the_way(read)?, out_of_the_way(write)?))
}
