//! The location of the state directory (docs/settings.md).

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The state directory, and why it is not the usual one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// The absolute path of the directory.
    pub(crate) path: PathBuf,
    /// Set if the usual directory is on a file system that several machines may share.
    pub(crate) moved: Option<Moved>,
}

/// The usual directory, and why it is not used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Moved {
    pub(crate) from: PathBuf,
    /// The type of its file system.
    pub(crate) file_system: &'static str,
}

/// The state directory: `$MEANWHILE_STATE_DIR`, else `$XDG_STATE_HOME/meanwhile`, else `~/.local/state/meanwhile`. If
/// one of the last two is not on a local disk, `/var/tmp/meanwhile-UID` is used instead: locks, named pipes and the
/// ledger only work between processes of one machine.
///
/// # Errors
///
/// None of these is an absolute path; the text says what to set.
pub(crate) fn find() -> Result<PathBuf, String> {
    found().map(|found| found.path)
}

/// The state directory, and why it is not the usual one.
pub(crate) fn found() -> Result<Found, String> {
    from(|name| std::env::var_os(name), shared)
}

fn from(
    variable: impl Fn(&str) -> Option<OsString>,
    shared: impl Fn(&Path) -> Option<&'static str>,
) -> Result<Found, String> {
    let set = |name| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(path) = set("MEANWHILE_STATE_DIR") {
        // If a person has set it, it is used as it is; `doctor` reports problems with it.
        if path.is_absolute() {
            return Ok(Found { path, moved: None });
        }
        let shown = path.display();
        return Err(format!("`MEANWHILE_STATE_DIR` is `{shown}`; set it to an absolute path"));
    }
    // A relative path must be ignored (XDG Base Directory Specification).
    let absolute = |name| set(name).filter(|path| Path::is_absolute(path));
    let usual = match (absolute("XDG_STATE_HOME"), absolute("HOME")) {
        (Some(state), _) => state.join("meanwhile"),
        (None, Some(home)) => home.join(".local/state/meanwhile"),
        (None, None) => {
            return Err("no home directory; set `HOME` or `MEANWHILE_STATE_DIR`".to_owned());
        }
    };
    let local = Path::new(LOCAL);
    match shared(&usual).filter(|_| shared(local).is_none()) {
        None => Ok(Found { path: usual, moved: None }),
        Some(file_system) => Ok(Found {
            path: local.join(format!("meanwhile-{}", nix::unistd::geteuid())),
            moved: Some(Moved { from: usual, file_system }),
        }),
    }
}

/// A directory that is kept across reboots, unlike `/tmp` (file-hierarchy(7)).
const LOCAL: &str = "/var/tmp";

/// File systems that several machines may share, or that a program serves: the magic number that statfs(2) returns,
/// from the kernel's `magic.h` or, for file systems outside the kernel, from their own sources.
const SHARED: [(u32, &str); 15] = [
    (0x6969, "nfs"),
    (0xff53_4d42, "cifs"),
    (0xfe53_4d42, "smb2"),
    (0x517b, "smb"),
    (0x0102_1997, "9p"),
    (0x5346_414f, "afs"),
    (0x6b41_4653, "afs"),
    (0x00c3_6400, "ceph"),
    (0x0bd0_0bd0, "lustre"),
    (0x4750_4653, "gpfs"),
    (0x1983_0326, "beegfs"),
    (0x0116_1970, "gfs2"),
    (0x7461_636f, "ocfs2"),
    (0x2003_0528, "orangefs"),
    (0x6573_5546, "fuse"),
];

/// The name of the file system that contains a path, which need not exist, if it is one of [`SHARED`].
pub(crate) fn shared(path: &Path) -> Option<&'static str> {
    let there = path.ancestors().find_map(|path| nix::sys::statfs::statfs(path).ok())?;
    // Some platforms store the number as a signed 32-bit integer.
    let magic = i128::from(there.filesystem_type().0) & 0xffff_ffff;
    SHARED.iter().find(|(number, _)| i128::from(*number) == magic).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(variables: &[(&str, &str)], expect: Option<&str>) {
        let look = |name: &str| {
            variables.iter().find(|(n, _)| *n == name).map(|(_, value)| OsString::from(value))
        };
        let found = from(look, |_| None).ok().map(|found| found.path);
        assert_eq!(found, expect.map(PathBuf::from), "{variables:?}");
    }

    #[test]
    fn the_state_leaves_a_file_system_that_machines_share_unless_a_person_named_it() {
        let home = |name: &str| (name == "HOME").then(|| OsString::from("/h"));
        let on_nfs = |path: &Path| path.starts_with("/h").then_some("nfs");
        let found = from(home, on_nfs).unwrap();
        let own = format!("/var/tmp/meanwhile-{}", nix::unistd::geteuid());
        assert_eq!(found.path, Path::new(&own));
        let moved = found.moved.unwrap();
        assert_eq!(moved, Moved { from: "/h/.local/state/meanwhile".into(), file_system: "nfs" });
        // If there is no local disk at all, the usual directory is used.
        assert_eq!(from(home, |_| Some("9p")).unwrap().moved, None);
        let named = |name: &str| (name == "MEANWHILE_STATE_DIR").then(|| OsString::from("/h/s"));
        assert_eq!(from(named, on_nfs).unwrap(), Found { path: "/h/s".into(), moved: None });
    }

    #[test]
    fn the_nearest_setting_wins() {
        let home = ("HOME", "/h");
        let xdg = ("XDG_STATE_HOME", "/x");
        check(&[home], Some("/h/.local/state/meanwhile"));
        check(&[home, xdg], Some("/x/meanwhile"));
        check(&[home, xdg, ("MEANWHILE_STATE_DIR", "/m")], Some("/m"));
        check(&[home, ("XDG_STATE_HOME", "x")], Some("/h/.local/state/meanwhile"));
        check(
            &[home, ("XDG_STATE_HOME", ""), ("MEANWHILE_STATE_DIR", "")],
            Some("/h/.local/state/meanwhile"),
        );
        check(&[home, ("MEANWHILE_STATE_DIR", "m")], None);
        check(&[], None);
    }
}
