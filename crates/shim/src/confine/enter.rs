//! The mode `confine`: restricts this process and executes the command.
//!
//! If a restriction cannot be applied, the process exits: a command runs fully confined or not at all.

#![expect(unsafe_code, reason = "prctl(2), capset(2), openat2(2) and execve(2) are C interfaces")]

use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, Ruleset,
    RulesetAttr, RulesetCreatedAttr, Scope,
};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};

use super::{Mode, PLAN_FD, Plan, Right, WORD_FD, calls};

/// The capabilities that a confined task of root keeps (capabilities(7)): to read files of other users,
/// within what Landlock allows, and in work mode to write and own them.
const CAP_CHOWN: u32 = 0;
const CAP_DAC_OVERRIDE: u32 = 1;
const CAP_FOWNER: u32 = 3;
const CAP_FSETID: u32 = 4;
const KEPT_LOOKING: u64 = 1 << CAP_DAC_OVERRIDE;
const KEPT_WORKING: u64 = KEPT_LOOKING | 1 << CAP_CHOWN | 1 << CAP_FOWNER | 1 << CAP_FSETID;
/// The value of `_LINUX_CAPABILITY_VERSION_3` (linux/capability.h).
const CAPABILITY_VERSION: u32 = 0x2008_0522;

/// Executes `program` with `argv` under the plan on descriptor 3. Returns only if that failed, with the
/// errno, which it has also written to descriptor 4.
pub fn run(program: OsString, argv: Vec<OsString>) -> i32 {
    // SAFETY: the shim passes both descriptors, and nothing else in this process owns them.
    let (plan, word) = unsafe { (File::from_raw_fd(PLAN_FD), File::from_raw_fd(WORD_FD)) };
    let error = execute(program, argv, plan, &word).unwrap_or_else(|error| error);
    let errno = error.raw_os_error().unwrap_or(libc::EOPNOTSUPP);
    // If this write fails, the reader has exited, so the error can be ignored.
    let _ = (&word).write_all(&errno.to_ne_bytes());
    errno
}

fn execute(
    program: OsString,
    argv: Vec<OsString>,
    mut plan: File,
    word: &File,
) -> io::Result<io::Error> {
    fcntl(word.as_fd(), FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    let mut bytes = Vec::new();
    plan.read_to_end(&mut bytes)?;
    drop(plan);
    let plan = Plan::parse(&bytes)?;
    restrict(&plan)?;
    Ok(exec(program, argv))
}

/// Restricts this process and all processes that it will start.
pub fn restrict(plan: &Plan) -> io::Result<()> {
    let covers = plan.rules.iter().any(|(right, _)| matches!(right, Right::Hide | Right::Seal));
    let covered = !covers || super::mounts::cover(plan)?;
    if plan.mode == Mode::Open {
        return Ok(());
    }
    if !covered {
        return Err(io::Error::from_raw_os_error(libc::EPERM));
    }
    let abi = super::abi().min(plan.abi_max.unwrap_or(u32::MAX));
    if abi == 0 {
        return Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP));
    }
    landlock(plan, ABI::from(i32::try_from(abi).unwrap_or(i32::MAX)))?;
    let kept = if plan.mode == Mode::Look { KEPT_LOOKING } else { KEPT_WORKING };
    drop_capabilities(kept)?;
    let program = calls::filter(plan, abi).map_err(refused)?;
    seccompiler::apply_filter(&program).map_err(refused)
}

/// The errno in an error or in one of its causes.
fn refused(error: impl std::error::Error + 'static) -> io::Error {
    let mut cause: Option<&dyn std::error::Error> = Some(&error);
    while let Some(error) = cause {
        if let Some(errno) = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
            return io::Error::from_raw_os_error(errno);
        }
        cause = error.source();
    }
    io::Error::from_raw_os_error(libc::EOPNOTSUPP)
}

/// The Landlock access rights of a right.
fn access(right: Right, abi: ABI) -> BitFlags<AccessFs> {
    let granted = match right {
        Right::List => AccessFs::ReadDir.into(),
        Right::Read => AccessFs::ReadFile | AccessFs::ReadDir | AccessFs::Execute,
        Right::Write => {
            AccessFs::WriteFile
                | AccessFs::RemoveDir
                | AccessFs::RemoveFile
                | AccessFs::MakeDir
                | AccessFs::MakeReg
                | AccessFs::MakeSock
                | AccessFs::MakeFifo
                | AccessFs::MakeSym
                | AccessFs::Refer
                | AccessFs::Truncate
        }
        Right::Hide | Right::Seal => BitFlags::empty(),
        Right::Device => AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::IoctlDev,
    };
    granted & AccessFs::from_all(abi)
}

fn landlock(plan: &Plan, abi: ABI) -> io::Result<()> {
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(abi))
        .map_err(refused)?;
    let net = AccessNet::from_all(abi);
    if !plan.network && !net.is_empty() {
        rules = rules.handle_access(net).map_err(refused)?;
    }
    let scope = Scope::from_all(abi);
    if !scope.is_empty() {
        rules = rules.scope(scope).map_err(refused)?;
    }
    let mut rules = rules.create().map_err(refused)?;
    for (right, path) in &plan.rules {
        let mut access = access(*right, abi);
        // Hidden and sealed paths are enforced by mounts.
        if access.is_empty() {
            continue;
        }
        // A path that was removed since the plan was made, or became a symbolic link, grants nothing.
        let Ok(fd) = open(path) else { continue };
        if nix::sys::stat::fstat(&fd)?.st_mode & libc::S_IFMT != libc::S_IFDIR {
            access &= AccessFs::from_file(abi);
        }
        rules = rules.add_rule(PathBeneath::new(fd, access)).map_err(refused)?;
    }
    rules.restrict_self().map_err(refused)?;
    Ok(())
}

/// Opens a path with `O_PATH`; fails if the path contains a symbolic link, because a process that can
/// write to the workspace could have put one there since the plan was made.
pub(crate) fn open(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: an all-zero open_how is a valid one (openat2(2)).
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = (libc::O_PATH | libc::O_CLOEXEC) as u64;
    how.resolve = libc::RESOLVE_NO_SYMLINKS;
    // SAFETY: both pointers are to memory that outlives the call, and the size is the structure's.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_openat2,
            libc::AT_FDCWD,
            path.as_ptr(),
            &raw const how,
            size_of::<libc::open_how>(),
        )
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call returned a new descriptor, which no other value owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Drops the capabilities with which root could bypass Landlock: mount, reboot, set the clock, open
/// devices. Other users have none to drop.
fn drop_capabilities(kept: u64) -> io::Result<()> {
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    #[repr(C)]
    #[derive(Default)]
    struct Data {
        effective: u32,
        permitted: u32,
        inheritable: u32,
    }
    for number in 0..64 as libc::c_ulong {
        if kept & 1 << number != 0 {
            continue;
        }
        // SAFETY: the call takes only numbers.
        if unsafe { libc::prctl(libc::PR_CAPBSET_DROP, number, 0, 0, 0) } != 0 {
            // EINVAL: the kernel has no capability of this number; EPERM: this process may not drop any.
            break;
        }
    }
    let header = Header { version: CAPABILITY_VERSION, pid: 0 };
    let mut data = [Data::default(), Data::default()];
    // SAFETY: version 3 of the interface has two sets of data, and both pointers are to live memory.
    check(unsafe { libc::syscall(libc::SYS_capget, &raw const header, data.as_mut_ptr()) })?;
    for (set, kept) in data.iter_mut().zip([kept as u32, (kept >> 32) as u32]) {
        set.effective &= kept;
        set.permitted &= kept;
        set.inheritable = 0;
    }
    // SAFETY: as above.
    check(unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) })
}

fn check(result: libc::c_long) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn exec(program: OsString, argv: Vec<OsString>) -> io::Error {
    let strings: Result<Vec<CString>, _> =
        argv.into_iter().map(|arg| CString::new(arg.into_vec())).collect();
    let (Ok(program), Ok(argv)) = (CString::new(program.into_vec()), strings) else {
        return io::Error::from_raw_os_error(libc::EINVAL);
    };
    let argv: Vec<_> = argv.iter().map(|arg| arg.as_ptr()).chain([std::ptr::null()]).collect();
    // SAFETY: the vector ends with a null pointer and outlives the call, and nothing changes `environ`
    // meanwhile, because there is one thread. SIGPIPE is reset because the Rust runtime ignores it, and
    // execve(2) keeps ignored signals ignored.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        libc::execve(program.as_ptr(), argv.as_ptr(), environ);
    }
    io::Error::last_os_error()
}

unsafe extern "C" {
    static environ: *const *const libc::c_char;
}
