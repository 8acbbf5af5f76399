//! Confinement: what a task can do, held by the kernel.
//!
//! A confined task is started through this program's mode `confine`: it restricts itself with Landlock
//! and seccomp, and executes the command, which keeps the restrictions, as do all that it starts. The
//! daemon says what may be read and written ([`Plan`]), since that takes walks through directories. The
//! table of system calls is here ([`calls`]), since it is the same for all, and so is what is left of
//! the environment ([`environment`]).
//!
//! Nothing here runs in a shim that supervises: a confined command costs a second execve(2), and no
//! memory.

pub mod calls;
pub mod enter;
pub mod environment;
mod mounts;
mod plan;

pub use plan::{Mode, Plan, Right};

/// The descriptor on which the mode `confine` finds its plan.
pub const PLAN_FD: i32 = 3;
/// The descriptor on which it says why it could not execute the command: the error number, four bytes
/// in the machine's order. Closed without a word when the command runs.
pub const WORD_FD: i32 = 4;
/// The first argument of the mode.
pub const MODE: &str = "confine";
/// `landlock_create_ruleset(2)`: return the version of the ABI.
const CREATE_RULESET_VERSION: u32 = 1;

/// The version of the kernel's Landlock ABI; 0 where it has none, or has it turned off.
#[expect(unsafe_code, reason = "landlock_create_ruleset(2) has no wrapper that only asks")]
pub fn abi() -> u32 {
    let none = std::ptr::null::<libc::c_void>();
    // SAFETY: with this flag the call takes a null pointer and a size of zero, and returns a number.
    let version = unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, none, 0_usize, CREATE_RULESET_VERSION)
    };
    u32::try_from(version).unwrap_or(0)
}

/// Whether this kernel can hold a command: Landlock is there, and seccomp filters for this
/// architecture.
pub fn is_supported() -> bool {
    cfg!(any(target_arch = "x86_64", target_arch = "aarch64")) && abi() > 0
}
