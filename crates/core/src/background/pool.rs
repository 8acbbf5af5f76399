//! Shims that wait for a task, so that a spawn need not wait for one to start; and the keeper that
//! starts them.
//!
//! Owns idle shims, those that are starting, and the way to the keeper (`meanwhile_shim::keep`). A shim
//! says that it is ready through the doorbell; from then on a spawn is three short system calls: write
//! the spec, rename the folder, say go. Idle shims hold the read end of a pipe whose write end is here:
//! when this process ends, however it ends, they take their folders away and end too.

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

/// Folders of ended tasks that are kept for the next ones.
const SPARES: usize = 16;
/// Reports taken in at once.
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

/// Idle shims, ready or starting.
#[derive(Debug)]
pub struct Pool {
    home: Home,
    bell: String,
    env: Vec<(OsString, OsString)>,
    /// The same as a spec's file holds it.
    base: Vec<u8>,
    /// Folders of ended tasks, to be used again.
    spares: Vec<(TaskId, PathBuf)>,
    starting: HashMap<TaskId, PathBuf>,
    ready: VecDeque<Idle>,
    /// The shim's binary, verified when the first keeper is started: a file that is open cannot be taken away.
    program: Option<OwnedFd>,
    keeper: Option<Keeper>,
    /// Processes that started a keeper, which end at once.
    starters: Vec<Pid>,
}

/// A keeper that was started.
#[derive(Debug)]
struct Keeper {
    /// When this closes, idle shims end.
    _life: OwnedFd,
    requests: File,
    reports: pipe::Receiver,
    /// It has started a shim.
    works: bool,
}

/// What is new in the pool.
#[derive(Debug)]
pub enum News {
    /// An idle shim is gone; with what it was short of, unless it was killed.
    Failed(Option<io::Error>),
    /// The keeper is a task's now.
    Kept(TaskId),
    /// A task has no shim.
    Orphaned(TaskId),
    /// The keeper is gone, and every idle shim ends. The next start of a shim starts another one, which
    /// may not help where this one had not started any.
    KeeperGone {
        /// It had.
        worked: bool,
    },
}

/// What this process gives of its environment to what it starts.
pub(crate) fn own_environment() -> Vec<(OsString, OsString)> {
    // What a shim never had, neither its task nor `/proc/<pid>/environ` can show. A spawn that
    // names a key hands it over in its spec (docs/settings.md). A daemon that runs in a task
    // starts tasks of their own, which do not carry that one's mark.
    let secrets: Vec<_> = secret_variables().collect();
    let is_kept = |name: &OsString| {
        name != layout::TASK_ID_VARIABLE && !secrets.iter().any(|secret| name == secret)
    };
    std::env::vars_os().filter(|(name, _)| is_kept(name)).collect()
}

impl Pool {
    /// An empty pool.
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

    /// Starts a shim that takes a task over from one that was killed, where its own keeper does not.
    pub fn start_adopter(&mut self, id: TaskId) -> io::Result<()> {
        self.request(Request::Adopt { id: *id.as_bytes() })
    }

    /// Makes the keeper that of a task whose own was killed.
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
        // One write below PIPE_BUF goes whole or not at all.
        match (&keeper.requests).write(&request.to_bytes()) {
            // It is dead: the end of its reports is about to be read, and starts another one.
            Err(error) if error.raw_os_error() == Some(libc::EPIPE) => Ok(()),
            written => written.map(|_| ()),
        }
    }

    /// Returns when there may be news. Cancel-safe.
    pub async fn changed(&self) {
        match &self.keeper {
            Some(keeper) => {
                // It cannot fail but at the end of the runtime.
                let _ = keeper.reports.readable().await;
            }
            None => std::future::pending().await,
        }
    }

    /// What is new.
    pub fn news(&mut self) -> Vec<News> {
        let Some(keeper) = &self.keeper else { return Vec::new() };
        let mut bytes = [0; REPORTS * REPORT_BYTES];
        match keeper.reports.try_read(&mut bytes) {
            Ok(0) => {
                let worked = keeper.works;
                self.keeper = None;
                self.ready.clear();
                // They take their folders away, unless they died in a start that was half made.
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
            // None now.
            Err(_) => Vec::new(),
        }
    }

    fn reported(&mut self, report: Report) -> Option<News> {
        let id = |id: [u8; 8]| String::from_utf8_lossy(&id).parse::<TaskId>().ok();
        match report {
            Report::Failed { id: gone, errno } => {
                // Of a shim that has a task already its keeper tells this where the task was refused.
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

    /// An idle shim is gone; takes its folder away. `false`: it was none of the idle ones.
    fn forget(&mut self, id: TaskId) -> bool {
        let idle = self.ready.iter().position(|idle| idle.id == id);
        let idle = idle.and_then(|at| self.ready.remove(at)).map(|idle| idle.folder);
        let folder = self.starting.remove(&id).or(idle);
        folder.inspect(|folder| layout::remove_folder(folder)).is_some()
    }

    /// Drops what was kept ready: the state directory was taken away under it.
    pub fn start_over(&mut self) {
        self.close();
        for idle in self.ready.drain(..) {
            end(&idle.folder);
        }
        // They find no folder, or no bell to ring, and end with this process.
        for (_, folder) in self.starting.drain() {
            layout::remove_folder(&folder);
        }
    }

    /// A child of this process ended. It has none but those that start a keeper; as process 1 it is also
    /// the parent of whatever lost its own. Returns what a keeper that was not started was short of.
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

    /// A shim says that it is ready. Nothing happens where it belongs to another pool.
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
            // It was killed since it rang. Another one is started where one is wanted.
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

    /// Puts the folder of an ended task away; whether it can be used again.
    pub fn settle(&mut self, id: TaskId) -> bool {
        if self.spares.len() >= SPARES {
            return false;
        }
        self.home.settle_and_reuse(id, &self.bell).map(|spare| self.spares.push(spare)).is_ok()
    }

    /// Removes the folders that no task will use.
    pub fn close(&mut self) {
        for (_, folder) in self.spares.drain(..) {
            layout::remove_folder(&folder);
        }
    }

    /// Hands task `id` to a ready shim; returns the task's record. `None`: none is ready.
    pub fn hand_over(&mut self, id: TaskId, spec: &Spec) -> Option<io::Result<File>> {
        loop {
            let idle = self.ready.pop_front()?;
            match give(&self.home, &idle, id, (spec, &self.base)) {
                Ok(()) => return Some(Ok(idle.record)),
                // It died while it waited, or its folder is gone; the next one may live.
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
        // Nothing says what it may touch.
        (Some(_), None) | (None, Some(_)) => return Err(io::ErrorKind::InvalidInput.into()),
    }
    // With its ticket, so that the order of tickets is that of the tasks, and no ticket is without a task
    // but where this process dies.
    // A task that is to follow others draws its own once they have ended.
    let slot = spec.line.slot.as_ref().filter(|_| spec.line.after.is_empty());
    let lock = slot.map(|slot| home.draw(slot, id)).transpose()?;
    // From here on the task exists. A shim that died a moment ago leaves it to be reported lost.
    let published = fs::rename(&idle.folder, home.live(id));
    drop(lock);
    if let (Err(_), Some(slot)) = (&published, slot) {
        home.undraw(slot, id);
    }
    published?;
    match Order::Go.send(&idle.ctl, idle.id.as_bytes()) {
        Ok(()) => Ok(()),
        Err(error) => {
            // No client was told of it: it never was.
            let _ = fs::rename(home.live(id), &idle.folder);
            if let Some(slot) = slot {
                home.undraw(slot, id);
            }
            Err(error)
        }
    }
}

/// Ends an idle shim that cannot be used.
fn end(folder: &Path) {
    let record = layout::open_regular(&folder.join(layout::RECORD));
    if let Ok(record) = record.and_then(|file| record::read(&file))
        && let Some(shim) = record.shim_in(folder)
    {
        shim.signal(libc::SIGKILL);
    }
    layout::remove_folder(folder);
}

/// Starts a keeper; returns it with the process that started it and is to be reaped.
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
        // A mount that allows no programs.
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

/// A pipe, its reading end first. Its numbers are none of those that a keeper's are to have, or one
/// would be overwritten while it is still wanted.
fn new_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
    Ok((out_of_the_way(read)?, out_of_the_way(write)?))
}
