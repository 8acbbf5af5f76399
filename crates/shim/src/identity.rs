//! Which process a pid refers to. The kernel reuses pids, so a signal is sent only to the process whose
//! start time matches the recorded one.

#![expect(unsafe_code, reason = "nix has no pidfd, and its kill takes no real-time signal")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::clock;

/// A process, identified by its pid and its start time: within one boot no other process has both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    /// Its pid, which the kernel reuses after the process was reaped.
    pub pid: u32,
    /// See [`clock::start_time`]; `None` if `/proc` hides the process of another user (`hidepid`).
    start: Option<u64>,
}

/// The result of sending a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// The signal was sent.
    Yes,
    /// The process belongs to another user, whom this one may not signal.
    Refused,
    /// The process is gone, or it cannot be distinguished from another one with the same pid.
    Gone,
}

impl Process {
    /// The process that has this pid now, if there is one. A zombie counts.
    pub fn of(pid: u32) -> Option<Self> {
        match clock::stat_fields(pid) {
            Some(stat) => Some(Self { pid, start: stat.start_time }),
            None => (probe(pid) != Sent::Gone).then_some(Self { pid, start: None }),
        }
    }

    /// The process that was recorded with this pid and start time.
    pub fn noted(pid: u32, start: u64) -> Self {
        Self { pid, start: Some(start) }
    }

    /// Whether the process still has its pid, be it as a zombie.
    pub fn exists(self) -> bool {
        Self::of(self.pid) == Some(self)
    }

    /// Whether it exists and is not a zombie. One that `/proc` hides is alive until it is known to have exited.
    pub fn is_alive(self) -> bool {
        match clock::stat_fields(self.pid) {
            Some(stat) => {
                self.start.is_none_or(|start| stat.start_time == Some(start))
                    && !matches!(stat.state, b'Z' | b'X')
            }
            None => match pidfd_open(self.pid) {
                Ok(pidfd) => !is_readable(&pidfd),
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => false,
                Err(_) => probe(self.pid) != Sent::Gone,
            },
        }
    }

    /// Opens a pidfd, which never refers to another process, however long it is kept; `None` if the process
    /// is gone.
    pub fn open(self) -> io::Result<Option<OwnedFd>> {
        let pidfd = match pidfd_open(self.pid) {
            Ok(pidfd) => pidfd,
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return Ok(None),
            Err(error) => return Err(error),
        };
        // Compare after opening: if the opened process still lives, it is the one whose start time is read.
        Ok((clock::start_time(self.pid) == self.start).then_some(pidfd))
    }

    /// Sends it a signal; 0 only checks whether a signal could be sent.
    pub fn signal(self, signal: i32) -> Sent {
        match self.open() {
            Ok(Some(pidfd)) => sent(pidfd_signal(&pidfd, signal, 0)),
            Ok(None) => Sent::Gone,
            // A kernel before 5.3, or a sandbox that refuses the call: this leaves a short race, but is all there is.
            Err(_) if clock::start_time(self.pid) == self.start => kill(self.pid, signal),
            Err(_) => Sent::Gone,
        }
    }
}

/// Sends a signal to whichever process has this pid.
fn kill(pid: u32, signal: i32) -> Sent {
    match i32::try_from(pid) {
        // SAFETY: kill(2) takes two numbers.
        Ok(pid @ 1..) => sent(match unsafe { libc::kill(pid, signal) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }),
        Ok(_) | Err(_) => Sent::Gone,
    }
}

fn probe(pid: u32) -> Sent {
    kill(pid, 0)
}

fn sent(result: io::Result<()>) -> Sent {
    match result {
        Ok(()) => Sent::Yes,
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => Sent::Refused,
        Err(_) => Sent::Gone,
    }
}

/// Opens a pidfd, which is readable once the process has exited. The pid may have been reused; see
/// [`Process::open`].
pub fn pidfd_open(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: the call takes two numbers and returns a new descriptor, which nothing else owns.
    unsafe {
        match libc::syscall(libc::SYS_pidfd_open, pid, 0) {
            fd @ 0.. => Ok(OwnedFd::from_raw_fd(fd as i32)),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// Sends a signal to the process of a pidfd; `flags` as in pidfd_send_signal(2).
pub fn pidfd_signal(pidfd: &OwnedFd, signal: i32, flags: u32) -> io::Result<()> {
    let none = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: without a siginfo_t the call reads no memory of this process.
    let done = unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, none, flags)
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Whether a descriptor is readable now.
pub fn is_readable(fd: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::ZERO).is_ok()
        && fds[0].revents().is_some_and(|events| !events.is_empty())
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    use super::*;

    #[test]
    fn a_signal_reaches_no_other_process_of_the_number() {
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        let process = Process::of(child.id()).unwrap();
        let start = process.start.unwrap();
        for other in
            [Process::noted(child.id(), start - 1), Process { pid: child.id(), start: None }]
        {
            assert!(!other.exists());
            assert_eq!(other.signal(libc::SIGKILL), Sent::Gone, "{other:?}");
        }
        assert!(process.is_alive() && !Process::noted(child.id(), start - 1).is_alive());
        assert_eq!(process.signal(libc::SIGTERM), Sent::Yes);
        // Until it is reaped it is a zombie: it keeps its pid, and is not alive.
        let pidfd = pidfd_open(child.id()).unwrap();
        let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::from(20_000_u16)).unwrap();
        assert!(process.exists() && !process.is_alive());
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGTERM));
        assert!(!process.exists() && !process.is_alive());
        assert_eq!(process.signal(0), Sent::Gone);
        assert_eq!(Process::of(u32::MAX), None);
    }
}
