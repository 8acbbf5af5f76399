//! The pipe that is a task's standard output and error.
//!
//! A task has it open for reading too (`O_RDWR`), so that no write of its fails with SIGPIPE in the
//! moment between the death of its shim and the next one's start. The pipe has no name: whoever takes
//! over finds it through `/proc` in a process of the task.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};

use nix::fcntl::OFlag;

/// The two ends of a new pipe: the reading one, which never blocks, and one that only keeps the
/// reading one from seeing an end while nobody of the task has it open.
pub fn create() -> io::Result<(File, File)> {
    let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
    Ok((read.into(), write.into()))
}

/// What names a pipe for as long as it exists.
pub fn inode(pipe: &File) -> io::Result<u64> {
    Ok(pipe.metadata()?.ino())
}

/// The path at which a child of ours opens the pipe for itself.
pub fn path_for_child(pipe: &File) -> String {
    format!("/proc/self/fd/{}", pipe.as_raw_fd())
}

/// Opens the pipe of this inode through one of the processes that may have it.
pub fn find(inode: u64, pids: &[u32]) -> Option<File> {
    pids.iter().find_map(|pid| {
        let fds = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
        fds.flatten().find_map(|fd| {
            let link = fs::read_link(fd.path()).ok()?;
            (link.as_os_str() == format!("pipe:[{inode}]").as_str()).then_some(())?;
            let flags = libc::O_NONBLOCK | libc::O_CLOEXEC;
            OpenOptions::new().read(true).write(true).custom_flags(flags).open(fd.path()).ok()
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn a_pipe_is_found_in_another_process_with_what_is_in_it() {
        let (read, write) = create().unwrap();
        (&write).write_all(b"hello").unwrap();
        let mut child = std::process::Command::new("sleep")
            .arg("1000")
            .stdout(write.try_clone().unwrap())
            .spawn()
            .unwrap();
        let found = find(inode(&read).unwrap(), &[child.id()]);
        drop((read, write));
        let mut bytes = [0; 5];
        let got = found.map(|mut pipe| pipe.read_exact(&mut bytes));
        child.kill().unwrap();
        child.wait().unwrap();
        got.unwrap().unwrap();
        assert_eq!(&bytes, b"hello");
        assert!(find(u64::MAX, &[std::process::id()]).is_none());
    }
}
