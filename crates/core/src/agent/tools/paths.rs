//! Resolves a path that a model wrote to the file that it refers to.
//!
//! Symbolic links are followed to the last one, even to a target that does not exist yet, so that permission is
//! asked for the file itself and not for one of its names.

use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

/// Maximum number of links followed: the same as in the kernel (path_resolution(7)).
const LINKS_MAX: u32 = 40;

/// The absolute path that `text` refers to, relative to `base`, with symbolic links resolved. Parts that do not
/// exist are kept as written.
pub(super) fn resolve(base: &Path, text: &str) -> Result<PathBuf, String> {
    let text = text.strip_prefix("file://").unwrap_or(text);
    if text.trim().is_empty() {
        return Err("`path` is empty: expected a file or directory".to_owned());
    }
    if text.contains('\0') {
        return Err("`path` has a NUL in it, which no path can have".to_owned());
    }
    let home = || std::env::var_os("HOME").filter(|home| !home.is_empty());
    let path = match text.strip_prefix('~') {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => match home() {
            Some(home) => Path::new(&home).join(rest.trim_start_matches('/')),
            None => return Err(format!("`{text}`: there is no home directory; give a whole path")),
        },
        Some(_) | None => base.join(text),
    };
    let path = as_named(path);
    follow(&path).ok_or_else(|| format!("`{text}`: too many symbolic links; give the file itself"))
}

/// The path itself, or the existing path that looks the same: a name that is not UTF-8 is shown with U+FFFD in it,
/// and a model can only repeat what it was shown.
fn as_named(path: PathBuf) -> PathBuf {
    if !path.to_string_lossy().contains('\u{fffd}') || path.exists() {
        return path;
    }
    let mut named = PathBuf::new();
    for component in path.components() {
        let shown = component.as_os_str().to_string_lossy();
        let alike = |entry: &std::fs::DirEntry| {
            entry.file_name().to_str().is_none() && entry.file_name().to_string_lossy() == shown
        };
        let mut found = match shown.contains('\u{fffd}') {
            true => std::fs::read_dir(&named).into_iter().flatten().flatten().find(alike),
            false => None,
        };
        match found.take() {
            Some(entry) => named.push(entry.file_name()),
            None => named.push(component),
        }
    }
    named
}

/// The target of an absolute path: symbolic links are followed and `..` is resolved as the kernel does; parts that
/// do not exist are kept as written. `None` if the path is not absolute or its links form a cycle. Both the
/// permission check and the access use this function.
pub(in crate::agent) fn follow(path: &Path) -> Option<PathBuf> {
    if !path.is_absolute() {
        return None;
    }
    let mut found = PathBuf::from("/");
    let mut rest = pieces(path);
    let mut links = 0;
    while let Some(piece) = rest.pop() {
        if piece == ".." {
            found.pop();
            continue;
        }
        found.push(&piece);
        let Ok(target) = std::fs::read_link(&found) else { continue };
        links += 1;
        if links > LINKS_MAX {
            return None;
        }
        found.pop();
        if target.is_absolute() {
            found = PathBuf::from("/");
        }
        rest.extend(pieces(&target));
    }
    Some(found)
}

/// The components of a path in reverse order.
fn pieces(path: &Path) -> Vec<OsString> {
    let pieces = path.components().filter_map(|component| match component {
        Component::Normal(piece) => Some(piece.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    });
    let mut pieces: Vec<OsString> = pieces.collect();
    pieces.reverse();
    pieces
}

/// The resolved path of a workspace, which may itself be named through a link.
pub(super) fn canonical(workspace: &Path) -> PathBuf {
    follow(workspace).unwrap_or_else(|| workspace.to_owned())
}

/// A path for display: relative to the workspace ([`canonical`]) if it is inside.
pub(super) fn relative(path: &Path, workspace: &Path) -> String {
    match path.strip_prefix(workspace) {
        Ok(rest) if rest.as_os_str().is_empty() => ".".to_owned(),
        Ok(rest) => rest.display().to_string(),
        Err(_) => path.display().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A name that is not UTF-8 is found by the form in which it is shown.
    fn check_odd(work: &Path, shown: &str, name: &Path) {
        assert_eq!(resolve(work, shown).unwrap(), name);
        assert_eq!(resolve(work, "other\u{fffd}").unwrap(), work.join("other\u{fffd}"));
    }

    #[test]
    fn a_path_means_the_file_that_is_touched() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let work = root.join("work");
        std::fs::create_dir_all(work.join("src")).unwrap();
        std::fs::create_dir_all(root.join("out/deep")).unwrap();
        symlink(root.join("out/deep"), work.join("away")).unwrap();
        symlink("../out/missing", work.join("dangling")).unwrap();
        symlink("loop", work.join("loop")).unwrap();
        symlink("src", work.join("here")).unwrap();
        let check = |text: &str, expected: Option<&str>| {
            let found = resolve(&work, text);
            assert_eq!(found.ok(), expected.map(|path| root.join(path)), "{text}");
        };
        check("src/a.rs", Some("work/src/a.rs"));
        check("./src/../b", Some("work/b"));
        check("new/../../c", Some("c"));
        check("here/a", Some("work/src/a"));
        check("away/x", Some("out/deep/x"));
        // The parent of the link's target, not of the link.
        check("away/../x", Some("out/x"));
        check("here/../a", Some("work/a"));
        // Writing to it would create this file.
        check("dangling", Some("out/missing"));
        check("dangling/x", Some("out/missing/x"));
        check("loop", None);
        check("loop/x", None);
        check("", None);
        check(" ", None);
        check("a\0b", None);
        check(".", Some("work"));
        check(&format!("file://{}", work.join("x").display()), Some("work/x"));
        assert_eq!(resolve(&work, "/../../etc/./x").unwrap(), Path::new("/etc/x"));
        assert_eq!(follow(Path::new("work")), None);
        assert_eq!(follow(Path::new("/../..")), Some(PathBuf::from("/")));
        assert_eq!(canonical(&work.join("away")), root.join("out/deep"));
        assert_eq!(relative(&work.join("src/a"), &work), "src/a");
        assert_eq!(relative(&work, &work), ".");
        assert_eq!(relative(Path::new("/x"), &work), "/x");
        let odd = std::os::unix::ffi::OsStrExt::from_bytes(&b"caf\xe9"[..]);
        let odd: &std::ffi::OsStr = odd;
        std::fs::write(work.join(odd), "").unwrap();
        check_odd(&work, "caf\u{fffd}", &work.join(odd));
    }
}
