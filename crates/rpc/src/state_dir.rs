//! Where the state is kept (docs/settings.md).

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The state directory: `$MEANWHILE_STATE_DIR`, else `$XDG_STATE_HOME/meanwhile`, else
/// `~/.local/state/meanwhile`.
///
/// # Errors
///
/// None of these is set to an absolute path; the text says what to set.
pub(crate) fn find() -> Result<PathBuf, String> {
    from(|name| std::env::var_os(name))
}

fn from(variable: impl Fn(&str) -> Option<OsString>) -> Result<PathBuf, String> {
    let set = |name| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(path) = set("MEANWHILE_STATE_DIR") {
        if path.is_absolute() {
            return Ok(path);
        }
        let shown = path.display();
        return Err(format!("`MEANWHILE_STATE_DIR` is `{shown}`; set it to an absolute path"));
    }
    // A relative one is to be ignored (XDG Base Directory Specification).
    let absolute = |name| set(name).filter(|path| Path::is_absolute(path));
    if let Some(path) = absolute("XDG_STATE_HOME") {
        return Ok(path.join("meanwhile"));
    }
    match absolute("HOME") {
        Some(home) => Ok(home.join(".local/state/meanwhile")),
        None => Err("no home directory; set `HOME` or `MEANWHILE_STATE_DIR`".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(variables: &[(&str, &str)], expect: Option<&str>) {
        let look = |name: &str| {
            variables.iter().find(|(n, _)| *n == name).map(|(_, value)| OsString::from(value))
        };
        assert_eq!(from(look).ok(), expect.map(PathBuf::from), "{variables:?}");
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
