//! Reads the mount table from `/proc/self/mountinfo` (proc_pid_mountinfo(5)).

use std::path::{Path, PathBuf};

/// A line of the mount table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mount {
    /// The directory of the file system that is mounted.
    pub(super) root: PathBuf,
    /// The mount point.
    pub(super) point: PathBuf,
    /// The type of the file system, such as `ext4`, `nfs4`, `cgroup2`.
    pub(super) kind: String,
    /// The options of the file system, including a cgroup's controllers.
    pub(super) options: Vec<String>,
}

/// Reads the mount table of this process.
pub(super) fn read() -> Vec<Mount> {
    std::fs::read_to_string("/proc/self/mountinfo").map(|text| parse(&text)).unwrap_or_default()
}

pub(super) fn parse(text: &str) -> Vec<Mount> {
    text.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<Mount> {
    // A variable number of optional fields ends with a lone hyphen.
    let (before, after) = line.split_once(" - ")?;
    let mut before = before.split(' ').skip(3);
    let mut after = after.split(' ');
    let path = |text: &str| PathBuf::from(unescape(text));
    Some(Mount {
        root: path(before.next()?),
        point: path(before.next()?),
        kind: after.next()?.to_owned(),
        options: after.nth(1)?.split(',').map(str::to_owned).collect(),
    })
}

/// Decodes spaces, tabs, newlines and backslashes, which are written as three octal digits.
fn unescape(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(text.to_owned(), |text, (code, plain)| text.replace(code, plain))
}

/// The mount that contains a path: the one with the longest mount point and, among equal ones, the last.
pub(super) fn of<'a>(mounts: &'a [Mount], path: &Path) -> Option<&'a Mount> {
    mounts
        .iter()
        .filter(|mount| path.starts_with(&mount.point))
        .max_by_key(|mount| mount.point.as_os_str().len())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 21 0:25 / /home rw,nosuid shared:9 master:2 - nfs4 server:/home rw,vers=4.2
31 30 0:26 / /home/a\\040b rw - tmpfs tmpfs rw,size=64k
40 21 0:30 /box /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids
not a line
";

    #[test]
    fn a_path_lies_on_the_deepest_mount() {
        let mounts = parse(TABLE);
        assert_eq!(mounts.len(), 4);
        let check = |path: &str, kind: &str| {
            let found = of(&mounts, Path::new(path)).map(|mount| mount.kind.as_str());
            assert_eq!(found, Some(kind), "{path}");
        };
        check("/var/lib", "ext4");
        check("/homestead", "ext4");
        check("/home", "nfs4");
        check("/home/a b/state", "tmpfs");
        assert_eq!(mounts[3].root, Path::new("/box"));
        assert_eq!(mounts[3].options, ["rw", "pids"]);
    }

    #[test]
    fn this_machine_has_a_root() {
        assert!(of(&read(), Path::new("/")).is_some());
    }
}
