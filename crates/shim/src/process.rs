//! This process itself: its descriptors, its signals, forking.

#![expect(unsafe_code, reason = "fork(2), close_range(2), signal(2) and inherited descriptors")]

use std::io;
use std::os::fd::{AsFd, FromRawFd, OwnedFd, RawFd};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::ForkResult;

/// A shim outlives terminals and is not a target of a stray signal; SIGTERM means that the machine
/// goes down, and is taken as an order to stop the task. A limit on the size of files (`ulimit -f`) is to a
/// shim what a full disk is: a write that fails, not a signal that ends it.
pub fn ignore_signals() -> nix::Result<()> {
    let ignored = [
        Signal::SIGHUP,
        Signal::SIGINT,
        Signal::SIGQUIT,
        Signal::SIGPIPE,
        Signal::SIGTSTP,
        Signal::SIGTTIN,
        Signal::SIGTTOU,
        Signal::SIGUSR1,
        Signal::SIGUSR2,
        Signal::SIGALRM,
        Signal::SIGXFSZ,
    ];
    for number in ignored {
        // SAFETY: ignoring a signal runs no code of this program.
        unsafe { signal(number, SigHandler::SigIgn) }?;
    }
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&watched_signals()), None)
}

/// What comes through the signal descriptor.
fn watched_signals() -> SigSet {
    SigSet::from_iter([Signal::SIGCHLD, Signal::SIGTERM])
}

/// The descriptor that the watched signals come through.
pub fn signals() -> nix::Result<SignalFd> {
    SignalFd::with_flags(&watched_signals(), SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
}

/// Forks. The process has one thread, so the child may do whatever its parent may.
pub fn fork() -> nix::Result<ForkResult> {
    // SAFETY: no other thread exists that could hold a lock in the moment of the fork.
    unsafe { nix::unistd::fork() }
}

/// Ends this process, which was forked off, with the outcome of its work.
pub fn finish(outcome: io::Result<()>) -> ! {
    std::process::exit(code_of(&outcome).into())
}

/// The exit code of an outcome. No process reads a shim's standard error; the keeper learns from the
/// code what a shim that never became ready was short of.
pub fn code_of(outcome: &io::Result<()>) -> u8 {
    match outcome {
        Ok(()) => 0,
        Err(error) => error.raw_os_error().and_then(|e| e.try_into().ok()).unwrap_or(1),
    }
}

/// Takes a descriptor that this process was started with.
pub fn inherited(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: nothing else in this process owns it: each number is taken in one place, at the start.
    let fd = unsafe { OwnedFd::from_raw_fd(number) };
    fcntl(fd.as_fd(), FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    Ok(fd)
}

/// Closes whatever a client left open in its daemon, which is nothing of a task's. Every descriptor
/// opened from here on is close-on-exec.
pub fn close_from(first: RawFd) {
    close_range(first, RawFd::MAX);
}

/// Closes all descriptors but the standard ones and these. For a process that was forked off and never
/// drops what it closes here.
pub fn close_all_but(keep: &[RawFd]) {
    let mut keep = keep.to_vec();
    keep.sort_unstable();
    let mut next = libc::STDERR_FILENO + 1;
    for fd in keep {
        close_range(next, fd - 1);
        next = fd + 1;
    }
    close_range(next, RawFd::MAX);
}

fn close_range(first: RawFd, last: RawFd) {
    if first > last {
        return;
    }
    // SAFETY: the caller says that nothing uses these descriptors any more.
    if unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } == 0 {
        return;
    }
    // A kernel before 5.9.
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else { return };
    let numbers = entries.flatten().filter_map(|e| e.file_name().to_str()?.parse::<RawFd>().ok());
    for number in numbers.collect::<Vec<_>>() {
        if (first..=last).contains(&number) {
            // SAFETY: as above. The descriptor of the listing itself is closed already.
            unsafe { libc::close(number) };
        }
    }
}
