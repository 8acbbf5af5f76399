//! Keeps a command that is otherwise unconfined from paths that rules forbid: in a mount namespace, an empty
//! file or directory is mounted over each path that may not be read, and each path that may not be written is
//! mounted read-only.
//!
//! If the kernel allows no such namespace, a confined command does not run, and an unconfined one runs without
//! these mounts: then a rule that forbids a path, next to one that allows every command, cannot be enforced, as
//! the documentation says. `meanwhile doctor` tries it and reports the result. For a user other than root, a user
//! namespace is created too, and a second one inside it, so that the command cannot remove the mounts; root's
//! command can, unless it is confined.

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
/// The number of `mount_setattr(2)`, the same on all architectures, and its read-only attribute (linux/mount.h).
const SYS_MOUNT_SETATTR: libc::c_long = 442;
const MOUNT_ATTR_RDONLY: u64 = 1;

/// The same layout as `struct mount_attr` (linux/mount.h).
#[repr(C)]
struct Attributes {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

/// Applies the plan's mounts to this process and all that it will start. Returns whether the kernel allows them.
pub(super) fn cover(plan: &Plan) -> io::Result<bool> {
    let here = std::env::current_dir();
    if !is_allowed(plan)? {
        return Ok(false);
    }
    let has_user = private()?;
    for (right, path) in &plan.rules {
        // A path that does not exist, or has become a symbolic link, is skipped.
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
                // The path leads to the new mount; the descriptor still refers to what is below it.
                read_only(path)?;
            }
            Right::List | Right::Read | Right::Write | Right::Device => {}
        }
    }
    if has_user {
        namespace()?;
    }
    // The working directory may now be hidden below a new mount.
    if let Ok(here) = here {
        std::env::set_current_dir(here)?;
    }
    Ok(true)
}

/// Whether the kernel allows such mounts. A child tries it, because some kernels allow only the first steps
/// (AppArmor may allow a user namespace without capabilities in it; `mount_setattr(2)` needs Linux 5.12), and
/// this process would be left in a half-finished namespace.
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

/// Does the same steps as [`cover`], without the paths.
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

/// Enters a mount namespace whose mounts are not visible outside. Returns whether a user namespace was
/// created for it.
fn private() -> io::Result<bool> {
    let has_user = namespace()?;
    mount(None, Path::new("/"), None, libc::MS_REC | libc::MS_SLAVE)?;
    Ok(has_user)
}

/// Enters a new mount namespace, together with a new user namespace if the user is not allowed the former
/// alone. Returns whether a user namespace was created.
fn namespace() -> io::Result<bool> {
    // SAFETY: these calls take no arguments and always succeed.
    let (user, group) = unsafe { (libc::geteuid(), libc::getegid()) };
    // SAFETY: the call takes a number.
    if user == 0 && check(unsafe { libc::unshare(libc::CLONE_NEWNS) }.into()).is_ok() {
        return Ok(false);
    }
    // SAFETY: the call takes a number, and this process has one thread.
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

/// Makes a mount, and those below it, read-only. mount(2) would have to repeat the mount's other flags, which
/// this process may not clear.
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
