//! Doorbells: how a shim wakes daemons, and how daemons wake one another.
//!
//! Each process that wants to be woken creates a FIFO in `bells/` and keeps both its ends open.
//! Its name begins with the hash of its workspace, so that ringing opens only the bells of that
//! workspace, however many other workspaces use the store. Ringing writes one small message, which
//! pipe(7) keeps whole, and never blocks: the reader of a full FIFO will check everything anyway, and
//! a FIFO without a reader belongs to a dead process and is removed. A bell only wakes its owner; the
//! files hold the state.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::clock;

/// Bytes of a message.
pub const MESSAGE_BYTES: usize = 32;

/// Why a bell rings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// An idle shim is ready for a task.
    Ready = b'R',
    /// The leader was started.
    Started = b'S',
    /// There is output behind the offset that a daemon armed, see [`crate::ctl::Order::Arm`].
    Output = b'O',
    /// The task waits for input.
    Stalled = b'W',
    /// The shim is ending the process tree.
    Stopping = b'K',
    /// The end is recorded.
    Ended = b'E',
    /// The last process of the tree has exited, and the shim exits too.
    Gone = b'Z',
    /// A task waits for its turn. Version 0.1.0 does not know this kind, and ignores it.
    Queued = b'Q',
    /// The ledger changed: a client drained, acknowledged or removed something.
    Ledger = b'L',
    /// A message was added to an agent's session, or the session was opened or closed. Version 0.1.0 does
    /// not know this kind, and ignores it.
    Said = b'T',
    /// Something changed that requests read from the task's record, or from its place. Version 0.1.0 does not
    /// know this kind, and ignores it.
    Changed = b'C',
}

/// A message that rings a bell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message {
    /// Why the bell rings.
    pub kind: Kind,
    /// The task, as its 8 hex digits; zeros for [`Kind::Ledger`] and [`Kind::Said`].
    pub id: [u8; 8],
    /// The workspace, see [`crate::layout::workspace_hash`].
    pub workspace: u64,
}

impl Message {
    /// The bytes that are written to the FIFO.
    pub fn to_bytes(self) -> [u8; MESSAGE_BYTES] {
        let mut bytes = [0; MESSAGE_BYTES];
        bytes[0] = self.kind as u8;
        bytes[8..16].copy_from_slice(&self.id);
        bytes[16..24].copy_from_slice(&self.workspace.to_le_bytes());
        bytes
    }

    /// Reads a message; `None` if its kind is unknown, as one of a later version is.
    pub fn parse(bytes: &[u8; MESSAGE_BYTES]) -> Option<Self> {
        let kinds = [
            Kind::Ready,
            Kind::Started,
            Kind::Output,
            Kind::Stalled,
            Kind::Stopping,
            Kind::Ended,
            Kind::Gone,
            Kind::Queued,
            Kind::Ledger,
            Kind::Said,
            Kind::Changed,
        ];
        Some(Self {
            kind: kinds.into_iter().find(|kind| *kind as u8 == bytes[0])?,
            id: bytes[8..16].try_into().expect("eight bytes"),
            workspace: u64::from_le_bytes(bytes[16..24].try_into().expect("eight bytes")),
        })
    }
}

/// Bytes of a bell's name.
pub const NAME_BYTES: usize = 32;
/// Separates the workspace from the rest of a name. A name of version 0.1.0 is 32 hex digits without it.
const AFTER_WORKSPACE: char = '-';

/// The name of a workspace's bell; `random` makes it unique.
pub fn name_of(workspace: u64, random: u64) -> String {
    let rest = NAME_BYTES - "0123456789abcdef-".len();
    format!("{workspace:016x}{AFTER_WORKSPACE}{:0rest$x}", random >> (64 - 4 * rest))
}

/// Rings the bells of the message's workspace, and those whose names have no workspace, except the bell
/// named `except`.
pub fn ring(bells: &Path, message: Message, except: Option<&str>) {
    let own = format!("{:016x}", message.workspace);
    for_each(bells, |name, path| {
        let of_another =
            name.split_once(AFTER_WORKSPACE).is_some_and(|(workspace, _)| workspace != own);
        if !of_another && except != Some(name) {
            ring_at(path, message);
        }
    });
}

/// Rings one bell.
pub fn ring_one(bells: &Path, name: &OsStr, message: Message) {
    ring_at(&bells.join(name), message);
}

/// Removes the bells of dead processes, in all workspaces.
pub fn remove_dead(bells: &Path) {
    for_each(bells, |_, path| drop(open_or_remove(path)));
}

/// Calls `with` for every finished bell, and removes unfinished ones whose maker is dead.
fn for_each(bells: &Path, mut with: impl FnMut(&str, &Path)) {
    let Ok(entries) = fs::read_dir(bells) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with('.') {
            remove_if_abandoned(&entry.path(), &name);
        } else {
            with(&name, &entry.path());
        }
    }
}

fn ring_at(path: &Path, message: Message) {
    if let Some(mut bell) = open_or_remove(path) {
        // If the FIFO is full (EAGAIN), the messages in it already wake its owner.
        let _ = bell.write(&message.to_bytes());
    }
}

fn open_or_remove(path: &Path) -> Option<File> {
    match open(path) {
        Ok(bell) => Some(bell),
        Err(error) => {
            if error.raw_os_error() == Some(libc::ENXIO) {
                let _ = fs::remove_file(path);
            }
            None
        }
    }
}

/// Creates a doorbell of this name. The returned file keeps both its ends open.
///
/// # Errors
///
/// The FIFO cannot be created, opened or renamed.
pub fn hang_up(bells: &Path, name: &str) -> io::Result<File> {
    // A process that rings removes a bell without a reader, so the bell gets its name only once it is open.
    let new = bells.join(name_in_the_making(name));
    mkfifo(&new, Mode::S_IRUSR | Mode::S_IWUSR)?;
    let flags = libc::O_NONBLOCK | libc::O_CLOEXEC;
    let bell = OpenOptions::new().read(true).write(true).custom_flags(flags).open(&new)?;
    fs::rename(&new, bells.join(name)).map(|()| bell)
}

/// The name of a bell that is not open yet. It contains its maker's pid and start time, so that the bell
/// can be removed if that process is killed before it is finished.
fn name_in_the_making(name: &str) -> String {
    let pid = std::process::id();
    format!(".{name}.{pid}.{}", clock::start_time(pid).unwrap_or(0))
}

fn remove_if_abandoned(path: &Path, name: &str) {
    let mut parts = name.rsplit('.');
    let start = parts.next().and_then(|start| start.parse::<u64>().ok());
    let pid = parts.next().and_then(|pid| pid.parse().ok());
    if pid.is_none_or(|pid| clock::start_time(pid) != start) {
        let _ = fs::remove_file(path);
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn message(kind: Kind) -> Message {
        Message { kind, id: *b"0123abcd", workspace: 7 }
    }

    fn make(dir: &Path, name: &str) -> File {
        nix::unistd::mkfifo(&dir.join(name), nix::sys::stat::Mode::S_IRWXU).unwrap();
        OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(dir.join(name))
            .unwrap()
    }

    /// The kinds of all messages in a bell.
    fn heard(mut bell: &File) -> Vec<Kind> {
        let mut kinds = Vec::new();
        let mut bytes = [0; MESSAGE_BYTES];
        while let Ok(MESSAGE_BYTES) = bell.read(&mut bytes) {
            kinds.push(Message::parse(&bytes).unwrap().kind);
        }
        kinds
    }

    #[test]
    fn the_bells_of_a_workspace_ring_and_those_of_others_do_not() {
        let dir = tempfile::tempdir().unwrap();
        let (own, other) = (name_of(7, u64::MAX), name_of(8, 0));
        assert_eq!([own.len(), other.len()], [NAME_BYTES; 2]);
        // A name of 0.1.0 has no workspace.
        let old = "0".repeat(NAME_BYTES);
        let [own_bell, other_bell, old_bell] =
            [&own, &other, &old].map(|name| make(dir.path(), name));
        ring(dir.path(), message(Kind::Ended), None);
        ring(dir.path(), message(Kind::Ledger), Some(&own));
        ring_one(dir.path(), other.as_ref(), message(Kind::Ready));
        assert_eq!(heard(&own_bell), [Kind::Ended]);
        assert_eq!(heard(&old_bell), [Kind::Ended, Kind::Ledger]);
        assert_eq!(heard(&other_bell), [Kind::Ready]);
    }

    #[test]
    fn the_bells_of_dead_processes_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let (own, other, living) = (name_of(7, 0), name_of(8, 0), name_of(8, u64::MAX));
        let unfinished = format!(".{}.4194305.1", name_of(9, 0));
        for name in [&own, &other, &unfinished] {
            drop(make(dir.path(), name));
        }
        let _living = make(dir.path(), &living);
        let is_there = |name: &String| dir.path().join(name).exists();
        ring(dir.path(), message(Kind::Ended), None);
        assert_eq!([&own, &other, &unfinished, &living].map(is_there), [false, true, false, true]);
        remove_dead(dir.path());
        assert_eq!([&other, &living].map(is_there), [false, true]);
    }

    #[test]
    fn a_full_bell_delays_no_ringing() {
        let dir = tempfile::tempdir().unwrap();
        nix::unistd::mkfifo(&dir.path().join("b"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let _owner = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(dir.path().join("b"))
            .unwrap();
        for _ in 0..10_000 {
            ring(dir.path(), message(Kind::Output), None);
        }
    }
}
