//! This process's own doorbell: how shims and other daemons wake it (see `meanwhile_shim::bell`).

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use meanwhile_shim::bell;
use nix::sys::stat::Mode;

use crate::background::home::{Home, io_error};
use crate::error::Error;

/// A doorbell of our own. It is taken away when this is dropped.
#[derive(Debug)]
pub struct Bell {
    path: PathBuf,
    /// Its name, which is ours in leases and in the folders of idle shims.
    pub name: String,
}

impl Drop for Bell {
    fn drop(&mut self) {
        // Gone already where the state directory is.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Hangs a doorbell of a workspace up.
pub fn make_bell(home: &Home, workspace: u64) -> Result<(Bell, File), Error> {
    // The fixed bits of one half fall on random bits of the other.
    let (high, low) = uuid::Uuid::new_v4().as_u64_pair();
    let name = bell::name_of(workspace, high ^ low);
    let path = home.bells().join(&name);
    match hang_up(home, &name) {
        Ok(file) => Ok((Bell { path, name }, file)),
        Err(error) => Err(io_error(&path, &error)),
    }
}

/// Hangs a doorbell of this name up.
pub fn hang_up(home: &Home, name: &str) -> io::Result<File> {
    // A ringing process removes a bell without an owner: it gets its name once it has one.
    let new = home.bells().join(bell::name_in_the_making(name));
    nix::unistd::mkfifo(&new, Mode::S_IRUSR | Mode::S_IWUSR)
        .map_err(io::Error::from)
        .and_then(|()| {
            OpenOptions::new()
                .read(true)
                .write(true)
                .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
                .open(&new)
        })
        .and_then(|file| std::fs::rename(&new, home.bells().join(name)).map(|()| file))
}
