//! What a confined task may access besides its workspace: directories of the system and of toolchains. Data.

use std::path::{Path, PathBuf};

/// System paths that every program may need, without any user's data. Of `/etc`, only what programs read to
/// start and to resolve users and certificates; the rest of it holds keys, which root could read.
const SYSTEM: &[&str] = &[
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/opt",
    "/nix/store",
    "/gnu/store",
    "/snap",
    "/home/linuxbrew/.linuxbrew",
    "/proc",
    "/sys",
    "/run/current-system",
    "/var/lib/dpkg",
    "/var/lib/pacman",
    "/etc/alternatives",
    "/etc/apk/world",
    "/etc/bash.bashrc",
    "/etc/bash_completion.d",
    "/etc/ca-certificates",
    "/etc/ca-certificates.conf",
    "/etc/crypto-policies",
    "/etc/debian_version",
    "/etc/fonts",
    "/etc/gai.conf",
    "/etc/gitconfig",
    "/etc/group",
    "/etc/host.conf",
    "/etc/hostname",
    "/etc/hosts",
    "/etc/inputrc",
    "/etc/issue",
    "/etc/java",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/ld.so.preload",
    "/etc/locale.alias",
    "/etc/locale.conf",
    "/etc/localtime",
    "/etc/lsb-release",
    "/etc/machine-id",
    "/etc/magic",
    "/etc/magic.mime",
    "/etc/mailcap",
    "/etc/manpath.config",
    "/etc/mime.types",
    "/etc/mtab",
    "/etc/networks",
    "/etc/nsswitch.conf",
    "/etc/opt",
    "/etc/os-release",
    "/etc/passwd",
    "/etc/pki/ca-trust",
    "/etc/pki/tls/certs",
    "/etc/profile",
    "/etc/profile.d",
    "/etc/protocols",
    "/etc/python3",
    "/etc/resolv.conf",
    "/etc/services",
    "/etc/shells",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/terminfo",
];

/// Toolchain directories in the home directory, and git's settings. Credentials in them are excluded like all
/// files that are likely to hold keys.
const OF_HOME: &[&str] = &[
    ".asdf",
    ".bun",
    ".cabal/packages",
    ".cache/go-build",
    ".cache/pypoetry/virtualenvs",
    ".cache/uv",
    ".cargo",
    ".config/git",
    ".config/go",
    ".conda",
    ".deno",
    ".dotnet",
    ".elan",
    ".fnm",
    ".gem",
    ".ghcup",
    ".gitattributes",
    ".gitconfig",
    ".gitignore",
    ".gradle",
    ".jbang",
    ".jenv",
    ".juliaup",
    ".local/bin",
    ".local/lib",
    ".local/share/fnm",
    ".local/share/mise",
    ".local/share/pipx",
    ".local/share/pnpm",
    ".local/share/uv",
    ".m2",
    ".miniconda3",
    ".mix",
    ".nix-profile",
    ".npm",
    ".nuget/packages",
    ".nvm",
    ".opam",
    ".poetry",
    ".pub-cache",
    ".pyenv",
    ".rbenv",
    ".rustup",
    ".rvm",
    ".sdkman",
    ".stack",
    ".tool-versions",
    ".volta",
    ".yarn",
    "go",
    "miniconda3",
    "sdk",
];

/// Variables that name a toolchain's directory or a list of them.
const VARIABLES: &[&str] = &[
    "ANDROID_HOME",
    "ANDROID_SDK_ROOT",
    "BUN_INSTALL",
    "CARGO_HOME",
    "CARGO_TARGET_DIR",
    "CONDA_PREFIX",
    "DOTNET_ROOT",
    "GEM_HOME",
    "GEM_PATH",
    "GOMODCACHE",
    "GOPATH",
    "GOROOT",
    "JAVA_HOME",
    "NODE_PATH",
    "NVM_DIR",
    "PATH",
    "PNPM_HOME",
    "PYENV_ROOT",
    "PYTHONPATH",
    "RBENV_ROOT",
    "RUSTUP_HOME",
    "SDKMAN_DIR",
    "VIRTUAL_ENV",
    "VOLTA_HOME",
];

const DEVICES: &[&str] =
    &["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"];

/// Caches in the home directory that a task confined with [`Mode::Work`](super::Mode::Work) may write.
const CACHES: &[&str] = &[
    ".bun/install/cache",
    ".cache/go-build",
    ".cache/golangci-lint",
    ".cache/pip",
    ".cache/pnpm",
    ".cache/pre-commit",
    ".cache/pypoetry",
    ".cache/uv",
    ".cache/yarn",
    ".cargo/git",
    ".cargo/registry",
    ".cache/deno",
    ".gradle/caches",
    ".gradle/daemon",
    ".gradle/wrapper",
    ".local/share/pnpm/store",
    ".m2/repository",
    ".npm/_cacache",
    ".nuget/packages",
    "go/pkg/mod",
];

/// What a confined task may read besides its workspace, symbolic links resolved.
pub(super) fn readable(home: Option<&Path>) -> Vec<PathBuf> {
    let of_home = home.into_iter().flat_map(|home| OF_HOME.iter().map(|name| home.join(name)));
    let is_too_much = |path: &Path| home.is_some_and(|home| home.starts_with(path));
    let named = VARIABLES.iter().filter_map(std::env::var_os);
    let named: Vec<PathBuf> =
        named.flat_map(|value| std::env::split_paths(&value).collect::<Vec<_>>()).collect();
    let all = SYSTEM.iter().map(PathBuf::from).chain(of_home).chain(named);
    let all = all.filter(|path| path.is_absolute()).filter_map(|path| path.canonicalize().ok());
    let mut all: Vec<PathBuf> = all.filter(|path| !is_too_much(path)).collect();
    all.sort();
    // A path inside another one needs no rule of its own.
    all.dedup_by(|inner, outer| inner.starts_with(outer));
    all
}

/// The devices that every program may use.
pub(super) fn devices() -> impl Iterator<Item = PathBuf> {
    DEVICES.iter().map(PathBuf::from)
}

/// The paths that a task confined with [`Mode::Work`](super::Mode::Work) may write: `workspace` and caches.
pub(super) fn written(workspace: &Path) -> Vec<PathBuf> {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let caches = home.iter().flat_map(|home| CACHES.iter().map(|name| home.join(name)));
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let all = [workspace.to_owned()].into_iter().chain(caches).chain(target);
    all.filter_map(|path| path.canonicalize().ok()).collect()
}
