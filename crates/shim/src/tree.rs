//! A task's processes: who they are, and how all of them are ended.
//!
//! A shim is a subreaper (prctl(2)), so whatever a task starts stays its descendant, however it
//! forks and whatever session it makes. Where the shim was killed, the processes are found by the
//! variable that marks them, by the leader's session and by their parents.
//!
//! A task may itself run a daemon or a command that starts tasks. Those are tasks of their own: every
//! walk stops at a keeper or shim.
//!
//! `cgroup.kill` is not used: a folder under `/sys/fs/cgroup` for each task costs more than the
//! spawn itself, is writable on few machines, and finds nobody that the subreaper does not.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::clock;
use crate::layout::{self, TASK_ID_VARIABLE};
use crate::record::{SURVIVOR_BYTES, SURVIVORS_MAX, Survivor, cut};

/// Whether this process is a keeper or shim, of whichever version and store: its executable and its first
/// argument are called so.
pub fn is_shim(pid: u32) -> bool {
    let named = |name: &[u8]| name.starts_with(layout::SHIM.as_bytes());
    let Ok(program) = fs::read_link(format!("/proc/{pid}/exe")) else { return false };
    // In a store, or where that allows no programs, in memory: `/memfd:<name> (deleted)`.
    let program = program.file_name().unwrap_or_default().as_encoded_bytes();
    named(program.strip_prefix(b"memfd:").unwrap_or(program))
        && fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|arguments| named(&arguments))
}

/// The descendants of a process, not itself, parents first; without other keepers and shims and what
/// descends from them. Zombies count.
pub fn descendants(root: u32) -> Vec<u32> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::from([root]);
    let mut at = 0;
    let mut parent = root;
    loop {
        for child in children(parent) {
            if seen.insert(child) && !is_shim(child) {
                found.push(child);
            }
        }
        match found.get(at) {
            Some(next) => parent = *next,
            None => return found,
        }
        at += 1;
    }
}

/// The children of a process, of all its threads.
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

/// The processes of a task whose shim is gone: those that carry its id in their environment, those
/// of its leader's session, and whatever descends from these. Never this process, nor keepers and shims
/// and what descends from them alone.
pub fn marked(id: &str, leader: Option<u32>) -> Vec<u32> {
    let mark = format!("{TASK_ID_VARIABLE}={id}");
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|e| e.file_name().to_str()?.parse::<u32>().ok());
    let mut parents = BTreeMap::new();
    let mut found = BTreeSet::new();
    for pid in pids {
        let Some(stat) = clock::stat_fields(pid) else { continue };
        parents.insert(pid, stat.parent);
        let carries = || {
            fs::read(format!("/proc/{pid}/environ"))
                .is_ok_and(|env| env.split(|b| *b == 0).any(|entry| entry == mark.as_bytes()))
        };
        if (leader.is_some_and(|leader| stat.session == leader) || carries()) && !is_shim(pid) {
            found.insert(pid);
        }
    }
    let descends = |pid: u32| {
        let (mut at, mut way) = (pid, vec![pid]);
        // A pid cannot descend from itself, but two reads of /proc may disagree.
        for _ in 0..1_000 {
            match parents.get(&at) {
                Some(parent) if found.contains(parent) => {
                    return !way.into_iter().any(is_shim);
                }
                Some(parent) => {
                    at = *parent;
                    way.push(at);
                }
                None => return false,
            }
        }
        false
    };
    let mut all: BTreeSet<u32> = parents.keys().copied().filter(|pid| descends(*pid)).collect();
    all.extend(found.iter().copied());
    all.remove(&std::process::id());
    all.into_iter().collect()
}

/// Whether a process is there and not a zombie.
pub fn is_alive(pid: u32) -> bool {
    clock::stat_fields(pid).is_some_and(|stat| !matches!(stat.state, b'Z' | b'X'))
}

/// Sends a signal to each of these, and SIGCONT so that a stopped one takes it.
pub fn signal(pids: &[u32], signal: i32) {
    let Ok(signal) = Signal::try_from(signal) else {
        // A real-time signal, which nix has no name for.
        for pid in pids {
            send_raw(*pid, signal);
        }
        return;
    };
    for pid in pids {
        let _ = kill(Pid::from_raw(*pid as i32), signal);
    }
    if !matches!(signal, Signal::SIGKILL | Signal::SIGSTOP | Signal::SIGTSTP) {
        for pid in pids {
            let _ = kill(Pid::from_raw(*pid as i32), Signal::SIGCONT);
        }
    }
}

#[expect(unsafe_code, reason = "nix's kill takes no real-time signal")]
fn send_raw(pid: u32, signal: i32) {
    // SAFETY: kill(2) takes two numbers.
    let _ = unsafe { libc::kill(pid as i32, signal) };
}

/// One round of ending a tree: stops everybody first, so that nobody forks behind our back, then
/// sends SIGKILL. Returns who was there and alive; the caller reaps and comes back until nobody is.
pub fn kill_all(members: impl Fn() -> Vec<u32>) -> Vec<u32> {
    let mut stopped = BTreeSet::new();
    // Each round finds only what was forked before its parent was stopped; a fork bomb is caught
    // up with sooner or later, and the caller comes back anyway.
    for _ in 0..32 {
        let new: Vec<u32> = members().into_iter().filter(|pid| !stopped.contains(pid)).collect();
        if new.is_empty() {
            break;
        }
        for pid in new {
            let _ = kill(Pid::from_raw(pid as i32), Signal::SIGSTOP);
            stopped.insert(pid);
        }
    }
    let alive: Vec<u32> = stopped.into_iter().filter(|pid| is_alive(*pid)).collect();
    for pid in &alive {
        let _ = kill(Pid::from_raw(*pid as i32), Signal::SIGKILL);
    }
    alive
}

/// Names those of `pids` that are alive.
pub fn name(pids: &[u32]) -> Vec<Survivor> {
    pids.iter()
        .copied()
        .filter(|pid| is_alive(*pid))
        .take(SURVIVORS_MAX)
        .map(|pid| Survivor { pid, command: command_line(pid) })
        .collect()
}

fn command_line(pid: u32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words: Vec<_> =
        bytes.split(|b| *b == 0).filter(|w| !w.is_empty()).map(String::from_utf8_lossy).collect();
    if words.is_empty() {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        return name.trim_end().to_owned();
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
        let found = marked(&mark, None);
        while !kill_all(|| marked(&mark, None)).is_empty() {
            let _ = child.try_wait();
        }
        child.wait().unwrap();
        assert!(below.len() >= 2, "the sleep never showed: {below:?}");
        assert!(found.contains(&child.id()) && below.iter().all(|pid| found.contains(pid)));
        assert_eq!(marked(&mark, None), Vec::<u32>::new());
    }
}
