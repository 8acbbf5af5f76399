//! The shell that runs the agent's commands.
//!
//! Models write bash. On a machine without bash, `/bin/sh` runs the command lines, and the tools' descriptions say
//! so.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use meanwhile_shim::launch;

/// The user's bash, otherwise the first bash in `PATH`, otherwise `/bin/sh`.
pub(super) fn find() -> &'static Path {
    static SHELL: LazyLock<PathBuf> = LazyLock::new(|| {
        let own = std::env::var_os("SHELL").map(PathBuf::from);
        choose(own, std::env::var_os("PATH").as_deref())
    });
    &SHELL
}

fn choose(own: Option<PathBuf>, path: Option<&OsStr>) -> PathBuf {
    let is_bash = |it: &PathBuf| it.is_absolute() && it.file_name() == Some(OsStr::new("bash"));
    let own = own.filter(is_bash);
    // `find` returns an absolute path unchanged if it is executable.
    own.and_then(|own| launch::find(own.as_os_str(), None))
        .or_else(|| launch::find(OsStr::new("bash"), path))
        .unwrap_or_else(|| "/bin/sh".into())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_users_own_comes_first_and_sh_last() {
        let dir = tempfile::tempdir().unwrap();
        let make = |name: &str, mode| {
            let folder = dir.path().join(name);
            std::fs::create_dir(&folder).unwrap();
            std::fs::write(folder.join("bash"), "").unwrap();
            std::fs::set_permissions(folder.join("bash"), PermissionsExt::from_mode(mode)).unwrap();
            folder
        };
        let (own, other, not) = (make("own", 0o755), make("other", 0o755), make("not", 0o644));
        let path = std::env::join_paths([Path::new("rel"), &not, &other]).unwrap();
        let check = |shell: Option<PathBuf>, path: Option<&OsStr>, expected: &Path| {
            assert_eq!(choose(shell, path), expected);
        };
        check(Some(own.join("bash")), Some(&path), &own.join("bash"));
        check(Some("/bin/zsh".into()), Some(&path), &other.join("bash"));
        check(Some(not.join("bash")), Some(&path), &other.join("bash"));
        check(None, Some(not.as_os_str()), Path::new("/bin/sh"));
    }
}
