//! `meanwhile-shim node FOLDER`: the keeper of one task that a batch system starts on one of its nodes, as the
//! process that the batch system runs, watches and ends.
//!
//! The folder of the task lies on a file system that the nodes share with the host on which its courier lives. It is
//! made there before the task is submitted, with its record and its beat of their full sizes: a file made later may
//! not be seen for a while. What is written here by way of the page cache is forced out once a second.
//!
//! The first keeper claims the task; whatever a batch system starts again ends at once. A task does not outlive its
//! keeper, because the batch system gives the machine to others then.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use meanwhile_shim::ctl::{self, Order};
use meanwhile_shim::layout;
use meanwhile_shim::node::{Beat, CLAIM, CLAIMED, JOB, Note};
use meanwhile_shim::record::{self, Actor, Cause, Exit, Phase, Record};

/// Between two looks at what is to be forced out.
const SYNC_ROUND: Duration = Duration::from_secs(1);
/// Between two attempts to tell the shim to stop.
const STOP_ROUND: Duration = Duration::from_millis(50);
/// Between two looks whether the courier has left an order: an open file of a file server each time.
const ORDER_ROUND: Duration = Duration::from_secs(5);
/// Between two signs of life.
const BEAT_ROUND: Duration = Duration::from_secs(15);
/// The age of a sign of life that is followed by another one before much is forced out.
const SIGN_AGE: Duration = Duration::from_secs(3);
/// How long the tree has after SIGTERM: batch systems send SIGKILL some seconds after theirs.
const GRACE: Duration = Duration::from_secs(2);
/// The exit code where how the command ended is not known.
const UNKNOWN: u8 = 120;

/// A task on a node.
pub struct Node {
    dir: PathBuf,
    id: [u8; 8],
    record: File,
    file: File,
    beat: Beat,
    /// What of the record was forced out.
    synced: Option<(Phase, u64)>,
    sync_at: Instant,
    beat_at: Instant,
    order_at: Instant,
    /// How the tree is to be ended, by order of the batch system or of the courier.
    stop: Option<(i32, Duration, Cause)>,
}

impl Node {
    /// Claims the task. `None`: it is claimed, or there is none.
    fn claim(dir: &Path) -> io::Result<Option<Self>> {
        let both = |name: &str| OpenOptions::new().read(true).write(true).open(dir.join(name));
        let name = dir.file_name().map(|name| name.as_encoded_bytes()).unwrap_or_default();
        let id = name.try_into().map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        let claim =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(dir.join(CLAIM));
        match claim {
            Ok(claim) => claim.sync_all().inspect_err(|_| {
                // Else it is claimed by a keeper that does not run it.
                let _ = std::fs::remove_file(dir.join(CLAIM));
            })?,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::AlreadyExists | io::ErrorKind::NotFound
                ) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(error),
        }
        let now = Instant::now();
        let host = std::env::var("SLURMD_NODENAME").ok().filter(|name| !name.is_empty());
        let host = host.or_else(|| std::fs::read_to_string("/proc/sys/kernel/hostname").ok());
        let host = host.unwrap_or_default().trim().to_owned();
        let job = std::env::var("SLURM_JOB_ID").unwrap_or_default();
        let beat = Beat { job, host, ..Beat::default() };
        let (record, file) = (both(layout::RECORD)?, both(meanwhile_shim::node::BEAT)?);
        let dir = dir.to_owned();
        let (sync_at, beat_at, order_at) = (now, now, now + ORDER_ROUND);
        let (synced, stop) = (None, None);
        let mut node =
            Self { dir, id, record, file, beat, synced, sync_at, beat_at, order_at, stop };
        node.sign();
        Ok(Some(node))
    }

    fn sign(&mut self) {
        self.beat.beats += 1;
        self.beat_at = Instant::now() + BEAT_ROUND;
        // A sign that is not written is one that is not seen.
        let _ = self.beat.write(&self.file);
    }

    /// Says how much of the output is seen elsewhere.
    fn tell(&mut self, synced: u64) {
        if self.beat.synced != synced {
            self.beat.synced = synced;
            let _ = self.beat.write(&self.file);
        }
    }

    fn read(&self) -> Option<Record> {
        record::read(&self.record).ok()
    }

    /// When there is something to do although nothing happens.
    pub fn next_look(&self) -> Instant {
        self.sync_at.min(self.beat_at).min(self.order_at)
    }

    /// The batch system asked it to end.
    pub fn terminated(&mut self) {
        if !self.beat.terminated {
            self.beat.terminated = true;
            self.sign();
            let message = "the batch system asked it to terminate (SIGTERM)".to_owned();
            self.stop = Some((libc::SIGTERM, GRACE, Cause { actor: Actor::Daemon, message }));
        }
        self.sync_at = Instant::now();
    }

    /// Takes the order to stop that the courier leaves in the folder where the batch system does not bring it.
    fn take_order(&mut self) {
        self.order_at = Instant::now() + ORDER_ROUND;
        // Opened again each time: what another host has written is seen then.
        let file = layout::open_regular(&self.dir.join(JOB));
        let note = file.and_then(|file| Note::read(&file)).unwrap_or_default();
        if let (None, Some((signal, grace))) = (&self.stop, note.stop) {
            let message = "ordered from another machine".to_owned();
            self.stop = Some((signal, grace, Cause { actor: Actor::Client, message }));
            self.sync_at = Instant::now();
        }
    }

    /// Notes that no shim can run the task, which was not started.
    pub fn failed(&mut self, errno: i32) {
        let error = io::Error::from_raw_os_error(errno);
        // The batch system writes it into a file of the task's folder.
        let _ = writeln!(io::stderr(), "no shim can run in `{}`: {error}", self.dir.display());
        self.beat.failed = true;
        self.sign();
    }

    /// Does what is due. Whether the task has ended: what is left of its tree then ends with the keeper, as
    /// whatever a batch job leaves behind.
    pub fn look(&mut self) -> bool {
        let now = Instant::now();
        if self.beat.failed {
            return true;
        }
        if now >= self.beat_at {
            self.sign();
        }
        if now >= self.order_at {
            self.take_order();
        }
        if now < self.sync_at {
            return false;
        }
        self.sync_at = now + SYNC_ROUND;
        let Some(record) = self.read() else { return false };
        if let Some((signal, grace, cause)) = &self.stop
            && matches!(record.phase, Phase::Starting | Phase::Running)
        {
            self.sync_at = now + STOP_ROUND;
            let stop = Order::Stop { signal: *signal, grace: *grace, cause: cause.clone() };
            // Where no shim listens another one is about to.
            let _ =
                ctl::open(&self.dir.join(layout::CTL)).and_then(|fifo| stop.send(&fifo, &self.id));
        }
        let stands = Some((record.phase, record.extent.total));
        if stands != self.synced {
            if now + BEAT_ROUND >= self.beat_at + SIGN_AGE {
                // A busy file server takes its time for much output, and no sign is written meanwhile.
                self.sign();
            }
            if self.record.sync_data().is_ok() {
                self.synced = stands;
                self.tell(record.extent.total);
            }
        }
        record.end.is_some()
    }

    /// The exit code of the batch step: the command's, as a shell tells it.
    fn code(&mut self) -> u8 {
        let record = self.read();
        if let Some(record) = &record
            && self.record.sync_data().is_ok()
        {
            self.tell(record.extent.total);
        }
        let end = record.and_then(|record| record.end);
        let code = match end.map(|end| end.exit) {
            Some(Exit::Code(code)) => u8::try_from(code).ok(),
            Some(Exit::Signal(signal)) => u8::try_from(128 + signal).ok(),
            Some(Exit::NotStarted(libc::ENOENT)) => Some(127),
            Some(Exit::NotStarted(_)) => Some(126),
            Some(Exit::Unknown) | None => None,
        };
        code.unwrap_or(UNKNOWN)
    }
}

/// Keeps the task in this folder to its end; returns the exit code.
///
/// # Errors
///
/// The folder cannot be used.
pub fn run(dir: &Path) -> io::Result<u8> {
    let dir = std::path::absolute(dir)?;
    crate::process::close_from(libc::STDERR_FILENO + 1);
    // A SIGTERM that comes from here on is an order to stop.
    crate::process::ignore_signals()?;
    let Some(node) = Node::claim(&dir)? else { return Ok(CLAIMED) };
    let id = node.id;
    let mut keeper = crate::keeper::Keeper::on_node(dir, node)?;
    keeper.start(id)?;
    let node = keeper.keep()?;
    Ok(node.map_or(UNKNOWN, |mut node| node.code()))
}

/// `meanwhile-shim order FOLDER ORDER`: hands an order, in hexadecimal digits, to the shim of the task in the folder.
///
/// # Errors
///
/// It is not an order, or no shim listens.
pub fn order(dir: &Path, order: &OsString) -> io::Result<()> {
    let digits = order.to_str().unwrap_or_default().as_bytes().chunks(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let bytes: Option<Vec<u8>> = digits.map(byte).collect();
    let bytes = bytes.filter(|bytes| !bytes.is_empty()).ok_or(io::ErrorKind::InvalidInput)?;
    // One write: a message below PIPE_BUF goes whole or not at all.
    io::Write::write_all(&mut ctl::open(&dir.join(layout::CTL))?, &bytes)
}
