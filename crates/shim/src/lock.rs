//! Open-file-description locks, and querying one without taking it (fcntl(2), `F_OFD_GETLK`).
//!
//! By holding a lock a shim or a daemon shows that it lives: the kernel releases the lock however the
//! process dies. A query never takes the lock, so it never gets in the way of another process.

use std::fs::File;
use std::io;

use nix::fcntl::{FcntlArg, fcntl};

fn whole_file(kind: i32) -> libc::flock {
    libc::flock {
        l_type: kind as i16,
        l_whence: libc::SEEK_SET as i16,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

/// Takes the lock for this open file alone. `false`: another process holds it.
pub fn exclusive(file: &File) -> io::Result<bool> {
    set(file, libc::F_WRLCK)
}

/// Takes the lock together with other processes. `false`: one of them holds it exclusively.
pub fn shared(file: &File) -> io::Result<bool> {
    set(file, libc::F_RDLCK)
}

fn set(file: &File, kind: i32) -> io::Result<bool> {
    match fcntl(file, FcntlArg::F_OFD_SETLK(&whole_file(kind))) {
        Ok(_) => Ok(true),
        Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EACCES) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// Whether the lock is held, shared or not, through another open file description.
pub fn is_held(file: &File) -> io::Result<bool> {
    let mut lock = whole_file(libc::F_WRLCK);
    fcntl(file, FcntlArg::F_OFD_GETLK(&mut lock))?;
    Ok(i32::from(lock.l_type) != libc::F_UNLCK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_seen_from_another_open_and_goes_with_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let open = || {
            File::options().read(true).write(true).create(true).truncate(false).open(&path).unwrap()
        };
        let (a, b, c) = (open(), open(), open());
        assert!(!is_held(&c).unwrap());
        assert!(shared(&a).unwrap() && shared(&b).unwrap());
        assert!(is_held(&c).unwrap() && !exclusive(&c).unwrap());
        drop(a);
        assert!(is_held(&c).unwrap());
        drop(b);
        assert!(exclusive(&c).unwrap());
    }
}
