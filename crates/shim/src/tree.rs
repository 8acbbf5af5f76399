//! A task's processes: how they are found, and how all of them are ended.
//!
//! A shim is a subreaper (prctl(2)), so all processes that a task starts stay the shim's descendants, even
//! if they fork twice or create a session. If the shim was killed, the processes are found by the
//! environment variable that marks them, by the leader's session and by their parents.
//!
//! A task may itself run a daemon or a command that starts tasks. Those are separate tasks: every walk
//! stops at a keeper or shim.
//!
//! `cgroup.kill` is not used: creating a folder under `/sys/fs/cgroup` for each task takes longer than
//! the spawn itself, is permitted on few machines, and finds no process that the subreaper does not.

use std::collections::{BTreeSet, VecDeque};
use std::fs;

use crate::clock;
use crate::identity::{Process, Sent};
use crate::layout::{self, TASK_ID_VARIABLE};
use crate::record::{SURVIVOR_BYTES, SURVIVORS_MAX, Survivor, cut};

/// The text shown instead of the command of a process that `/proc` hides.
const HIDDEN: &str = "(a process of another user)";

/// Whether this process is a keeper or shim, of any version and store: the names of its executable and its
/// `argv[0]` begin with [`layout::SHIM`].
pub fn is_shim(pid: u32) -> bool {
    let named = |name: &[u8]| name.starts_with(layout::SHIM.as_bytes());
    let Ok(program) = fs::read_link(format!("/proc/{pid}/exe")) else { return false };
    // The executable is in a store or, if the store allows no programs, in memory: `/memfd:<name> (deleted)`.
    let program = program.file_name().unwrap_or_default().as_encoded_bytes();
    named(program.strip_prefix(b"memfd:").unwrap_or(program))
        && fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|arguments| named(&arguments))
}

/// The descendants of a process, without the process itself, parents first. Keepers and shims and their
/// descendants are left out; zombies are included.
pub fn descendants(root: u32) -> Vec<Process> {
    below(&[root])
}

/// The same for several processes.
fn below(roots: &[u32]) -> Vec<Process> {
    let mut found: Vec<Process> = Vec::new();
    let mut seen: BTreeSet<u32> = roots.iter().copied().collect();
    let mut parents: VecDeque<u32> = roots.iter().copied().collect();
    while let Some(parent) = parents.pop_front() {
        for child in children(parent) {
            if seen.contains(&child) || is_shim(child) {
                continue;
            }
            // The pid may have been reused since it was listed; the process then has another parent.
            let stat = clock::stat_fields(child);
            if stat.is_some_and(|stat| !seen.contains(&stat.parent)) {
                continue;
            }
            let process = match stat.and_then(|stat| stat.start_time) {
                Some(started) => Some(Process::noted(child, started)),
                None => Process::of(child),
            };
            if let Some(process) = process {
                seen.insert(child);
                parents.push_back(child);
                found.push(process);
            }
        }
    }
    found
}

/// The children of all threads of a process.
pub fn children(pid: u32) -> Vec<u32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let mut found = Vec::new();
    for thread in threads.flatten() {
        if let Ok(text) = fs::read_to_string(thread.path().join("children")) {
            found.extend(text.split_ascii_whitespace().filter_map(|n| n.parse::<u32>().ok()));
        }
    }
    found
}

/// The children of a process known to have one thread, such as a shim: one file instead of a walk.
pub fn children_of_single_thread(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_ascii_whitespace().filter_map(|n| n.parse().ok()).collect()
}

/// The processes of a task whose shim is gone.
#[derive(Debug, Default)]
pub struct Marked {
    /// Processes that are proven to belong to the task.
    pub members: Vec<Process>,
    /// Processes whose session id is the pid of the leader, which has exited, without a proof that they
    /// belong to the task: the pid may have been reused.
    pub unproven: Vec<Process>,
}

/// Finds the processes of a task whose shim is gone: those that have its id in their environment, those of
/// its leader's session, and the descendants of both. Never includes this process, nor keepers and shims and
/// processes that descend only from these.
///
/// A session's id is the pid of the process that created it, and is not reused while the session has a
/// member. So the session is the leader's if the leader still exists, or if one of its members has the task's
/// id in its environment.
pub fn marked(id: &str, leader: Option<Process>) -> Marked {
    let mark = format!("{TASK_ID_VARIABLE}={id}");
    let Ok(entries) = fs::read_dir("/proc") else { return Marked::default() };
    let pids = entries.flatten().filter_map(|e| e.file_name().to_str()?.parse::<u32>().ok());
    let (mut members, mut session) = (BTreeSet::new(), BTreeSet::new());
    let mut is_proven = leader.is_some_and(Process::exists);
    for pid in pids.filter(|pid| *pid != std::process::id()) {
        let Some(stat) = clock::stat_fields(pid) else { continue };
        let Some(start) = stat.start_time else { continue };
        let process = Process::noted(pid, start);
        let is_of_session = leader.is_some_and(|leader| stat.session == leader.pid);
        let carries = fs::read(format!("/proc/{pid}/environ"))
            .is_ok_and(|env| env.split(|b| *b == 0).any(|entry| entry == mark.as_bytes()));
        if !(is_of_session || carries) || is_shim(pid) {
            continue;
        }
        is_proven |= is_of_session && carries;
        let whose = if carries { &mut members } else { &mut session };
        whose.insert(process);
    }
    let unproven = match is_proven {
        true => {
            members.append(&mut session);
            Vec::new()
        }
        false => session.into_iter().collect(),
    };
    let roots: Vec<u32> = members.iter().map(|member| member.pid).collect();
    members.extend(below(&roots).into_iter().filter(|found| found.pid != std::process::id()));
    Marked { members: members.into_iter().collect(), unproven }
}

/// Whether a process with this pid exists now and is not a zombie.
pub fn is_alive(pid: u32) -> bool {
    Process::of(pid).is_some_and(Process::is_alive)
}

/// Sends a signal to each of these, and then SIGCONT, so that a stopped process handles it.
pub fn signal(processes: &[Process], signal: i32) {
    for process in processes {
        process.signal(signal);
    }
    if !matches!(signal, libc::SIGKILL | libc::SIGSTOP | libc::SIGTSTP) {
        for process in processes {
            process.signal(libc::SIGCONT);
        }
    }
}

/// Does one round of ending a tree: stops every process first, so that none forks meanwhile, then sends
/// SIGKILL. Returns which processes were alive, and the result of the signal; the caller reaps and calls
/// again until none is alive.
pub fn kill_all(members: impl Fn() -> Vec<Process>) -> Vec<(Process, Sent)> {
    let mut stopped = BTreeSet::new();
    // Each pass finds only processes that were forked before their parent was stopped. A fork bomb may
    // need more passes, and the caller calls again anyway.
    for _ in 0..32 {
        let new: Vec<Process> =
            members().into_iter().filter(|process| !stopped.contains(process)).collect();
        if new.is_empty() {
            break;
        }
        for process in new {
            process.signal(libc::SIGSTOP);
            stopped.insert(process);
        }
    }
    let alive = stopped.into_iter().filter(|process| process.is_alive());
    let alive: Vec<Process> = alive.collect();
    alive.into_iter().map(|process| (process, process.signal(libc::SIGKILL))).collect()
}

/// The pids and commands of those that are alive, at most [`SURVIVORS_MAX`].
pub fn name(processes: &[Process]) -> Vec<Survivor> {
    processes
        .iter()
        .filter(|process| process.is_alive())
        .take(SURVIVORS_MAX)
        .map(|process| Survivor { pid: process.pid, command: command_line(process.pid) })
        .collect()
}

fn command_line(pid: u32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words: Vec<_> =
        bytes.split(|b| *b == 0).filter(|w| !w.is_empty()).map(String::from_utf8_lossy).collect();
    if words.is_empty() {
        // A kernel thread or zombie has no command line; with `hidepid`, that of another user is hidden.
        let name = fs::read_to_string(format!("/proc/{pid}/comm"));
        return name.map_or_else(|_| HIDDEN.to_owned(), |name| name.trim_end().to_owned());
    }
    cut(&words.join(" "), SURVIVOR_BYTES).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    #[test]
    fn a_tree_is_found_from_its_root_and_by_its_mark() {
        let mark = format!("test{:04x}", std::process::id() & 0xffff);
        let mut child = Command::new("sh")
            .args(["-c", "setsid sh -c 'sleep 1000 & wait' & wait"])
            .env(TASK_ID_VARIABLE, &mark)
            .stderr(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let patience = Instant::now() + Duration::from_secs(20);
        let mut below = Vec::new();
        while Instant::now() < patience && !name(&below).iter().any(|s| s.command == "sleep 1000") {
            below = descendants(child.id());
        }
        let found = marked(&mark, None).members;
        while !kill_all(|| marked(&mark, None).members).is_empty() {
            let _ = child.try_wait();
        }
        child.wait().unwrap();
        assert!(below.len() >= 2, "the sleep never showed: {below:?}");
        assert!(found.iter().any(|process| process.pid == child.id()));
        assert!(below.iter().all(|process| found.contains(process)));
        assert_eq!(marked(&mark, None).members, []);
    }

    /// A process that leads its own session, and its child; neither has the mark.
    fn session() -> (std::process::Child, Process) {
        let mut child = Command::new("setsid")
            .args(["sh", "-c", "echo; sleep 1000 & wait"])
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = [0];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut line).unwrap();
        let leader = Process::of(child.id()).unwrap();
        (child, leader)
    }

    fn end(mut child: std::process::Child) {
        while !kill_all(|| descendants(child.id())).is_empty() {}
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_session_is_the_tasks_only_where_its_leader_proves_it() {
        let (child, leader) = session();
        let mine = marked("no mark", Some(leader));
        let another = Process::noted(leader.pid, 1);
        let strangers = marked("no mark", Some(another));
        end(child);
        assert!(mine.members.contains(&leader) && mine.unproven.is_empty(), "{mine:?}");
        assert!(strangers.members.is_empty(), "{strangers:?}");
        assert!(strangers.unproven.contains(&leader), "{strangers:?}");
    }
}
