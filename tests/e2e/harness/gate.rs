//! A gate at which tasks wait until the test opens it.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;

use nix::sys::stat::Mode;

/// A FIFO in the workspace. A task waits at it with `read x < NAME`. The test holds it open for reading and
/// writing, so that a task never blocks in open(2). If the test is killed, the tasks see an end of file and
/// continue.
pub(crate) struct Gate(File);

impl Gate {
    pub(crate) fn new(path: &Path) -> Self {
        nix::unistd::mkfifo(path, Mode::S_IRUSR | Mode::S_IWUSR).expect("the gate is new");
        let open = OpenOptions::new().read(true).write(true).open(path);
        Self(open.expect("the gate was just made"))
    }

    /// Lets one task through.
    pub(crate) fn open(&self) {
        self.open_for(1);
    }

    /// Lets this many tasks through, at once.
    pub(crate) fn open_for(&self, count: usize) {
        (&self.0).write_all(&vec![b'\n'; count]).expect("a pipe takes a few bytes");
    }
}
