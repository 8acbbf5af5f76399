//! The files and folders of the state directory.
//!
//! ```text
//! meanwhile.db        the ledger
//! bin/                the shim's own binary, one for each version in use
//! bells/<hash>-<random>  a FIFO for each process that wants to be woken (see `bell`)
//! slots/<name>/       the tickets of tasks that wait for a slot or hold one (see `slots`)
//! attached/<hash>     locked by each daemon of a workspace; shims of lingering tasks check it
//! live/<id>/          a task that is not yet in the ledger as ended, or that has survivors
//!     spec            what to run
//!     record          the record and, behind it, the log
//!     ctl             the FIFO from which its shim reads orders
//!     stdin           the FIFO that feeds its terminal
//!     line            a FIFO that its shim holds open while the task waits for its turn
//!     confine         what it may access, if it is confined
//!     tmp/            its temporary directory, if it is confined
//! live/.<id>.<bell>/  the folder of an idle shim that waits for the owner of that bell; renaming
//!                     it publishes the task
//! places/<name>/      what the courier of a place keeps: its lock, its contact, its log (see `places`)
//! places/             what couriers store about other machines (see `place`)
//! done/<id>           the record and log of an ended task
//! done/<id>.spec      what it was started with, without the values of API keys
//! ```
//!
//! The folder of an ended task is reused for the next idle shim: some file systems take milliseconds to
//! delete or create a file, and almost no time to rename one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::temporary;

/// The maximum number of bytes that are read of a spec: more than a spawn may ask for.
const SPEC_BYTES: u64 = 16 << 20;

/// The file of the ledger, an SQLite database.
pub const LEDGER: &str = "meanwhile.db";
/// The folder of doorbells.
pub const BELLS: &str = "bells";
/// The folder of the lock files that daemons hold.
pub const ATTACHED: &str = "attached";
/// The folder of tasks that have not ended, or whose end is not in the ledger yet.
pub const LIVE: &str = "live";
/// The folder of ended tasks.
pub const DONE: &str = "done";
/// The folder of places, created when a task is first sent to a place.
pub const PLACES: &str = "places";
/// The folder of slots, created when a task first waits for a slot.
pub const SLOTS: &str = "slots";
/// The folder of shim binaries.
pub const BIN: &str = "bin";
/// The prefix of the names of the shim's binaries, and of its `argv[0]`.
pub const SHIM: &str = "meanwhile-shim";
/// In a task's folder: what to run.
pub const SPEC: &str = "spec";
/// In the folder of a task that has ended: its spec without keys, while it is written.
pub const NEW_SPEC: &str = "spec.new";
/// In a task's folder: the record and the log.
pub const RECORD: &str = "record";
/// In a task's folder: the FIFO of orders to its shim.
pub const CTL: &str = "ctl";
/// In a task's folder: the FIFO that feeds its terminal.
pub const STDIN: &str = "stdin";
/// In a task's folder: the FIFO that its shim holds open while the task waits for its turn.
pub const LINE: &str = "line";
/// In a confined task's folder: what it may access.
pub const PLAN: &str = "confine";
/// In a confined task's folder: its temporary directory.
pub const TEMPORARY: &str = "tmp";
/// The environment variable that marks a task's processes, so that they can be found after their shim
/// was killed.
pub const TASK_ID_VARIABLE: &str = "MEANWHILE_TASK_ID";

/// Opens a regular file of the store for reading, and fails for anything else: opening a FIFO would wait
/// for a writer, and reading a device might never end.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let flags = libc::O_NONBLOCK | libc::O_CLOEXEC;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::new(io::ErrorKind::InvalidData, "it is not a regular file")),
    }
}

/// Reads a spec's file.
pub fn read_spec(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_regular(file)?.take(SPEC_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A workspace's short name: FNV-1a (64 bits) of its path. It is stable across versions, unlike the
/// standard library's hashers. If two workspaces had the same hash, only lingering would treat them as one.
pub fn workspace_hash(workspace: &Path) -> u64 {
    use std::os::unix::ffi::OsStrExt;
    workspace.as_os_str().as_bytes().iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Removes a task's folder. Two processes may do so at once, and each must go on to the end: if both
/// stopped at the first file that the other has removed, the rest would stay.
pub fn remove_folder(folder: &Path) {
    temporary::remove(folder);
    for name in [CTL, STDIN, LINE, RECORD, SPEC, NEW_SPEC, PLAN] {
        let _ = fs::remove_file(folder.join(name));
    }
    let _ = fs::remove_dir(folder);
}

/// The path of the lock file that the daemons of a workspace share.
pub fn attached(state: &Path, workspace: u64) -> PathBuf {
    state.join(ATTACHED).join(format!("{workspace:016x}"))
}
