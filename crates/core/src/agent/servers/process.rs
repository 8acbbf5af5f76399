//! A server that is a program. It is started with a companion (`meanwhile_shim`), which ends the program and all
//! its descendants when this process ends, in whatever way.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use meanwhile_shim::launch::{Fd, Launch, out_of_the_way};
use meanwhile_shim::{keep, layout};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, pipe2};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;

use crate::agent::provider::Secret;
use crate::background::words::{one_line, shorten};
use crate::background::{own_environment, shim_in_memory};

/// How many of the last bytes that a server wrote to its standard error are kept.
const SAID_BYTES: usize = 2_048;
/// How long to read the remaining output of a server that has exited.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// A running program.
pub(super) struct Program {
    pub(super) stdin: pipe::Sender,
    pub(super) stdout: pipe::Receiver,
    pub(super) ties: Ties,
}

/// Ends the program when dropped, and collects what it writes to its standard error.
pub(super) struct Ties {
    /// Closing this ends the program.
    _life: OwnedFd,
    said: Arc<Mutex<Vec<u8>>>,
    reading: tokio::task::JoinHandle<()>,
}

impl Ties {
    /// The last line that the program wrote to its standard error; for a program that has exited or is about to.
    pub(super) async fn last_words(&mut self) -> Option<String> {
        // The pipe reaches its end once every process that holds it has exited.
        let _ = tokio::time::timeout(LAST_WORDS, &mut self.reading).await;
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let said = String::from_utf8_lossy(&said);
        let last = said.lines().map(one_line).rfind(|line| !line.is_empty())?;
        Some(shorten(&last, 300))
    }
}

/// Starts a program in a directory. If it cannot be executed, the companion writes so to the standard error.
pub(super) fn start(
    program: &OsString,
    args: &[String],
    env: &[(String, Secret)],
    cwd: &Path,
) -> io::Result<Program> {
    let (companions, life) = pair()?;
    let (input, stdin) = pair()?;
    let (stdout, output) = pair()?;
    let (stderr, errors) = pair()?;
    let mut whole: Vec<(OsString, OsString)> = own_environment();
    let given = env.iter().map(|(name, value)| (OsString::from(name), value.expose().into()));
    let given = given.chain([("PWD".into(), cwd.into())]);
    for (name, value) in given.collect::<Vec<(OsString, OsString)>>() {
        whole.retain(|(other, _)| *other != name);
        whole.push((name, value));
    }
    let mut argv: Vec<OsString> =
        vec![layout::SHIM.into(), keep::COMPANION.into(), program.clone()];
    argv.extend(args.iter().map(OsString::from));
    let fds = [
        (0, Fd::Share(input.as_fd())),
        (1, Fd::Share(output.as_fd())),
        (2, Fd::Share(errors.as_fd())),
        (keep::fd::LIFE, Fd::Share(companions.as_fd())),
    ];
    let shim = shim_in_memory()?;
    let path = format!("/proc/self/fd/{}", shim.as_raw_fd());
    let launch =
        Launch { program: Path::new(&path), argv: &argv, env: &whole, cwd: Some(cwd), fds: &fds };
    let starter = Pid::from_raw(launch.start()? as i32);
    // The starter forks and exits. If this process is process 1 of a container, another part may have reaped it
    // already.
    while waitpid(starter, None) == Err(Errno::EINTR) {}
    let said: Arc<Mutex<Vec<u8>>> = Arc::default();
    let reading = tokio::spawn(listen(receiver(stderr)?, said.clone()));
    Ok(Program {
        stdin: pipe::Sender::from_owned_fd(nonblocking(stdin)?)?,
        stdout: receiver(stdout)?,
        ties: Ties { _life: life, said, reading },
    })
}

/// A pipe, reading end first. Neither descriptor uses a number that the child needs.
fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
    Ok((out_of_the_way(read)?, out_of_the_way(write)?))
}

fn nonblocking(fd: OwnedFd) -> io::Result<OwnedFd> {
    nix::fcntl::fcntl(&fd, nix::fcntl::FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok(fd)
}

fn receiver(fd: OwnedFd) -> io::Result<pipe::Receiver> {
    pipe::Receiver::from_owned_fd(nonblocking(fd)?)
}

/// Reads everything, so that the program never blocks, and keeps the last bytes.
async fn listen(mut from: pipe::Receiver, said: Arc<Mutex<Vec<u8>>>) {
    let mut bytes = [0; 1_024];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        said.extend_from_slice(&bytes[..count]);
        let over = said.len().saturating_sub(SAID_BYTES);
        said.drain(..over);
    }
}
