//! What a shim tells its keeper: which of its descriptors is the writing end of its task's input, so
//! that the keeper holds it too, and that the input has ended. One pipe for all shims of a keeper.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, BorrowedFd};

/// Bytes of a note: pid and descriptor, or -1.
const NOTE_BYTES: usize = 8;

/// The way to the keeper; it leads nowhere where there is none, or where it was killed.
pub struct Notes(Option<File>);

/// What a shim told.
pub struct Note {
    /// The shim.
    pub pid: u32,
    /// Its descriptor of the input's writing end; `None`: the input has ended.
    pub input: Option<i32>,
}

impl Notes {
    /// The way through this descriptor.
    pub fn new(pipe: BorrowedFd<'_>) -> Self {
        Self(pipe.try_clone_to_owned().map(File::from).ok())
    }

    /// For a shim without a keeper.
    pub fn none() -> Self {
        Self(None)
    }

    /// Asks the keeper to hold this input.
    pub fn input(&self, writer: &File) {
        self.send(writer.as_raw_fd());
    }

    /// Asks the keeper to let the input go.
    pub fn input_ended(&self) {
        self.send(-1);
    }

    fn send(&self, fd: i32) {
        let mut note = [0; NOTE_BYTES];
        note[..4].copy_from_slice(&std::process::id().to_le_bytes());
        note[4..].copy_from_slice(&fd.to_le_bytes());
        if let Some(mut pipe) = self.0.as_ref() {
            // Without a keeper nothing is held, and nothing needs to be let go.
            let _ = pipe.write_all(&note);
        }
    }
}

impl Note {
    /// The next one, if there is one now.
    pub fn read(pipe: &mut File) -> Option<Self> {
        let mut note = [0; NOTE_BYTES];
        pipe.read_exact(&mut note).ok()?;
        let (pid, fd) = note.split_at(4);
        let fd = i32::from_le_bytes(fd.try_into().ok()?);
        let pid = u32::from_le_bytes(pid.try_into().ok()?);
        Some(Self { pid, input: (fd >= 0).then_some(fd) })
    }
}
