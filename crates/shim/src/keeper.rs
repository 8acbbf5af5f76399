//! The keeper: the parent of all shims that one daemon or command has started.
//!
//! The keeper is outside of its starter's process tree, so killing that tree kills no task. It is a
//! subreaper: when a shim is killed, the leader becomes the keeper's child, and the keeper at once starts
//! an adopting shim and sends it the leader's status. It holds the read end of each task's output and the
//! write end of its input, so a task does not notice that its shim was killed.
//!
//! A shim is forked, not executed: that takes a fifth of the time, shares memory, and needs no file that
//! could have been removed. A spawn depends only on the shim that was forked in advance, not on the
//! keeper. The keeper exits once its starter has exited and no child is left.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use meanwhile_shim::clock;
use meanwhile_shim::identity;
use meanwhile_shim::keep::{REQUEST_BYTES, Report, Request, fd};
use meanwhile_shim::layout;
use meanwhile_shim::lock;
use meanwhile_shim::output::{self, End};
use meanwhile_shim::record;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};
use nix::sys::signalfd::SignalFd;
use nix::unistd::{ForkResult, getpid, getppid, setsid};

use crate::batch::Node;
use crate::files::poll_again;
use crate::held::{Folder, Held, Kept, Legacy, Orphan, Status};
use crate::notes::{Note, Notes};
use crate::{leader, process};

/// Time between two checks whether the process that forked the keeper has exited.
const PARENT_ROUND: Duration = Duration::from_micros(100);
/// Time between two attempts to start a shim for an orphaned task, while the machine is short of a resource, or
/// while a process that the dead shim was about to start still shares its lock.
const RETRY: Duration = Duration::from_millis(100);

/// A keeper at work.
pub struct Keeper {
    /// The folder of tasks.
    live: PathBuf,
    /// The pid of the starter.
    owner: u32,
    /// The pipes to the starter. `None`: it has exited.
    starter: Option<Starter>,
    notes: File,
    notes_in: File,
    signals: SignalFd,
    /// The soft and hard limit of open files that tasks get, if the keeper has raised its own.
    files: Option<(rlim_t, rlim_t)>,
    kept: BTreeMap<u32, Kept>,
    orphans: VecDeque<Orphan>,
    /// Set where a batch system runs it, for one task.
    node: Option<Node>,
}

struct Starter {
    life: OwnedFd,
    requests: File,
    reports: File,
}

/// Leaves the starter's process tree and keeps shims until none is left and the starter has exited.
pub fn run(state: &std::path::Path) -> io::Result<()> {
    process::close_from(fd::REPORTS + 1);
    let starter = Starter {
        life: process::inherited(fd::LIFE)?,
        requests: process::inherited(fd::REQUESTS)?.into(),
        reports: process::inherited(fd::REPORTS)?.into(),
    };
    let state = std::path::absolute(state)?;
    let (owner, parent) = (getppid(), getpid());
    if let ForkResult::Parent { .. } = process::fork()? {
        return Ok(());
    }
    setsid()?;
    // Until the kernel has given this process another parent, it is still in the starter's tree.
    while getppid() == parent {
        std::thread::sleep(PARENT_ROUND);
    }
    // So that the keeper does not prevent a file system from being unmounted.
    std::env::set_current_dir("/")?;
    let keeper = Keeper::new(state.join(layout::LIVE), owner.as_raw() as u32)?;
    Keeper { starter: Some(starter), ..keeper }.keep().map(|_| ())
}

/// Raises the keeper's limit of open files to the hard limit; returns the limits for its children.
fn raise_files() -> Option<(rlim_t, rlim_t)> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).ok()?;
    (soft != hard).then_some((soft, hard))
}

impl Keeper {
    fn new(live: PathBuf, owner: u32) -> io::Result<Self> {
        prctl::set_name(c"meanwhile-keep")?;
        prctl::set_child_subreaper(true)?;
        process::ignore_signals()?;
        let (notes_in, notes) = output::create()?;
        Ok(Self {
            live,
            owner,
            starter: None,
            notes,
            notes_in,
            signals: process::signals()?,
            files: raise_files(),
            kept: BTreeMap::new(),
            orphans: VecDeque::new(),
            node: None,
        })
    }

    /// The keeper of the one task in `folder`, which a batch system runs.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn on_node(folder: PathBuf, node: Node) -> io::Result<Self> {
        let tasks = folder.parent().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
        Ok(Self { node: Some(node), ..Self::new(tasks, std::process::id())? })
    }

    /// Starts the shim of a task whose folder is there, with its record.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn start(&mut self, id: [u8; 8]) -> io::Result<()> {
        let folder = Folder::Task { id };
        let dir = self.live.join(folder.name());
        let (read, write) = output::create()?;
        let keep = [&read.as_fd(), &write.as_fd(), &self.notes.as_fd()];
        let Some(pid) = self.fork(&keep.map(AsRawFd::as_raw_fd))? else {
            let notes = Notes::new(self.notes.as_fd());
            process::finish(crate::run_claimed(dir, (read, write), notes));
        };
        let held = Held { pipe: Some(read), ..Held::default() };
        self.kept.insert(pid, Kept { folder, held, tell: None, stranger: None });
        Ok(())
    }

    /// Keeps shims until none is left.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn keep(mut self) -> io::Result<Option<Node>> {
        loop {
            // Reap first, so that the death of a shim is known before a request mentions its task.
            let childless = self.reap();
            self.take_over_orphans();
            if childless
                && self.starter.is_none()
                && self.orphans.is_empty()
                && self.kept.is_empty()
            {
                return Ok(self.node);
            }
            if self.node.as_mut().is_some_and(Node::look) {
                return Ok(self.node);
            }
            self.wait()?;
        }
    }

    fn wait(&mut self) -> io::Result<()> {
        let retry = (!self.orphans.is_empty()).then_some(RETRY);
        let until = self.node.as_ref().map(Node::next_look);
        let left = until
            .map(|at| at.saturating_duration_since(Instant::now()) + Duration::from_micros(999));
        let timeout = retry.into_iter().chain(left).min().map_or(PollTimeout::NONE, |time| {
            PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX)
        });
        let readable = |fd| PollFd::new(fd, PollFlags::POLLIN);
        let mut fds = vec![readable(self.signals.as_fd()), readable(self.notes_in.as_fd())];
        let strangers: Vec<u32> = self.strangers().map(|(pid, _)| pid).collect();
        fds.extend(self.strangers().map(|(_, pidfd)| readable(pidfd.as_fd())));
        fds.extend(self.starter.as_ref().map(|starter| readable(starter.requests.as_fd())));
        poll_again(&mut fds, timeout)?;
        let is_ready = |i: usize| {
            fds.get(i).is_some_and(|fd| fd.revents().is_some_and(|events| !events.is_empty()))
        };
        let (signalled, noted, asked) = (is_ready(0), is_ready(1), is_ready(2 + strangers.len()));
        let gone: Vec<u32> = strangers
            .into_iter()
            .enumerate()
            .filter(|(i, _)| is_ready(2 + i))
            .map(|(_, p)| p)
            .collect();
        drop(fds);
        if signalled {
            while let Some(signal) = self.signals.read_signal()? {
                // SIGTERM is ignored: the shims get it too, and the keeper exits after them. A batch system sends it to the
                // keeper.
                if let Some(node) = &mut self.node
                    && signal.ssi_signo == libc::SIGTERM as u32
                {
                    node.terminated();
                }
            }
        }
        if noted {
            self.take_notes();
        }
        for pid in gone {
            if let Some(kept) = self.kept.remove(&pid) {
                self.shim_died(pid, kept, (0, &[]));
            }
        }
        if asked {
            // First handle the deaths of shims that happened before the request was sent.
            self.reap();
            self.take_request();
        }
        Ok(())
    }

    fn take_request(&mut self) {
        let Some(starter) = &mut self.starter else { return };
        let mut bytes = [0; REQUEST_BYTES];
        match starter.requests.read(&mut bytes) {
            Ok(REQUEST_BYTES) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return,
            // The starter has exited; no other process needs reports about idle shims.
            Ok(_) | Err(_) => {
                self.starter = None;
                return;
            }
        }
        match Request::parse(&bytes) {
            Some(Request::Idle { id, bell }) => {
                if let Err(error) = self.start_idle(id, bell) {
                    self.report(Report::Failed { id, errno: errno_of(&error) });
                }
            }
            Some(Request::Adopt { id }) => self.adopt(id),
            Some(Request::Watch { id }) => self.watch(id),
            None => {}
        }
    }

    fn report(&mut self, report: Report) {
        if let Some(starter) = &mut self.starter {
            // If the pipe is full, the starter will check everything anyway when it continues. That it has
            // exited is noticed when its requests are read.
            let _ = starter.reports.write(&report.to_bytes());
        }
    }

    fn start_idle(&mut self, id: [u8; 8], bell: [u8; 32]) -> io::Result<()> {
        let folder = Folder::Idle { id, bell };
        let dir = self.live.join(folder.name());
        let (read, write) = output::create()?;
        let life = match &self.starter {
            Some(starter) => starter.life.try_clone()?,
            None => return Err(io::ErrorKind::BrokenPipe.into()),
        };
        let keep = [&life.as_fd(), &read.as_fd(), &write.as_fd(), &self.notes.as_fd()];
        let Some(pid) = self.fork(&keep.map(AsRawFd::as_raw_fd))? else {
            let notes = Notes::new(self.notes.as_fd());
            process::finish(crate::idle(dir, (read, write), notes, life));
        };
        let held = Held { pipe: Some(read), ..Held::default() };
        self.kept.insert(pid, Kept { folder, held, tell: None, stranger: None });
        Ok(())
    }

    fn knows(&self, id: &[u8; 8]) -> bool {
        self.kept.values().any(|kept| kept.folder.is_task(id))
            || self.orphans.iter().any(|orphan| orphan.id == *id)
    }

    fn strangers(&self) -> impl Iterator<Item = (u32, &OwnedFd)> {
        self.kept.iter().filter_map(|(pid, kept)| Some((*pid, kept.stranger.as_ref()?)))
    }

    fn adopt(&mut self, id: [u8; 8]) {
        if !self.knows(&id) {
            self.orphans.push_back(Orphan { id, held: Held::default(), again: None });
        }
    }

    /// Watches the task of a keeper that was killed, as far as is possible for a process that is not its parent.
    fn watch(&mut self, id: [u8; 8]) {
        if self.knows(&id) {
            return self.report(Report::Kept { id });
        }
        let Some(record) = self.record_of(id).filter(|record| record.end.is_none()) else { return };
        let shim = record.shim_pid;
        // The shim may have died before its pidfd was opened, and its pid may have been reused.
        let pidfd = identity::pidfd_open(shim).ok();
        let lives = self.record_of(id).is_some_and(|now| now.shim_pid == shim) && self.is_held(id);
        let held = Held {
            pipe: output::find(record.pipe, &[shim, record.leader_pid, self.owner], End::Both),
            input: output::find(record.input, &[shim], End::Write),
            status: Status::default(),
            leader: record.leader().and_then(|leader| leader.open().ok()?),
        };
        match pidfd {
            Some(_) if lives => {
                let folder = Folder::Task { id };
                self.kept.insert(shim, Kept { folder, held, tell: None, stranger: pidfd });
                self.report(Report::Kept { id });
            }
            Some(_) | None => self.orphans.push_back(Orphan { id, held, again: None }),
        }
    }

    fn is_held(&self, id: [u8; 8]) -> bool {
        let record =
            layout::open_regular(&self.live.join(Folder::Task { id }.name()).join(layout::RECORD));
        record.and_then(|record| lock::is_held(&record)).unwrap_or(false)
    }

    fn take_over_orphans(&mut self) {
        let now = Instant::now();
        for orphan in std::mem::take(&mut self.orphans) {
            let id = orphan.id;
            if orphan.again.is_some_and(|at| now < at) {
                self.orphans.push_back(orphan);
                continue;
            }
            match self.take_over(&orphan) {
                Ok(true) => self.report(Report::Kept { id }),
                Ok(false) => {}
                Err(error) => self.try_again(orphan, errno_of(&error)),
            }
        }
    }

    fn try_again(&mut self, orphan: Orphan, errno: i32) {
        self.report(Report::Orphaned { id: orphan.id, errno });
        self.orphans.push_back(Orphan { again: Some(Instant::now() + RETRY), ..orphan });
    }

    /// Starts a shim for a task that has none; `false`: the task has ended, or has a shim.
    fn take_over(&mut self, orphan: &Orphan) -> io::Result<bool> {
        let (id, held) = (orphan.id, &orphan.held);
        let folder = Folder::Task { id };
        let dir = self.live.join(folder.name());
        // If the folder is gone, it was removed by the process that recorded the task's end.
        let Some(record) = self.record_of(id).filter(|record| record.end.is_none()) else {
            return Ok(false);
        };
        if orphan.again.is_some() && self.is_held(id) {
            // Another keeper was faster.
            return Ok(false);
        }
        let stat = clock::stat_fields(record.leader_pid);
        let is_child = stat.is_some_and(|stat| stat.parent == std::process::id())
            && record.leader().is_some_and(|leader| leader.exists());
        let leader = if is_child { record.leader_pid } else { 0 };
        let status = Status { leader, raw: held.status.raw };
        let (told, tell) = match status.raw.is_some() || is_child {
            true => output::create().map(|(told, tell)| (Some(told), Some(tell)))?,
            false => (None, None),
        };
        let again = |file: &Option<File>| file.as_ref().map(File::try_clone).transpose();
        let leader = held.leader.as_ref().map(OwnedFd::try_clone).transpose()?;
        let (pipe, input) = (again(&held.pipe)?, again(&held.input)?);
        let mut keep = vec![self.notes.as_raw_fd()];
        keep.extend([&pipe, &input, &told].into_iter().flatten().map(AsRawFd::as_raw_fd));
        keep.extend(leader.as_ref().map(AsRawFd::as_raw_fd));
        let Some(pid) = self.fork(&keep)? else {
            let notes = Notes::new(self.notes.as_fd());
            let legacy = Legacy { owner: self.owner, pipe, input, leader, told };
            process::finish(crate::adopt(dir, legacy, notes));
        };
        let held = Held { pipe, input, status, leader };
        let mut kept = Kept { folder, held, tell, stranger: None };
        kept.tell_status();
        self.kept.insert(pid, kept);
        Ok(true)
    }

    /// Forks; `None` in the child, which keeps only these descriptors and its standard ones.
    fn fork(&self, keep: &[RawFd]) -> io::Result<Option<u32>> {
        let keeper = getpid();
        match process::fork()? {
            ForkResult::Parent { child } => Ok(Some(child.as_raw() as u32)),
            ForkResult::Child => {
                process::close_all_but(keep);
                if let Some((soft, hard)) = self.files {
                    let _ = setrlimit(Resource::RLIMIT_NOFILE, soft, hard);
                }
                if self.node.is_some() {
                    // The machine is others' once the batch system's process is gone.
                    prctl::set_pdeathsig(nix::sys::signal::Signal::SIGTERM)?;
                    if getppid() != keeper {
                        // It went before that.
                        std::process::exit(libc::ECHILD);
                    }
                }
                Ok(None)
            }
        }
    }

    fn take_notes(&mut self) {
        while let Some(note) = Note::read(&mut self.notes_in) {
            let Note { pid, input } = note;
            let Some(kept) = self.kept.get_mut(&pid) else { continue };
            kept.held.input = input.and_then(|fd| {
                output::open(format!("/proc/{pid}/fd/{fd}").as_ref(), End::Write).ok()
            });
        }
    }

    /// Reaps every child that exited; returns whether no child is left.
    fn reap(&mut self) -> bool {
        let mut ended = Vec::new();
        let childless = loop {
            match leader::reap_one() {
                leader::Reaped::Child(pid, raw) => ended.push((pid, raw)),
                leader::Reaped::NoneEnded => break false,
                leader::Reaped::NoneLeft => break true,
            }
        };
        if !ended.is_empty() {
            self.take_notes();
        }
        for (pid, raw) in &ended {
            if let Some(kept) = self.kept.remove(pid) {
                let code = if libc::WIFEXITED(*raw) { libc::WEXITSTATUS(*raw) } else { 0 };
                match kept.folder {
                    _ if *raw == 0 => {}
                    Folder::Idle { id, .. } if self.live.join(kept.folder.name()).exists() => {
                        self.report(Report::Failed { id, errno: code });
                    }
                    Folder::Task { id } if code != 0 && self.cannot_start(id) => {
                        self.node.iter_mut().for_each(|node| node.failed(code));
                    }
                    Folder::Task { id } if code != 0 => {
                        self.try_again(Orphan { id, held: kept.held, again: None }, code);
                    }
                    Folder::Idle { .. } | Folder::Task { .. } => {
                        self.shim_died(*pid, kept, (code, &ended));
                    }
                }
            }
        }
        for (pid, raw) in ended {
            let leads = |kept: &&mut Kept| kept.held.status.leader == pid;
            if let Some(kept) = self.kept.values_mut().find(leads) {
                kept.held.status.raw = Some(raw);
                kept.tell_status();
            } else if let Some(orphan) =
                self.orphans.iter_mut().find(|orphan| orphan.held.status.leader == pid)
            {
                orphan.held.status.raw = Some(raw);
            }
        }
        childless
    }

    /// Handles the death of a shim. If its task has not ended, another shim takes over. Its leader may be among
    /// `ended`, the children that were reaped together with it.
    fn shim_died(&mut self, pid: u32, kept: Kept, (errno, ended): (i32, &[(u32, i32)])) {
        let id = match kept.folder {
            Folder::Idle { id, .. } => match self.task_of(pid, id) {
                Some(task) => task,
                // It had no task, and its folder was removed.
                None => return self.report(Report::Failed { id, errno }),
            },
            Folder::Task { id } => id,
        };
        let mut held = kept.held;
        if let Some(record) = self.record_of(id).filter(|record| record.leader_pid != 0) {
            let leader = ended.iter().find(|(pid, _)| *pid == record.leader_pid);
            held.status.raw = held.status.raw.or(leader.map(|(_, raw)| *raw));
            let stat = clock::stat_fields(record.leader_pid);
            if stat.is_some_and(|stat| stat.parent == std::process::id()) {
                // The leader may exit before another shim is started.
                held.status.leader = record.leader_pid;
            }
        }
        self.orphans.push_back(Orphan { id, held, again: None });
    }

    /// Whether a task on a node was not started, and its shim has given up: the file system there refuses what a shim
    /// needs, and goes on to refuse it.
    fn cannot_start(&self, id: [u8; 8]) -> bool {
        let was_started = |record: record::Record| record.leader_pid != 0 || record.end.is_some();
        self.node.is_some() && !self.record_of(id).is_some_and(was_started)
    }

    fn record_of(&self, id: [u8; 8]) -> Option<record::Record> {
        let folder = self.live.join(Folder::Task { id }.name());
        record::read(&layout::open_regular(&folder.join(layout::RECORD)).ok()?).ok()
    }

    /// The task that this dead shim had: usually the one with the id in its folder's first name.
    fn task_of(&self, pid: u32, id: [u8; 8]) -> Option<[u8; 8]> {
        let had = |id: &[u8; 8]| {
            self.record_of(*id)
                .is_some_and(|record| record.shim_pid == pid && record.boot_id == clock::boot_id())
        };
        if had(&id) {
            return Some(id);
        }
        let entries = fs::read_dir(&self.live).ok()?;
        let ids = entries
            .flatten()
            .filter_map(|entry| <[u8; 8]>::try_from(entry.file_name().as_encoded_bytes()).ok());
        ids.into_iter().find(had)
    }
}

fn errno_of(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(libc::EIO)
}
