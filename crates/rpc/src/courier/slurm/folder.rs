//! The files of tasks on the file system that this machine shares with the nodes.
//!
//! They are made of their full sizes and forced out before the task is submitted, and never renamed: what is made
//! after the first look may not be seen for a while. Readers open them again each time.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use meanwhile_core::background::places;
use meanwhile_core::background::words::reason;
use meanwhile_shim::map::Map;
use meanwhile_shim::node::{self, BEAT_BYTES, Beat, NOTE_BYTES, Note};
use meanwhile_shim::record::{self, HEADER_BYTES, Outcome, Record};
use meanwhile_shim::spec::Spec;
use meanwhile_shim::{clock, layout, lock, log, place};

use crate::courier::ends;

/// Bytes of a record as it is made: with room for a short output.
const RECORD_BYTES: usize = HEADER_BYTES + 8_192;
/// What a claim contains that this side has taken. A keeper's is empty.
const CLOSED: &[u8] = b"closed\n";
/// How long no courier has used a shim that is removed.
const UNUSED: Duration = Duration::from_secs(7 * 24 * 3_600);
/// How long a folder is without a spec that is removed: longer than it takes to make one.
const UNFINISHED: Duration = Duration::from_secs(3_600);
/// Bytes of what a job said that are read.
const SAID_BYTES: u64 = 2_048;

/// The shared directory, ready for tasks.
#[derive(Debug, Clone)]
pub(super) struct Shared {
    pub(super) root: PathBuf,
    /// The shim.
    pub(super) shim: PathBuf,
    /// Its name, which no other shared directory has.
    pub(super) store: String,
}

impl Shared {
    /// Makes what is missing, and tries what shims need of a file system.
    ///
    /// # Errors
    ///
    /// The directory cannot be used, and why.
    pub(super) fn prepare(root: &Path) -> Result<Self, String> {
        let prepared = || -> io::Result<Self> {
            for folder in [root.to_owned(), root.join(node::TASKS), root.join(layout::BIN)] {
                DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
            }
            let shim = places::put_shim(&root.join(layout::BIN))?;
            // Another version removes it some time after that.
            let _ = File::open(&shim).and_then(|file| file.set_modified(SystemTime::now()));
            Ok(Self { root: root.to_owned(), shim, store: place::installation(root)? })
        };
        let shared = prepared().map_err(|error| reason(&error))?;
        try_folder(root)?;
        Ok(shared)
    }

    pub(super) fn task(&self, id: &str) -> PathBuf {
        self.root.join(node::TASKS).join(id)
    }

    /// The folders of tasks, by their ids.
    pub(super) fn folders(&self) -> io::Result<Vec<(String, PathBuf)>> {
        let entries = fs::read_dir(self.root.join(node::TASKS))?.flatten();
        Ok(entries.filter_map(|it| Some((it.file_name().into_string().ok()?, it.path()))).collect())
    }

    /// The name of the shim's file.
    fn shim_name(&self) -> &str {
        self.shim.file_name().and_then(|name| name.to_str()).unwrap_or_default()
    }

    /// Removes shims other than this version's and these, which no courier has used for a while.
    pub(super) fn remove_shims(&self, used: &[String]) {
        for entry in fs::read_dir(self.root.join(layout::BIN)).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name != self.shim_name() && !used.contains(&name) && is_older(&entry.path(), UNUSED)
            {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// Errors that say nothing about the kind of file system.
const PASSING: [io::ErrorKind; 4] = [
    io::ErrorKind::StorageFull,
    io::ErrorKind::QuotaExceeded,
    io::ErrorKind::PermissionDenied,
    io::ErrorKind::ReadOnlyFilesystem,
];

/// Tries what shims need of the file system on which this folder is: locks, FIFOs and shared mappings.
///
/// # Errors
///
/// The text says what it refuses.
fn try_folder(folder: &Path) -> Result<(), String> {
    // Couriers on other hosts do the same.
    let unique = format!("{}-{}", std::process::id(), clock::wall_ms());
    let name = |what: &str| folder.join(format!(".{what}-{unique}"));
    let (file_name, fifo_name) = (name("trial"), name("fifo"));
    let refused = |what: &str, error: &io::Error| match PASSING.contains(&error.kind()) {
        true => format!("{what} cannot be made in it: {}", reason(error)),
        false => format!(
            "its file system refuses {what} ({}), which tasks need; expected a file system with POSIX locks, FIFOs \
             and shared mappings, such as NFS 4, or Lustre mounted with `flock`",
            reason(error)
        ),
    };
    let tried = || -> Result<(), String> {
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(true).mode(0o600);
        let file = options.open(&file_name).map_err(|error| refused("new files", &error))?;
        file.write_all_at(&[0; 4_096], 0).map_err(|error| refused("4 KiB", &error))?;
        lock::exclusive(&file).map_err(|error| refused("locks", &error))?;
        Map::new(&file, 4_096).map_err(|error| refused("shared mappings", &error))?;
        nix::unistd::mkfifo(&fifo_name, nix::sys::stat::Mode::S_IRWXU)
            .map_err(|errno| refused("FIFOs", &errno.into()))
    };
    let outcome = tried();
    for path in [file_name, fifo_name] {
        let _ = std::fs::remove_file(path);
    }
    outcome
}

/// Whether the file or folder was changed before this time, at least.
fn is_older(path: &Path, age: Duration) -> bool {
    let changed = fs::metadata(path).and_then(|it| it.modified());
    changed.is_ok_and(|at| SystemTime::now().duration_since(at).is_ok_and(|passed| passed > age))
}

/// Whether the folder of a task was there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Made {
    New,
    Before,
}

/// Makes the folder of a task.
///
/// # Errors
///
/// The file system's; `AlreadyExists`: it is another task's.
pub(super) fn make(shared: &Shared, spec: &Spec) -> io::Result<Made> {
    let dir = &shared.task(&spec.id);
    let created = DirBuilder::new().mode(0o700).create(dir);
    let is_new = match created {
        Ok(()) => true,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
        Err(error) => return Err(error),
    };
    if !is_new {
        use io::ErrorKind::{InvalidData, NotFound, UnexpectedEof};
        match self::spec(dir) {
            Ok(found) => {
                return match found.client_token == spec.client_token {
                    true => whole(dir).map(|()| Made::Before),
                    false => Err(io::ErrorKind::AlreadyExists.into()),
                };
            }
            // One that is cut off was never submitted, and is made again.
            Err(error) if matches!(error.kind(), InvalidData | NotFound | UnexpectedEof) => {}
            Err(error) => return Err(error),
        }
    }
    whole(dir)?;
    change_note(dir, |note| shared.shim_name().clone_into(&mut note.shim))?;
    let mut file = private(dir, layout::SPEC)?;
    file.set_len(0)?;
    file.write_all(&spec.to_bytes())?;
    file.sync_all()?;
    for folder in [Some(dir.as_path()), dir.parent()].into_iter().flatten() {
        File::open(folder)?.sync_all()?;
    }
    Ok(Made::New)
}

fn private(dir: &Path, name: &str) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600).open(dir.join(name))
}

/// Gives the files of a task their full sizes.
fn whole(dir: &Path) -> io::Result<()> {
    let sizes = [(layout::RECORD, RECORD_BYTES), (node::BEAT, BEAT_BYTES), (node::JOB, NOTE_BYTES)];
    for (name, bytes) in sizes {
        let file = private(dir, name)?;
        let len = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
        if len < bytes {
            // Written, not extended: room that is missing is to be noticed here.
            file.write_all_at(&vec![0; bytes - len], len as u64)?;
            file.sync_all()?;
        }
    }
    Ok(())
}

/// Notes Slurm's number of a task.
pub(super) fn note_job(dir: &Path, number: &str) -> io::Result<()> {
    change_note(dir, |note| number.clone_into(&mut note.number))
}

/// Leaves the order to stop the task for its keeper.
pub(super) fn order_stop(dir: &Path, signal: i32, grace: Duration) -> io::Result<()> {
    change_note(dir, |note| note.stop = Some((signal, grace)))
}

fn change_note(dir: &Path, change: impl FnOnce(&mut Note)) -> io::Result<()> {
    let file = private(dir, node::JOB)?;
    let mut note = Note::read(&file)?;
    change(&mut note);
    note.write(&file)
}

/// What is noted of a task; empty where it cannot be read.
pub(super) fn note(dir: &Path) -> Note {
    let file = layout::open_regular(&dir.join(node::JOB));
    file.and_then(|file| Note::read(&file)).unwrap_or_default()
}

/// Whether the task is claimed, as far as is seen here.
pub(super) fn is_claimed(dir: &Path) -> bool {
    dir.join(node::CLAIM).exists()
}

/// How long ago Slurm's number was noted.
pub(super) fn job_age(dir: &Path) -> Option<Duration> {
    let noted = fs::metadata(dir.join(node::JOB)).ok()?.modified().ok()?;
    SystemTime::now().duration_since(noted).ok()
}

/// What was submitted.
pub(super) fn spec(dir: &Path) -> io::Result<Spec> {
    layout::read_spec(&dir.join(layout::SPEC)).and_then(|bytes| Spec::parse(&bytes))
}

/// What the node has written so far. No record: it has not begun.
pub(super) fn look(dir: &Path) -> io::Result<(Beat, Option<(File, Record)>)> {
    let beat = Beat::read(&layout::open_regular(&dir.join(node::BEAT))?)?;
    let file = layout::open_regular(&dir.join(layout::RECORD))?;
    match record::read(&file) {
        Ok(record) => Ok((beat, Some((file, record)))),
        // It is made of zeros.
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok((beat, None)),
        Err(error) => Err(error),
    }
}

/// Takes the claim, so that no keeper can begin the task any more, and stores how the task ended, in case this courier
/// is killed before it has told that. `false`: a keeper has it.
///
/// # Errors
///
/// The file system's: it is not known whether a keeper can begin it.
pub(super) fn close(dir: &Path, outcome: Outcome, message: &str) -> io::Result<bool> {
    let path = dir.join(node::CLAIM);
    let mut options = OpenOptions::new();
    match options.write(true).create_new(true).mode(0o600).open(&path) {
        Ok(mut claim) => {
            let end = format!("{}\n{message}", ends::state(outcome));
            claim.write_all(&[CLOSED, end.as_bytes()].concat())?;
            claim.sync_all()?;
            Ok(true)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Ok(fs::read(&path)?.starts_with(CLOSED))
        }
        Err(error) => Err(error),
    }
}

/// How a task ended whose claim a courier has taken; `None`: a keeper has it, or it is not known.
pub(super) fn closed(dir: &Path) -> Option<(Outcome, String)> {
    let claim = fs::read(dir.join(node::CLAIM)).ok()?;
    let end = String::from_utf8_lossy(claim.strip_prefix(CLOSED)?);
    let (outcome, message) = end.split_once('\n')?;
    Some((ends::outcome(outcome)?, message.to_owned()))
}

/// What the job said, if anything.
pub(super) fn said(dir: &Path) -> String {
    let mut bytes = vec![0; SAID_BYTES as usize];
    let file = layout::open_regular(&dir.join(node::OUT));
    let read = file.and_then(|file| {
        let from = file.metadata()?.len().saturating_sub(SAID_BYTES);
        file.read_at(&mut bytes, from)
    });
    bytes.truncate(read.unwrap_or(0));
    String::from_utf8_lossy(&bytes).trim().to_owned()
}

/// A piece of output.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) offset: u64,
    pub(super) data: Vec<u8>,
    /// Bytes before it are not kept.
    pub(super) gap: Option<(u64, u64)>,
    pub(super) is_last: bool,
}

/// Reads at most `limit` bytes of output from `offset` on, as far as it is seen here.
pub(super) fn read(dir: &Path, offset: u64, limit: u64) -> io::Result<Piece> {
    let (beat, found) = look(dir)?;
    let nothing = Piece { offset, data: Vec::new(), gap: None, is_last: false };
    let Some((file, record)) = found else { return Ok(nothing) };
    let total = record.extent.total.min(beat.synced.max(written(&record)));
    let kept = record.extent.next_kept(offset).filter(|kept| kept.start < total);
    let Some(kept) = kept else {
        let is_last = record.end.is_some() && offset.max(total) >= record.extent.total;
        let gap = (offset < total).then_some((offset, total));
        return Ok(Piece { offset: offset.max(total), gap, is_last, ..nothing });
    };
    let end = kept.end.min(total).min(kept.start.saturating_add(limit));
    let data = log::read(&file, &record.extent, kept.start..end)?;
    // What was overwritten meanwhile is not kept any more.
    let still = record::read(&file).ok().and_then(|now| now.extent.next_kept(kept.start));
    if still.is_none_or(|still| still.start != kept.start || still.end < end) {
        return Ok(nothing);
    }
    let gap = (kept.start > offset).then_some((offset, kept.start));
    let is_last = record.end.is_some() && end >= record.extent.total;
    Ok(Piece { offset: kept.start, data, gap, is_last })
}

/// Bytes of output that are seen for sure: all, once the end of the task is a while ago.
fn written(record: &Record) -> u64 {
    let age = |end: &record::End| clock::wall_ms().saturating_sub(end.at_ms);
    match &record.end {
        Some(end) if age(end) > super::SEEN_MS => end.total,
        Some(_) | None => 0,
    }
}

/// Takes the folder of a task away.
pub(super) fn remove(dir: &Path) {
    // The spec first and the claim last: a job that starts meanwhile finds no task, or a claimed one.
    for name in [layout::SPEC, layout::RECORD, node::BEAT, node::JOB, node::OUT, node::CLAIM] {
        let _ = fs::remove_file(dir.join(name));
    }
    layout::remove_folder(dir);
}

/// Takes away a folder that has no spec: one that was never finished, or that a courier was removing when it was killed.
pub(super) fn remove_old(dir: &Path) {
    if is_older(dir, UNFINISHED) {
        remove(dir);
    }
}
