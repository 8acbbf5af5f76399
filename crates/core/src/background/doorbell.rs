//! This process's own doorbell, by which shims and other daemons wake it (see `meanwhile_shim::bell`).

use std::fs::File;
use std::path::PathBuf;

use meanwhile_shim::bell;

use crate::background::home::{Home, io_error};
use crate::error::Error;

/// This process's doorbell. Its FIFO is removed when this is dropped.
#[derive(Debug)]
pub struct Bell {
    path: PathBuf,
    /// The FIFO's name, which identifies this process in leases and in the folders of idle shims.
    pub name: String,
}

impl Drop for Bell {
    fn drop(&mut self) {
        // It fails if the state directory is already gone.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Creates a doorbell for a workspace.
pub fn make_bell(home: &Home, workspace: u64) -> Result<(Bell, File), Error> {
    // XOR of the halves, so that the UUID's fixed bits meet random bits.
    let (high, low) = uuid::Uuid::new_v4().as_u64_pair();
    let name = bell::name_of(workspace, high ^ low);
    let path = home.bells().join(&name);
    match bell::hang_up(&home.bells(), &name) {
        Ok(file) => Ok((Bell { path, name }, file)),
        Err(error) => Err(io_error(&path, &error)),
    }
}
