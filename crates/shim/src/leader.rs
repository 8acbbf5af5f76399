//! Starting the leader: the process whose end is the task's end.

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

/// Waits between attempts while the machine is short of processes or memory: 0.6 s in all, so
/// that a passing shortage ends no task.
const RETRIES: [Duration; 4] = [
    Duration::from_millis(20),
    Duration::from_millis(60),
    Duration::from_millis(160),
    Duration::from_millis(360),
];

/// The shell of scripts without `#!` (execvp(3), `_PATH_BSHELL`).
const SH: &str = "/bin/sh";
/// Bytes of a file's beginning that are looked at to tell a script from a program.
const SCRIPT_BYTES: u64 = 128;
/// [`layout::PLAN`], for the child to open.
const PLAN: &CStr = c"confine";

/// A leader that runs.
pub struct Leader {
    /// Its pid.
    pub pid: u32,
    /// Its terminal.
    pub terminal: Option<Terminal>,
    /// Its standard input, as far as it comes through the shim.
    pub input: Input,
}

/// Starts the leader. An error is the kernel's word.
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
            // The leader alone has it now, so a writer is told (EPIPE) when the task has closed it.
            drop(reader);
            Ok(Leader { pid, terminal: None, input: Input::Pipe(Some(writer)) })
        }
        Stdin::Pty { rows, cols } => {
            let (terminal, path) = Terminal::create(rows, cols)?;
            // The leader opens the terminal itself, as the leader of a new session, and so makes
            // it its controlling terminal.
            let fds = [(0, Fd::Open(&path, libc::O_RDWR)), (1, Fd::Same(0)), (2, Fd::Same(0))];
            // All that may fail comes before the leader runs.
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
    // The server's own would name the directory that the server was started in.
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

/// A directory as `PWD` has it: without `.` and `..` (POSIX, "Environment Variables").
fn working_directory(cwd: &Path) -> OsString {
    let climbs = cwd.components().any(|part| part == Component::ParentDir);
    let path = if climbs { cwd.canonicalize().ok() } else { None };
    path.unwrap_or_else(|| cwd.components().collect()).into()
}

/// Where a confined task may write. The shim's directory is its task's folder.
fn temporary() -> PathBuf {
    std::env::current_dir().unwrap_or_default().join(layout::TEMPORARY)
}

fn exec(spec: &Spec, env: &[(OsString, OsString)], fds: &[(i32, Fd)]) -> io::Result<u32> {
    let program = spec.argv.first().map_or(OsStr::new(""), OsString::as_os_str);
    let path = env.iter().find(|(name, _)| name == "PATH").map(|(_, value)| value.as_os_str());
    let mut error = io::Error::from_raw_os_error(libc::ENOENT);
    let searched = !program.as_encoded_bytes().contains(&b'/');
    for candidate in launch::candidates(program, path) {
        // A search asks the files first: each start that fails costs as much as one that does not.
        let asked = if searched { launch::probe(&spec.cwd.join(&candidate)) } else { Ok(()) };
        match asked.and_then(|()| exec_patiently(&candidate, spec, &spec.argv, env, fds)) {
            Ok(pid) => return Ok(pid),
            Err(new) => match new.raw_os_error() {
                Some(libc::ENOENT | libc::ENOTDIR) if searched => {}
                // As execvp(3): go on looking, but say this in the end.
                Some(libc::EACCES) => error = new,
                // As execvp(3): a script without `#!` is one for sh(1).
                Some(libc::ENOEXEC) if is_text(&spec.cwd.join(&candidate)) => {
                    return exec_patiently(Path::new(SH), spec, &script(spec, candidate), env, fds);
                }
                Some(_) | None => return Err(new),
            },
        }
    }
    Err(error)
}

/// What sh(1) is started with to run a script.
fn script(spec: &Spec, file: PathBuf) -> Vec<OsString> {
    [SH.into(), file.into()].into_iter().chain(spec.argv.iter().skip(1).cloned()).collect()
}

/// Whether a file that the kernel does not execute may be a script: a program of another machine has
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

/// Starts this program in its mode `confine`, which becomes the command. The word of an execve(2) that
/// fails there comes through a pipe that closes when it succeeds.
fn start_confined(launch: &Launch) -> io::Result<u32> {
    let (reader, writer) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
    let mut argv: Vec<OsString> = vec!["meanwhile-shim".into(), confine::MODE.into()];
    argv.push(launch.program.into());
    argv.extend_from_slice(launch.argv);
    let mut fds: Vec<(i32, Fd)> = Vec::with_capacity(launch.fds.len() + 2);
    fds.extend(launch.fds.iter().copied());
    // The pipe first: its own number may be the plan's.
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

/// The status of a child that ended, which stays a zombie; `None` while it runs.
///
/// nix's `waitid` knows no real-time signal, and a child may die of one.
#[expect(unsafe_code, reason = "waitid(2) is a C interface")]
pub fn exit_of(pid: u32) -> Option<Exit> {
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: an all-zero siginfo_t is a valid one, and the call writes nothing else. The status
    // is a field of the union's variant that SIGCHLD fills.
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

/// The status that waitpid(2) gave another process.
pub fn exit_of_raw(status: i32) -> Exit {
    if libc::WIFEXITED(status) {
        Exit::Code(libc::WEXITSTATUS(status))
    } else {
        Exit::Signal(libc::WTERMSIG(status))
    }
}

/// Sends a signal to a leader that is our child, and so keeps its number. Its process group has its pid.
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

/// The same to a leader that is not our child, through its descriptor.
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

/// What reaping found.
pub enum Reaped {
    /// A child that ended, with its status as waitpid(2) gives it.
    Child(u32, i32),
    /// All children live.
    NoneEnded,
    /// There are no children.
    NoneLeft,
}

/// Reaps one child that ended, whichever it is.
#[expect(unsafe_code, reason = "nix's waitpid knows no real-time signal, and gives no raw status")]
pub fn reap_one() -> Reaped {
    let mut raw = 0;
    // SAFETY: the call writes one integer.
    match unsafe { libc::waitpid(-1, &raw mut raw, libc::WNOHANG) } {
        pid @ 1.. => Reaped::Child(pid as u32, raw),
        0 => Reaped::NoneEnded,
        _ => Reaped::NoneLeft,
    }
}
