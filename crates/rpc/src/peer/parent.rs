//! Notices the death of the client's process: the one that an LSP client names (`processId` of `initialize`), or the
//! parent of an MCP server.
//!
//! This is needed if the client dies while one of its children holds the daemon's standard input open. A pidfd
//! reports the death at once; if the kernel has no pidfds, the process is polled twice a second.
//!
//! A client in another pid namespace (the editor on the host, the daemon in a container) names a pid that does not
//! exist here. Then only the end of standard input shows its death.

use std::os::fd::OwnedFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The polling interval without a pidfd: the protocol allows a second.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Returns once the process is gone. Never returns if no process has this pid now.
pub(crate) async fn gone(pid: u32) {
    let visible = |pid: &i32| *pid > 0 && !is_gone(*pid);
    let Some(pid) = i32::try_from(pid).ok().filter(visible) else {
        return std::future::pending().await;
    };
    if let Some(pidfd) = pidfd(pid) {
        // Readable once the process has ended, pidfd_open(2).
        if pidfd.readable().await.is_ok() {
            return;
        }
    }
    while !is_gone(pid) {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// EPERM also means that the process is alive.
fn is_gone(pid: i32) -> bool {
    kill(Pid::from_raw(pid), None) == Err(Errno::ESRCH)
}

fn pidfd(pid: i32) -> Option<AsyncFd<OwnedFd>> {
    let pid = rustix::process::Pid::from_raw(pid)?;
    let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::NONBLOCK).ok()?;
    #[expect(
        deprecated,
        reason = "its replacement is unsafe; an `OwnedFd` fulfils its safety condition by its type"
    )]
    AsyncFd::with_interest(pidfd, Interest::READABLE).ok()
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[tokio::test]
    async fn the_end_of_a_process_is_noticed() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let watch = gone(child.id());
        tokio::pin!(watch);
        let early = tokio::time::timeout(Duration::from_millis(20), &mut watch).await;
        assert!(early.is_err(), "a living process counts as gone");
        drop(child.stdin.take());
        tokio::time::timeout(Duration::from_secs(5), watch).await.expect("its end is noticed");
        child.wait().unwrap();
    }

    #[tokio::test]
    async fn a_number_that_no_process_has_says_nothing() {
        let mut child = Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        for pid in [child.id(), 0, u32::MAX, i32::MAX as u32] {
            let watch = tokio::time::timeout(Duration::from_millis(20), gone(pid));
            assert!(watch.await.is_err(), "{pid} counts as a client that died");
        }
    }
}
