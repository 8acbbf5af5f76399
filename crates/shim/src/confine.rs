//! Confinement: limits on what a task can do, enforced by the kernel.
//!
//! A confined task is started through this program's mode `confine`: it restricts itself with Landlock
//! and seccomp, then executes the command, which keeps the restrictions, as do all processes that it
//! starts. The daemon decides what may be read and written ([`Plan`]), because that requires walking
//! directories. The table of system calls ([`calls`]) and the list of environment variables
//! ([`environment`]) are here, because they are the same for all tasks.
//!
//! None of this runs in a supervising shim: a confined command costs a second execve(2), but no memory.

pub mod calls;
pub mod enter;
pub mod environment;
mod mounts;
mod plan;

pub use plan::{Mode, Plan, Right};

/// The descriptor from which the mode `confine` reads its plan.
pub const PLAN_FD: i32 = 3;
/// The descriptor on which it reports why it could not execute the command: the errno, four bytes in
/// native byte order. It is closed without data when the command runs.
pub const WORD_FD: i32 = 4;
/// The first argument that selects this mode.
pub const MODE: &str = "confine";
/// The flag of `landlock_create_ruleset(2)` that makes it return the version of the ABI.
const CREATE_RULESET_VERSION: u32 = 1;

/// The version of the kernel's Landlock ABI; 0 if the kernel lacks Landlock or has it disabled.
#[expect(unsafe_code, reason = "landlock_create_ruleset(2) has no wrapper that only asks")]
pub fn abi() -> u32 {
    let none = std::ptr::null::<libc::c_void>();
    // SAFETY: with this flag the call takes a null pointer and a size of zero, and returns a number.
    let version = unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, none, 0_usize, CREATE_RULESET_VERSION)
    };
    u32::try_from(version).unwrap_or(0)
}

/// Whether this kernel can confine a command: it has Landlock, and there are seccomp filters for this
/// architecture.
pub fn is_supported() -> bool {
    cfg!(any(target_arch = "x86_64", target_arch = "aarch64")) && abi() > 0
}
