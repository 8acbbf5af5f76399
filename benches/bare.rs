//! The bare system calls with which the daemon is compared.
//!
//! Calls `posix_spawn` and `waitpid` as directly as Rust permits. For the comparison, nothing here
//! waits otherwise, retries or records.

use std::ffi::{CStr, CString};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;

use nix::fcntl::OFlag;
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, posix_spawn};
use nix::sys::wait::waitpid;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

use crate::Outcome;

/// The argument with which this program only writes the time and exits.
pub(crate) const MOMENT: &str = "moment";

/// Nanoseconds of the monotonic clock, which all processes of the machine share.
pub(crate) fn now() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("every Linux has this clock");
    time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64
}

/// Writes the time to standard output as the last thing this process does.
pub(crate) fn tell_the_moment() -> ExitCode {
    let mut out = std::io::stdout().lock();
    // The newline flushes the line-buffered output in one write.
    match out.write_all(format!("{}\n", now()).as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// A command that can be started repeatedly; its strings are allocated in advance.
pub(crate) struct Bare {
    program: CString,
    arguments: Vec<CString>,
    environment: Vec<CString>,
}

impl Bare {
    /// `/bin/sh -c LINE`, as the daemon runs a command.
    pub(crate) fn shell(line: &str) -> Outcome<Self> {
        Self::new(&["/bin/sh", "-c", line])
    }

    /// A program with its arguments.
    pub(crate) fn new(argv: &[&str]) -> Outcome<Self> {
        let arguments: Vec<CString> =
            argv.iter().map(|argument| CString::new(*argument)).collect::<Result<_, _>>()?;
        let program = arguments.first().ok_or("an empty argv")?.clone();
        let environment = std::env::vars_os()
            .map(|(name, value)| CString::new([name.as_bytes(), b"=", value.as_bytes()].concat()))
            .collect::<Result<_, _>>()?;
        Ok(Self { program, arguments, environment })
    }

    fn start(&self, actions: &PosixSpawnFileActions) -> Outcome<Pid> {
        let attributes = PosixSpawnAttr::init()?;
        let program: &CStr = &self.program;
        Ok(posix_spawn(program, actions, &attributes, &self.arguments, &self.environment)?)
    }

    /// Starts it; returns its pid and how long the call took.
    pub(crate) fn spawn(&self) -> Outcome<(Pid, u64)> {
        let actions = PosixSpawnFileActions::init()?;
        let from = now();
        let pid = self.start(&actions)?;
        Ok((pid, now() - from))
    }

    /// Starts it, waits until it exits, and returns how long both took.
    pub(crate) fn run(&self) -> Outcome<u64> {
        let from = now();
        let (pid, _) = self.spawn()?;
        reap(pid)?;
        Ok(now() - from)
    }

    /// Runs a program that writes the time before it exits; returns how much later `waitpid` returned.
    pub(crate) fn end(&self) -> Outcome<u64> {
        let [_, moment, known] = self.moments()?;
        Ok(known - moment)
    }

    /// Runs a program that writes the time before it exits; returns how long after its start that was.
    pub(crate) fn begin(&self) -> Outcome<u64> {
        let [from, moment, _] = self.moments()?;
        Ok(moment - from)
    }

    /// Runs a program; returns the time before its start, the time that it writes, and the time after `waitpid`.
    fn moments(&self) -> Outcome<[u64; 3]> {
        let (mut read, write) = std::io::pipe()?;
        nix::fcntl::fcntl(&write, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC))?;
        let mut actions = PosixSpawnFileActions::init()?;
        actions.add_open(0, c"/dev/null", OFlag::O_RDONLY, nix::sys::stat::Mode::empty())?;
        actions.add_dup2(write.as_raw_fd(), 1)?;
        let from = now();
        let pid = self.start(&actions)?;
        drop(write);
        reap(pid)?;
        let known = now();
        let mut text = String::new();
        read.read_to_string(&mut text)?;
        Ok([from, text.trim().parse()?, known])
    }
}

/// Waits until a process exits.
pub(crate) fn reap(pid: Pid) -> Outcome<()> {
    waitpid(pid, None)?;
    Ok(())
}
