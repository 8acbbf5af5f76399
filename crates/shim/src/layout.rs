//! Where everything lies in the state directory.
//!
//! ```text
//! meanwhile.db        the ledger
//! bin/                the shim's own binary, one for each version in use
//! bells/<hash>-<random>  a FIFO for each process that wants to be woken (see `bell`)
//! slots/<name>/       the tickets of tasks that wait for a slot or hold one (see `slots`)
//! attached/<hash>     locked by each daemon of a workspace; what lingering looks at
//! live/<id>/          a task that is not yet in the ledger as ended, or that has survivors
//!     spec            what to run
//!     record          the record and, behind it, the log
//!     ctl             the FIFO through which its shim takes orders
//!     stdin           the FIFO that feeds its terminal
//!     line            a FIFO that its shim holds open while the task waits for its turn
//!     confine         what it may touch, where it is confined
//!     tmp/            its temporary directory, where it is confined
//! live/.<id>.<bell>/  the folder of an idle shim that waits for the owner of that bell; renaming
//!                     it publishes the task
//! places/<name>/      what the courier of a place keeps: its lock, its contact, its log (see `places`)
//! places/             what couriers keep of other machines (see `place`)
//! done/<id>           the record and log of an ended task
//! done/<id>.spec      what it was started with, without keys of models
//! ```
//!
//! The folder of an ended task becomes the next idle shim's: some file systems take milliseconds to
//! delete a file or make a new one, and a rename costs them nothing.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::temporary;

/// Bytes of a spec that are read: more than a spawn may ask for.
const SPEC_BYTES: u64 = 16 << 20;

/// The ledger.
pub const LEDGER: &str = "meanwhile.db";
/// The folder of doorbells.
pub const BELLS: &str = "bells";
/// The folder of the lock files that daemons hold.
pub const ATTACHED: &str = "attached";
/// The folder of tasks under way.
pub const LIVE: &str = "live";
/// The folder of ended tasks.
pub const DONE: &str = "done";
/// The folder of places. Made when a task is first sent to one.
pub const PLACES: &str = "places";
/// The folder of slots. Made when a task first waits for one.
pub const SLOTS: &str = "slots";
/// The folder of shim binaries.
pub const BIN: &str = "bin";
/// What the names of the shim's binaries begin with, and its first argument.
pub const SHIM: &str = "meanwhile-shim";
/// In a task's folder: what to run.
pub const SPEC: &str = "spec";
/// In a task's folder: the record and the log.
pub const RECORD: &str = "record";
/// In a task's folder: the FIFO of orders to its shim.
pub const CTL: &str = "ctl";
/// In a task's folder: the FIFO that feeds its terminal.
pub const STDIN: &str = "stdin";
/// In a task's folder: the FIFO that its shim holds open while the task waits for its turn.
pub const LINE: &str = "line";
/// In a confined task's folder: what it may touch.
pub const PLAN: &str = "confine";
/// In a confined task's folder: its temporary directory.
pub const TEMPORARY: &str = "tmp";
/// The environment variable that marks a task's processes, so that they are found again after
/// their shim was killed.
pub const TASK_ID_VARIABLE: &str = "MEANWHILE_TASK_ID";

/// Opens a regular file of the store for reading. Opening a FIFO would wait for a writer, and a device
/// has no end.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let flags = libc::O_NONBLOCK | libc::O_CLOEXEC;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::new(io::ErrorKind::InvalidData, "it is not a regular file")),
    }
}

/// Reads the file of a spec.
pub fn read_spec(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_regular(file)?.take(SPEC_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A workspace's short name: FNV-1a (64 bits) of its path. Stable across versions, unlike the
/// standard library's hashers; a collision would only make two workspaces linger together.
pub fn workspace_hash(workspace: &Path) -> u64 {
    use std::os::unix::ffi::OsStrExt;
    workspace.as_os_str().as_bytes().iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Removes a task's folder. Two processes may do so at once, and each must get to the end: a
/// walk that stops at the first file that the other one removed would leave the rest.
pub fn remove_folder(folder: &Path) {
    temporary::remove(folder);
    for name in [CTL, STDIN, LINE, RECORD, SPEC, PLAN] {
        let _ = fs::remove_file(folder.join(name));
    }
    let _ = fs::remove_dir(folder);
}

/// The lock file of a workspace's daemons.
pub fn attached(state: &Path, workspace: u64) -> PathBuf {
    state.join(ATTACHED).join(format!("{workspace:016x}"))
}
