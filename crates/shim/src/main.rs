//! `meanwhile-shim DIR idle|run|adopt|adopt-child`: supervises one task, and ends with it.
//!
//! Started by a daemon or by the command line, never by hand. `idle` waits in the folder `DIR` for
//! a task; `run` finds its spec there; `adopt` takes over from a shim that was killed, `adopt-child`
//! for a daemon that is the leader's parent now and will tell its status. One thread, no runtime: a
//! task's supervisor must cost next to nothing, and nothing must be able to stop it.

mod files;
mod input;
mod leader;
mod stall;
mod supervise;

use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::path::PathBuf;
use std::process::ExitCode;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::prctl;
use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, signal, sigprocmask};

use crate::files::Files;
use crate::supervise::Shim;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    let (Some(dir), Some(mode)) = (args.next().map(PathBuf::from), args.next()) else {
        return ExitCode::from(2);
    };
    match run(dir, &mode.to_string_lossy()) {
        Ok(()) => ExitCode::SUCCESS,
        // Nobody reads a shim's standard error. Its parent learns from the exit code what a shim
        // that never became ready was short of.
        Err(error) => {
            ExitCode::from(error.raw_os_error().and_then(|e| e.try_into().ok()).unwrap_or(1))
        }
    }
}

fn run(dir: PathBuf, mode: &str) -> std::io::Result<()> {
    close_inherited();
    prctl::set_name(c"meanwhile-shim")?;
    prctl::set_child_subreaper(true)?;
    ignore_signals()?;
    std::env::set_current_dir(&dir)?;
    let files = match mode {
        "adopt" | "adopt-child" => Files::take_over(dir)?,
        _ => Files::create(dir)?,
    };
    match mode {
        "idle" => {
            let Some(files) = files.idle(parent_pipe()?)? else { return Ok(()) };
            Shim::start(files)?.supervise()
        }
        "run" => Shim::start(files)?.supervise(),
        "adopt" => Shim::adopt(files, false)?.supervise(),
        "adopt-child" => Shim::adopt(files, true)?.supervise(),
        _ => Err(std::io::ErrorKind::InvalidInput.into()),
    }
}

/// A shim outlives terminals and is no target of a stray signal; SIGTERM means that the machine
/// goes down, and is taken as an order to stop the task.
fn ignore_signals() -> nix::Result<()> {
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
    ];
    for number in ignored {
        set_ignored(number)?;
    }
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&watched_signals()), None)
}

#[expect(unsafe_code, reason = "signal(2) is unsafe because of handlers")]
fn set_ignored(number: Signal) -> nix::Result<()> {
    // SAFETY: ignoring a signal runs no code of ours.
    unsafe { signal(number, SigHandler::SigIgn) }.map(|_| ())
}

/// What comes through the signal descriptor.
fn watched_signals() -> SigSet {
    SigSet::from_iter([Signal::SIGCHLD, Signal::SIGTERM])
}

/// Whatever a client left open in its daemon is nothing of a task's. Descriptor 3 is an idle shim's
/// own, and every descriptor opened from here on is close-on-exec.
#[expect(unsafe_code, reason = "close_range(2) has no wrapper in nix")]
fn close_inherited() {
    // SAFETY: nothing in this process owns these descriptors yet. On a kernel before 5.9 the call
    // fails, and they stay open.
    unsafe { libc::syscall(libc::SYS_close_range, 4, u32::MAX, 0) };
}

/// Descriptor 3 of an idle shim: the read end of a pipe whose other end its daemon holds.
#[expect(unsafe_code, reason = "an inherited descriptor has only a number")]
fn parent_pipe() -> std::io::Result<OwnedFd> {
    // SAFETY: nothing else in this process owns descriptor 3: this is the first and only place
    // that takes it, and whoever starts an idle shim passes it.
    let fd = unsafe { OwnedFd::from_raw_fd(3) };
    fcntl(fd.as_fd(), FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    Ok(fd)
}
