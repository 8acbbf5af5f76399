//! This process's own doorbell: how shims and other daemons wake it (see `meanwhile_shim::bell`).

use std::fs::File;
use std::path::PathBuf;

use meanwhile_shim::bell;

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
    match bell::hang_up(&home.bells(), &name) {
        Ok(file) => Ok((Bell { path, name }, file)),
        Err(error) => Err(io_error(&path, &error)),
    }
}
