//! Whether a task waits for typed input.
//!
//! It does if one of its processes is in a system call that reads its terminal or its input pipe, or if
//! one waits in poll(2) or a similar call, as an event loop does, while the output ends with a prompt: a
//! line without a newline.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use meanwhile_shim::identity::Process;

/// Whether one of these processes is blocked on the file `input`.
pub fn is_waiting(processes: &[Process], input: &fs::Metadata, last_byte: Option<u8>) -> bool {
    let at_prompt = last_byte.is_some_and(|byte| byte != b'\n' && byte != b'\r');
    processes.iter().any(|process| match blocked_in(process.pid) {
        Some(Call::Read(fd)) => is_same(process.pid, fd, input),
        Some(Call::Poll) => at_prompt && is_same(process.pid, 0, input),
        None => false,
    })
}

enum Call {
    Read(u64),
    Poll,
}

/// The system call in which a process is blocked, from `/proc/<pid>/syscall` (proc_pid_syscall(5)).
fn blocked_in(pid: u32) -> Option<Call> {
    let text = fs::read_to_string(format!("/proc/{pid}/syscall")).ok()?;
    let mut words = text.split_ascii_whitespace();
    let number: i64 = words.next()?.parse().ok()?;
    let first = u64::from_str_radix(words.next()?.trim_start_matches("0x"), 16).ok()?;
    let reads = [libc::SYS_read, libc::SYS_readv];
    let mut polls = vec![libc::SYS_ppoll, libc::SYS_pselect6, libc::SYS_epoll_pwait];
    #[cfg(target_arch = "x86_64")]
    polls.extend([libc::SYS_poll, libc::SYS_select, libc::SYS_epoll_wait]);
    if reads.contains(&number) {
        Some(Call::Read(first))
    } else if polls.contains(&number) {
        Some(Call::Poll)
    } else {
        None
    }
}

fn is_same(pid: u32, fd: u64, input: &fs::Metadata) -> bool {
    let Ok(file) = fs::metadata(format!("/proc/{pid}/fd/{fd}")) else { return false };
    if input.file_type().is_char_device() {
        return file.file_type().is_char_device()
            // `/dev/tty` (device 5, 0) is the same terminal by another name.
            && (file.rdev() == input.rdev() || file.rdev() == nix::sys::stat::makedev(5, 0));
    }
    file.dev() == input.dev() && file.ino() == input.ino()
}
