//! A temporary workspace and store for the lesson.
//!
//! Everything is in one private directory below the system's directory for temporary files. A lock on that directory
//! shows that its program is alive: the kernel releases it whenever the program dies, so the next start finds what a
//! killed one has left, and deletes it. Tasks of a killed lesson are stopped by their shims, because no daemon is
//! attached to their workspace.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use meanwhile_core::background::task::{Actor, Cause};
use meanwhile_core::background::words::reason;
use meanwhile_core::background::{
    Background, Events, Filter, Options, Role, Settings, StateFilter, Stop,
};
use nix::fcntl::{Flock, FlockArg};

use crate::cli::failure::Failure;

/// The prefix of the directories' names, followed by eight hex digits.
const PREFIX: &str = "meanwhile-learn-";
/// How long a task may run after the lesson was killed.
pub(super) const LINGER: Duration = Duration::from_secs(10);
/// How long a task has to exit when the lesson ends.
const GRACE: Duration = Duration::from_millis(500);
/// How often to retry deleting a directory that some process still writes to, such as a shim that is exiting.
const ATTEMPTS: u32 = 50;

/// The directory, locked by this process.
pub(super) struct Scratch {
    root: PathBuf,
    /// Dropped last, which releases the lock.
    _lock: Flock<File>,
    pub(super) background: Background,
}

impl Scratch {
    /// Deletes the directories of killed lessons, then creates a directory with a store and a workspace.
    pub(super) async fn open() -> Result<(Self, Events), Failure> {
        let parent = std::env::temp_dir();
        sweep(&parent).await;
        let (root, lock) = make(&parent).map_err(|error| {
            let shown = parent.display();
            Failure::new(format!("cannot make a directory in `{shown}`: {}", reason(&error)))
                .hint("set `TMPDIR` to a directory where you may write and run programs")
        })?;
        match manager(&root, Role::Daemon).await {
            Ok((background, events)) => Ok((Self { root, _lock: lock, background }, events)),
            Err(failure) => {
                clear(&root).await;
                Err(failure)
            }
        }
    }

    pub(super) fn work(&self) -> PathBuf {
        work(&self.root)
    }

    /// Stops every task and deletes the directory.
    pub(super) async fn close(self) -> Result<(), Failure> {
        let stopped = stop_all(&self.background).await;
        self.background.close().await;
        clear(&self.root).await;
        stopped
    }
}

fn work(root: &Path) -> PathBuf {
    root.join("work")
}

async fn manager(root: &Path, role: Role) -> Result<(Background, Events), Failure> {
    let options = Options {
        state_dir: root.join("state"),
        workspace: work(root),
        role,
        settings: Settings::default(),
    };
    Ok(Background::open(options).await?)
}

/// Creates and locks the directory.
fn make(parent: &Path) -> io::Result<(PathBuf, Flock<File>)> {
    // Scripts contain its path, and they are text.
    if parent.to_str().is_none() {
        return Err(io::Error::other("its name is not UTF-8"));
    }
    loop {
        let name = format!("{PREFIX}{}", meanwhile_core::background::task::TaskId::random());
        let root = parent.join(name);
        match DirBuilder::new().mode(0o700).create(&root) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
            Err(error) => return Err(error),
        }
        // Another start may have deleted the directory before it was locked, as a leftover.
        let Some(lock) = lock(&root) else { continue };
        if !same(&root, &lock) {
            continue;
        }
        DirBuilder::new().mode(0o700).create(work(&root))?;
        return Ok((root, lock));
    }
}

/// Locks a directory of this user; `None` if another process has locked it.
fn lock(root: &Path) -> Option<Flock<File>> {
    let flags = libc::O_DIRECTORY | libc::O_NOFOLLOW;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(root).ok()?;
    let about = file.metadata().ok()?;
    let private = about.uid() == nix::unistd::geteuid().as_raw() && about.mode() & 0o077 == 0;
    private.then(|| Flock::lock(file, FlockArg::LockExclusiveNonblock).ok())?
}

/// Whether the path still refers to the locked directory.
fn same(root: &Path, lock: &Flock<File>) -> bool {
    match (std::fs::symlink_metadata(root), lock.metadata()) {
        (Ok(there), Ok(ours)) => (there.dev(), there.ino()) == (ours.dev(), ours.ino()),
        (Err(_), _) | (_, Err(_)) => false,
    }
}

/// Deletes the directories of killed lessons. What cannot be deleted is left for the next start; this is not an
/// error.
async fn sweep(parent: &Path) {
    let Ok(entries) = std::fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        if !entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes()) {
            continue;
        }
        let root = entry.path();
        let Some(_lock) = lock(&root) else { continue };
        if root.join("state").is_dir()
            && let Ok((background, _)) = manager(&root, Role::Visitor).await
        {
            let _ = stop_all(&background).await;
            background.close().await;
        }
        clear(&root).await;
    }
}

pub(super) async fn stop_all(background: &Background) -> Result<(), Failure> {
    let filter = Filter { state: Some(StateFilter::Running), limit: None, steps: true };
    let tasks = background.list(filter).await?;
    let stops = tasks.iter().map(|task| {
        let cause = Cause { actor: Actor::Client, message: "the lesson has ended".to_owned() };
        background.stop(task.id, Stop { signal: libc::SIGTERM, grace: GRACE, cause })
    });
    for stopped in futures_util::future::join_all(stops).await {
        match stopped {
            // It ended before the stop.
            Ok(_) | Err(meanwhile_core::Error::NotRunning { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Deletes the directory, and retries while new files appear in it.
async fn clear(root: &Path) {
    for _ in 0..ATTEMPTS {
        match std::fs::remove_dir_all(root) {
            Ok(()) => return,
            Err(error) if error.kind() == ErrorKind::NotFound && !root.exists() => return,
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}
