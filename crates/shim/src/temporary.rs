//! The temporary directory of a confined task: its size and its removal.
//!
//! The task created its contents, and processes of the task may still run: a directory may be replaced by a
//! symbolic link during a walk. So each directory is opened without following links, and the walk then works
//! on the opened descriptor.

use std::fs::{self, DirEntry, Permissions};
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::confine::enter;
use crate::layout::TEMPORARY;

/// The maximum number of entries that a walk visits: about 0.2 s of work.
const ENTRIES_MAX: usize = 100_000;

/// How many bytes on disk the temporary directory in a task's folder takes, not counting directories that
/// cannot be listed.
pub fn size(folder: &Path) -> u64 {
    let mut bytes = 0;
    let add = |entry: &DirEntry| bytes += entry.metadata().map_or(0, |file| file.blocks() * 512);
    walk(folder, |place| fs::read_dir(place), add);
    bytes
}

/// Removes the temporary directory in a task's folder, including directories that their owner may not enter.
/// It removes symbolic links and does not follow them.
pub fn remove(folder: &Path) {
    let top = folder.join(TEMPORARY);
    if fs::remove_dir(&top).is_ok() || fs::symlink_metadata(&top).is_err() {
        return;
    }
    if fs::remove_dir_all(&top).is_err() {
        let open_up = |place: &Path| {
            fs::set_permissions(place, Permissions::from_mode(0o700))?;
            fs::read_dir(place)
        };
        walk(folder, open_up, |_| {});
        let _ = fs::remove_dir_all(&top);
    }
}

/// Lists the temporary directory and everything below it. Calls `list` with a path to each opened directory,
/// and `each` with each entry.
fn walk(
    folder: &Path,
    list: impl Fn(&Path) -> io::Result<fs::ReadDir>,
    mut each: impl FnMut(&DirEntry),
) {
    let Ok(folder) = folder.canonicalize() else { return };
    let mut waiting = vec![folder.join(TEMPORARY)];
    let mut seen = 0;
    while let Some(directory) = waiting.pop() {
        let Ok(entries) = open(&directory).and_then(|(_held, place)| list(&place)) else {
            continue;
        };
        for entry in entries.flatten() {
            seen += 1;
            if seen > ENTRIES_MAX {
                return;
            }
            each(&entry);
            if entry.file_type().is_ok_and(|it| it.is_dir()) {
                waiting.push(directory.join(entry.file_name()));
            }
        }
    }
}

/// Opens a directory; returns the descriptor, and a path that leads to it.
fn open(directory: &Path) -> io::Result<(impl AsRawFd, PathBuf)> {
    let held = enter::open(directory)?;
    let is_directory = nix::sys::stat::fstat(&held)?.st_mode & libc::S_IFMT == libc::S_IFDIR;
    let place = PathBuf::from(format!("/proc/self/fd/{}", held.as_raw_fd()));
    if is_directory { Ok((held, place)) } else { Err(ErrorKind::NotADirectory.into()) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A task's folder with files, directories and a link in its temporary directory, and a directory outside.
    fn lab() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let root = tempfile::tempdir().unwrap();
        let (folder, outside) = (root.path().join("task"), root.path().join("outside"));
        let top = folder.join(TEMPORARY);
        fs::create_dir_all(top.join("a/b")).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("kept"), vec![1; 1 << 20]).unwrap();
        fs::set_permissions(&outside, Permissions::from_mode(0o755)).unwrap();
        fs::write(top.join("a/b/c"), vec![1; 64 << 10]).unwrap();
        symlink(&outside, top.join("a/link")).unwrap();
        (root, folder, outside)
    }

    #[test]
    fn what_lies_in_it_counts_and_what_a_link_leads_to_does_not() {
        let (_root, folder, _) = lab();
        let size = size(&folder);
        assert!((64 << 10..1 << 20).contains(&size), "{size}");
    }

    #[test]
    fn it_goes_with_directories_that_are_closed_and_nothing_outside_is_touched() {
        let (_root, folder, outside) = lab();
        for closed in ["a/b", "a"] {
            let closed = folder.join(TEMPORARY).join(closed);
            fs::set_permissions(closed, Permissions::from_mode(0o000)).unwrap();
        }
        remove(&folder);
        assert!(!folder.join(TEMPORARY).exists());
        assert!(outside.join("kept").exists());
        assert_eq!(fs::metadata(&outside).unwrap().mode() & 0o777, 0o755);
    }
}
