//! What a task's leader is to its shim, and how its status is learnt: from the kernel, as of a child; from
//! the keeper, whose child it becomes when its shim is killed; or, where the keeper was killed too, from
//! what the kernel tells of strangers.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use meanwhile_shim::identity::{self, Process};
use meanwhile_shim::record::Exit;

use crate::leader;

/// How long the status of an adopted leader that is not the keeper's child is asked for. The kernel tells
/// it once the leader is reaped, which its new parent does at once.
const STATUS_PATIENCE: Duration = Duration::from_millis(200);
/// Between two questions.
pub const STATUS_ROUND: Duration = Duration::from_millis(5);
/// For tests: as if the kernel did not tell the status of a process that is not a child.
const NO_INFO_VARIABLE: &str = "MEANWHILE_TEST_NO_PIDFD_INFO";

/// What the leader is to us.
pub enum Kin {
    /// Our child.
    Child,
    /// A stranger, watched through its pidfd: its own shim was killed.
    Adopted {
        /// Who it is; `None` where it was never started, or in another boot.
        leader: Option<Process>,
        /// Readable once it ended.
        pidfd: Option<OwnedFd>,
        /// Its wait status, from the process that reaped it.
        status: Option<Exit>,
        /// Where the keeper tells it, whose child the leader is now.
        told: Option<File>,
        /// When it was seen to have ended, where no process tells its status.
        gone: Option<Instant>,
    },
}

impl Kin {
    /// What is readable once there may be news of the leader, beside the signal of a child's end.
    pub fn watched(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Adopted { told: Some(told), .. } => Some(told.as_fd()),
            Self::Adopted { pidfd: Some(pidfd), gone: None, .. } => Some(pidfd.as_fd()),
            Self::Adopted { .. } | Self::Child => None,
        }
    }

    /// The leader's status, if it ended.
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
                        // The keeper was killed. The leader's next parent does not tell the status.
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

/// As much of `struct pidfd_info` of `linux/pidfd.h` as is read here: its first published size.
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    cgroup: u64,
    ids: [u32; 11],
    exit: i32,
}

/// The status of a process that is not a child of this one and was reaped while this descriptor was open.
/// Linux before 6.15 does not tell it.
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

/// What a keeper has told of a leader's end.
enum Told {
    /// The leader lives.
    NotYet,
    /// Its status.
    Status(Exit),
    /// The keeper is gone.
    Nothing,
}

/// Reads what the keeper has told.
fn told_exit(mut pipe: &File) -> Told {
    let mut raw = [0; 4];
    match pipe.read_exact(&mut raw) {
        Ok(()) => Told::Status(leader::exit_of_raw(i32::from_le_bytes(raw))),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Told::NotYet,
        Err(_) => Told::Nothing,
    }
}
