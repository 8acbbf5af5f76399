//! Starts, signals and reaps the leader: the process whose exit ends the task.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use meanwhile_shim::confine;
use meanwhile_shim::ctl::Recipient;
use meanwhile_shim::identity;
use meanwhile_shim::launch::{self, Fd, Launch};
use meanwhile_shim::layout;
use meanwhile_shim::output;
use meanwhile_shim::record::Exit;
use meanwhile_shim::spec::{Spec, Stdin};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use crate::input::{Input, Typist};
use crate::memory::Score;
use crate::terminal::Terminal;

/// Delays between attempts while the machine is short of processes or memory: 0.6 s in all, so that a
/// short shortage does not make a task fail.
const RETRIES: [Duration; 4] = [
    Duration::from_millis(20),
    Duration::from_millis(60),
    Duration::from_millis(160),
    Duration::from_millis(360),
];

/// The shell of scripts without `#!` (execvp(3), `_PATH_BSHELL`).
const SH: &str = "/bin/sh";
/// How many of a file's first bytes are read to distinguish a script from a program.
const SCRIPT_BYTES: u64 = 128;
/// The same name as [`layout::PLAN`], as a C string for the child to open.
const PLAN: &CStr = c"confine";

/// A leader that was started.
pub struct Leader {
    pub pid: u32,
    pub terminal: Option<Terminal>,
    /// The shim's side of its standard input.
    pub input: Input,
}

/// Starts the leader. An error is the one that the kernel returned.
pub fn start(spec: &Spec, pipe: &File, score: Option<&Score>) -> io::Result<Leader> {
    let pipe = CString::new(output::path_for_child(pipe))?;
    let env = environment(spec);
    match spec.stdin {
        Stdin::Null => {
            let fds = [
                (0, Fd::Open(c"/dev/null", libc::O_RDONLY)),
                (1, Fd::Open(&pipe, libc::O_WRONLY)),
                (2, Fd::Same(1)),
            ];
            Ok(Leader {
                pid: Score::raised(score, || exec(spec, &env, &fds))?,
                terminal: None,
                input: Input::None,
            })
        }
        Stdin::Pipe => {
            let (reader, writer) = output::create()?;
            let input = CString::new(output::path_for_child(&reader))?;
            let fds = [
                (0, Fd::Open(&input, libc::O_RDONLY)),
                (1, Fd::Open(&pipe, libc::O_WRONLY)),
                (2, Fd::Same(1)),
            ];
            let pid = Score::raised(score, || exec(spec, &env, &fds))?;
            // Now only the task has the read end, so a writer gets EPIPE once the task has closed it.
            drop(reader);
            Ok(Leader { pid, terminal: None, input: Input::Pipe(Some(writer)) })
        }
        Stdin::Pty { rows, cols } => {
            let (terminal, path) = Terminal::create(rows, cols)?;
            // The leader opens the terminal itself: because it leads a new session, this makes the terminal
            // its controlling terminal.
            let fds = [(0, Fd::Open(&path, libc::O_RDWR)), (1, Fd::Same(0)), (2, Fd::Same(0))];
            // Everything that may fail is done before the leader runs.
            let input = Input::Terminal(Typist::new()?);
            let pid = Score::raised(score, || exec(spec, &env, &fds))?;
            Ok(Leader { pid, terminal: Some(terminal), input })
        }
    }
}

fn environment(spec: &Spec) -> Vec<(OsString, OsString)> {
    let mut env: BTreeMap<OsString, OsString> =
        if spec.whole { BTreeMap::new() } else { std::env::vars_os().collect() };
    if matches!(spec.stdin, Stdin::Pty { .. }) {
        env.entry("TERM".into()).or_insert_with(|| "xterm-256color".into());
    }
    if let Some(mode) = spec.confine.filter(|mode| *mode != confine::Mode::Open) {
        env = confine::environment::environment(mode, env, &temporary());
    }
    // The inherited value names the daemon's working directory.
    env.insert("PWD".into(), working_directory(&spec.cwd));
    for (name, value) in &spec.env {
        match value {
            Some(value) => env.insert(name.clone(), value.clone()),
            None => env.remove(name),
        };
    }
    env.insert(layout::TASK_ID_VARIABLE.into(), spec.id.clone().into());
    env.into_iter().collect()
}

/// The value of `PWD` for a directory: a path without `.` and `..` (POSIX, "Environment Variables").
fn working_directory(cwd: &Path) -> OsString {
    let climbs = cwd.components().any(|part| part == Component::ParentDir);
    let path = if climbs { cwd.canonicalize().ok() } else { None };
    path.unwrap_or_else(|| cwd.components().collect()).into()
}

/// The temporary directory of a confined task. The shim's working directory is the task's folder.
fn temporary() -> PathBuf {
    std::env::current_dir().unwrap_or_default().join(layout::TEMPORARY)
}

fn exec(spec: &Spec, env: &[(OsString, OsString)], fds: &[(i32, Fd)]) -> io::Result<u32> {
    let program = spec.argv.first().map_or(OsStr::new(""), OsString::as_os_str);
    let path = env.iter().find(|(name, _)| name == "PATH").map(|(_, value)| value.as_os_str());
    let mut error = io::Error::from_raw_os_error(libc::ENOENT);
    let searched = !program.as_encoded_bytes().contains(&b'/');
    for candidate in launch::candidates(program, path) {
        // A search checks the files first, because a failing start takes as long as a successful one.
        let asked = if searched { launch::probe(&spec.cwd.join(&candidate)) } else { Ok(()) };
        match asked.and_then(|()| exec_patiently(&candidate, spec, &spec.argv, env, fds)) {
            Ok(pid) => return Ok(pid),
            Err(new) => match new.raw_os_error() {
                Some(libc::ENOENT | libc::ENOTDIR) if searched => {}
                // As execvp(3): try the next candidate, but return this error if none works.
                Some(libc::EACCES) => error = new,
                // As execvp(3): sh(1) runs a script without `#!`.
                Some(libc::ENOEXEC) if is_text(&spec.cwd.join(&candidate)) => {
                    return exec_patiently(Path::new(SH), spec, &script(spec, candidate), env, fds);
                }
                Some(_) | None => return Err(new),
            },
        }
    }
    Err(error)
}

/// The arguments with which sh(1) runs a script.
fn script(spec: &Spec, file: PathBuf) -> Vec<OsString> {
    [SH.into(), file.into()].into_iter().chain(spec.argv.iter().skip(1).cloned()).collect()
}

/// Whether a file that the kernel cannot execute may be a script: a program for another architecture has
/// NUL bytes at its beginning.
fn is_text(file: &Path) -> bool {
    let mut start = Vec::new();
    let read = File::open(file).and_then(|file| file.take(SCRIPT_BYTES).read_to_end(&mut start));
    read.is_ok() && !start.contains(&0)
}

fn exec_patiently(
    program: &Path,
    spec: &Spec,
    argv: &[OsString],
    env: &[(OsString, OsString)],
    fds: &[(i32, Fd)],
) -> io::Result<u32> {
    let launch = Launch { program, argv, env, cwd: Some(&spec.cwd), fds };
    let start = || match spec.confine {
        None => launch.start(),
        Some(_) => start_confined(&launch),
    };
    for wait in RETRIES {
        match start() {
            Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::ENOMEM)) => {
                std::thread::sleep(wait);
            }
            result => return result,
        }
    }
    start()
}

/// Starts this program in its mode `confine`, which becomes the command. The errno of an execve(2) that
/// fails there arrives through a pipe, which closes if execve(2) succeeds.
fn start_confined(launch: &Launch) -> io::Result<u32> {
    let (reader, writer) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
    let mut argv: Vec<OsString> = vec!["meanwhile-shim".into(), confine::MODE.into()];
    argv.push(launch.program.into());
    argv.extend_from_slice(launch.argv);
    let mut fds: Vec<(i32, Fd)> = Vec::with_capacity(launch.fds.len() + 2);
    fds.extend(launch.fds.iter().copied());
    // The pipe first: its number in this process may be the plan's number in the child.
    fds.push((confine::WORD_FD, Fd::Share(writer.as_fd())));
    fds.push((confine::PLAN_FD, Fd::Open(PLAN, libc::O_RDONLY)));
    let program = Path::new("/proc/self/exe");
    let pid =
        Launch { program, argv: &argv, env: launch.env, cwd: launch.cwd, fds: &fds }.start()?;
    drop(writer);
    let mut word = Vec::new();
    File::from(reader).read_to_end(&mut word)?;
    let Ok(errno) = word.try_into().map(i32::from_ne_bytes) else { return Ok(pid) };
    let ended = Pid::from_raw(i32::try_from(pid).unwrap_or(i32::MAX));
    while waitpid(ended, None) == Err(Errno::EINTR) {}
    Err(io::Error::from_raw_os_error(errno))
}

/// The status of a child that has exited, which stays a zombie; `None` while it runs.
///
/// nix's `waitid` does not know real-time signals, and a child may be killed by one.
#[expect(unsafe_code, reason = "waitid(2) is a C interface")]
pub fn exit_of(pid: u32) -> Option<Exit> {
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: an all-zero siginfo_t is valid, and the call writes nothing else. The status is a field of
    // the union's variant that the kernel fills for SIGCHLD.
    unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        if libc::waitid(libc::P_PID, pid, &raw mut info, flags) != 0 || info.si_pid() == 0 {
            return None;
        }
        match info.si_code {
            libc::CLD_EXITED => Some(Exit::Code(info.si_status())),
            _ => Some(Exit::Signal(info.si_status())),
        }
    }
}

/// Converts a status that waitpid(2) returned in another process.
pub fn exit_of_raw(status: i32) -> Exit {
    if libc::WIFEXITED(status) {
        Exit::Code(libc::WEXITSTATUS(status))
    } else {
        Exit::Signal(libc::WTERMSIG(status))
    }
}

/// Sends a signal to a leader that is an unreaped child, so its pid cannot be reused. Its pid is also the id
/// of its process group.
#[expect(unsafe_code, reason = "nix's kill takes no real-time signal")]
pub fn signal(leader: u32, to: Recipient, signal: i32) {
    let Ok(pid @ 2..) = i32::try_from(leader) else { return };
    let pid = match to {
        Recipient::Group => -pid,
        Recipient::Leader => pid,
    };
    // SAFETY: kill(2) takes two numbers.
    let _ = unsafe { libc::kill(pid, signal) };
}

/// Sends a signal through its pidfd to a leader that is not a child of this process.
pub fn signal_stranger(leader: u32, pidfd: &OwnedFd, to: Recipient, number: i32) {
    // `PIDFD_SIGNAL_PROCESS_GROUP`, Linux 6.9.
    const GROUP: u32 = 1 << 2;
    let flags = match to {
        Recipient::Group => GROUP,
        Recipient::Leader => 0,
    };
    let sent = identity::pidfd_signal(pidfd, number, flags);
    if sent.is_err_and(|error| error.raw_os_error() == Some(libc::EINVAL))
        && !identity::is_readable(pidfd)
    {
        signal(leader, to, number);
    }
}

/// What an attempt to reap found.
pub enum Reaped {
    /// The pid of a child that has exited, and its status as waitpid(2) returns it.
    Child(u32, i32),
    /// All children still run.
    NoneEnded,
    /// There are no children.
    NoneLeft,
}

/// Reaps any one child that has exited.
#[expect(
    unsafe_code,
    reason = "nix's waitpid knows no real-time signals and returns no raw status"
)]
pub fn reap_one() -> Reaped {
    let mut raw = 0;
    // SAFETY: the call writes one integer.
    match unsafe { libc::waitpid(-1, &raw mut raw, libc::WNOHANG) } {
        pid @ 1.. => Reaped::Child(pid as u32, raw),
        0 => Reaped::NoneEnded,
        _ => Reaped::NoneLeft,
    }
}
