//! What a keeper holds for each task, so that another shim can take over if the current one is killed.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::time::Instant;

/// A shim's folder below `live`, under the name that it had when the shim was forked.
#[derive(Clone, Copy)]
pub enum Folder {
    /// `.<id>.<bell>`; it may have been renamed to a task with another id since.
    Idle {
        /// The id in its name.
        id: [u8; 8],
        /// The bell in its name.
        bell: [u8; 32],
    },
    /// `<id>`, a task's folder.
    Task {
        /// The task's id.
        id: [u8; 8],
    },
}

/// What the keeper knows about a leader that is, or was, its child.
#[derive(Clone, Copy, Default)]
pub struct Status {
    /// Its pid; 0 if the leader is not the keeper's child.
    pub leader: u32,
    /// Its wait status from waitpid(2), once the keeper has reaped it.
    pub raw: Option<i32>,
}

/// What is held of one task for the shim that takes over.
#[derive(Default)]
pub struct Held {
    /// The read end of the output's pipe, or both ends.
    pub pipe: Option<File>,
    /// The write end of the input's pipe.
    pub input: Option<File>,
    /// The leader's status, if the keeper has become its parent.
    pub status: Status,
    /// A pidfd of the leader, if it is not the keeper's child: through it the kernel gives the status to a
    /// process that opened it before the leader exited.
    pub leader: Option<OwnedFd>,
}

/// A living shim.
pub struct Kept {
    /// The folder of its task.
    pub folder: Folder,
    /// What the next shim needs.
    pub held: Held,
    /// The pipe through which the keeper sends the leader's status to a shim that took over.
    pub tell: Option<File>,
    /// A pidfd of the shim, if it is another keeper's child: readable once the shim has exited.
    pub stranger: Option<OwnedFd>,
}

/// A task whose shim died, before another one has taken over.
pub struct Orphan {
    /// The task's id.
    pub id: [u8; 8],
    /// What the next shim needs.
    pub held: Held,
    /// When to try again to start a shim; `None`: no attempt was made yet.
    pub again: Option<Instant>,
}

/// What a shim that takes over gets from the keeper.
pub struct Legacy {
    /// The pid of the process that started the keeper, which may hold an end of a pipe too.
    pub owner: u32,
    /// The read end of the output's pipe.
    pub pipe: Option<File>,
    /// The write end of the input's pipe.
    pub input: Option<File>,
    /// A pidfd of the leader, opened while the leader lived.
    pub leader: Option<OwnedFd>,
    /// The pipe on which the keeper sends the leader's status.
    pub told: Option<File>,
}

impl Kept {
    /// Sends the leader's status to the shim that took over, once the status is known.
    pub fn tell_status(&mut self) {
        if let Some(raw) = self.held.status.raw
            && let Some(mut tell) = self.tell.take()
        {
            // The shim may be dead; the next one is sent the status again.
            let _ = tell.write_all(&raw.to_le_bytes());
        }
    }
}

impl Folder {
    /// Its name below `live`.
    pub fn name(&self) -> String {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match self {
            Self::Idle { id, bell } => format!(".{}.{}", text(id), text(bell)),
            Self::Task { id } => text(id),
        }
    }

    /// Whether it is the published folder of this task.
    pub fn is_task(&self, wanted: &[u8; 8]) -> bool {
        match self {
            Self::Idle { .. } => false,
            Self::Task { id } => id == wanted,
        }
    }
}
