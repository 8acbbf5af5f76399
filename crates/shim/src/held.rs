//! What a keeper holds of each task, for the shim that takes over if the present one is killed.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::time::Instant;

/// A shim's folder below `live`, as it was named when the shim was forked.
#[derive(Clone, Copy)]
pub enum Folder {
    /// `.<id>.<bell>`; the task may have been published under another id since.
    Idle {
        /// The id in its name.
        id: [u8; 8],
        /// The bell in its name.
        bell: [u8; 32],
    },
    /// `<id>`.
    Task {
        /// The task.
        id: [u8; 8],
    },
}

/// What the keeper knows of a leader that is, or was, its child.
#[derive(Clone, Copy, Default)]
pub struct Status {
    /// Its pid; 0 where it is none.
    pub leader: u32,
    /// As waitpid(2) gave it.
    pub raw: Option<i32>,
}

/// What is held of a task for the shim that takes over.
#[derive(Default)]
pub struct Held {
    /// The reading end of the output, or both.
    pub pipe: Option<File>,
    /// The writing end of the input.
    pub input: Option<File>,
    /// The leader's status, where the keeper has become its parent.
    pub status: Status,
    /// The leader, where it is a stranger: the kernel tells the status to a process that held this descriptor before the end.
    pub leader: Option<OwnedFd>,
}

/// A living shim.
pub struct Kept {
    /// Where its task is.
    pub folder: Folder,
    /// What the next shim needs.
    pub held: Held,
    /// Where a shim that took over is told the leader's status.
    pub tell: Option<File>,
    /// The shim, where it is another keeper's child: readable once it ended.
    pub stranger: Option<OwnedFd>,
}

/// A task whose shim died, before another one has taken over.
pub struct Orphan {
    /// The task.
    pub id: [u8; 8],
    /// What the next shim needs.
    pub held: Held,
    /// When to try again; `None`: nothing was tried yet.
    pub again: Option<Instant>,
}

/// What a shim gets that takes over.
pub struct Legacy {
    /// The process that started the keeper, which may hold an end of a pipe too.
    pub owner: u32,
    /// The reading end of the output.
    pub pipe: Option<File>,
    /// The writing end of the input.
    pub input: Option<File>,
    /// The leader, opened while it lived.
    pub leader: Option<OwnedFd>,
    /// Where the keeper tells the leader's status.
    pub told: Option<File>,
}

impl Kept {
    /// Tells the shim that took over its leader's status, once it is known.
    pub fn tell_status(&mut self) {
        if let Some(raw) = self.held.status.raw
            && let Some(mut tell) = self.tell.take()
        {
            // It may be dead; the next one is told again.
            let _ = tell.write_all(&raw.to_le_bytes());
        }
    }
}

impl Folder {
    /// Its name.
    pub fn name(&self) -> String {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match self {
            Self::Idle { id, bell } => format!(".{}.{}", text(id), text(bell)),
            Self::Task { id } => text(id),
        }
    }

    /// Whether it is the folder of this task, published.
    pub fn is_task(&self, wanted: &[u8; 8]) -> bool {
        match self {
            Self::Idle { .. } => false,
            Self::Task { id } => id == wanted,
        }
    }
}
