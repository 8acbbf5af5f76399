//! Doorbells: how a shim wakes daemons, and how daemons wake one another.
//!
//! Each process that wants to be woken makes a FIFO in `bells/` and keeps both its ends open.
//! Ringing writes one small message, which pipe(7) keeps whole, to every bell there is, and never
//! waits: the reader of a full FIFO will look at everything anyway, and a FIFO without a
//! reader belongs to a dead process and is removed. A bell only wakes; the truth is in the files.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

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
    /// There is output where a daemon asked to be told.
    Output = b'O',
    /// The task waits for input.
    Stalled = b'W',
    /// The tree is being ended.
    Stopping = b'K',
    /// The end is recorded.
    Ended = b'E',
    /// The last of the tree is gone, and the shim with it.
    Gone = b'Z',
    /// The ledger changed: a client drained, acknowledged or removed.
    Ledger = b'L',
}

/// A message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message {
    /// Why.
    pub kind: Kind,
    /// The task, as its 8 hex digits; zeros for [`Kind::Ledger`].
    pub id: [u8; 8],
    /// The workspace, see [`crate::layout::workspace_hash`].
    pub workspace: u64,
}

impl Message {
    /// The message as it is sent.
    pub fn to_bytes(self) -> [u8; MESSAGE_BYTES] {
        let mut bytes = [0; MESSAGE_BYTES];
        bytes[0] = self.kind as u8;
        bytes[8..16].copy_from_slice(&self.id);
        bytes[16..24].copy_from_slice(&self.workspace.to_le_bytes());
        bytes
    }

    /// Reads a message; `None` for one of a version to come.
    pub fn parse(bytes: &[u8; MESSAGE_BYTES]) -> Option<Self> {
        let kinds = [
            Kind::Ready,
            Kind::Started,
            Kind::Output,
            Kind::Stalled,
            Kind::Stopping,
            Kind::Ended,
            Kind::Gone,
            Kind::Ledger,
        ];
        Some(Self {
            kind: kinds.into_iter().find(|kind| *kind as u8 == bytes[0])?,
            id: bytes[8..16].try_into().expect("eight bytes"),
            workspace: u64::from_le_bytes(bytes[16..24].try_into().expect("eight bytes")),
        })
    }
}

/// Rings every bell in `bells` but the one named `except`.
pub fn ring(bells: &Path, message: Message, except: Option<&str>) {
    let Ok(entries) = fs::read_dir(bells) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.as_encoded_bytes();
        if name.starts_with(b".") {
            remove_if_abandoned(&entry.path(), name);
            continue;
        }
        if except.is_some_and(|own| name == own.as_bytes()) {
            continue;
        }
        let path = entry.path();
        match open(&path) {
            Ok(mut bell) => {
                // A full FIFO (EAGAIN) wakes its owner as well as this message would.
                let _ = bell.write(&message.to_bytes());
            }
            Err(error) if error.raw_os_error() == Some(libc::ENXIO) => {
                let _ = fs::remove_file(&path);
            }
            Err(_) => {}
        }
    }
}

/// The name of a bell that has no owner yet. It tells whose it will be, so that it can be taken away
/// if that process is killed in between.
pub fn name_in_the_making(name: &str) -> String {
    let pid = std::process::id();
    format!(".{name}.{pid}.{}", clock::start_time(pid).unwrap_or(0))
}

fn remove_if_abandoned(path: &Path, name: &[u8]) {
    let name = String::from_utf8_lossy(name);
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

    #[test]
    fn every_bell_rings_and_a_dead_one_is_taken_away() {
        let dir = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            nix::unistd::mkfifo(&dir.path().join(name), nix::sys::stat::Mode::S_IRWXU).unwrap();
            OpenOptions::new()
                .read(true)
                .write(true)
                .custom_flags(libc::O_NONBLOCK)
                .open(dir.path().join(name))
                .unwrap()
        };
        let (mut one, mut two, dead) = (make("one"), make("two"), make("dead"));
        drop(dead);
        ring(dir.path(), message(Kind::Ended), None);
        ring(dir.path(), message(Kind::Ledger), Some("two"));
        let mut bytes = [0; MESSAGE_BYTES];
        one.read_exact(&mut bytes).unwrap();
        assert_eq!(Message::parse(&bytes), Some(message(Kind::Ended)));
        one.read_exact(&mut bytes).unwrap();
        assert_eq!(Message::parse(&bytes), Some(message(Kind::Ledger)));
        two.read_exact(&mut bytes).unwrap();
        assert_eq!(Message::parse(&bytes), Some(message(Kind::Ended)));
        assert_eq!(two.read(&mut bytes).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert!(!dir.path().join("dead").exists());
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
