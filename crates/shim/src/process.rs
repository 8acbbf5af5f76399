//! This process's descriptors and signals, and forking.

#![expect(unsafe_code, reason = "fork(2), close_range(2), signal(2) and inherited descriptors")]

use std::io;
use std::os::fd::{AsFd, FromRawFd, OwnedFd, RawFd};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::ForkResult;

/// Ignores all signals that might end a shim by accident, such as the hangup of a terminal. SIGTERM is not
/// ignored: it means that the machine is shutting down, and counts as an order to stop the task. SIGXFSZ is
/// ignored so that at a limit on file sizes (`ulimit -f`) a write fails, as on a full disk.
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

/// The signals that are read from the signal descriptor.
fn watched_signals() -> SigSet {
    SigSet::from_iter([Signal::SIGCHLD, Signal::SIGTERM])
}

/// Opens the signal descriptor.
pub fn signals() -> nix::Result<SignalFd> {
    SignalFd::with_flags(&watched_signals(), SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
}

/// Forks. The process has one thread, so the child may do whatever its parent may.
pub fn fork() -> nix::Result<ForkResult> {
    // SAFETY: there is no other thread that could hold a lock during the fork.
    unsafe { nix::unistd::fork() }
}

/// Ends this forked process with the exit code of its outcome.
pub fn finish(outcome: io::Result<()>) -> ! {
    std::process::exit(code_of(&outcome).into())
}

/// The exit code of an outcome: 0, or the errno of the error. No process reads a shim's standard error; the
/// code tells the keeper why a shim could not start.
pub fn code_of(outcome: &io::Result<()>) -> u8 {
    match outcome {
        Ok(()) => 0,
        Err(error) => error.raw_os_error().and_then(|e| e.try_into().ok()).unwrap_or(1),
    }
}

/// Takes ownership of a descriptor that this process was started with.
pub fn inherited(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: nothing else in this process owns it: each number is taken in one place, at the start.
    let fd = unsafe { OwnedFd::from_raw_fd(number) };
    fcntl(fd.as_fd(), FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    Ok(fd)
}

/// Closes all descriptors from `first` on: those that a client has left open in its daemon must not reach
/// a task. All descriptors that are opened later are close-on-exec.
pub fn close_from(first: RawFd) {
    close_range(first, RawFd::MAX);
}

/// Closes all descriptors except the standard ones and these. Only for a forked process that never drops
/// the values that own the closed descriptors.
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
    // SAFETY: the caller ensures that nothing uses these descriptors any more.
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
