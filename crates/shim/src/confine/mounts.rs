//! What a rule forbids, kept from a command that runs as it is otherwise: a mount namespace in which an empty
//! file or directory lies over what may not be read, and what may not be written is mounted for reading only.
//!
//! Where the kernel allows no such namespace, a confined command does not run, and one that is not confined runs
//! without: a rule beside one that allows every command is a seat belt there, as the documentation says. A trial
//! tells which it is (`meanwhile doctor`). A user who is not root gets a user namespace, too, and in it a second
//! one, so that the command cannot take the mounts off; root's command can, unless it is confined.

#![expect(unsafe_code, reason = "unshare(2), mount(2), mount_setattr(2), fork(2)")]

use std::ffi::CString;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};

use super::{Plan, Right, enter};

/// An empty file that every user may read.
const EMPTY: &str = "/dev/null";
/// `mount_setattr(2)`, the same on all architectures, and its attribute for reading only (linux/mount.h).
const SYS_MOUNT_SETATTR: libc::c_long = 442;
const MOUNT_ATTR_RDONLY: u64 = 1;

/// `struct mount_attr` (linux/mount.h).
#[repr(C)]
struct Attributes {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

/// Lays the plan's mounts over this process and all that it will start. Returns whether it may have them.
pub(super) fn cover(plan: &Plan) -> io::Result<bool> {
    let here = std::env::current_dir();
    if !is_allowed(plan)? {
        return Ok(false);
    }
    let has_user = private()?;
    for (right, path) in &plan.rules {
        // What is not there, or became a link since, is not covered.
        let Ok(place) = enter::open(path) else { continue };
        let is_directory = nix::sys::stat::fstat(&place)?.st_mode & libc::S_IFMT == libc::S_IFDIR;
        let target = format!("/proc/self/fd/{}", place.as_raw_fd());
        let target = Path::new(&target);
        match right {
            Right::Hide if is_directory => {
                mount(None, target, Some("tmpfs"), libc::MS_RDONLY | libc::MS_NOSUID)?;
            }
            Right::Hide => mount(Some(Path::new(EMPTY)), target, None, libc::MS_BIND)?,
            Right::Seal => {
                mount(Some(target), target, None, libc::MS_BIND | libc::MS_REC)?;
                // By its name it is the new mount; the descriptor is below it.
                read_only(path)?;
            }
            Right::List | Right::Read | Right::Write | Right::Device => {}
        }
    }
    if has_user {
        namespace()?;
    }
    // The directory it is in may be below a new mount.
    if let Ok(here) = here {
        std::env::set_current_dir(here)?;
    }
    Ok(true)
}

/// Whether this process may have such mounts. A child tries it: where a kernel allows a part of it alone (the
/// namespace of a user without that user in it, as AppArmor may have it, or no `mount_setattr(2)` before
/// Linux 5.12), this process would be left in the midst.
fn is_allowed(plan: &Plan) -> io::Result<bool> {
    let seals = plan.rules.iter().any(|(right, _)| *right == Right::Seal);
    // SAFETY: this process has one thread, so the child may do whatever its parent may.
    let child = match unsafe { fork() }? {
        ForkResult::Parent { child } => child,
        ForkResult::Child => {
            let allowed = attempt(seals).is_ok();
            // SAFETY: ends this process, which has nothing to clean up.
            unsafe { libc::_exit(i32::from(!allowed)) }
        }
    };
    Ok(matches!(waitpid(child, None)?, WaitStatus::Exited(_, 0)))
}

/// The same steps as for a plan, without the paths.
fn attempt(seals: bool) -> io::Result<()> {
    let has_user = private()?;
    if seals {
        let empty = Path::new(EMPTY);
        mount(Some(empty), empty, None, libc::MS_BIND)?;
        read_only(empty)?;
    }
    if has_user {
        namespace()?;
    }
    Ok(())
}

/// Goes to a namespace from which no mount shows elsewhere. Returns whether a user namespace is around it.
fn private() -> io::Result<bool> {
    let has_user = namespace()?;
    mount(None, Path::new("/"), None, libc::MS_REC | libc::MS_SLAVE)?;
    Ok(has_user)
}

/// A mount namespace of this process's own, and for a user who may not have one a user namespace around it.
/// Returns whether it has that.
fn namespace() -> io::Result<bool> {
    // SAFETY: these take nothing and always succeed.
    let (user, group) = unsafe { (libc::geteuid(), libc::getegid()) };
    // SAFETY: takes a number.
    if user == 0 && check(unsafe { libc::unshare(libc::CLONE_NEWNS) }.into()).is_ok() {
        return Ok(false);
    }
    // SAFETY: takes a number; this process has one thread.
    check(unsafe { libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS) }.into())?;
    std::fs::write("/proc/self/setgroups", "deny")?;
    std::fs::write("/proc/self/uid_map", format!("{user} {user} 1"))?;
    std::fs::write("/proc/self/gid_map", format!("{group} {group} 1"))?;
    Ok(true)
}

fn mount(source: Option<&Path>, target: &Path, kind: Option<&str>, flags: u64) -> io::Result<()> {
    let text = |path: &Path| CString::new(path.as_os_str().as_encoded_bytes());
    let source = text(source.unwrap_or(Path::new("none")))?;
    let (target, kind) = (text(target)?, CString::new(kind.unwrap_or_default())?);
    let data = std::ptr::null();
    // SAFETY: the strings outlive the call, and no kind that is mounted here takes data.
    check(
        unsafe { libc::mount(source.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, data) }.into(),
    )
}

/// Makes a mount, and those below it, one for reading only. mount(2) would have to repeat flags that it may
/// not take off here.
fn read_only(path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_encoded_bytes())?;
    let attributes =
        Attributes { set: MOUNT_ATTR_RDONLY, clear: 0, propagation: 0, user_namespace: 0 };
    // SAFETY: both pointers are to memory that outlives the call, and the size is the structure's.
    check(unsafe {
        libc::syscall(
            SYS_MOUNT_SETATTR,
            libc::AT_FDCWD,
            path.as_ptr(),
            libc::AT_RECURSIVE | libc::AT_SYMLINK_NOFOLLOW,
            &raw const attributes,
            size_of::<Attributes>(),
        )
    })
}

fn check(result: libc::c_long) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
