//! The state of a Git working tree, to compare the sources of two machines (`check = "git"` of a place).

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::background::words::{one_line, reason};

/// How long Git may take. After that the state counts as unreadable.
const PATIENCE: Duration = Duration::from_secs(30);
/// Of a longer changed file, the first bytes and the length are compared.
const FILE_BYTES: u64 = 16 << 20;
/// Variables with which Git reads another working tree than that of its directory (git(1), "Git Repository").
const ELSEWHERE: [&str; 7] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_COMMON_DIR",
    "GIT_OBJECT_DIRECTORY",
    "GIT_NAMESPACE",
    "GIT_PREFIX",
];
/// Digits of a commit in a message: as many as `git log --oneline` shows in a repository of medium size.
const SHORT: usize = 9;

/// The state of a working tree. Ignored files do not count, nor does what is staged.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
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
    /// A sentence that says why Git cannot tell: it is not installed, this is not a working tree, a file cannot be
    /// read, or Git has not answered for 30 s.
    pub async fn of(dir: PathBuf) -> Result<Self, String> {
        let reading = tokio::task::spawn_blocking(move || read(&dir));
        match tokio::time::timeout(PATIENCE, reading).await {
            Ok(Ok(read)) => read,
            Ok(Err(_)) => Err("the state of the working tree could not be read".to_owned()),
            Err(_) => Err(format!("`git status` has not ended within {} s", PATIENCE.as_secs())),
        }
    }

    /// The state as one word for each member, `-` if there is none. [`Sources::parse`] reads it.
    pub fn to_words(&self) -> String {
        let word = |it: &Option<String>| it.clone().unwrap_or_else(|| "-".to_owned());
        format!("{} {}", word(&self.head), word(&self.changes))
    }

    /// Parses what [`Sources::to_words`] returned; `None` for anything else.
    pub fn parse(words: &str) -> Option<Self> {
        let (head, changes) = words.split_once(' ')?;
        let word = |it: &str| Some(it.to_owned()).filter(|it| it != "-");
        Some(Self { head: word(head), changes: word(changes) })
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

fn read(dir: &Path) -> Result<Sources, String> {
    let root = git(dir, &["rev-parse", "--show-toplevel"])?;
    let root = root.strip_suffix(b"\n").unwrap_or(&root);
    let root = Path::new(std::ffi::OsStr::from_bytes(root));
    let status = ["status", "--porcelain=v2", "-z", "--branch", "--untracked-files=all"];
    let status = git(dir, &[&status[..], &["--no-renames"]].concat())?;
    let (head, mut paths) = parse(&status);
    paths.sort_unstable();
    if paths.is_empty() {
        return Ok(Sources { head, changes: None });
    }
    let mut sum = crc32fast::Hasher::new();
    for path in paths {
        let file = root.join(std::ffi::OsStr::from_bytes(path));
        sum.update(path);
        add(&mut sum, &file)
            .map_err(|error| format!("`{}`: {}", file.display(), reason(&error)))?;
    }
    let mut changes = String::new();
    let _ = write!(changes, "{:08x}", sum.finalize());
    Ok(Sources { head, changes: Some(changes) })
}

/// Runs Git in a directory and returns its output.
fn git(dir: &Path, arguments: &[&str]) -> Result<Vec<u8>, String> {
    let mut command = Command::new("git");
    command.arg("-C").arg(dir).args(["-c", "core.fsmonitor=false"]).args(arguments);
    // Git starts hooks with these set; a process that a hook has started would read another working tree.
    for name in ELSEWHERE {
        command.env_remove(name);
    }
    let done = command
        .envs([("LC_ALL", "C"), ("GIT_OPTIONAL_LOCKS", "0")])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("`git` cannot be started: {}", reason(&error)))?;
    match done.status.success() {
        true => Ok(done.stdout),
        false => Err(one_line(String::from_utf8_lossy(&done.stderr).trim())),
    }
}

/// The commit and the paths of changed files in the output of `git status --porcelain=v2 -z --branch`.
fn parse(status: &[u8]) -> (Option<String>, Vec<&[u8]>) {
    let (mut head, mut paths) = (None, Vec::new());
    for entry in status.split(|byte| *byte == 0) {
        // git-status(1), "Porcelain Format Version 2": the number of words before the path.
        let words = match entry.first() {
            Some(b'#') => {
                let oid = entry.strip_prefix(b"# branch.oid ");
                head = head.or(oid.map(|oid| String::from_utf8_lossy(oid).into_owned()));
                continue;
            }
            Some(b'?') => 1,
            Some(b'1') => 8,
            Some(b'u') => 10,
            Some(_) | None => continue,
        };
        paths.extend(entry.splitn(words + 1, |byte| *byte == b' ').nth(words));
    }
    (head.filter(|head| head != "(initial)"), paths)
}

/// Adds the content of a changed file to the checksum.
fn add(sum: &mut crc32fast::Hasher, file: &Path) -> io::Result<()> {
    let Ok(about) = fs::symlink_metadata(file) else {
        sum.update(b"\0deleted");
        return Ok(());
    };
    if about.is_symlink() {
        sum.update(fs::read_link(file)?.as_os_str().as_bytes());
    } else if about.is_file() {
        sum.update(&about.len().to_le_bytes());
        sum.update(&[u8::from(about.permissions().mode() & 0o100 != 0)]);
        let mut rest = File::open(file)?.take(FILE_BYTES);
        let mut piece = [0; 64 << 10];
        loop {
            match rest.read(&mut piece)? {
                0 => break,
                len => sum.update(&piece[..len]),
            }
        }
    }
    Ok(())
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
        let both = || (read(here.path()).expect("here"), read(there.path()).expect("there"));
        let (one, other) = both();
        assert!(one.head.is_some() && one.changes.is_none() && one.differs(&other).is_none());
        let change = "echo new > a; rm b; ln -s a link; mkdir -p sub; echo x > 'sub/e f'";
        sh(here.path(), change);
        sh(there.path(), &format!("{change}; git add -A"));
        let (one, other) = both();
        assert!(one.changes.is_some() && one.differs(&other).is_none(), "{one:?} {other:?}");
        assert_eq!(Sources::parse(&one.to_words()), Some(one.clone()));
        // From a directory in it, too.
        assert_eq!(read(&here.path().join("sub")), Ok(one));
    }

    #[test]
    fn each_kind_of_difference_is_seen() {
        let here = tree();
        let plain = read(here.path()).expect("a working tree");
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
            let other = read(there.path()).expect("a working tree");
            let said = plain.differs(&other).unwrap_or_default();
            assert!(said.ends_with("not the same uncommitted changes"), "{line}: {said}");
        }
        let there = tree();
        sh(there.path(), "git -c user.name=me -c user.email=m commit -q --allow-empty -m next");
        let said = plain.differs(&read(there.path()).expect("a working tree")).unwrap_or_default();
        assert!(said.starts_with("the sources differ: HEAD was "), "{said}");
        let empty = tempfile::tempdir().expect("a temporary directory");
        let refused = read(empty.path()).expect_err("not a working tree");
        assert!(refused.contains("not a git repository"), "{refused}");
        sh(empty.path(), "git init -q");
        assert_eq!(read(empty.path()), Ok(Sources::default()));
        let said = plain.differs(&Sources::default()).unwrap_or_default();
        assert!(said.ends_with("here and no commit there"), "{said}");
    }
}
