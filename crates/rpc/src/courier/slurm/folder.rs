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
use meanwhile_shim::node::{self, BEAT_BYTES, Beat, JOB_BYTES};
use meanwhile_shim::record::{self, HEADER_BYTES, Record};
use meanwhile_shim::spec::Spec;
use meanwhile_shim::{layout, log, place};

/// Bytes of a record as it is made: with room for a short output.
const RECORD_BYTES: usize = HEADER_BYTES + 8_192;
/// What a claim contains that this side has taken. A keeper's is empty.
const CLOSED: &[u8] = b"closed\n";
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
    /// Makes what is missing.
    pub(super) fn prepare(root: &Path) -> io::Result<Self> {
        for folder in [root.to_owned(), root.join(node::TASKS), root.join(layout::BIN)] {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        let shim = places::put_shim(&root.join(layout::BIN))?;
        Ok(Self { root: root.to_owned(), shim, store: place::installation(root)? })
    }

    pub(super) fn task(&self, id: &str) -> PathBuf {
        self.root.join(node::TASKS).join(id)
    }
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
pub(super) fn make(dir: &Path, spec: &Spec) -> io::Result<Made> {
    let created = DirBuilder::new().mode(0o700).create(dir);
    let is_new = match created {
        Ok(()) => true,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
        Err(error) => return Err(error),
    };
    if !is_new && let Ok(bytes) = layout::read_spec(&dir.join(layout::SPEC)) {
        // One that is cut off was never submitted, and is made again.
        if let Ok(found) = Spec::parse(&bytes) {
            return match found.client_token == spec.client_token {
                true => whole(dir).map(|()| Made::Before),
                false => Err(io::ErrorKind::AlreadyExists.into()),
            };
        }
    }
    whole(dir)?;
    let mut file = private(dir, layout::SPEC)?;
    file.write_all(&spec.to_bytes())?;
    file.sync_all()?;
    for folder in [Some(dir), dir.parent()].into_iter().flatten() {
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
    let sizes = [(layout::RECORD, RECORD_BYTES), (node::BEAT, BEAT_BYTES), (node::JOB, JOB_BYTES)];
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
    let mut bytes = [0; JOB_BYTES];
    let len = number.len().min(JOB_BYTES);
    bytes[..len].copy_from_slice(&number.as_bytes()[..len]);
    let file = private(dir, node::JOB)?;
    file.write_all_at(&bytes, 0)?;
    file.sync_all()
}

/// Slurm's number of a task; empty: none is noted.
pub(super) fn job(dir: &Path) -> String {
    let mut bytes = [0; JOB_BYTES];
    let file = layout::open_regular(&dir.join(node::JOB));
    match file.and_then(|file| file.read_exact_at(&mut bytes, 0)) {
        Ok(()) => node::text(&bytes),
        Err(_) => String::new(),
    }
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

/// Takes the claim, so that no keeper can begin the task any more. `false`: a keeper has it.
///
/// # Errors
///
/// The file system's: it is not known whether a keeper can begin it.
pub(super) fn close(dir: &Path) -> io::Result<bool> {
    let path = dir.join(node::CLAIM);
    let mut options = OpenOptions::new();
    match options.write(true).create_new(true).mode(0o600).open(&path) {
        Ok(mut claim) => {
            claim.write_all(CLOSED)?;
            claim.sync_all()?;
            Ok(true)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Ok(fs::read(&path)? == CLOSED)
        }
        Err(error) => Err(error),
    }
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
    let age = |end: &record::End| meanwhile_shim::clock::wall_ms().saturating_sub(end.at_ms);
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
