//! Processes, from `/proc`.

use std::fs;
use std::path::Path;

/// A snapshot of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    pub(crate) parent: i32,
    /// The state letter of proc_pid_stat(5): `R`, `S`, `T`, `Z` ...
    pub(crate) state: char,
    /// The arguments, joined by spaces; the name in brackets if there are none.
    pub(crate) command: String,
}

/// The process with this pid, if there is one.
pub(crate) fn process(pid: i32) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name is in parentheses and may contain any byte, including a parenthesis.
    let (front, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let command = if arguments.is_empty() {
        format!("[{}]", front.split_once('(')?.1)
    } else {
        String::from_utf8_lossy(&arguments).trim_end_matches('\0').replace('\0', " ")
    };
    Some(Process { pid, parent, state, command })
}

/// The state letter of a process, `None` when it is gone. A zombie is `Z`.
pub(crate) fn state_of(pid: i32) -> Option<char> {
    process(pid).map(|process| process.state)
}

/// Whether a process has exited. A zombie counts as exited.
pub(crate) fn gone(pid: i32) -> bool {
    state_of(pid).is_none_or(|state| state == 'Z')
}

/// The parent of a process.
pub(crate) fn parent(pid: i32) -> Option<i32> {
    process(pid).map(|process| process.parent)
}

/// Every process of the machine.
pub(crate) fn all() -> Vec<Process> {
    let entries = fs::read_dir("/proc").expect("/proc is mounted");
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(process)
        .collect()
}

/// The processes with `mark` in their arguments, their environment or their working directory. A zombie
/// has none of these.
pub(crate) fn carrying(mark: &Path) -> Vec<Process> {
    let text = mark.as_os_str().as_encoded_bytes();
    let own = i32::try_from(std::process::id()).expect("a pid fits a pid_t");
    let holds = |process: &Process| {
        let pid = process.pid;
        let contains = |file: &str| {
            fs::read(format!("/proc/{pid}/{file}"))
                .is_ok_and(|bytes| bytes.windows(text.len()).any(|window| window == text))
        };
        pid != own
            && (contains("cmdline")
                || contains("environ")
                || fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(mark)))
    };
    all().into_iter().filter(holds).collect()
}

/// A field of `/proc/PID/status`, such as `VmRSS`, in bytes.
pub(crate) fn memory(pid: i32, field: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with(field))?;
    let kilobytes: u64 = line.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes * 1_024)
}
