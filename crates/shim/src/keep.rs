//! Requests from a daemon to its keeper, and the keeper's reports: fixed-size messages on two pipes.
//!
//! A keeper is started by one process, a daemon or a command, and serves only that process. A task
//! inherits from the keeper what the keeper inherited: environment, limits, control group, namespaces and
//! confinement. The pipes have no name in the file system, so no other process can ask the keeper for anything.

/// Numbers of the descriptors that the keeper gets from its starter.
pub mod fd {
    /// The read end of a pipe whose write end its starter holds. An idle shim exits when that closes.
    pub const LIFE: i32 = 3;
    /// The pipe from which it reads [`super::Request`]s.
    pub const REQUESTS: i32 = 4;
    /// The pipe to which it writes [`super::Report`]s.
    pub const REPORTS: i32 = 5;
}

/// The first argument of a keeper, before the state directory.
pub const MODE: &str = "keeper";
/// The first argument of a companion, before the program that it runs. Of these descriptors it gets only
/// [`fd::LIFE`].
pub const COMPANION: &str = "companion";
/// Bytes of a request: one letter, a task's id, a bell's name. Below `PIPE_BUF`, so each write is atomic.
pub const REQUEST_BYTES: usize = 48;
/// Bytes of a report: one letter, an errno(3), a task's id.
pub const REPORT_BYTES: usize = 16;

/// A request to a keeper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Start an idle shim in the folder `live/.<id>.<bell>`, which exists.
    Idle {
        /// The id in the folder's name.
        id: [u8; 8],
        /// The bell in the folder's name.
        bell: [u8; 32],
    },
    /// Start a shim that takes over the task in `live/<id>`, whose own shim is dead.
    Adopt {
        /// The task's id.
        id: [u8; 8],
    },
    /// Become the keeper of the task in `live/<id>`, whose own keeper was killed.
    Watch {
        /// The task's id.
        id: [u8; 8],
    },
}

/// A report of a keeper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Report {
    /// The idle shim of this id has exited, or could not be started.
    Failed {
        /// The id in the request.
        id: [u8; 8],
        /// The errno(3) of the failed start; 0 if the shim was killed.
        errno: i32,
    },
    /// This is now the task's keeper: it has started another shim instead of one that was killed, or watches
    /// the existing one.
    Kept {
        /// The task's id.
        id: [u8; 8],
    },
    /// The task has no shim, and none can be started now. The keeper will retry.
    Orphaned {
        /// The task's id.
        id: [u8; 8],
        /// The errno(3) of the failed start.
        errno: i32,
    },
}

impl Request {
    /// The bytes of the request on the pipe.
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

    /// Reads a request; `None` if its letter is unknown.
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
    /// The bytes of the report on the pipe.
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

    /// Reads a report; `None` if its letter is unknown.
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
