//! A task's folder as its shim uses it: the record, which only the shim writes, and the FIFOs.

use std::cell::Cell;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::memory::Score;
use meanwhile_shim::bell::{self, Kind, Message};
use meanwhile_shim::clock;
use meanwhile_shim::ctl::{self, Order};
use meanwhile_shim::identity::Process;
use meanwhile_shim::layout;
use meanwhile_shim::lock;
use meanwhile_shim::log::{self, Extent};
use meanwhile_shim::output;
use meanwhile_shim::record::{self, Actor, Cause, End, Exit, Outcome, Phase, Sheet};
use meanwhile_shim::spec::Spec;
use meanwhile_shim::temporary;
use meanwhile_shim::tree;
use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

/// Bytes of the log allocated in advance, so that a short output can be stored on a full disk.
const LOG_ALLOCATED: usize = 8_192;
/// Bytes of the first reads; the output of most commands never fills such a buffer.
const BUFFER_BYTES: usize = 16 << 10;
/// Bytes of a read once a task writes much, and a quarter of the pipe's size then: larger ones are not faster.
const FLOOD_BYTES: usize = 256 << 10;

/// A task's folder.
pub struct Files {
    /// The state directory.
    state: PathBuf,
    dir: PathBuf,
    id: [u8; 8],
    workspace: Cell<u64>,
    record: File,
    sheet: Sheet,
    extent: Extent,
    last: Vec<u8>,
    orders: Vec<u8>,
    /// Orders taken so far.
    taken: u64,
    buffer: Vec<u8>,
    /// Ring once there is output behind this offset.
    armed: Option<u64>,
    /// The FIFO from which orders are read.
    pub ctl: File,
    /// The read end of the output's pipe. `None` only while it is read.
    pipe: Option<File>,
    /// Opened before there is a task, so that its start need not wait for this.
    pub score: Option<Score>,
    /// The write end of the output's pipe: prevents an end of file while the task has closed its own.
    _pipe_end: Option<File>,
}

/// Allocates disk space for what is written later.
fn allocate(file: &File, bytes: usize) -> io::Result<()> {
    match fallocate(file, FallocateFlags::empty(), 0, bytes as i64) {
        Ok(()) => Ok(()),
        // NFS before 4.2, ZFS, ext3, eCryptfs, 9p; or a sandbox. Writing zeros is the best there is then,
        // though it guarantees nothing on a copy-on-write file system.
        Err(Errno::EOPNOTSUPP | Errno::ENOSYS | Errno::EPERM) => {
            file.write_all_at(&vec![0; bytes], 0)
        }
        Err(errno) => Err(errno.into()),
    }
}

fn make_ctl() -> io::Result<()> {
    match mkfifo(layout::CTL, Mode::S_IRUSR | Mode::S_IWUSR) {
        // The folder belonged to another task, or had another shim, before.
        Ok(()) | Err(Errno::EEXIST) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

fn open_ctl() -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open(layout::CTL)
}

/// The id in a folder's name: `live/.<id>.<bell>` is the folder of an idle shim, `live/<id>` that of a task.
fn id_of(dir: &Path) -> io::Result<[u8; 8]> {
    let name = dir.file_name().map(|name| name.as_encoded_bytes()).unwrap_or_default();
    let name = name.strip_prefix(b".").unwrap_or(name);
    let id = name.get(..8).and_then(|id| id.try_into().ok());
    id.ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

impl Files {
    /// Creates the record and the FIFOs in `dir`, which is the working directory, for a task whose output
    /// comes through `pipe`.
    pub fn create(dir: PathBuf, (pipe, end): (File, File)) -> io::Result<Self> {
        let record = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(layout::RECORD)?;
        allocate(&record, record::HEADER_BYTES + LOG_ALLOCATED)?;
        Self::begin_record(dir, record, (pipe, end))
    }

    /// Makes the FIFOs in `dir`, where the record is already, of its full size and empty.
    pub fn claimed(dir: PathBuf, pipe: (File, File)) -> io::Result<Self> {
        let record = OpenOptions::new().read(true).write(true).open(layout::RECORD)?;
        Self::begin_record(dir, record, pipe)
    }

    fn begin_record(dir: PathBuf, record: File, (pipe, end): (File, File)) -> io::Result<Self> {
        make_ctl()?;
        let mut sheet = Sheet::create(&record)?;
        sheet.introduce(ctl::KNOWN);
        sheet.pipe(output::inode(&pipe)?);
        Self::open(dir, record, sheet, (Extent::default(), 0), (pipe, Some(end)))
    }

    /// Opens the files that a killed shim left behind. If `pipe`, the output's pipe, is missing, it is looked
    /// for in the task's processes and in `owner`, the process that started the keeper.
    pub fn take_over(dir: PathBuf, pipe: Option<File>, owner: u32) -> io::Result<Self> {
        let record = OpenOptions::new().read(true).write(true).open(layout::RECORD)?;
        // A cleaner of old files may have removed the FIFO.
        make_ctl()?;
        let found = record::read(&record)?;
        let found_pipe = || {
            let mut holders = vec![found.leader_pid, owner];
            let marked = tree::marked(
                &String::from_utf8_lossy(&id_of(&dir).unwrap_or_default()),
                found.leader(),
            );
            holders.extend(marked.members.iter().map(|process| process.pid));
            output::find(found.pipe, &holders, output::End::Both)
        };
        let pipe = match pipe {
            Some(pipe) => {
                let end = output::open(output::path_for_child(&pipe).as_ref(), output::End::Write);
                (pipe, Some(end?))
            }
            None => match found_pipe() {
                Some(pipe) => (pipe, None),
                // No process has the pipe open any more, so no output will come.
                None => output::create().map(|(pipe, end)| (pipe, Some(end)))?,
            },
        };
        let mut sheet = Sheet::open(&record)?;
        sheet.introduce(ctl::KNOWN_ADOPTED);
        Self::open(dir, record, sheet, (found.extent, found.shim.taken), pipe)
    }

    fn open(
        dir: PathBuf,
        record: File,
        sheet: Sheet,
        (extent, taken): (Extent, u64),
        (pipe, pipe_end): (File, Option<File>),
    ) -> io::Result<Self> {
        if !lock::exclusive(&record)? {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let state = dir.ancestors().nth(2).ok_or(io::ErrorKind::InvalidInput)?.to_owned();
        Ok(Self {
            state,
            id: id_of(&dir)?,
            dir,
            workspace: Cell::new(0),
            record,
            sheet,
            extent,
            last: Vec::new(),
            orders: Vec::new(),
            taken,
            buffer: Vec::new(),
            armed: None,
            ctl: open_ctl()?,
            pipe: Some(pipe),
            score: Score::open(),
            _pipe_end: pipe_end,
        })
    }

    /// Waits for a task. `None`: the daemon exited without giving one, and the folder was removed.
    pub fn idle(mut self, parent: OwnedFd) -> io::Result<Option<Self>> {
        self.ring_ready();
        loop {
            let mut fds = [
                PollFd::new(self.ctl.as_fd(), PollFlags::POLLIN),
                PollFd::new(parent.as_fd(), PollFlags::POLLIN),
            ];
            poll_again(&mut fds, PollTimeout::NONE)?;
            let gone = fds[1].revents().is_some_and(|events| !events.is_empty());
            if self.one_order()?.contains(&Order::Go) {
                return Ok(Some(self));
            }
            if gone {
                // If the folder was renamed, the task was published and must run, even though the
                // daemon died before it could send the order.
                if !self.dir.exists() {
                    return Ok(Some(self));
                }
                layout::remove_folder(&self.dir);
                return Ok(None);
            }
        }
    }

    /// Reads the spec, and updates the folder's path, id and workspace from it.
    pub fn spec(&mut self) -> io::Result<Spec> {
        let spec = Spec::parse(&fs::read(layout::SPEC)?)?;
        // The folder of an idle shim may have been published under another name.
        self.dir.set_file_name(&spec.id);
        self.id = id_of(&self.dir)?;
        self.workspace.set(layout::workspace_hash(&spec.workspace));
        if self.extent.total == 0 {
            self.extent.head_cap = spec.head_cap;
            self.extent.tail_cap = spec.tail_cap;
        }
        self.sheet.extent(&self.extent);
        Ok(spec)
    }

    pub fn id(&self) -> [u8; 8] {
        self.id
    }

    /// The task's folder.
    pub fn folder(&self) -> PathBuf {
        self.dir.clone()
    }

    /// Whether the shim before this one was killed before it started the leader, in this boot.
    pub fn has_waited(&self) -> bool {
        record::read(&self.record).is_ok_and(|record| record.phase == Phase::Idle)
            && self.is_of_this_boot()
    }

    /// Whether the task was spawned after the machine was booted.
    pub fn is_of_this_boot(&self) -> bool {
        record::read(&self.record).is_ok_and(|record| record.boot_id == clock::boot_id())
    }

    /// Declares the full abilities of this shim: it took over a task that was only waiting for its turn.
    pub fn begin(&mut self) {
        self.sheet.introduce(ctl::KNOWN);
    }

    /// The state directory.
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// The read end of the output's pipe.
    pub fn pipe(&self) -> &File {
        self.pipe.as_ref().expect("it is taken only while it is read")
    }

    /// Moves output from the pipe into the log, see [`Files::take_output`].
    pub fn take_pipe(&mut self, reads: usize) -> io::Result<u64> {
        let Some(pipe) = self.pipe.take() else { return Ok(0) };
        let taken = self.take_output(&pipe, reads);
        self.pipe = Some(pipe);
        taken
    }

    pub fn sheet(&mut self) -> &mut Sheet {
        &mut self.sheet
    }

    /// The last byte of the output.
    pub fn last_byte(&self) -> Option<u8> {
        self.last.last().copied()
    }

    /// Wakes the daemons and commands of the task's workspace.
    pub fn ring(&self, kind: Kind) {
        let message = Message { kind, id: self.id, workspace: self.workspace.get() };
        bell::ring(&self.state.join(layout::BELLS), message, None);
    }

    /// Rings the bell of the process that this idle shim waits for; the folder's name ends with that bell.
    fn ring_ready(&self) {
        let message = Message { kind: Kind::Ready, id: self.id, workspace: 0 };
        if let Some(bell) = self.dir.extension() {
            bell::ring_one(&self.state.join(layout::BELLS), bell, message);
        }
    }

    /// Reads all orders that have arrived.
    pub fn orders(&mut self) -> io::Result<Vec<Order>> {
        let mut bytes = [0; 4_096];
        match (&self.ctl).read(&mut bytes) {
            Ok(len) => self.orders.extend_from_slice(&bytes[..len]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        Ok(self.take_orders())
    }

    fn take_orders(&mut self) -> Vec<Order> {
        let orders = ctl::take(&mut self.orders, &self.id);
        self.taken += orders.len() as u64;
        self.sheet.took(self.taken);
        orders
    }

    /// Reads one order if one has arrived, and returns it if it is for this shim. Later orders stay in the
    /// FIFO: those after `Go` are for the task, which may have another id, and an order to stop may arrive
    /// before this process has read `Go`.
    fn one_order(&mut self) -> io::Result<Vec<Order>> {
        loop {
            let wanted = match self.orders[..] {
                [low, high, ..] => usize::from(u16::from_le_bytes([low, high])).max(2),
                _ => 2,
            };
            let missing = wanted.saturating_sub(self.orders.len());
            if missing == 0 {
                return Ok(self.take_orders());
            }
            let mut bytes = vec![0; missing];
            match (&self.ctl).read(&mut bytes) {
                Ok(len) => self.orders.extend_from_slice(&bytes[..len]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Vec::new()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Rings as soon as there is output behind `offset`, because a daemon asked for it.
    pub fn arm(&mut self, offset: u64) {
        if self.extent.total > offset {
            self.ring(Kind::Output);
        } else {
            self.armed = Some(self.armed.map_or(offset, |armed| armed.min(offset)));
        }
    }

    /// Moves available output from `source` into the log, at most `reads` full buffers. Returns how many
    /// bytes it moved; 0: there is none now, or the terminal was hung up.
    pub fn take_output(&mut self, mut source: &File, reads: usize) -> io::Result<u64> {
        let before = self.extent.total;
        if self.buffer.is_empty() {
            self.buffer = vec![0; BUFFER_BYTES];
        }
        for _ in 0..reads {
            let len = match source.read(&mut self.buffer) {
                Ok(len) => len,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // The task hung up its terminal.
                Err(error) if error.raw_os_error() == Some(libc::EIO) => break,
                Err(error) => return Err(error),
            };
            if len == 0 {
                break;
            }
            let sheet = &self.sheet;
            log::append(&self.record, &mut self.extent, &self.buffer[..len], |e| sheet.extent(e));
            keep_last(&mut self.last, &self.buffer[..len]);
            if len == self.buffer.len() && len < FLOOD_BYTES {
                self.buffer = vec![0; FLOOD_BYTES];
                // Best effort: the total size of a user's pipes is limited (pipe(7)), and a terminal has no pipe.
                let size = nix::fcntl::FcntlArg::F_SETPIPE_SZ(4 * FLOOD_BYTES as i32);
                let _ = nix::fcntl::fcntl(source, size);
            }
        }
        let taken = self.extent.total - before;
        if taken > 0 {
            self.sheet.last(&self.last);
            if self.armed.is_some_and(|offset| self.extent.total > offset) {
                self.armed = None;
                self.ring(Kind::Output);
            }
        }
        Ok(taken)
    }

    /// Frees the read buffer.
    pub fn calm(&mut self) {
        self.buffer = Vec::new();
    }

    /// Records that the shim is ending the tree, and why.
    pub fn stopping(&mut self, cause: &Cause) {
        self.sheet.stopping(cause);
        self.ring(Kind::Stopping);
    }

    /// How many processes of this control group the kernel had killed because of low memory when the task started.
    pub fn oom_kills(&self) -> Option<u64> {
        record::read(&self.record).ok()?.oom_kills
    }

    /// Records which processes could not be ended.
    pub fn left(&mut self, left: &[Process]) {
        let pids: Vec<u32> = left.iter().map(|process| process.pid).collect();
        self.sheet.left(&pids);
        self.ring(Kind::Stopping);
    }

    /// Writes the end.
    pub fn ended(&mut self, mut end: End, sync: bool) {
        end.total = self.extent.total;
        end.dropped = self.extent.dropped();
        self.extent.reserved = self.extent.total;
        self.sheet.extent(&self.extent);
        self.sheet.end(&end);
        if sync {
            // Other processes read the complete record from the page cache even if the disk fails.
            let _ = self.record.sync_data();
        }
    }

    /// Records the end of a task that could not be started, and rings.
    pub fn not_started(&mut self, error: &io::Error, sync: bool) {
        let errno = error.raw_os_error().unwrap_or(libc::EIO);
        let actor = match errno {
            libc::EAGAIN | libc::ENOMEM | libc::EMFILE | libc::ENFILE => Actor::Limit,
            _ => Actor::Daemon,
        };
        let cause = Cause { actor, message: format!("could not be started: {error}") };
        let end = End {
            outcome: Outcome::Exited,
            exit: Exit::NotStarted(errno),
            cause: Some(cause),
            at_ms: clock::wall_ms(),
            duration_ns: 0,
            total: 0,
            dropped: 0,
            survivors: Vec::new(),
        };
        self.ended(end, sync);
        self.ring(Kind::Ended);
    }

    /// Removes the files that only a running task needs. The working directory is the task's folder, whatever
    /// its current name is.
    pub fn clear(&self) -> io::Result<()> {
        if fs::remove_file(layout::PLAN).is_ok() {
            temporary::remove(Path::new("."));
        }
        Ok(())
    }

    /// Records the task's phase.
    pub fn phase(&mut self, phase: Phase) {
        self.sheet.phase(phase);
    }
}

fn keep_last(last: &mut Vec<u8>, data: &[u8]) {
    let data = &data[data.len().saturating_sub(record::LAST_BYTES)..];
    let excess = (last.len() + data.len()).saturating_sub(record::LAST_BYTES);
    last.drain(..excess);
    last.extend_from_slice(data);
}

/// Calls poll(2); an interruption by a signal counts as success.
pub fn poll_again(fds: &mut [PollFd], timeout: PollTimeout) -> io::Result<()> {
    match poll(fds, timeout) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}
