//! Messages from shims to their keeper, through one pipe: which of the shim's descriptors is the write end of
//! its task's input, so that the keeper holds it too, and that the input has ended.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, BorrowedFd};

/// Bytes of a note: the shim's pid, and the descriptor or -1.
const NOTE_BYTES: usize = 8;

/// The pipe to the keeper; `None` for a shim without a keeper.
pub struct Notes(Option<File>);

/// A message from a shim.
pub struct Note {
    /// The shim's pid.
    pub pid: u32,
    /// The shim's descriptor of the input's write end; `None`: the input has ended.
    pub input: Option<i32>,
}

impl Notes {
    /// Sends notes through a copy of this descriptor.
    pub fn new(pipe: BorrowedFd<'_>) -> Self {
        Self(pipe.try_clone_to_owned().map(File::from).ok())
    }

    /// For a shim without a keeper.
    pub fn none() -> Self {
        Self(None)
    }

    /// Asks the keeper to hold this write end of the input.
    pub fn input(&self, writer: &File) {
        self.send(writer.as_raw_fd());
    }

    /// Asks the keeper to close its write end of the input.
    pub fn input_ended(&self) {
        self.send(-1);
    }

    fn send(&self, fd: i32) {
        let mut note = [0; NOTE_BYTES];
        note[..4].copy_from_slice(&std::process::id().to_le_bytes());
        note[4..].copy_from_slice(&fd.to_le_bytes());
        if let Some(mut pipe) = self.0.as_ref() {
            // If the keeper was killed, it holds nothing, so the error does not matter.
            let _ = pipe.write_all(&note);
        }
    }
}

impl Note {
    /// Reads the next note, if there is one now.
    pub fn read(pipe: &mut File) -> Option<Self> {
        let mut note = [0; NOTE_BYTES];
        pipe.read_exact(&mut note).ok()?;
        let (pid, fd) = note.split_at(4);
        let fd = i32::from_le_bytes(fd.try_into().ok()?);
        let pid = u32::from_le_bytes(pid.try_into().ok()?);
        Some(Self { pid, input: (fd >= 0).then_some(fd) })
    }
}
