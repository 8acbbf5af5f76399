//! The table of system calls that are refused to a confined task.
//!
//! Landlock restricts calls that open, create, move and remove files. The calls here bypass it: those
//! that change the metadata of files that may only be read, sockets, other processes, keys, and
//! interfaces too wide to filter. `tests/confine.rs` tries every row. A refused call fails with EPERM,
//! which programs know; `clone3` fails with ENOSYS, and the C library then uses `clone`, whose flags a
//! filter can check.

use std::collections::BTreeMap;

use libc::*;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, sock_filter,
};

use super::{Mode, Plan};

/// In which tasks a row applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// In every confined task.
    Confined,
    /// In a task with [`Mode::Look`].
    Looking,
    /// In a task with [`Mode::Look`], if the kernel's Landlock ABI is below this version and does not cover
    /// the call.
    LookingBelow(u32),
    /// In a confined task without network.
    Offline,
    /// In a confined task with network.
    Online,
}

impl When {
    fn holds(self, plan: &Plan, abi: u32) -> bool {
        let looks = plan.mode == Mode::Look;
        match self {
            Self::Confined => true,
            Self::Looking => looks,
            Self::LookingBelow(version) => looks && abi < version,
            Self::Offline => !plan.network,
            Self::Online => plan.network,
        }
    }
}

/// What an argument must be for a row to apply; the first number is the argument's index. Only its lower
/// 32 bits count, as in the kernel: these are flags, commands, families and process ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arg {
    /// It equals this value.
    Is(u8, u32),
    /// It differs from this value.
    Not(u8, u32),
    /// Masked with the first value it equals the second.
    Has(u8, u32, u32),
}

/// A system call that is refused.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// In which tasks the call is refused.
    pub when: When,
    /// The call's name, with the argument that matters if there is one; for messages of tests.
    pub name: &'static str,
    /// The call's number on this architecture.
    pub number: i64,
    /// The row applies only if all of these conditions hold.
    pub args: &'static [Arg],
}

const fn row(when: When, name: &'static str, number: c_long, args: &'static [Arg]) -> Row {
    Row { when, name, number, args }
}

use Arg::{Has, Is, Not};
use When::{Confined, Looking, LookingBelow, Offline, Online};

/// Numbers that the `libc` crate does not have yet; the same on all architectures.
const SYS_FCHMODAT2: c_long = 452;
const SYS_SETXATTRAT: c_long = 463;
const SYS_REMOVEXATTRAT: c_long = 466;
const SYS_FILE_SETATTR: c_long = 469;

/// The argument of `setpriority(2)` and `ioprio_set(2)` that means all processes of a user. The type of
/// `PRIO_USER` differs between C libraries.
const PRIO_OF_USER: u32 = 2;
const IOPRIO_WHO_USER: u32 = 3;
/// Masks the type argument of `socketpair(2)` without its flags.
const TYPE: u32 = 0xf;
/// Flags of `open(2)` that open a file read-only and truncate it nevertheless.
const TRUNCATES: u32 = O_TRUNC as u32;
const TRUNCATES_OR_WRITES: u32 = (O_TRUNC | O_ACCMODE) as u32;

/// ioctl(2) commands that change a file that is open read-only: attributes (FS_IOC_SETFLAGS and its
/// 32-bit form, FS_IOC_FSSETXATTR, FS_IOC_SETVERSION), encryption and verity, and btrfs's subvolumes.
/// From linux/fs.h, linux/fscrypt.h, linux/fsverity.h, linux/btrfs.h.
const FS_IOC_SETFLAGS: u32 = 0x4008_6602;
const FS_IOC32_SETFLAGS: u32 = 0x4004_6602;
const FS_IOC_FSSETXATTR: u32 = 0x401c_5820;
const FS_IOC_SETVERSION: u32 = 0x4008_7602;
const FS_IOC_SET_ENCRYPTION_POLICY: u32 = 0x800c_6613;
const FS_IOC_ENABLE_VERITY: u32 = 0x4080_6685;
const BTRFS_IOC_SNAP_CREATE: u32 = 0x5000_9401;
const BTRFS_IOC_SUBVOL_CREATE: u32 = 0x5000_940e;
const BTRFS_IOC_SNAP_DESTROY: u32 = 0x5000_940f;
const BTRFS_IOC_SNAP_CREATE_V2: u32 = 0x5000_9417;
const BTRFS_IOC_SUBVOL_CREATE_V2: u32 = 0x5000_9418;
const BTRFS_IOC_SUBVOL_SETFLAGS: u32 = 0x4008_941a;
const BTRFS_IOC_SNAP_DESTROY_V2: u32 = 0x5000_943f;
/// The ioctl(2) command that puts bytes into a terminal as if they had been typed.
const TIOCSTI_: u32 = TIOCSTI as u32;

/// The rows for calls that every architecture has; see [`OLD`] for the others.
pub const TABLE: &[Row] = &[
    // Metadata, which Landlock does not cover.
    row(Looking, "fchmod", SYS_fchmod, &[]),
    row(Looking, "fchmodat", SYS_fchmodat, &[]),
    row(Looking, "fchmodat2", SYS_FCHMODAT2, &[]),
    row(Looking, "fchown", SYS_fchown, &[]),
    row(Looking, "fchownat", SYS_fchownat, &[]),
    row(Looking, "utimensat", SYS_utimensat, &[]),
    row(Looking, "setxattr", SYS_setxattr, &[]),
    row(Looking, "lsetxattr", SYS_lsetxattr, &[]),
    row(Looking, "fsetxattr", SYS_fsetxattr, &[]),
    row(Looking, "setxattrat", SYS_SETXATTRAT, &[]),
    row(Looking, "removexattr", SYS_removexattr, &[]),
    row(Looking, "lremovexattr", SYS_lremovexattr, &[]),
    row(Looking, "fremovexattr", SYS_fremovexattr, &[]),
    row(Looking, "removexattrat", SYS_REMOVEXATTRAT, &[]),
    row(Looking, "file_setattr", SYS_FILE_SETATTR, &[]),
    row(Looking, "ioctl SETFLAGS", SYS_ioctl, &[Is(1, FS_IOC_SETFLAGS)]),
    row(Looking, "ioctl SETFLAGS32", SYS_ioctl, &[Is(1, FS_IOC32_SETFLAGS)]),
    row(Looking, "ioctl FSSETXATTR", SYS_ioctl, &[Is(1, FS_IOC_FSSETXATTR)]),
    row(Looking, "ioctl SETVERSION", SYS_ioctl, &[Is(1, FS_IOC_SETVERSION)]),
    row(Looking, "ioctl ENCRYPTION", SYS_ioctl, &[Is(1, FS_IOC_SET_ENCRYPTION_POLICY)]),
    row(Looking, "ioctl VERITY", SYS_ioctl, &[Is(1, FS_IOC_ENABLE_VERITY)]),
    row(Looking, "ioctl SNAP_CREATE", SYS_ioctl, &[Is(1, BTRFS_IOC_SNAP_CREATE)]),
    row(Looking, "ioctl SUBVOL_CREATE", SYS_ioctl, &[Is(1, BTRFS_IOC_SUBVOL_CREATE)]),
    row(Looking, "ioctl SNAP_DESTROY", SYS_ioctl, &[Is(1, BTRFS_IOC_SNAP_DESTROY)]),
    row(Looking, "ioctl SNAP_CREATE_V2", SYS_ioctl, &[Is(1, BTRFS_IOC_SNAP_CREATE_V2)]),
    row(Looking, "ioctl SUBVOL_CREATE_V2", SYS_ioctl, &[Is(1, BTRFS_IOC_SUBVOL_CREATE_V2)]),
    row(Looking, "ioctl SUBVOL_SETFLAGS", SYS_ioctl, &[Is(1, BTRFS_IOC_SUBVOL_SETFLAGS)]),
    row(Looking, "ioctl SNAP_DESTROY_V2", SYS_ioctl, &[Is(1, BTRFS_IOC_SNAP_DESTROY_V2)]),
    row(LookingBelow(3), "truncate", SYS_truncate, &[]),
    row(LookingBelow(3), "openat TRUNC", SYS_openat, &[Has(2, TRUNCATES_OR_WRITES, TRUNCATES)]),
    row(LookingBelow(3), "openat2", SYS_openat2, &[]),
    // Opens a file by a handle, without its directories.
    row(Confined, "open_by_handle_at", SYS_open_by_handle_at, &[]),
    // Sockets: to Landlock, a Unix socket in the file system is not a file.
    row(Offline, "socket", SYS_socket, &[]),
    row(Offline, "connect", SYS_connect, &[]),
    row(Offline, "bind", SYS_bind, &[]),
    row(Offline, "listen", SYS_listen, &[]),
    row(
        Online,
        "socket UNIX",
        SYS_socket,
        &[Not(0, AF_INET as u32), Not(0, AF_INET6 as u32), Not(0, AF_NETLINK as u32)],
    ),
    row(Confined, "socketpair of others", SYS_socketpair, &[Not(0, AF_UNIX as u32)]),
    row(Confined, "socketpair DGRAM", SYS_socketpair, &[Has(1, TYPE, SOCK_DGRAM as u32)]),
    // AF_UNIX treats SOCK_RAW as SOCK_DGRAM.
    row(Confined, "socketpair RAW", SYS_socketpair, &[Has(1, TYPE, SOCK_RAW as u32)]),
    row(Confined, "io_uring_setup", SYS_io_uring_setup, &[]),
    row(Confined, "io_uring_enter", SYS_io_uring_enter, &[]),
    row(Confined, "io_uring_register", SYS_io_uring_register, &[]),
    // Other processes.
    row(Looking, "ptrace", SYS_ptrace, &[]),
    row(Looking, "process_vm_readv", SYS_process_vm_readv, &[]),
    row(Looking, "process_vm_writev", SYS_process_vm_writev, &[]),
    row(Looking, "pidfd_getfd", SYS_pidfd_getfd, &[]),
    row(Confined, "prlimit64", SYS_prlimit64, &[Not(0, 0)]),
    row(Confined, "setpriority", SYS_setpriority, &[Not(1, 0)]),
    row(Confined, "setpriority USER", SYS_setpriority, &[Is(0, PRIO_OF_USER)]),
    row(Confined, "ioprio_set", SYS_ioprio_set, &[Not(1, 0)]),
    row(Confined, "ioprio_set USER", SYS_ioprio_set, &[Is(0, IOPRIO_WHO_USER)]),
    row(Confined, "sched_setparam", SYS_sched_setparam, &[Not(0, 0)]),
    row(Confined, "sched_setscheduler", SYS_sched_setscheduler, &[Not(0, 0)]),
    row(Confined, "sched_setaffinity", SYS_sched_setaffinity, &[Not(0, 0)]),
    row(Confined, "sched_setattr", SYS_sched_setattr, &[Not(0, 0)]),
    row(Confined, "migrate_pages", SYS_migrate_pages, &[Not(0, 0)]),
    row(Confined, "move_pages", SYS_move_pages, &[Not(0, 0)]),
    row(LookingBelow(6), "kill", SYS_kill, &[]),
    row(LookingBelow(6), "tkill", SYS_tkill, &[]),
    row(LookingBelow(6), "tgkill", SYS_tgkill, &[]),
    row(LookingBelow(6), "rt_sigqueueinfo", SYS_rt_sigqueueinfo, &[]),
    row(LookingBelow(6), "rt_tgsigqueueinfo", SYS_rt_tgsigqueueinfo, &[]),
    row(LookingBelow(6), "pidfd_send_signal", SYS_pidfd_send_signal, &[]),
    row(LookingBelow(6), "fcntl SETOWN", SYS_fcntl, &[Is(1, F_SETOWN as u32)]),
    row(LookingBelow(6), "fcntl SETOWN_EX", SYS_fcntl, &[Is(1, 15)]),
    row(Looking, "ioctl TIOCSTI", SYS_ioctl, &[Is(1, TIOCSTI_)]),
    // Memory, semaphores and messages shared with other processes.
    row(Looking, "shmget", SYS_shmget, &[]),
    row(Looking, "shmat", SYS_shmat, &[]),
    row(Looking, "shmctl", SYS_shmctl, &[]),
    row(Looking, "semget", SYS_semget, &[]),
    row(Looking, "semop", SYS_semop, &[]),
    row(Looking, "semtimedop", SYS_semtimedop, &[]),
    row(Looking, "semctl", SYS_semctl, &[]),
    row(Looking, "msgget", SYS_msgget, &[]),
    row(Looking, "msgsnd", SYS_msgsnd, &[]),
    row(Looking, "msgrcv", SYS_msgrcv, &[]),
    row(Looking, "msgctl", SYS_msgctl, &[]),
    row(Looking, "mq_open", SYS_mq_open, &[]),
    row(Looking, "mq_unlink", SYS_mq_unlink, &[]),
    // Keys, and kernel interfaces too wide to filter.
    row(Confined, "add_key", SYS_add_key, &[]),
    row(Confined, "request_key", SYS_request_key, &[]),
    row(Confined, "keyctl", SYS_keyctl, &[]),
    row(Confined, "bpf", SYS_bpf, &[]),
    row(Confined, "perf_event_open", SYS_perf_event_open, &[]),
    row(Confined, "userfaultfd", SYS_userfaultfd, &[]),
    // In its own namespace the task would have capabilities that reach more of the kernel.
    row(Looking, "unshare", SYS_unshare, &[]),
    row(Looking, "setns", SYS_setns, &[]),
    row(Looking, "clone NEWUSER", SYS_clone, &[Has(0, CLONE_NEWUSER as u32, CLONE_NEWUSER as u32)]),
];

/// The rows of calls that only this architecture has.
#[cfg(target_arch = "x86_64")]
pub const OLD: &[Row] = &[
    row(Looking, "chmod", SYS_chmod, &[]),
    row(Looking, "chown", SYS_chown, &[]),
    row(Looking, "lchown", SYS_lchown, &[]),
    row(Looking, "utime", SYS_utime, &[]),
    row(Looking, "utimes", SYS_utimes, &[]),
    row(Looking, "futimesat", SYS_futimesat, &[]),
    row(LookingBelow(3), "open TRUNC", SYS_open, &[Has(1, TRUNCATES_OR_WRITES, TRUNCATES)]),
];
/// The rows of calls that only this architecture has.
#[cfg(not(target_arch = "x86_64"))]
pub const OLD: &[Row] = &[];

/// System calls of the x32 ABI have this bit. They are the same calls under other numbers.
const X32: u32 = 0x4000_0000;

/// The rows that apply to a plan on a kernel with this version of the Landlock ABI.
pub fn rows(plan: &Plan, abi: u32) -> impl Iterator<Item = &'static Row> {
    TABLE.iter().chain(OLD).filter(move |row| row.when.holds(plan, abi))
}

fn condition(arg: Arg) -> Result<SeccompCondition, seccompiler::BackendError> {
    let (index, operator, value) = match arg {
        Is(index, value) => (index, SeccompCmpOp::Eq, value),
        Not(index, value) => (index, SeccompCmpOp::Ne, value),
        Has(index, mask, bits) => (index, SeccompCmpOp::MaskedEq(u64::from(mask)), bits),
    };
    SeccompCondition::new(index, SeccompCmpArgLen::Dword, operator, u64::from(value))
}

/// Builds the filter of a plan. A call of another architecture ends the process. It is a single program,
/// because installing each one takes a few hundred microseconds.
pub fn filter(plan: &Plan, abi: u32) -> Result<BpfProgram, seccompiler::BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    for row in rows(plan, abi) {
        let of_call = rules.entry(row.number).or_default();
        if !row.args.is_empty() {
            let conditions: Result<_, _> = row.args.iter().copied().map(condition).collect();
            of_call.push(SeccompRule::new(conditions?)?);
        }
    }
    let refusal = SeccompAction::Errno(EPERM as u32);
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refusal, arch)?;
    Ok(before(plan, filter.try_into()?))
}

/// Prepends rules that seccompiler cannot express: `clone3` fails with ENOSYS, and calls of the x32 ABI are
/// refused.
fn before(plan: &Plan, program: BpfProgram) -> BpfProgram {
    let statement = |code: u32, jf, k| sock_filter { code: code as u16, jt: 0, jf, k };
    let refused = |errno: i32| statement(BPF_RET | BPF_K, 0, SECCOMP_RET_ERRNO | errno as u32);
    // The number of the call is the first field of seccomp_data (seccomp(2)).
    let mut first = vec![statement(BPF_LD | BPF_W | BPF_ABS, 0, 0)];
    if plan.mode == Mode::Look {
        first.push(statement(BPF_JMP | BPF_JEQ | BPF_K, 1, SYS_clone3 as u32));
        first.push(refused(ENOSYS));
    }
    if cfg!(target_arch = "x86_64") {
        first.push(statement(BPF_JMP | BPF_JGE | BPF_K, 1, X32));
        first.push(refused(EPERM));
    }
    first.extend(program);
    first
}
