//! Where the state is kept (docs/settings.md).

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The state directory, and why it is not where it would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// An absolute path.
    pub(crate) path: PathBuf,
    /// Set where the usual place is on a file system that several machines share.
    pub(crate) moved: Option<Moved>,
}

/// Where the state directory would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Moved {
    pub(crate) from: PathBuf,
    /// Its file system.
    pub(crate) file_system: &'static str,
}

/// The state directory: `$MEANWHILE_STATE_DIR`, else `$XDG_STATE_HOME/meanwhile`, else
/// `~/.local/state/meanwhile`. Where the last two are on a file system that is not a local disk, it is
/// `/var/tmp/meanwhile-UID`: locks, named pipes and the ledger work among the processes of one machine only.
///
/// # Errors
///
/// None of these is set to an absolute path; the text says what to set.
pub(crate) fn find() -> Result<PathBuf, String> {
    found().map(|found| found.path)
}

/// The same, with the reason.
pub(crate) fn found() -> Result<Found, String> {
    from(|name| std::env::var_os(name), shared)
}

fn from(
    variable: impl Fn(&str) -> Option<OsString>,
    shared: impl Fn(&Path) -> Option<&'static str>,
) -> Result<Found, String> {
    let set = |name| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(path) = set("MEANWHILE_STATE_DIR") {
        // Named by a person: `doctor` says what is wrong with it.
        if path.is_absolute() {
            return Ok(Found { path, moved: None });
        }
        let shown = path.display();
        return Err(format!("`MEANWHILE_STATE_DIR` is `{shown}`; set it to an absolute path"));
    }
    // A relative one is to be ignored (XDG Base Directory Specification).
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

/// Kept when the machine starts again, unlike `/tmp` (file-hierarchy(7)).
const LOCAL: &str = "/var/tmp";

/// File systems that several machines share, or that a program serves: the number by which statfs(2) names
/// each, from the kernel's `magic.h` or, where it is not part of the kernel, from its own sources.
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

/// The name of the file system on which a path is or will be, if it is one of [`SHARED`].
pub(crate) fn shared(path: &Path) -> Option<&'static str> {
    let there = path.ancestors().find_map(|path| nix::sys::statfs::statfs(path).ok())?;
    // Some are kept as a signed number of 32 bits.
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
        // With no local disk at all, it stays where a person looks for it.
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
