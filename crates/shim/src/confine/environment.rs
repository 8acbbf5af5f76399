//! Which of its daemon's environment variables a confined task gets, and which are set for it.
//!
//! This lists the allowed variables, not the forbidden ones: a variable of any name can hold a key, and a
//! proxy's address can contain a password. Variables that a caller sets for the task itself always pass.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;

/// Names of variables that pass.
const KEPT: &[&str] = &[
    "ANDROID_HOME",
    "ANDROID_SDK_ROOT",
    "BUN_INSTALL",
    "CARGO_HOME",
    "CARGO_TARGET_DIR",
    "CARGO_TERM_COLOR",
    "CI",
    "CLICOLOR",
    "CLICOLOR_FORCE",
    "COLORTERM",
    "COLUMNS",
    "CONDA_DEFAULT_ENV",
    "CONDA_PREFIX",
    "DENO_DIR",
    "DOTNET_ROOT",
    "EDITOR",
    "FORCE_COLOR",
    "GEM_HOME",
    "GEM_PATH",
    "GOBIN",
    "GOMODCACHE",
    "GOPATH",
    "GOROOT",
    "GOTOOLCHAIN",
    "GRADLE_USER_HOME",
    "HOME",
    "HOSTNAME",
    "JAVA_HOME",
    "LANG",
    "LANGUAGE",
    "LINES",
    "LOGNAME",
    "MANPATH",
    "NODE_ENV",
    "NODE_PATH",
    "NO_COLOR",
    "NVM_BIN",
    "NVM_DIR",
    "PATH",
    "PNPM_HOME",
    "PWD",
    "PYENV_ROOT",
    "PYENV_VERSION",
    "PYTHONPATH",
    "PYTHONUNBUFFERED",
    "PYTHONDONTWRITEBYTECODE",
    "RBENV_ROOT",
    "RUSTUP_HOME",
    "RUSTUP_TOOLCHAIN",
    "RUST_BACKTRACE",
    "RUST_LOG",
    "RUST_TEST_THREADS",
    "SDKMAN_DIR",
    "SHELL",
    "SHLVL",
    "TERM",
    "TZ",
    "USER",
    "VIRTUAL_ENV",
    "VOLTA_HOME",
];

/// The prefix of locale variables, which all pass.
const LOCALE: &[u8] = b"LC_";

/// Variables that are set for a confined command. A value that begins with a slash is a path below its
/// temporary directory, except `/dev/null`.
const SET: &[(&str, &str)] = &[
    // Otherwise git refreshes its index under a lock.
    ("GIT_OPTIONAL_LOCKS", "0"),
    ("GIT_PAGER", "cat"),
    ("GIT_TERMINAL_PROMPT", "0"),
    ("PAGER", "cat"),
    ("PYTHONDONTWRITEBYTECODE", "1"),
    // Go needs a writable cache even for `go list`.
    ("GOCACHE", "/go-build"),
    ("GOTELEMETRY", "off"),
    // npm reads the user's `.npmrc` and writes logs and a cache.
    ("npm_config_userconfig", "/dev/null"),
    ("npm_config_cache", "/npm"),
    ("npm_config_update_notifier", "false"),
    ("XDG_CACHE_HOME", "/cache"),
    ("XDG_STATE_HOME", "/state"),
    ("LESSHISTFILE", "-"),
    ("CARGO_NET_OFFLINE", "true"),
];
/// The variables of [`SET`] that are set only in look mode: in work mode a command uses the real caches.
const ONLY_LOOKING: &[&str] =
    &["GOCACHE", "npm_config_cache", "XDG_CACHE_HOME", "XDG_STATE_HOME", "CARGO_NET_OFFLINE"];
/// Variables that name the directory for temporary files.
const TEMPORARY: &[&str] = &["TMPDIR", "TMP", "TEMP", "GOTMPDIR"];

/// The environment of a confined task: the variables of `inherited` that pass, and those that are set for it,
/// with `temporary` as its temporary directory.
pub fn environment(
    mode: super::Mode,
    inherited: BTreeMap<OsString, OsString>,
    temporary: &Path,
) -> BTreeMap<OsString, OsString> {
    let passes = |name: &OsStr| {
        KEPT.iter().any(|kept| name == *kept) || name.as_encoded_bytes().starts_with(LOCALE)
    };
    let mut env: BTreeMap<OsString, OsString> =
        inherited.into_iter().filter(|(name, _)| passes(name)).collect();
    let looks = mode == super::Mode::Look;
    for (name, value) in SET.iter().filter(|(name, _)| looks || !ONLY_LOOKING.contains(name)) {
        let value = match value.strip_prefix('/') {
            Some(rest) if !value.starts_with("/dev/") => temporary.join(rest).into_os_string(),
            Some(_) | None => value.into(),
        };
        env.insert(name.into(), value);
    }
    for name in TEMPORARY {
        env.insert(name.into(), temporary.as_os_str().to_owned());
    }
    env
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::confine::Mode;

    #[test]
    fn what_may_hold_a_key_does_not_pass() {
        let given = ["PATH", "LC_ALL", "HTTPS_PROXY", "AWS_SECRET_ACCESS_KEY", "TMPDIR", "lc_x"];
        let given = given.into_iter().map(|name| (name.into(), "x".into())).collect();
        let env = environment(Mode::Look, given, Path::new("/t"));
        let value = |name: &str| env.get(OsStr::new(name)).and_then(|value| value.to_str());
        assert_eq!(value("PATH"), Some("x"));
        assert_eq!(value("LC_ALL"), Some("x"));
        assert_eq!(value("TMPDIR"), Some("/t"));
        assert_eq!(value("GOCACHE"), Some("/t/go-build"));
        assert_eq!(value("npm_config_userconfig"), Some("/dev/null"));
        for gone in ["HTTPS_PROXY", "AWS_SECRET_ACCESS_KEY", "lc_x"] {
            assert_eq!(value(gone), None, "{gone}");
        }
    }
}
