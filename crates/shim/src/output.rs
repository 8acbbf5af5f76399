//! The anonymous pipes of a task: one for its standard output and error, one for its standard input.
//!
//! A task has only its own end of each. The keeper holds the read end of the output and the write end of
//! the input together with the shim, so neither pipe closes between the death of a shim and the start of
//! the next one. A pipe has no name: a process that needs an end of it opens it through the `/proc` entry of
//! a process that has one.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};

use nix::fcntl::OFlag;

/// Which ends of a pipe to open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Only the write end.
    Write,
    /// Both ends, so that a reader sees no end of file even if no other process has the pipe open.
    Both,
}

/// Creates a pipe; returns its read end and its write end, both non-blocking.
pub fn create() -> io::Result<(File, File)> {
    let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
    Ok((read.into(), write.into()))
}

/// The inode of a pipe, which identifies it as long as it exists.
pub fn inode(pipe: &File) -> io::Result<u64> {
    Ok(pipe.metadata()?.ino())
}

/// The path at which a child of this process opens the pipe for itself.
pub fn path_for_child(pipe: &File) -> String {
    format!("/proc/self/fd/{}", pipe.as_raw_fd())
}

/// Opens ends of the pipe with this inode through one of the processes that may have it open.
pub fn find(inode: u64, pids: &[u32], end: End) -> Option<File> {
    pids.iter().find_map(|pid| {
        let fds = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
        fds.flatten().find_map(|fd| {
            let link = fs::read_link(fd.path()).ok()?;
            (link.as_os_str() == format!("pipe:[{inode}]").as_str()).then_some(())?;
            open(&fd.path(), end).ok()
        })
    })
}

/// Opens ends of a pipe by a path in `/proc`, without waiting for the other end.
pub fn open(path: &std::path::Path, end: End) -> io::Result<File> {
    let flags = libc::O_NONBLOCK | libc::O_CLOEXEC;
    OpenOptions::new().read(end == End::Both).write(true).custom_flags(flags).open(path)
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
        let found = find(inode(&read).unwrap(), &[child.id()], End::Both);
        drop((read, write));
        let mut bytes = [0; 5];
        let got = found.map(|mut pipe| pipe.read_exact(&mut bytes));
        child.kill().unwrap();
        child.wait().unwrap();
        got.unwrap().unwrap();
        assert_eq!(&bytes, b"hello");
        assert!(find(u64::MAX, &[std::process::id()], End::Both).is_none());
    }
}
