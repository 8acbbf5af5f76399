//! Keeps the state directory usable under a running daemon: a person may delete it, and cleaners remove files
//! that look old. Whatever this process needs there is created again.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use meanwhile_shim::{bell, layout};
use tokio::net::unix::pipe;

use super::Local;
use crate::background::Role;

impl Local {
    /// Creates what is missing. If that fails, the next spawn reports the reason.
    pub(super) fn look_at_house(&mut self) {
        let bell = self.home.bells().join(&self.bell.name);
        let folders = [layout::LIVE, layout::DONE].map(|folder| self.home.root().join(folder));
        let is_gone = |path: &Path| !fs::exists(path).unwrap_or(true);
        if is_gone(&bell) || folders.iter().any(|folder| is_gone(folder)) {
            // Shims in deleted folders are useless, and have no bell to ring.
            self.shims.pool.start_over();
            let _ = self.home.make_folders();
            if let Ok(rings) = bell::hang_up(&self.home.bells(), &self.bell.name)
                && let Ok(rings) = pipe::Receiver::from_file(rings)
            {
                self.rings = rings;
            }
        }
        if self.role == Role::Daemon && !self.is_attached() {
            self.attached = self.home.attach(self.hash).ok();
        }
    }

    /// Whether the locked file is still the one that the workspace's shims check.
    fn is_attached(&self) -> bool {
        let path = layout::attached(self.home.root(), self.hash);
        self.attached.as_ref().is_some_and(|file| is_at(file, &path))
    }
}

fn is_at(file: &File, path: &Path) -> bool {
    let id = |about: fs::Metadata| (about.dev(), about.ino());
    file.metadata().map(id).ok() == fs::metadata(path).map(id).ok()
}
