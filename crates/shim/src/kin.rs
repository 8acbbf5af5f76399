//! How a task's leader is related to its shim, and how the shim learns the leader's exit status: from the
//! kernel if the leader is the shim's child; from the keeper, whose child the leader becomes when its shim is
//! killed; or, if the keeper was killed too, from what the kernel reports about other processes.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use meanwhile_shim::identity::{self, Process};
use meanwhile_shim::record::Exit;

use crate::leader;

/// How long to ask the kernel for the status of an adopted leader that is not the keeper's child. The kernel
/// reports it once the leader is reaped, which its new parent does at once.
const STATUS_PATIENCE: Duration = Duration::from_millis(200);
/// Time between two of these requests.
pub const STATUS_ROUND: Duration = Duration::from_millis(5);
/// For tests: act as if the kernel did not report the status of a process that is not a child.
const NO_INFO_VARIABLE: &str = "MEANWHILE_TEST_NO_PIDFD_INFO";

/// How the leader is related to this shim.
pub enum Kin {
    /// The leader is the shim's child.
    Child,
    /// It is not a child, because the shim that started it was killed; it is watched through its pidfd.
    Adopted {
        /// Which process it is; `None` if it was never started, or was started in another boot.
        leader: Option<Process>,
        /// Readable once it has exited.
        pidfd: Option<OwnedFd>,
        /// Its wait status, from the process that reaped it.
        status: Option<Exit>,
        /// The pipe on which the keeper sends the status, if the leader is now the keeper's child.
        told: Option<File>,
        /// When the shim noticed that it has exited, if no process reports its status.
        gone: Option<Instant>,
    },
}

impl Kin {
    /// A descriptor that is readable once the leader may have exited; for a child there is SIGCHLD instead.
    pub fn watched(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Adopted { told: Some(told), .. } => Some(told.as_fd()),
            Self::Adopted { pidfd: Some(pidfd), gone: None, .. } => Some(pidfd.as_fd()),
            Self::Adopted { .. } | Self::Child => None,
        }
    }

    /// The leader's status, if it has exited.
    pub fn exit(&mut self, leader: u32, now: Instant) -> Option<Exit> {
        match self {
            Self::Child => leader::exit_of(leader),
            Self::Adopted { status: Some(exit), .. } => Some(*exit),
            Self::Adopted { pidfd, status, told, gone, .. } => {
                if let Some(pipe) = told {
                    match told_exit(pipe) {
                        Told::NotYet => return None,
                        Told::Status(exit) => {
                            (*told, *status) = (None, Some(exit));
                            return *status;
                        }
                        // The keeper was killed. The leader's next parent does not report the status.
                        Told::Nothing => *told = None,
                    }
                }
                let Some(pidfd) = pidfd else { return Some(Exit::Unknown) };
                if gone.is_none() && identity::is_readable(pidfd) {
                    *gone = Some(now);
                }
                let gone = (*gone)?;
                let exit = exit_of_stranger(pidfd);
                exit.or((now >= gone + STATUS_PATIENCE).then_some(Exit::Unknown))
            }
        }
    }
}

/// The part of `struct pidfd_info` (`linux/pidfd.h`) that is read here, which is its first published size.
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    cgroup: u64,
    ids: [u32; 11],
    exit: i32,
}

/// The status of a process that is not a child of this one and was reaped while this pidfd was open.
/// Linux before 6.15 does not report it.
#[expect(unsafe_code, reason = "ioctl(2) has no safe interface")]
fn exit_of_stranger(pidfd: &OwnedFd) -> Option<Exit> {
    // `PIDFD_INFO_EXIT` and `PIDFD_GET_INFO`, `_IOWR(0xFF, 11, struct pidfd_info)`.
    const EXIT: u64 = 1 << 3;
    const GET_INFO: u64 = 0xC000_FF0B | (size_of::<PidfdInfo>() as u64) << 16;
    if std::env::var_os(NO_INFO_VARIABLE).is_some() {
        return None;
    }
    let mut info = PidfdInfo { mask: EXIT, ..PidfdInfo::default() };
    // SAFETY: the kernel writes at most the size that is part of the number.
    let done = unsafe { libc::ioctl(pidfd.as_raw_fd(), GET_INFO as _, &raw mut info) } == 0;
    (done && info.mask & EXIT != 0).then(|| leader::exit_of_raw(info.exit))
}

/// What a keeper has reported about a leader's exit.
enum Told {
    /// The leader still runs.
    NotYet,
    /// The leader has exited with this status.
    Status(Exit),
    /// The keeper has exited without a report.
    Nothing,
}

/// Reads the keeper's report.
fn told_exit(mut pipe: &File) -> Told {
    let mut raw = [0; 4];
    match pipe.read_exact(&mut raw) {
        Ok(()) => Told::Status(leader::exit_of_raw(i32::from_le_bytes(raw))),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Told::NotYet,
        Err(_) => Told::Nothing,
    }
}
