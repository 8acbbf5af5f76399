//! `meanwhile-shim companion PROGRAM [ARG..]`: runs a program for as long as the process that started the companion
//! lives, then ends the program with everything that it has started.
//!
//! For programs that speak to a daemon over pipes, such as MCP servers. Such a program is not a task: it has no record
//! and no log, and leaves nothing behind. The companion is outside of its starter's process tree and is a subreaper, so
//! whatever the program starts stays below the companion. It holds the read end of a pipe whose write end only its
//! starter has. When that pipe closes, however the starter ended, the program's input has ended too; the companion
//! gives the program a moment to exit, then sends SIGTERM, then SIGKILL.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

use meanwhile_shim::keep::fd;
use meanwhile_shim::tree;
use nix::fcntl::{OFlag, open};
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::{ForkResult, Pid, getpid, getppid, setsid};

use crate::files::poll_again;
use crate::leader::{self, Reaped};
use crate::process;

/// How long the program has to exit after its input ended, and again after SIGTERM.
const GRACE: Duration = Duration::from_secs(1);
/// Time between two rounds of SIGKILL.
const ROUND: Duration = Duration::from_millis(20);
/// How long to wait for a process that SIGKILL does not end: another user's, or one that hangs in the kernel.
const PATIENCE: Duration = Duration::from_secs(5);

/// How far the companion is with ending the program. The times are when the next stage begins.
enum Stage {
    /// The program runs.
    Serving,
    /// The daemon has closed the program's input.
    Asked(Instant),
    /// The program was sent SIGTERM.
    Told(Instant),
    /// Its remaining processes are being killed.
    Killed(Instant),
}

/// Starts the program in a child, and returns there once all its processes have exited.
pub fn run(program: OsString, args: Vec<OsString>) -> io::Result<()> {
    process::close_from(fd::LIFE + 1);
    let life = process::inherited(fd::LIFE)?;
    if let ForkResult::Parent { .. } = process::fork()? {
        return Ok(());
    }
    setsid()?;
    prctl::set_child_subreaper(true)?;
    let own = getpid();
    let leader = match process::fork()? {
        ForkResult::Child => become_program(own, &program, args),
        ForkResult::Parent { child } => child,
    };
    process::ignore_signals()?;
    prctl::set_name(c"meanwhile-shim")?;
    std::env::set_current_dir("/")?;
    let_go_of_pipes()?;
    keep(leader, &life)
}

/// Executes the program. If the companion is killed, the kernel kills the program.
fn become_program(companion: Pid, program: &OsString, args: Vec<OsString>) -> ! {
    let lived = prctl::set_pdeathsig(Signal::SIGKILL).is_ok() && getppid() == companion;
    let error = match lived {
        true => Command::new(program).args(args).exec(),
        false => io::ErrorKind::BrokenPipe.into(),
    };
    // The process that started this one reads our standard error.
    let why = format!("cannot start `{}`: {error}\n", program.display());
    let _ = nix::unistd::write(io::stderr().as_fd(), why.as_bytes());
    process::finish(Err(error))
}

/// Closes this process's copies of the program's pipes, so that they close when the program exits.
fn let_go_of_pipes() -> io::Result<()> {
    let null = open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())?;
    nix::unistd::dup2_stdin(&null)?;
    nix::unistd::dup2_stdout(&null)?;
    nix::unistd::dup2_stderr(&null)?;
    Ok(())
}

fn keep(leader: Pid, life: &OwnedFd) -> io::Result<()> {
    let signals = process::signals()?;
    let (mut stage, mut runs) = (Stage::Serving, true);
    let tree = || tree::descendants(std::process::id());
    loop {
        while let Reaped::Child(pid, _) = leader::reap_one() {
            runs &= pid != leader.as_raw() as u32;
        }
        let now = Instant::now();
        if !runs && !matches!(stage, Stage::Killed(_)) {
            stage = Stage::Killed(now + PATIENCE);
        }
        let until = match stage {
            Stage::Serving => None,
            Stage::Asked(until) if now < until => Some(until),
            Stage::Asked(_) => {
                tree::signal(&tree(), libc::SIGTERM);
                stage = Stage::Told(now + GRACE);
                Some(now + GRACE)
            }
            Stage::Told(until) if now < until => Some(until),
            Stage::Told(_) => {
                stage = Stage::Killed(now + PATIENCE);
                continue;
            }
            Stage::Killed(until) => {
                if tree::kill_all(tree).is_empty() && !runs || now >= until {
                    return Ok(());
                }
                Some(now + ROUND)
            }
        };
        let mut fds = vec![PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        if until.is_none() {
            fds.push(PollFd::new(life.as_fd(), PollFlags::POLLIN));
        }
        let left = until.map(|until| until.saturating_duration_since(now) + ROUND / 4);
        let left = left.and_then(|left| PollTimeout::try_from(left).ok());
        poll_again(&mut fds, left.unwrap_or(PollTimeout::NONE))?;
        let over = |fd: &PollFd| fd.revents().is_some_and(|events| !events.is_empty());
        let is_over = fds.get(1).is_some_and(over);
        let mut told = false;
        while let Some(signal) = signals.read_signal()? {
            told |= signal.ssi_signo == libc::SIGTERM as u32;
        }
        if matches!(stage, Stage::Serving) && (is_over || told) {
            stage = Stage::Asked(Instant::now() + GRACE);
        }
    }
}
