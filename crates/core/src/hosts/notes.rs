//! What hooks of hosts store for other commands, as small files in the state directory.
//!
//! Three things: that the hooks of a session run, so that its results reach the model automatically; which
//! session a host's process holds, for a host that does not name it in its environment; and the lock of the one
//! process that waits for a session. A note that is missing or unreadable counts as absent.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use meanwhile_shim::{clock, lock};

/// The folder of the notes in the state directory.
const FOLDER: &str = "hosts";

/// How long a note is valid: longer than a session stays open without use.
const KEPT: Duration = Duration::from_secs(30 * 24 * 3_600);

/// Programs that may run between a host and its hook or command.
const SHELLS: [&str; 6] = ["sh", "bash", "dash", "zsh", "fish", "ksh"];

/// A process, identified by its start time too, because pids are reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    /// The process id.
    pub pid: u32,
    /// When it started, in clock ticks since boot: field 22 of proc_pid_stat(5).
    pub start: u64,
}

impl Process {
    /// The running process with this pid, if there is one.
    pub fn find(pid: u32) -> Option<Self> {
        let start = clock::stat_fields(pid)?.start_time?;
        Some(Self { pid, start })
    }

    /// The host in whose hook or shell this process runs: the nearest ancestor that is not a shell.
    pub fn host() -> Option<Self> {
        let mut pid = std::os::unix::process::parent_id();
        loop {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
            if !SHELLS.contains(&name.trim_end()) {
                return Self::find(pid);
            }
            pid = clock::stat_fields(pid)?.parent;
        }
    }

    /// The queue for a host that names no session: it belongs to the host's process.
    pub fn queue(self) -> String {
        format!("host-{}-{}", self.pid, self.start)
    }
}

/// The notes of one state directory.
#[derive(Debug, Clone)]
pub struct Notes(PathBuf);

impl Notes {
    /// The notes of this state directory. Creates nothing until something is noted.
    pub fn of(state_dir: &Path) -> Self {
        Self(state_dir.join(FOLDER))
    }

    /// Whether any note was ever stored.
    pub fn exist(&self) -> bool {
        self.0.is_dir()
    }

    /// Notes that a hook of the session with this queue has just run.
    pub fn hook_ran(&self, queue: &str) -> io::Result<()> {
        self.write(&format!("{}.hook", name(queue)), queue)
    }

    /// Whether a hook of the session has run within 30 days.
    pub fn has_hook(&self, queue: &str) -> bool {
        self.read(&format!("{}.hook", name(queue))).is_some_and(|noted| noted == queue)
    }

    /// When a hook of the session last ran.
    pub fn hook_time(&self, queue: &str) -> Option<SystemTime> {
        fs::metadata(self.0.join(format!("{}.hook", name(queue)))).ok()?.modified().ok()
    }

    /// Notes which session a host's process holds.
    pub fn bind(&self, host: Process, session: &str) -> io::Result<()> {
        self.write(&host.queue(), session)
    }

    /// The session that a host's process holds, according to its last hook.
    pub fn session_of(&self, host: Process) -> Option<String> {
        self.read(&host.queue())
    }

    /// Takes the lock of the one process that waits for a session, held until the file is dropped. `None`:
    /// another process holds it.
    pub fn wait_lock(&self, queue: &str) -> io::Result<Option<File>> {
        self.make()?;
        let path = self.0.join(format!("{}.wait", name(queue)));
        let file = File::options().write(true).create(true).truncate(false).open(path)?;
        Ok(lock::exclusive(&file)?.then_some(file))
    }

    /// Removes the expired notes.
    pub fn sweep(&self) {
        for entry in fs::read_dir(&self.0).into_iter().flatten().flatten() {
            if !is_fresh(&entry.path()) {
                // A file that cannot be removed is tried again at the next sweep.
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    fn make(&self) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.0)
    }

    fn write(&self, name: &str, text: &str) -> io::Result<()> {
        let path = self.0.join(name);
        // Usually the note exists already, and only its time changes.
        if fs::read(&path).is_ok_and(|noted| noted == text.as_bytes()) {
            return File::options().write(true).open(&path)?.set_modified(SystemTime::now());
        }
        self.make()?;
        let new = self.0.join(format!(".{name}.{}", std::process::id()));
        fs::write(&new, text)?;
        fs::rename(&new, &path)
    }

    fn read(&self, name: &str) -> Option<String> {
        let path = self.0.join(name);
        is_fresh(&path).then(|| fs::read_to_string(path).ok()).flatten()
    }
}

fn is_fresh(path: &Path) -> bool {
    let age = fs::metadata(path).and_then(|it| it.modified()).ok().map(|at| at.elapsed());
    // A time in the future comes from a clock that was set back; the note counts.
    age.is_some_and(|age| age.map_or(true, |age| age < KEPT))
}

/// The file name of a queue's note: the queue's name if it is safe as a file name, otherwise the first 40 bytes
/// in hex and a checksum.
fn name(queue: &str) -> String {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    if queue.len() <= 128 && queue.bytes().all(is_plain) {
        return queue.to_owned();
    }
    let hex: String = queue.bytes().take(40).map(|byte| format!("{byte:02x}")).collect();
    format!("x.{hex}.{:08x}", crc32fast::hash(queue.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notes() -> (tempfile::TempDir, Notes) {
        let dir = tempfile::tempdir().unwrap();
        let notes = Notes::of(dir.path());
        (dir, notes)
    }

    #[test]
    fn what_is_noted_is_read_and_nothing_else() {
        let (_dir, notes) = notes();
        assert!(!notes.has_hook("a"));
        for queue in ["a", "../../etc/passwd", "with blank", &"x".repeat(256), &"é".repeat(128)] {
            notes.hook_ran(queue).unwrap();
            notes.hook_ran(queue).unwrap();
            assert!(notes.has_hook(queue), "{queue}");
        }
        assert!(!notes.has_hook("b"));
        assert!(!notes.has_hook(&"x".repeat(255)));
        let host = Process::find(std::process::id()).unwrap();
        assert_eq!(notes.session_of(host), None);
        notes.bind(host, "one").unwrap();
        notes.bind(host, "two").unwrap();
        assert_eq!(notes.session_of(host).as_deref(), Some("two"));
        assert_eq!(notes.session_of(Process { start: host.start + 1, ..host }), None);
    }

    #[test]
    fn an_old_note_does_not_count_and_is_swept() {
        let (dir, notes) = notes();
        notes.hook_ran("old").unwrap();
        notes.hook_ran("new").unwrap();
        let old = File::options().write(true).open(dir.path().join("hosts/old.hook")).unwrap();
        old.set_modified(SystemTime::now() - KEPT * 2).unwrap();
        assert!(!notes.has_hook("old") && notes.has_hook("new"));
        notes.sweep();
        let left = fs::read_dir(dir.path().join("hosts")).unwrap().count();
        assert_eq!(left, 1);
    }

    #[test]
    fn one_process_waits_for_a_session() {
        let (_dir, notes) = notes();
        let held = notes.wait_lock("a").unwrap();
        assert!(held.is_some());
        assert!(notes.wait_lock("a").unwrap().is_none());
        assert!(notes.wait_lock("b").unwrap().is_some());
        drop(held);
        assert!(notes.wait_lock("a").unwrap().is_some());
    }
}
