//! The state of a Git working tree, to compare the sources of two machines (`check = "git"` of a place).

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::background::words::{one_line, reason};

/// How long Git may take. After that the state counts as unreadable.
const PATIENCE: Duration = Duration::from_secs(30);
/// Of a longer changed file, the first bytes and the length are compared.
const FILE_BYTES: u64 = 16 << 20;
/// Variables with which Git reads another working tree or other settings than those of its directory, as
/// `git rev-parse --local-env-vars` lists them, and those by which it would ask a person.
const ELSEWHERE: [&str; 19] = [
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_ASKPASS",
    "GIT_COMMON_DIR",
    "GIT_CONFIG",
    "GIT_CONFIG_COUNT",
    "GIT_CONFIG_PARAMETERS",
    "GIT_DIR",
    "GIT_GRAFT_FILE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_INTERNAL_SUPER_PREFIX",
    "GIT_NAMESPACE",
    "GIT_NO_REPLACE_OBJECTS",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_REPLACE_REF_BASE",
    "GIT_SHALLOW_FILE",
    "GIT_WORK_TREE",
    "SSH_ASKPASS",
];
/// What is set for Git instead: it changes nothing, asks no one and fetches nothing.
const SET: [(&str, &str); 4] = [
    ("LC_ALL", "C"),
    ("GIT_OPTIONAL_LOCKS", "0"),
    ("GIT_TERMINAL_PROMPT", "0"),
    ("GIT_NO_LAZY_FETCH", "1"),
];
/// Digits of a commit in a message: as many as `git log --oneline` shows in a repository of medium size.
const SHORT: usize = 9;

/// The state of a working tree. Ignored files do not count, nor does what is staged.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sources {
    /// The commit that is checked out; `None`: there is no commit yet.
    pub head: Option<String>,
    /// A checksum of the files that differ from this commit; `None`: no file differs.
    pub changes: Option<String>,
}

impl Sources {
    /// Reads the state of the working tree to which a directory belongs.
    ///
    /// # Errors
    ///
    /// A sentence that says why Git cannot tell: it is not installed, this is not a working tree, or the answer has
    /// taken more than 30 s.
    pub async fn of(dir: PathBuf) -> Result<Self, String> {
        let running = Arc::new(AtomicI32::new(0));
        let reader = Reader(running.clone());
        let reading = tokio::task::spawn_blocking(move || reader.read(&dir));
        match tokio::time::timeout(PATIENCE, reading).await {
            Ok(Ok(read)) => read,
            Ok(Err(_)) => Err("the state of the working tree could not be read".to_owned()),
            Err(_) => {
                let git = running.swap(OVER, Ordering::Relaxed);
                if git > 0 {
                    let _ = kill(Pid::from_raw(git), Signal::SIGKILL);
                }
                Err(format!("Git has not answered within {} s", PATIENCE.as_secs()))
            }
        }
    }

    /// Says how the sources here differ from those at a place; `None` if they are the same.
    pub fn differs(&self, there: &Self) -> Option<String> {
        let commit = |it: &Option<String>| match it {
            Some(head) => head.chars().take(SHORT).collect(),
            None => "no commit".to_owned(),
        };
        if self.head != there.head {
            let (here, there) = (commit(&self.head), commit(&there.head));
            return Some(format!("the sources differ: HEAD was {here} here and {there} there"));
        }
        (self.changes != there.changes)
            .then(|| "the sources differ: not the same uncommitted changes".to_owned())
    }
}

/// Reads working trees until there is no time left. Contains the pid of Git while it runs, or [`OVER`].
struct Reader(Arc<AtomicI32>);

/// There is no time left.
const OVER: i32 = -1;

impl Reader {
    fn read(&self, dir: &Path) -> Result<Sources, String> {
        let root = self.git(dir, &["rev-parse", "--show-toplevel"])?;
        let root = Path::new(OsStr::from_bytes(root.strip_suffix(b"\n").unwrap_or(&root)));
        // It fails if there is no commit yet.
        let head = self.git(root, &["rev-parse", "--verify", "--quiet", "HEAD"]).ok();
        let head = head.map(|head| String::from_utf8_lossy(&head).trim().to_owned());
        let others = ["ls-files", "-z", "--others", "--exclude-standard"];
        let listed = match head {
            Some(_) => {
                let diff = ["diff", "--name-only", "-z", "--no-renames", "--no-ext-diff"];
                let changed =
                    self.git(root, &[&diff[..], &["--ignore-submodules=none", "HEAD"]].concat())?;
                [changed, self.git(root, &others)?].concat()
            }
            None => self.git(root, &[&others[..], &["--cached"]].concat())?,
        };
        let mut paths: Vec<&[u8]> =
            listed.split(|byte| *byte == 0).filter(|path| !path.is_empty()).collect();
        paths.sort_unstable();
        paths.dedup();
        if paths.is_empty() {
            return Ok(Sources { head, changes: None });
        }
        let mut sum = crc32fast::Hasher::new();
        for path in paths {
            if self.0.load(Ordering::Relaxed) == OVER {
                return Err("there is no time left".to_owned());
            }
            let file = root.join(OsStr::from_bytes(path));
            sum.update(path);
            if file.join(".git").exists() {
                // A submodule, or another working tree inside of this one.
                let Sources { head, changes } = self.read(&file)?;
                for word in [head, changes] {
                    sum.update(word.unwrap_or_default().as_bytes());
                    sum.update(b"\0");
                }
            } else {
                add(&mut sum, &file);
            }
        }
        Ok(Sources { head, changes: Some(format!("{:08x}", sum.finalize())) })
    }

    /// Runs Git in a directory and returns its output.
    fn git(&self, dir: &Path, arguments: &[&str]) -> Result<Vec<u8>, String> {
        let mut command = Command::new("git");
        command.arg("-C").arg(dir).args(["-c", "core.fsmonitor=false"]).args(arguments);
        // Git starts hooks with some of these set, and so may this process have been started.
        for name in ELSEWHERE {
            command.env_remove(name);
        }
        command.envs(SET).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let failed = |error: io::Error| format!("`git` cannot be started: {}", reason(&error));
        let git = command.spawn().map_err(failed)?;
        let pid = i32::try_from(git.id()).unwrap_or(0);
        let stored =
            |from, to| self.0.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed);
        if stored(0, pid).is_err() {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        let done = git.wait_with_output().map_err(failed)?;
        let _ = stored(pid, 0);
        match done.status.success() {
            true => Ok(done.stdout),
            false => Err(one_line(String::from_utf8_lossy(&done.stderr).trim())),
        }
    }
}

/// Adds the content of a changed file to the checksum: nothing for one that is not there or cannot be read.
fn add(sum: &mut crc32fast::Hasher, file: &Path) {
    let Ok(about) = fs::symlink_metadata(file) else {
        return sum.update(b"\0deleted");
    };
    if about.is_symlink() {
        let target = fs::read_link(file).unwrap_or_default();
        return sum.update(target.as_os_str().as_bytes());
    }
    if !about.is_file() {
        return;
    }
    sum.update(&about.len().to_le_bytes());
    let Ok(file) = File::open(file) else { return };
    let (mut rest, mut piece) = (file.take(FILE_BYTES), [0; 64 << 10]);
    while let Ok(len @ 1..) = rest.read(&mut piece) {
        sum.update(&piece[..len]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A working tree with one commit, always the same one.
    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a temporary directory");
        for name in ["a", "b", "c d"] {
            fs::write(dir.path().join(name), name).expect("written");
        }
        let lines = "git init -q && git add . && git -c user.name=me -c user.email=me@there commit -q -m first";
        sh(dir.path(), lines);
        dir
    }

    fn state(dir: &Path) -> Result<Sources, String> {
        Reader(Arc::default()).read(dir)
    }

    fn sh(dir: &Path, line: &str) {
        let date = "2026-01-01T00:00:00Z";
        let mut command = Command::new("sh");
        command.args(["-c", line]).current_dir(dir);
        command.envs([("GIT_AUTHOR_DATE", date), ("GIT_COMMITTER_DATE", date)]);
        assert!(command.status().expect("sh runs").success(), "{line}");
    }

    #[test]
    fn the_same_files_are_the_same_sources_however_they_were_staged() {
        let (here, there) = (tree(), tree());
        let both = || (state(here.path()).expect("here"), state(there.path()).expect("there"));
        let (one, other) = both();
        assert!(one.head.is_some() && one.changes.is_none() && one.differs(&other).is_none());
        let change = "echo new > a; rm b; ln -s a link; mkdir -p sub; echo x > 'sub/e f'";
        sh(here.path(), change);
        sh(there.path(), &format!("{change}; git add -A"));
        let (one, other) = both();
        assert!(one.changes.is_some() && one.differs(&other).is_none(), "{one:?} {other:?}");
        // A file that is as in the commit, whatever is staged of it, has not changed.
        let staged = tree();
        sh(staged.path(), "echo b > a; git add a; printf a > a; git rm -q --cached b; git add b");
        assert_eq!(state(staged.path()).expect("a working tree").changes, None);
        // From a directory in it, too.
        assert_eq!(state(&here.path().join("sub")), Ok(one));
    }

    #[test]
    fn each_kind_of_difference_is_seen() {
        let here = tree();
        let plain = state(here.path()).expect("a working tree");
        let lines = [
            "echo new > a",
            "rm b",
            "echo x > untracked",
            "ln -s a link",
            "chmod -x a; rm a; mkdir a",
        ];
        for line in lines {
            let there = tree();
            sh(there.path(), line);
            let other = state(there.path()).expect("a working tree");
            let said = plain.differs(&other).unwrap_or_default();
            assert!(said.ends_with("not the same uncommitted changes"), "{line}: {said}");
        }
        let inner = |line: &str| {
            let outer = tree();
            let git = "git init -q inner && cd inner && git -c user.name=me -c user.email=m commit -q --allow-empty -m";
            sh(outer.path(), &format!("{git} one && {line}"));
            state(outer.path()).expect("a working tree")
        };
        assert_eq!(inner("true"), inner("true"));
        assert_ne!(inner("true"), inner("echo x > file"));
        let there = tree();
        sh(there.path(), "git -c user.name=me -c user.email=m commit -q --allow-empty -m next");
        let said = plain.differs(&state(there.path()).expect("a working tree")).unwrap_or_default();
        assert!(said.starts_with("the sources differ: HEAD was "), "{said}");
        let empty = tempfile::tempdir().expect("a temporary directory");
        let refused = state(empty.path()).expect_err("not a working tree");
        assert!(refused.contains("not a git repository"), "{refused}");
        sh(empty.path(), "git init -q");
        assert_eq!(state(empty.path()), Ok(Sources::default()));
        let said = plain.differs(&Sources::default()).unwrap_or_default();
        assert!(said.ends_with("here and no commit there"), "{said}");
    }
}
