//! What a daemon asks of its keeper, and what the keeper tells it: messages of one size on two pipes.
//!
//! A keeper is started by one process, the daemon or a command, and serves that one alone. It inherits
//! everything that a task inherits today: environment, limits, control group, namespaces, every
//! confinement. Nothing has a name in the file system, so no other process can ask it for anything.

/// The keeper's descriptors, as its starter passes them.
pub mod fd {
    /// The read end of a pipe whose other end its starter holds. An idle shim ends when that closes.
    pub const LIFE: i32 = 3;
    /// Where it reads [`super::Request`]s.
    pub const REQUESTS: i32 = 4;
    /// Where it writes [`super::Report`]s.
    pub const REPORTS: i32 = 5;
}

/// The one word of its command line, before the state directory.
pub const MODE: &str = "keeper";
/// The first word of a companion's command line, before the program that it runs. Of the descriptors it has
/// [`fd::LIFE`] alone.
pub const COMPANION: &str = "companion";
/// Bytes of a request: one letter, a task's id, a bell's name. Below `PIPE_BUF`, so each is whole.
pub const REQUEST_BYTES: usize = 48;
/// Bytes of a report: one letter, an errno(3), a task's id.
pub const REPORT_BYTES: usize = 16;

/// What a keeper can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// An idle shim in the folder `live/.<id>.<bell>`, which is there.
    Idle {
        /// The id in the folder's name.
        id: [u8; 8],
        /// The bell in the folder's name.
        bell: [u8; 32],
    },
    /// A shim that takes over the task in `live/<id>`, whose own shim is dead.
    Adopt {
        /// The task.
        id: [u8; 8],
    },
    /// To be the keeper of the task in `live/<id>`, whose own keeper was killed.
    Watch {
        /// The task.
        id: [u8; 8],
    },
}

/// What a keeper tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Report {
    /// The idle shim of this id is gone, or did not come to be.
    Failed {
        /// The id in the request.
        id: [u8; 8],
        /// What it was short of; 0 where it was killed.
        errno: i32,
    },
    /// This keeper is the task's now: it has started another shim in the place of one that was killed, or
    /// watches the one there is.
    Kept {
        /// The task.
        id: [u8; 8],
    },
    /// The task has no shim, and none can be started now. The keeper tries again.
    Orphaned {
        /// The task.
        id: [u8; 8],
        /// What it is short of.
        errno: i32,
    },
}

impl Request {
    /// The request as it is sent.
    pub fn to_bytes(self) -> [u8; REQUEST_BYTES] {
        let mut bytes = [0; REQUEST_BYTES];
        let (kind, id) = match self {
            Self::Idle { id, bell } => {
                bytes[16..].copy_from_slice(&bell);
                (b'I', id)
            }
            Self::Adopt { id } => (b'A', id),
            Self::Watch { id } => (b'W', id),
        };
        bytes[0] = kind;
        bytes[8..16].copy_from_slice(&id);
        bytes
    }

    /// Reads a request; `None` for none that is known.
    pub fn parse(bytes: &[u8; REQUEST_BYTES]) -> Option<Self> {
        let id = bytes[8..16].try_into().expect("eight bytes");
        match bytes[0] {
            b'I' => Some(Self::Idle { id, bell: bytes[16..].try_into().expect("32 bytes") }),
            b'A' => Some(Self::Adopt { id }),
            b'W' => Some(Self::Watch { id }),
            _ => None,
        }
    }
}

impl Report {
    /// The report as it is sent.
    pub fn to_bytes(self) -> [u8; REPORT_BYTES] {
        let (kind, id, errno) = match self {
            Self::Failed { id, errno } => (b'F', id, errno),
            Self::Kept { id } => (b'K', id, 0),
            Self::Orphaned { id, errno } => (b'O', id, errno),
        };
        let mut bytes = [0; REPORT_BYTES];
        bytes[0] = kind;
        bytes[4..8].copy_from_slice(&errno.to_le_bytes());
        bytes[8..].copy_from_slice(&id);
        bytes
    }

    /// Reads a report; `None` for none that is known.
    pub fn parse(bytes: &[u8; REPORT_BYTES]) -> Option<Self> {
        let errno = i32::from_le_bytes(bytes[4..8].try_into().expect("four bytes"));
        let id = bytes[8..].try_into().expect("eight bytes");
        match bytes[0] {
            b'F' => Some(Self::Failed { id, errno }),
            b'K' => Some(Self::Kept { id }),
            b'O' => Some(Self::Orphaned { id, errno }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_read_back_as_sent() {
        let id = *b"0123abcd";
        let idle = Request::Idle { id, bell: [b'f'; 32] };
        for request in [idle, Request::Adopt { id }, Request::Watch { id }] {
            assert_eq!(Request::parse(&request.to_bytes()), Some(request));
        }
        let errno = libc::EAGAIN;
        for report in
            [Report::Failed { id, errno }, Report::Kept { id }, Report::Orphaned { id, errno }]
        {
            assert_eq!(Report::parse(&report.to_bytes()), Some(report));
        }
        assert_eq!(Request::parse(&[0; REQUEST_BYTES]), None);
        assert_eq!(Report::parse(&[0; REPORT_BYTES]), None);
    }
}
