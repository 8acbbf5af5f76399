//! Clocks: the wall clock for people, and start times from `/proc`, which identify processes.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch.
pub fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// The 16 bytes of `/proc/sys/kernel/random/boot_id`; zeros if it cannot be read.
pub fn boot_id() -> [u8; 16] {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let mut id = [0; 16];
    let digits: Vec<u8> =
        text.bytes().filter_map(|b| char::from(b).to_digit(16)).map(|d| d as u8).collect();
    for (byte, pair) in id.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = pair[0] << 4 | pair[1];
    }
    id
}

/// When a process started, in clock ticks since boot (proc_pid_stat(5), field 22). Boot id, pid and
/// start time together are never reused; `None` once the process is gone.
pub fn start_time(pid: u32) -> Option<u64> {
    stat_fields(pid).and_then(|fields| fields.start_time)
}

/// How long ago a process with this start time started.
pub fn age(start_time: u64) -> Duration {
    let up = nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME).map(Duration::from);
    let ticks = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok().flatten();
    let ticks = ticks.and_then(|ticks| u64::try_from(ticks).ok()).filter(|ticks| *ticks > 0);
    let started = Duration::from_millis(start_time.saturating_mul(1_000) / ticks.unwrap_or(100));
    up.unwrap_or_default().saturating_sub(started)
}

/// Fields of `/proc/<pid>/stat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// The state: `R`, `S`, `D`, `T`, `Z`, ... (field 3).
    pub state: u8,
    /// The parent's pid (field 4).
    pub parent: u32,
    /// The session id (field 6).
    pub session: u32,
    /// When it started, see [`start_time`].
    pub start_time: Option<u64>,
}

/// Reads `/proc/<pid>/stat`; `None` once the process is gone.
pub fn stat_fields(pid: u32) -> Option<Stat> {
    parse_stat(&fs::read(format!("/proc/{pid}/stat")).ok()?)
}

fn parse_stat(bytes: &[u8]) -> Option<Stat> {
    // The second field is the command in parentheses and may itself contain spaces and parentheses.
    let after = bytes.iter().rposition(|b| *b == b')')? + 2;
    let text = std::str::from_utf8(bytes.get(after..)?).ok()?;
    let mut fields = text.split_ascii_whitespace();
    let state = *fields.next()?.as_bytes().first()?;
    let parent = fields.next()?.parse().ok()?;
    let session = fields.nth(1)?.parse().ok()?;
    let start_time = fields.nth(15)?.parse().ok();
    Some(Stat { state, parent, session, start_time })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_with_parentheses_does_not_shift_the_fields() {
        let line = b"71 (a) b (c)) S 1 71 70 0 -1 4194560 9 0 0 0 0 0 0 0 20 0 1 0 12345 1 2";
        let want = Stat { state: b'S', parent: 1, session: 70, start_time: Some(12345) };
        assert_eq!(parse_stat(line), Some(want));
    }

    #[test]
    fn this_process_has_a_start_time_and_no_other_does() {
        assert!(start_time(std::process::id()).is_some());
        assert_eq!(start_time(u32::MAX), None);
    }
}
