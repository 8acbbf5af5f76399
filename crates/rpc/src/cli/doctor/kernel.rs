//! Tests the required features of the kernel and the system.

use std::fs;
use std::io;
use std::process::{Child, Command, Stdio};

use meanwhile_core::background::words::reason;
use nix::sys::prctl;

use super::{Check, Status};

/// The Landlock ABI that can restrict signals (Linux 6.12); with an older one, a command confined with `look` may not
/// send any.
const FULL_ABI: u32 = 6;

pub(super) fn check() -> Vec<Check> {
    vec![
        verdict(
            Status::Fail,
            "shell",
            shell(),
            "a command line cannot be run; an argument list can",
            "install a POSIX shell as /bin/sh",
        ),
        verdict(
            Status::Fail,
            "subreaper",
            subreaper(),
            "processes that a task leaves behind are not found, and a stop does not end them",
            "use Linux 3.4 or later, and allow prctl(2) in the sandbox",
        ),
        verdict(
            Status::Warn,
            "children in /proc",
            with_blocked_child(children),
            "a process that left its session may outlive a stop",
            "use a kernel with CONFIG_PROC_CHILDREN, and mount /proc",
        ),
        verdict(
            Status::Warn,
            "waiting in /proc",
            with_blocked_child(syscall),
            "a task that waits for input is not noticed",
            "allow /proc/PID/syscall of your own processes (ptrace_scope below 2, no sandbox)",
        ),
        verdict(
            Status::Warn,
            "pidfd_open",
            rustix::process::pidfd_open(
                rustix::process::getpid(),
                rustix::process::PidfdFlags::empty(),
            )
            .map(|_| "yes".to_owned())
            .map_err(io::Error::from),
            "the end of a task whose supervisor was killed is noticed later",
            "use Linux 5.3 or later, and allow pidfd_open(2) in the sandbox",
        ),
        verdict(
            Status::Warn,
            "confinement",
            meanwhile_core::confine::measure().map(|abi| match FULL_ABI <= abi {
                true => format!("Landlock {abi}, seccomp"),
                false => format!("Landlock {abi}, seccomp; no signals below {FULL_ABI}"),
            }),
            "`confine` is refused, and the agent asks before each command",
            "use Linux 5.13 or later with landlock among the modules in the kernel's `lsm=`, and allow \
             seccomp(2) in the sandbox",
        ),
        verdict(
            Status::Warn,
            "rules for files",
            meanwhile_core::confine::measure_mounts()
                .map(|()| "enforced by a mount namespace".to_owned()),
            "`deny read X` and `deny write X` beside `allow bash` are only checked against the text of a command",
            "allow users namespaces of their own (`kernel.unprivileged_userns_clone`, \
             `kernel.apparmor_restrict_unprivileged_userns`)",
        ),
        verdict(
            Status::Fail,
            "boot id",
            fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()),
            "a process cannot be distinguished from one with the same pid after a reboot",
            "mount /proc",
        ),
        verdict(
            Status::Warn,
            "process 1",
            reaper(&processes()),
            "processes that have exited remain zombies, and their pids stay in use",
            "start the container with an init (`docker run --init`, `init: true` in a compose file)",
        ),
    ]
}

/// Whether `/proc` lists a child of this process.
fn children(child: &Child) -> io::Result<String> {
    let own = format!("/proc/self/task/{}/children", std::process::id());
    let text = fs::read_to_string(own)?;
    match text.split(' ').any(|pid| pid == child.id().to_string()) {
        true => Ok("listed".to_owned()),
        false => Err(io::Error::other(format!("a child is not listed in `{text}`"))),
    }
}

/// Whether `/proc` shows the system call that a child waits in.
fn syscall(child: &Child) -> io::Result<String> {
    let text = fs::read_to_string(format!("/proc/{}/syscall", child.id()))?;
    Ok(if text.is_empty() { "empty".to_owned() } else { "readable".to_owned() })
}

/// A process: its pid, its parent's pid, its state, its name.
type Process = (u32, u32, u8, String);

/// The processes in `/proc`.
fn processes() -> Vec<Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let read = |pid: u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (front, rest) = stat.rsplit_once(')')?;
        let mut fields = rest.split_ascii_whitespace();
        let state = *fields.next()?.as_bytes().first()?;
        let name = front.split_once('(')?.1.to_owned();
        Some((pid, fields.next()?.parse().ok()?, state, name))
    };
    pids.filter_map(read).collect()
}

/// Whether process 1 reaps orphaned processes. If it does, there is hardly ever a zombie.
fn reaper(processes: &[Process]) -> io::Result<String> {
    let init = processes.iter().find(|(pid, ..)| *pid == 1);
    let name = init.map_or("not seen", |(.., name)| name.as_str());
    match processes.iter().filter(|(_, parent, state, _)| (*parent, *state) == (1, b'Z')).count() {
        0 | 1 => Ok(name.to_owned()),
        zombies => Err(io::Error::other(format!("`{name}` has left {zombies} zombies"))),
    }
}

fn verdict(
    worst: Status,
    name: &'static str,
    result: io::Result<String>,
    cost: &str,
    remedy: &str,
) -> Check {
    match result {
        Ok(found) => Check::ok(name, found),
        Err(error) => Check::bad(worst, name, reason(&error), cost, remedy),
    }
}

fn shell() -> io::Result<String> {
    let status = Command::new("/bin/sh").args(["-c", "exit 7"]).stdin(Stdio::null()).status()?;
    match status.code() {
        Some(7) => Ok("/bin/sh".to_owned()),
        Some(_) | None => {
            Err(io::Error::other(format!("`/bin/sh -c 'exit 7'` ended with {status}")))
        }
    }
}

/// Tries to become a subreaper, and undoes it.
fn subreaper() -> io::Result<String> {
    prctl::set_child_subreaper(true)?;
    let set = prctl::get_child_subreaper()?;
    prctl::set_child_subreaper(false)?;
    match set {
        true => Ok("yes".to_owned()),
        false => Err(io::Error::other("the call succeeded without effect")),
    }
}

/// Runs a check while a child of this process waits for input.
fn with_blocked_child(look: impl FnOnce(&Child) -> io::Result<String>) -> io::Result<String> {
    let mut child = Command::new("/bin/sh")
        .args(["-c", "read line"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let found = look(&child);
    // Its standard input is closed, so it exits.
    child.wait()?;
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_try_is_told_with_its_cost() {
        let bad = verdict(Status::Warn, "x", Err(io::Error::other("no")), "much", "this");
        assert_eq!(bad, Check::warn("x", "no", "much", "this"));
        let good = verdict(Status::Warn, "x", Ok("yes".to_owned()), "much", "this");
        assert_eq!(good, Check::ok("x", "yes"));
    }

    #[test]
    fn zombies_of_process_1_are_told() {
        let process = |pid, parent, state| (pid, parent, state, "sleep".to_owned());
        let mut all = vec![process(1, 0, b'S'), process(7, 1, b'Z'), process(8, 2, b'Z')];
        assert_eq!(reaper(&all).expect("one has only just ended"), "sleep");
        all.push(process(9, 1, b'Z'));
        let error = reaper(&all).expect_err("two zombies").to_string();
        assert_eq!(error, "`sleep` has left 2 zombies");
    }

    #[test]
    fn the_shell_of_this_machine_works() {
        assert_eq!(shell().expect("tests need one too"), "/bin/sh");
    }
}
