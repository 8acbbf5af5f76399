//! The state directory: creates it, and manages the tasks' folders in it.
//!
//! Holds only paths. Several processes may do everything here at once: a folder is published and
//! settled by renaming, and a missing file has been settled by another process.

mod lines;

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use meanwhile_shim::confine::Plan;
use meanwhile_shim::ctl::{self, Order};
use meanwhile_shim::launch::out_of_the_way;
use meanwhile_shim::layout::{self, remove_folder};
use meanwhile_shim::lock;
use meanwhile_shim::output;
use meanwhile_shim::record::{self, Phase, Record};
use meanwhile_shim::spec::{self, Kept, Spec};
use meanwhile_shim::temporary;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::Mode;
use nix::unistd::linkat;

pub use self::lines::InLine;
use crate::agent::vendor::secret_variables;
use crate::background::memory;
use crate::background::task::TaskId;
use crate::error::{Error, Limit, StoreFaultKind};

/// The shim's binary, built by `build.rs`.
static SHIM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/meanwhile-shim"));

/// Minimum age at which a shim's binary of another version is deleted: before that, its daemon may be about to
/// start one.
const STRAY_AGE: Duration = Duration::from_secs(10);

/// Bytes of the shim's binary that are read at a time.
const READ_BYTES: usize = 64 << 10;

/// The state directory.
#[derive(Debug, Clone)]
pub struct Home {
    root: PathBuf,
    shim: PathBuf,
}

fn unavailable(path: &Path, error: &io::Error) -> Error {
    let kind = match error.raw_os_error() {
        Some(libc::ENOSPC | libc::EDQUOT | libc::EFBIG) => StoreFaultKind::LittleSpace,
        Some(libc::EROFS | libc::EACCES | libc::EPERM) => StoreFaultKind::NotWritable,
        _ => StoreFaultKind::System,
    };
    Error::unavailable(kind, format!("`{}`: {error}", path.display()))
}

impl Home {
    /// Creates the state directory, accessible only to its owner, and puts the shim in it.
    pub fn open(root: &Path) -> Result<Self, Error> {
        let shim = root.join(layout::BIN).join(SHIM_NAME);
        let home = Self { root: root.to_owned(), shim };
        home.make_folders().map_err(|error| unavailable(root, &error))?;
        home.refuse_others()?;
        // Only so that a person can see the file: the shim also runs from memory.
        let _ = home.install_shim();
        Ok(home)
    }

    /// Creates the missing folders. Creates nothing in another user's directory.
    pub fn make_folders(&self) -> io::Result<()> {
        let private = |path: &Path| DirBuilder::new().recursive(true).mode(0o700).create(path);
        private(&self.root)?;
        let root = fs::metadata(&self.root)?;
        if root.uid() != nix::unistd::geteuid().as_raw() {
            return Ok(());
        }
        let mode = root.permissions().mode();
        if mode & 0o077 != 0 {
            fs::set_permissions(&self.root, PermissionsExt::from_mode(0o700))?;
        }
        for folder in [layout::BELLS, layout::ATTACHED, layout::LIVE, layout::DONE, layout::BIN] {
            private(&self.root.join(folder))?;
        }
        Ok(())
    }

    /// Refuses a state directory that another user controls: that user could replace what is run and read from
    /// it.
    fn refuse_others(&self) -> Result<(), Error> {
        let user = nix::unistd::geteuid().as_raw();
        let folders = [
            layout::BELLS,
            layout::ATTACHED,
            layout::LIVE,
            layout::DONE,
            layout::BIN,
            layout::LEDGER,
        ];
        let inside = folders.map(|folder| self.root.join(folder));
        for path in std::iter::once(&self.root).chain(&inside) {
            let owner = fs::symlink_metadata(path).map_or(user, |found| found.uid());
            if owner != user {
                let reason = format!(
                    "`{}` belongs to user {owner}, and this process runs as user {user}",
                    path.display()
                );
                return Err(Error::unavailable(StoreFaultKind::Foreign, reason));
            }
        }
        Ok(())
    }

    /// Writes the shim's binary into the state directory, unless it seems to be there.
    fn install_shim(&self) -> io::Result<()> {
        if fs::metadata(&self.shim).is_ok_and(|file| file.len() == SHIM.len() as u64) {
            return Ok(());
        }
        self.write_shim()
    }

    fn write_shim(&self) -> io::Result<()> {
        write_shim(&self.shim)
    }

    /// Deletes shims of versions that are no longer in use. A running shim keeps its file open.
    pub fn remove_old_shims(&self) {
        let Ok(entries) = fs::read_dir(self.root.join(layout::BIN)) else { return };
        for entry in entries.flatten().filter(|entry| entry.path() != self.shim) {
            let old = entry.metadata().and_then(|file| file.modified()).ok();
            if old.and_then(|at| at.elapsed().ok()).is_some_and(|age| age > STRAY_AGE) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// The state directory's path.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Opens the shim's binary, to be executed through its descriptor. It is verified, because a power loss or
    /// another program may have left a file of the same length with other contents; such a file is replaced. If
    /// there can be no file, a copy in memory is used.
    pub fn open_shim(&self) -> io::Result<OwnedFd> {
        let whole = || File::open(&self.shim).ok().filter(|file| is_shim(file).unwrap_or(false));
        match whole().or_else(|| self.write_shim().ok().and_then(|()| whole())) {
            Some(file) => out_of_the_way(file.into()),
            None => shim_in_memory().map_err(|error| {
                io::Error::other(format!(
                    "the supervisor's program `{}` can neither be written to disk nor kept in memory: {error}",
                    self.shim.display()
                ))
            }),
        }
    }

    /// The folder of doorbells.
    pub fn bells(&self) -> PathBuf {
        self.root.join(layout::BELLS)
    }

    /// Creates the folder of an idle shim, named after the bell of the process that the shim waits for.
    pub fn idle_folder(&self, bell: &str) -> io::Result<(TaskId, PathBuf)> {
        loop {
            let id = self.free_id();
            let folder = self.idle_path(id, bell);
            match DirBuilder::new().mode(0o700).create(&folder) {
                Ok(()) => return Ok((id, folder)),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn free_id(&self) -> TaskId {
        loop {
            let id = TaskId::random();
            if self.is_free(id) {
                return id;
            }
        }
    }

    /// Whether this id is unused.
    pub fn is_free(&self, id: TaskId) -> bool {
        !self.live(id).exists() && !self.done(id).exists()
    }

    fn idle_path(&self, id: TaskId, bell: &str) -> PathBuf {
        self.root.join(layout::LIVE).join(format!(".{id}.{bell}"))
    }

    /// The folder of a live task.
    pub fn live(&self, id: TaskId) -> PathBuf {
        self.root.join(layout::LIVE).join(id.as_str())
    }

    /// The file with an ended task's record and log.
    pub fn done(&self, id: TaskId) -> PathBuf {
        self.root.join(layout::DONE).join(id.as_str())
    }

    /// The live tasks of all workspaces.
    pub fn live_ids(&self) -> io::Result<Vec<TaskId>> {
        let entries = fs::read_dir(self.root.join(layout::LIVE))?;
        Ok(entries.flatten().filter_map(|e| e.file_name().to_str()?.parse().ok()).collect())
    }

    /// The spec of a live task.
    pub fn spec(&self, id: TaskId) -> io::Result<Spec> {
        let spec = Spec::parse(&layout::read_spec(&self.live(id).join(layout::SPEC))?)?;
        // The folder may have been reused for another task while the path was resolved.
        if spec.id == id.as_str() { Ok(spec) } else { Err(ErrorKind::NotFound.into()) }
    }

    /// The parameters that a live or ended task was started with.
    pub fn kept(&self, id: TaskId) -> io::Result<Kept> {
        let live = self.live(id).join(layout::SPEC);
        // It may be settled between the two attempts.
        let bytes = layout::read_spec(&live)
            .or_else(|_| layout::read_spec(&self.kept_spec(id)))
            .or_else(|_| layout::read_spec(&live))?;
        let kept = Kept::parse(&bytes)?;
        if kept.base.is_empty() && !kept.spec.whole {
            return Err(io::Error::new(ErrorKind::NotFound, "an older version started it"));
        }
        // The folder may have been reused for another task while the path was resolved.
        if kept.spec.id == id.as_str() { Ok(kept) } else { Err(ErrorKind::NotFound.into()) }
    }

    /// The confinement plan of a live task; `None`: it is not confined.
    pub fn plan(&self, id: TaskId) -> io::Result<Option<Plan>> {
        let bytes = match fs::read(self.live(id).join(layout::PLAN)) {
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            bytes => Some(bytes?),
        };
        // The folder may have been reused for another task, or removed.
        self.record(id)?;
        bytes.map(|bytes| Plan::parse(&bytes)).transpose()
    }

    fn kept_spec(&self, id: TaskId) -> PathBuf {
        self.root.join(layout::DONE).join(format!("{id}.{}", layout::SPEC))
    }

    /// Stores an ended task's spec next to its record, without model API keys. If this fails, the task cannot
    /// be restarted, and a restart reports so.
    fn keep_spec(&self, id: TaskId, folder: &Path) {
        let (from, to) = (folder.join(layout::SPEC), self.kept_spec(id));
        let Ok(bytes) = layout::read_spec(&from) else { return };
        let is_key = |name: &OsStr| secret_variables().any(|secret| name == secret);
        let Some(bytes) = spec::without_keys(&bytes, is_key) else {
            let _ = fs::rename(from, to);
            return;
        };
        // Renamed, so that a restart never reads the first part of it. A crash may have left the file.
        let new = folder.join(layout::NEW_SPEC);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let _ = options
            .open(&new)
            .and_then(|mut file| file.write_all(&bytes))
            .and_then(|()| fs::rename(&new, to));
    }

    /// Opens the record and log of a task, live or ended.
    pub fn record_file(&self, id: TaskId) -> io::Result<File> {
        // It may be settled between the two attempts.
        self.live_record(id)
            .or_else(|_| layout::open_regular(&self.done(id)))
            .or_else(|_| self.live_record(id))
    }

    /// The record in the folder of a live task. The folder may be reused for another task while the path is
    /// resolved, but it never gets this name again: if the name still exists afterwards, the record is this
    /// task's.
    fn live_record(&self, id: TaskId) -> io::Result<File> {
        let folder = self.live(id);
        let file = layout::open_regular(&folder.join(layout::RECORD))?;
        fs::metadata(folder).map(|_| file)
    }

    /// The record of a task.
    pub fn record(&self, id: TaskId) -> io::Result<Record> {
        record::read(&self.record_file(id)?)
    }

    /// Whether a shim supervises the task.
    pub fn is_supervised(&self, id: TaskId) -> bool {
        self.live_record(id).and_then(|file| lock::is_held(&file)).unwrap_or(false)
    }

    /// Sends an order to a task's shim; ENXIO if there is none.
    pub fn order(&self, id: TaskId, order: &Order) -> io::Result<()> {
        order.send(&ctl::open(&self.live(id).join(layout::CTL))?, id.as_bytes())
    }

    /// Moves the record of an ended task to the ended ones and puts its folder away. Any process may do so,
    /// several at once.
    pub fn settle(&self, id: TaskId) {
        // The folder may only be removed once the record is known to be kept.
        if self.keep_record(id).is_ok()
            && let Ok(folder) = self.claim(id)
        {
            self.keep_spec(id, &folder);
            remove_folder(&folder);
        }
    }

    /// Like [`Home::settle`], but reuses the folder for an idle shim. Only for the process that started the
    /// task's shim, after the shim has ended: no other process then uses paths into the folder.
    pub fn settle_and_reuse(&self, id: TaskId, bell: &str) -> io::Result<(TaskId, PathBuf)> {
        if self.live(id).join(layout::TEMPORARY).exists() {
            // The task's shim or a chore deletes this, which may take long; until then no other task may start
            // in it.
            return Err(ErrorKind::DirectoryNotEmpty.into());
        }
        fs::rename(self.live(id).join(layout::RECORD), self.done(id))?;
        self.keep_spec(id, &self.live(id));
        let new = self.free_id();
        let folder = self.idle_path(new, bell);
        fs::rename(self.live(id), &folder)?;
        let _ = fs::remove_file(folder.join(layout::PLAN));
        // If another process had already linked it, the first rename left both names.
        match fs::remove_file(folder.join(layout::RECORD)) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                remove_folder(&folder);
                Err(error)
            }
            Ok(()) | Err(_) => Ok((new, folder)),
        }
    }

    /// Gives the record of an ended task its second name, under which ended tasks are found. It is never
    /// without a name. The open file is linked, not a path: while a path is resolved, the folder may be reused
    /// for another task.
    fn keep_record(&self, id: TaskId) -> io::Result<()> {
        let done = self.done(id);
        let linked = match self.live_record(id) {
            Ok(record) => {
                let open = format!("/proc/self/fd/{}", record.as_raw_fd());
                let follow = AtFlags::AT_SYMLINK_FOLLOW;
                linkat(AT_FDCWD, open.as_str(), AT_FDCWD, &done, follow).map_err(io::Error::from)
            }
            // Another process was faster.
            Err(_) if done.exists() => return Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(error),
            Err(error) => Err(error),
        };
        match linked {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            // There is no descriptor left, or no hard links here, or no /proc. With exclusive access to the
            // folder, the file can be moved.
            Err(_) => {
                let folder = self.claim(id)?;
                let moved = fs::rename(folder.join(layout::RECORD), &done);
                let back = fs::rename(&folder, self.live(id));
                moved.and(back)
            }
        }
    }

    /// Takes the folder of a live task for this caller only: of several callers, one gets it. Changes to the
    /// files in it then cannot affect another task. If the caller dies, the next start removes it as a folder
    /// without a bell.
    fn claim(&self, id: TaskId) -> io::Result<PathBuf> {
        let folder = self.idle_path(id, TaskId::random().as_str());
        fs::rename(self.live(id), &folder)?;
        Ok(folder)
    }

    /// Deletes a task's stored files.
    pub fn delete(&self, id: TaskId) {
        let _ = fs::remove_file(self.done(id));
        let _ = fs::remove_file(self.kept_spec(id));
        if !self.is_supervised(id) {
            self.delete_refused(id);
        }
    }

    /// Whether the owner of a bell is alive. The bell's name identifies its owner in leases too.
    pub fn is_bell_alive(&self, bell: &str) -> bool {
        ctl::open(&self.bells().join(bell)).is_ok()
    }

    /// Removes folders of idle shims that were killed, and remains of ended tasks.
    pub fn remove_strays(&self) {
        let Ok(entries) = fs::read_dir(self.root.join(layout::LIVE)) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let record = layout::open_regular(&entry.path().join(layout::RECORD));
            let held = record.and_then(|file| lock::is_held(&file)).unwrap_or(false);
            let stray = match name.to_str().and_then(|name| name.strip_prefix('.')) {
                // If an idle shim's process has ended, the shim removes its folder itself, unless it was killed
                // too.
                Some(idle) => {
                    idle.split_once('.').is_none_or(|(_, bell)| !self.is_bell_alive(bell))
                }
                // A live task always has a spec: this one has ended and is partly put away.
                None => !entry.path().join(layout::SPEC).exists(),
            };
            if stray && !held {
                match name.to_str().and_then(|name| name.parse().ok()) {
                    Some(id) => self.delete_refused(id),
                    None => remove_folder(&entry.path()),
                }
            }
        }
    }

    /// Deletes specs of tasks that were removed by older programs, which do not know of these files.
    pub fn remove_old_specs(&self) {
        let Ok(entries) = fs::read_dir(self.root.join(layout::DONE)) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let id = name.to_str().and_then(|name| name.strip_suffix(".spec")?.parse().ok());
            if id.is_some_and(|id: TaskId| self.is_free(id)) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// Removes the folder of a task that never existed.
    pub fn delete_refused(&self, id: TaskId) {
        if let Ok(folder) = self.claim(id) {
            remove_folder(&folder);
        }
    }

    /// Ended tasks whose file is older than `age`.
    pub fn done_older_than(&self, age: Duration) -> Vec<TaskId> {
        let Ok(entries) = fs::read_dir(self.root.join(layout::DONE)) else { return Vec::new() };
        let is_old = |entry: &fs::DirEntry| {
            let modified = entry.metadata().and_then(|file| file.modified()).ok();
            modified.and_then(|at| at.elapsed().ok()).is_some_and(|elapsed| elapsed > age)
        };
        let old = entries.flatten().filter(is_old);
        old.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
    }

    /// Opens the pipe of a task's output, to hold it open: a pipe that no process has open loses its contents.
    pub fn open_pipe(&self, id: TaskId) -> Option<File> {
        let record = self.record(id).ok()?;
        if record.pipe == 0 || record.leader_pid == 0 {
            return None;
        }
        output::find(record.pipe, &[record.leader_pid], output::End::Both)
    }

    /// Opens a task's standard input for writing, without waiting. Fails with ENXIO if it is too early.
    pub fn open_input(&self, id: TaskId) -> io::Result<File> {
        let fifo = self.live(id).join(layout::STDIN);
        let record = self.record(id)?;
        let holders = [record.shim_pid, record.leader_pid];
        match record.phase {
            // A terminal's FIFO, or that of a task started by version 0.1.0.
            _ if fifo.exists() => output::open(&fifo, output::End::Write),
            Phase::Idle | Phase::Starting => Err(io::Error::from_raw_os_error(libc::ENXIO)),
            Phase::Running | Phase::Stopping | Phase::Ended => {
                let found = output::find(record.input, &holders, output::End::Write);
                found.ok_or_else(|| ErrorKind::NotFound.into())
            }
        }
    }

    /// Creates the FIFO that feeds a task's terminal.
    pub fn make_input(&self, folder: &Path) -> io::Result<()> {
        Ok(nix::unistd::mkfifo(&folder.join(layout::STDIN), Mode::S_IRUSR | Mode::S_IWUSR)?)
    }

    /// Creates the plan and the temporary directory for a confined task in its folder.
    pub fn confine(&self, folder: &Path, id: TaskId, plan: &Plan) -> io::Result<()> {
        DirBuilder::new().mode(0o700).create(folder.join(layout::TEMPORARY))?;
        // Uses the folder's final name, and resolves symbolic links on the path to the state directory: a plan
        // cannot grant a path that contains one.
        let live = self.root.join(layout::LIVE).canonicalize()?;
        let temporary = live.join(id.as_str()).join(layout::TEMPORARY);
        fs::write(folder.join(layout::PLAN), plan.to_bytes(&temporary))
    }

    /// Opens the file that all daemons of a workspace lock, with a shared lock on it.
    pub fn attach(&self, workspace: u64) -> io::Result<File> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(layout::attached(&self.root, workspace))?;
        lock::shared(&file)?;
        Ok(file)
    }

    /// Bytes that can be written to the state directory; `None` if the system does not report them.
    pub fn free_bytes(&self) -> Option<u64> {
        let stat = nix::sys::statvfs::statvfs(&self.root).ok()?;
        Some(stat.blocks_available().saturating_mul(stat.fragment_size()))
    }

    /// Bytes that the store takes up on disk.
    pub fn disk_usage(&self) -> u64 {
        let size = |folder: &str| -> u64 {
            let Ok(entries) = fs::read_dir(self.root.join(folder)) else { return 0 };
            entries
                .flatten()
                .map(|entry| {
                    let bytes = |file: fs::Metadata| file.blocks() * 512;
                    match fs::metadata(entry.path().join(layout::RECORD)) {
                        Ok(record) => bytes(record) + temporary::size(&entry.path()),
                        Err(_) => entry.metadata().map_or(0, bytes),
                    }
                })
                .sum()
        };
        let ledger = fs::read_dir(&self.root).map_or(0, |entries| {
            entries.flatten().filter_map(|e| e.metadata().ok()).map(|m| m.blocks() * 512).sum()
        });
        size(layout::LIVE) + size(layout::DONE) + ledger
    }
}

/// The name of the shim's binary of this version.
const SHIM_NAME: &str = concat!("meanwhile-shim-", env!("MEANWHILE_SHIM_CRC"));

/// Puts the shim's binary into a folder, unless it is there; returns its path.
pub fn put_shim(folder: &Path) -> io::Result<PathBuf> {
    let path = folder.join(SHIM_NAME);
    let is_there = File::open(&path).is_ok_and(|file| is_shim(&file).unwrap_or(false));
    if !is_there {
        write_shim(&path)?;
    }
    Ok(path)
}

fn write_shim(path: &Path) -> io::Result<()> {
    // Another process may do the same: each writes its own file, and the last rename wins.
    let new = path.with_extension(TaskId::random().as_str());
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o700).open(&new)?;
        file.write_all(SHIM)?;
        memory::let_go(SHIM);
        drop(file);
        fs::rename(&new, path)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written
}

/// Whether this file is this version's shim. Uses its checksum: a comparison with the embedded binary would
/// take half a megabyte more of memory.
fn is_shim(mut file: &File) -> io::Result<bool> {
    if file.metadata()?.len() != SHIM.len() as u64 {
        return Ok(false);
    }
    let mut hasher = crc32fast::Hasher::new();
    let mut bytes = vec![0; READ_BYTES];
    loop {
        match file.read(&mut bytes)? {
            0 => break,
            len => hasher.update(&bytes[..len]),
        }
    }
    Ok(format!("{:08x}", hasher.finalize()) == env!("MEANWHILE_SHIM_CRC"))
}

/// The shim's binary as a memory file, for a store on a mount that allows no programs.
pub fn shim_in_memory() -> io::Result<OwnedFd> {
    let make = |flags| memfd_create(layout::SHIM, MFdFlags::MFD_CLOEXEC | flags);
    // A kernel before 6.3 does not know the flag, and makes all such files executable.
    let memory =
        make(MFdFlags::from_bits_retain(libc::MFD_EXEC)).or_else(|_| make(MFdFlags::empty()))?;
    let mut file = File::from(memory);
    file.write_all(SHIM)?;
    memory::let_go(SHIM);
    // Reopened for reading: a file that is open for writing cannot be executed.
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    out_of_the_way(File::open(path)?.into())
}

/// Converts a file system error for the caller.
pub fn io_error(path: &Path, error: &io::Error) -> Error {
    match error.raw_os_error() {
        Some(libc::EMFILE | libc::ENFILE) => Error::LimitReached {
            limit: Limit::OpenFiles,
            message: "too many open files".to_owned(),
        },
        _ => unavailable(path, error),
    }
}

#[cfg(test)]
mod tests;
