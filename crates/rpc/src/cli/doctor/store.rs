//! Checks whether the state directory can be used, and whether its file system has the required features.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use meanwhile_core::background::ledger::{self, LedgerError};
use meanwhile_core::background::words::reason;
use nix::fcntl::{FallocateFlags, FcntlArg, fallocate, fcntl};
use nix::sys::stat::Mode;
use nix::sys::statvfs::statvfs;
use nix::unistd::{AccessFlags, Uid, access, mkfifo};

use super::{Check, Probe, mounts};
use crate::cli::{session, show};
use crate::state_dir::{Found, Moved};
use crate::{config, state_dir};

/// Less free space than this is soon used up: it is four times one task's output at the default limit.
const SPACE_LOW: u64 = 64 << 20;

const NO_TASK: &str = "no task can be started, and no result of an earlier one can be read";
const ELSEWHERE: &str = "set MEANWHILE_STATE_DIR to a directory on a local disk that you own";

pub(super) fn check(workspace: Option<&Path>) -> Vec<Check> {
    let settings = match config::load() {
        Ok(_) => match config::config_file().is_ok_and(|path| path.exists()) {
            true => Check::ok("settings", "read"),
            false => Check::ok("settings", "none; the defaults apply"),
        },
        Err(error) => Check::fail("settings", error.to_string(), NO_TASK, "correct the file"),
    };
    let Found { path: state, moved } = match state_dir::found() {
        Ok(found) => found,
        Err(error) => {
            let check = Check::fail("state directory", error, NO_TASK, ELSEWHERE);
            return vec![settings, check];
        }
    };
    let mut checks = vec![settings];
    // Opening the store creates the directory if possible; the checks above report why it fails.
    let was_there = state.exists();
    let opened = session::run(workspace.map(Path::to_owned), async |_| Ok(0));
    checks.push(directory(&state, was_there));
    checks.extend(moved.iter().map(elsewhere));
    if state.is_dir() {
        checks.push(space(&state));
        checks.push(file_system(&state));
        match Probe::new(&state) {
            Ok(probe) => checks.extend(abilities(&probe)),
            Err(error) => {
                let found = format!("cannot write there: {}", reason(&error));
                checks.push(Check::fail("writable", found, NO_TASK, ELSEWHERE));
            }
        }
    }
    let version = ledger::schema_version(&state);
    checks.push(match opened {
        Ok(_) => Check::ok("store", schema(&version)),
        Err(failure) => Check::fail("store", failure.to_string(), NO_TASK, advice(&version)),
    });
    checks
}

fn directory(state: &Path, was_there: bool) -> Check {
    const NAME: &str = "state directory";
    let shown = state.display();
    let Ok(metadata) = fs::metadata(state) else {
        let above = existing_ancestor(state);
        let found = match access(&above, AccessFlags::W_OK | AccessFlags::X_OK) {
            Ok(()) => format!("{shown} does not exist and could not be created"),
            Err(error) => {
                format!("{shown} cannot be created in `{}`: {}", above.display(), error.desc())
            }
        };
        return Check::fail(NAME, found, NO_TASK, ELSEWHERE);
    };
    if !metadata.is_dir() {
        let found = format!("{shown} is not a directory");
        return Check::fail(NAME, found, NO_TASK, "move it away, or set MEANWHILE_STATE_DIR");
    }
    let (owner, me) = (metadata.uid(), Uid::effective().as_raw());
    if owner != me {
        return Check::warn(
            NAME,
            format!("{shown} belongs to user {owner}, and you are {me}"),
            "its owner sees your tasks and can change them, and new files may lock one of you out",
            "run as its owner, or set MEANWHILE_STATE_DIR to a directory that you own",
        );
    }
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Check::warn(
            NAME,
            format!("{shown} has mode {mode:04o}, not 0700"),
            "others on this machine can see your commands and their output",
            &format!("chmod 700 '{shown}'"),
        );
    }
    let made = if was_there { "" } else { ", just created" };
    Check::ok(NAME, format!("{shown}, mode {mode:04o}{made}"))
}

fn existing_ancestor(path: &Path) -> PathBuf {
    path.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/")).to_owned()
}

fn space(state: &Path) -> Check {
    const NAME: &str = "free space";
    let stat = match statvfs(state) {
        Ok(stat) => stat,
        Err(error) => {
            let found = format!("unknown: {}", error.desc());
            return Check::warn(NAME, found, "a full disk refuses new tasks", "look with `df`");
        }
    };
    let free = stat.blocks_available().saturating_mul(stat.fragment_size());
    let found = format!("{} free", show::bytes(free));
    // A file system without a fixed number of files (btrfs, overlay on it) reports 0 for all counts.
    let files_full = stat.files() > 0 && stat.files_available() == 0;
    if free < SPACE_LOW || files_full {
        let found = if files_full { format!("{found}, but no more files") } else { found };
        return Check::warn(
            NAME,
            found,
            "new tasks are refused once it is full; the running ones go on and lose output",
            "make room, or set a smaller `quota` in config.toml",
        );
    }
    Check::ok(NAME, found)
}

/// The usual directory is not on a local disk: name what an older version has kept there.
fn elsewhere(moved: &Moved) -> Check {
    const NAME: &str = "state kept elsewhere";
    let Moved { from, file_system } = moved;
    let found = format!("{} is on {file_system}, not on a local disk", from.display());
    if !from.join("meanwhile.db").exists() {
        return Check::ok(NAME, found);
    }
    let advice = format!("`MEANWHILE_STATE_DIR={} meanwhile drain` takes them", from.display());
    Check::warn(NAME, found, "an older version kept results there, which are not used", &advice)
}

fn file_system(state: &Path) -> Check {
    const NAME: &str = "file system";
    let mounts = mounts::read();
    let state = state.canonicalize().unwrap_or_else(|_| state.to_owned());
    let Some(mount) = mounts::of(&mounts, &state) else {
        let cost = "it is unknown whether it supports locks";
        return Check::warn(NAME, "unknown", cost, "mount /proc");
    };
    match nature(&mount.kind, state_dir::shared(&state)) {
        Nature::Local => Check::ok(NAME, &mount.kind),
        Nature::Network => Check::warn(
            NAME,
            format!("{}, over the network", mount.kind),
            "locks and the ledger are not reliable there: results may be lost or reported twice",
            ELSEWHERE,
        ),
        Nature::Memory => Check::warn(
            NAME,
            format!("{}, in memory", mount.kind),
            "results and output are gone after a reboot, and take memory",
            ELSEWHERE,
        ),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Nature {
    Local,
    Network,
    Memory,
}

/// Classifies a file system by its type in the mount table and the type that [`state_dir::shared`] reports for it.
fn nature(kind: &str, shared: Option<&str>) -> Nature {
    const BEHIND_FUSE: [&str; 5] =
        ["virtiofs", "fuse.sshfs", "fuse.glusterfs", "fuse.s3fs", "fuse.rclone"];
    match (kind, shared) {
        // Some FUSE file systems are on a local disk.
        (kind, None | Some("fuse")) if !BEHIND_FUSE.contains(&kind) => match kind {
            "tmpfs" | "ramfs" => Nature::Memory,
            _ => Nature::Local,
        },
        _ => Nature::Network,
    }
}

/// Tries each feature that the file system of the state directory must have.
fn abilities(probe: &Probe) -> Vec<Check> {
    let verdict = |name, result: io::Result<()>, cost: &str| match result {
        Ok(()) => Check::ok(name, "yes"),
        Err(error) => Check::fail(name, reason(&error), cost, ELSEWHERE),
    };
    let file =
        |name: &str| File::options().create_new(true).write(true).read(true).open(probe.path(name));
    vec![
        match run_there(probe) {
            Ok(()) => Check::ok("programs run there", "yes"),
            Err(error) => Check::warn(
                "programs run there",
                reason(&error),
                "each daemon holds a copy of the supervisor in memory, 1.3 MB",
                ELSEWHERE,
            ),
        },
        verdict(
            "named pipes",
            mkfifo(&probe.path("fifo"), Mode::S_IRUSR | Mode::S_IWUSR).map_err(io::Error::from),
            "no task can be started: supervisors are controlled through named pipes",
        ),
        verdict(
            "locks",
            file("lock").and_then(lock),
            "no task can be started: a lock shows that a supervisor is alive",
        ),
        verdict(
            "preallocation",
            file("room").and_then(|file| {
                fallocate(file, FallocateFlags::empty(), 0, 4_096).map_err(io::Error::from)
            }),
            "no task can be started: the space for its result is allocated first",
        ),
    ]
}

/// Runs a program from the directory: a mount with `noexec` refuses it.
fn run_there(probe: &Probe) -> io::Result<()> {
    let path = probe.path("program");
    let mut file = File::options().create_new(true).write(true).mode(0o700).open(&path)?;
    file.write_all(b"#!/bin/sh\nexit 0\n")?;
    // A program that is open for writing is busy (execve(2), ETXTBSY).
    drop(file);
    let status = Command::new(&path).status()?;
    match status.success() {
        true => Ok(()),
        false => Err(io::Error::other(format!("a program ran there and ended with {status}"))),
    }
}

/// Takes an open-file-description lock (fcntl(2)).
fn lock(file: File) -> io::Result<()> {
    let lock = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    fcntl(&file, FcntlArg::F_OFD_SETLK(&lock)).map(|_| ()).map_err(io::Error::from)
}

fn schema(version: &Result<usize, LedgerError>) -> String {
    match version {
        Ok(version) => format!("opens, schema version {version}"),
        Err(_) => "opens".to_owned(),
    }
}

/// What to do about a store that does not open. The results in a store of a newer program are intact, so the advice
/// is never to move it away.
fn advice(version: &Result<usize, LedgerError>) -> &'static str {
    if let Err(LedgerError::NewerVersion { .. }) = version {
        return "update meanwhile, or set MEANWHILE_STATE_DIR to another directory";
    }
    "see what failed above; if nothing did, move the directory away and start again"
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;

    #[test]
    fn file_systems_have_their_nature() {
        for (kind, shared, expected) in [
            ("ext4", None, Nature::Local),
            ("overlay", None, Nature::Local),
            ("fuse.ext3", Some("fuse"), Nature::Local),
            ("nfs4", Some("nfs"), Nature::Network),
            ("lustre", Some("lustre"), Nature::Network),
            ("fuse.sshfs", Some("fuse"), Nature::Network),
            ("virtiofs", Some("fuse"), Nature::Network),
            ("tmpfs", None, Nature::Memory),
        ] {
            assert_eq!(nature(kind, shared), expected, "{kind}");
        }
    }

    #[test]
    fn a_directory_is_judged_by_its_mode_and_kind() {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        let check = |path: &Path, status: Status, says: &str| {
            let found = directory(path, true);
            assert_eq!(found.status, status, "{found:?}");
            assert!(found.found.contains(says), "{found:?}");
        };
        let mode = |mode| {
            fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).expect("it is ours");
        };
        mode(0o700);
        check(dir.path(), Status::Ok, "mode 0700");
        mode(0o750);
        check(dir.path(), Status::Warn, "has mode 0750, not 0700");
        mode(0o700);
        let file = dir.path().join("file");
        fs::write(&file, "").expect("it is writable");
        check(&file, Status::Fail, "is not a directory");
        check(&dir.path().join("none"), Status::Fail, "could not be created");
    }

    #[test]
    fn an_ordinary_directory_can_do_it_all() {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        let probe = Probe::new(dir.path()).expect("it is writable");
        for check in abilities(&probe) {
            assert_eq!(check.status, Status::Ok, "{check:?}");
        }
    }

    #[test]
    fn a_store_that_a_newer_program_wrote_is_never_to_be_moved_away() {
        let newer = Err(LedgerError::NewerVersion { found: 99 });
        assert!(advice(&newer).starts_with("update meanwhile"));
        assert!(advice(&Ok(1)).contains("move the directory away"));
        assert!(advice(&Err(LedgerError::Busy)).contains("move the directory away"));
    }
}
