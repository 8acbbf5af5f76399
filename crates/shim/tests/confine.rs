//! The mode `confine` without a shim: what a process can do once it has confined itself.
//!
//! This test runs its own program in that mode, with the system call to try in the environment, because a
//! process cannot remove its restrictions.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]
#![expect(clippy::print_stderr, reason = "the reader of the test learns what was not tried")]
#![expect(unsafe_code, reason = "the tests try raw system calls")]

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use meanwhile_shim::confine::calls::{self, Arg, Row};
use meanwhile_shim::confine::{self, Mode, Plan, Right};
use meanwhile_shim::launch::{Fd, Launch};
use nix::fcntl::OFlag;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, pipe2};

/// The variable with the number and the arguments of the system call to try.
const TRY: &str = "MEANWHILE_TRY";
/// Exit codes of a process that tries a system call.
const REFUSED: i32 = 40;
const DONE: i32 = 41;

/// A directory that contains a workspace, a temporary directory and a directory outside of both.
struct Lab {
    root: tempfile::TempDir,
}

impl Lab {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        for folder in ["work/sub", "tmp", "outside"] {
            fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        for file in ["work/a", "work/.env", "work/sub/b", "outside/key"] {
            fs::write(root.path().join(file), format!("text of {file}")).unwrap();
        }
        Self { root }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().canonicalize().unwrap().join(name)
    }

    /// A plan that allows reading the system's directories and `work` without `.env`.
    fn plan(&self, mode: Mode) -> Plan {
        let mut rules: Vec<(Right, PathBuf)> = ["/usr", "/bin", "/lib", "/lib64", "/proc", "/etc"]
            .iter()
            .filter_map(|path| Some((Right::Read, fs::canonicalize(path).ok()?)))
            .collect();
        let exe = std::env::current_exe().unwrap().canonicalize().unwrap();
        rules.push((Right::Read, exe));
        rules.push((Right::List, self.path("work")));
        rules.push((Right::Read, self.path("work/a")));
        rules.push((Right::Read, self.path("work/sub")));
        rules.push((Right::Device, "/dev/null".into()));
        if mode == Mode::Work {
            rules.push((Right::Write, self.path("work")));
        }
        Plan { mode, network: false, rules, abi_max: None }
    }

    /// Runs `argv` under a plan in `work`. Returns its exit code and its output, or the errno of the step that
    /// failed before it ran.
    fn run(&self, plan: &Plan, argv: &[&str], env: &[(&str, &str)]) -> Result<(i32, String), i32> {
        let plan_file = self.root.path().join("plan");
        fs::write(&plan_file, plan.to_bytes(&self.path("tmp"))).unwrap();
        let plan_path = std::ffi::CString::new(plan_file.to_str().unwrap()).unwrap();
        let (word, word_end) = pipe2(OFlag::O_CLOEXEC).unwrap();
        let (output, output_end) = pipe2(OFlag::O_CLOEXEC).unwrap();
        let mut arguments: Vec<OsString> = vec!["meanwhile-shim".into(), confine::MODE.into()];
        arguments.push(argv[0].into());
        arguments.extend(argv.iter().map(OsString::from));
        let mut env: Vec<(OsString, OsString)> =
            env.iter().map(|(name, value)| (name.into(), value.into())).collect();
        env.push(("PATH".into(), "/usr/bin:/bin".into()));
        env.push(("HOME".into(), self.path("outside").into()));
        let work = self.path("work");
        let fds = [
            (0, Fd::Open(c"/dev/null", libc::O_RDONLY)),
            (1, Fd::Share(output_end.as_fd())),
            (2, Fd::Same(1)),
            (confine::WORD_FD, Fd::Share(word_end.as_fd())),
            (confine::PLAN_FD, Fd::Open(&plan_path, libc::O_RDONLY)),
        ];
        let program = Path::new(env!("CARGO_BIN_EXE_meanwhile-shim"));
        let launch = Launch { program, argv: &arguments, env: &env, cwd: Some(&work), fds: &fds };
        let pid = Pid::from_raw(launch.start().unwrap() as i32);
        drop((word_end, output_end));
        let (mut errno, mut text) = (Vec::new(), Vec::new());
        File::from(word).read_to_end(&mut errno).unwrap();
        File::from(output).read_to_end(&mut text).unwrap();
        let status = waitpid(pid, None).unwrap();
        if let Ok(errno) = errno.try_into().map(i32::from_ne_bytes) {
            return Err(errno);
        }
        // As in a shell, a signal is 128 plus its number.
        let code = match status {
            WaitStatus::Exited(_, code) => Some(code),
            WaitStatus::Signaled(_, signal, _) => Some(128 + signal as i32),
            WaitStatus::Stopped(..)
            | WaitStatus::PtraceEvent(..)
            | WaitStatus::PtraceSyscall(_)
            | WaitStatus::Continued(_)
            | WaitStatus::StillAlive => None,
        };
        let code = code.unwrap_or_else(|| panic!("{status:?}"));
        Ok((code, String::from_utf8_lossy(&text).into_owned()))
    }

    fn sh(&self, mode: Mode, line: &str) -> (i32, String) {
        self.run(&self.plan(mode), &["/bin/sh", "-c", line], &[]).unwrap()
    }
}

/// Whether this kernel can be tested. If not, it runs no confined task either.
fn is_here() -> bool {
    let here = confine::is_supported();
    if !here {
        eprintln!("not tested: this kernel has no Landlock");
    }
    here
}

/// Whether this user gets a mount namespace.
fn has_mounts() -> bool {
    let tried = std::process::Command::new("unshare").args(["-rm", "true"]).status();
    let has = tried.is_ok_and(|it| it.success());
    if !has {
        eprintln!("not tested: this user may not create a mount namespace");
    }
    has
}

#[test]
fn an_open_task_is_kept_from_what_is_hidden_and_sealed_and_from_nothing_else() {
    if !has_mounts() {
        return;
    }
    let lab = Lab::new();
    fs::create_dir(lab.path("work/secrets")).unwrap();
    fs::write(lab.path("work/secrets/key"), "text of a secret").unwrap();
    let hidden = ["work/.env", "work/secrets"].map(|it| (Right::Hide, lab.path(it)));
    let sealed = ["work/sub", "work/a"].map(|it| (Right::Seal, lab.path(it)));
    let gone = (Right::Hide, lab.path("work/not there"));
    let rules = hidden.into_iter().chain(sealed).chain([gone]).collect();
    let plan = Plan { mode: Mode::Open, network: true, rules, abi_max: None };
    let check = |line: &str, expected: &str| {
        let (code, text) = lab.run(&plan, &["/bin/sh", "-c", line], &[]).unwrap();
        assert_eq!(format!("{code} {text}"), expected, "{line}");
    };
    check("x=.e; cat ${x}nv; ls secrets; cat a sub/b", "0 text of work/atext of work/sub/b");
    check("{ echo x > sub/new; } 2> /dev/null || echo refused", "0 refused\n");
    check("cd sub && { echo x > b; } 2> /dev/null || echo refused", "0 refused\n");
    check("{ echo x > a; } 2> /dev/null || echo refused", "0 refused\n");
    check("echo x > new; cat new ../outside/key", "0 x\ntext of outside/key");
    assert_eq!(fs::read_to_string(lab.path("work/.env")).unwrap(), "text of work/.env");
    assert_eq!(fs::read_to_string(lab.path("work/sub/b")).unwrap(), "text of work/sub/b");
}

/// Root can create a mount namespace directly, another user only inside a user namespace.
#[test]
fn another_user_is_kept_from_the_same() {
    let program = std::env::current_exe().unwrap();
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::chown(dir.path(), Some(60_001), Some(60_001)).unwrap_or_default();
    let as_user = |args: &[&str]| {
        let user = ["--reuid=60001", "--regid=60001", "--clear-groups"];
        let mut command = std::process::Command::new("setpriv");
        command.args(user).arg(&program).args(args).env("TMPDIR", dir.path());
        command.output()
    };
    let is_reachable = as_user(&["--list"]).is_ok_and(|it| it.status.success());
    if !is_reachable {
        eprintln!("not tested: this user cannot run the test as another user");
        return;
    }
    let name = "an_open_task_is_kept_from_what_is_hidden_and_sealed_and_from_nothing_else";
    let ran = as_user(&["--exact", name]).unwrap();
    let told = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success() && told.contains("1 passed"), "{told}");
}

#[test]
fn a_look_reads_what_it_may_and_writes_only_its_own_directory() {
    if !is_here() {
        return;
    }
    let lab = Lab::new();
    let check = |line: &str, expected: &str| {
        let (code, text) = lab.sh(Mode::Look, line);
        assert!(text.contains(expected), "{line}: {code} {text}");
    };
    check("cat a sub/b", "text of work/atext of work/sub/b");
    check("ls -a", ".env");
    check("cat .env", "Permission denied");
    check("cat ../outside/key", "Permission denied");
    check("ls ../outside", "Permission denied");
    check("cat /proc/1/environ", "Permission denied");
    check("echo x > new", "Permission denied");
    check("rm a", "Permission denied");
    check("mv a b; ln a c; mkdir d; ln -s a e", "Permission denied");
    check("touch -d 2000-01-01 a", "Permission denied");
    check("perl -e 'utime(0, 0, \"a\") or print $!'", "not permitted");
    check("chmod 777 a", "not permitted");
    check("echo x > ../tmp/x && cat ../tmp/x", "x");
    check("echo x > /dev/null && echo fine", "fine");
    check("kill -0 1; echo ended", "not permitted");
    check("mkdir -m 0 ../tmp/closed && echo made", "made");
    // Processes of the same task may signal each other.
    check("sleep 60 & kill $!; wait $!; echo $?", "143");
    assert_eq!(fs::read_dir(lab.path("work")).unwrap().count(), 3);
    assert_eq!(fs::metadata(lab.path("work/a")).unwrap().permissions().mode() & 0o777, 0o644);
}

#[test]
fn a_work_writes_the_workspace_and_still_sees_no_keys() {
    if !is_here() {
        return;
    }
    let lab = Lab::new();
    let (code, text) = lab.sh(
        Mode::Work,
        "echo x > sub/new && mv sub/new sub/newer && cat sub/newer; chmod 600 a; mkdir d",
    );
    assert_eq!((code, text.as_str()), (0, "x\n"));
    for line in [
        "cat .env",
        "mv .env sub/shown && cat sub/shown",
        "ln .env sub/shown && cat sub/shown",
        "echo x > ../outside/new",
        "cat ../outside/key",
    ] {
        let (code, text) = lab.sh(Mode::Work, line);
        assert!(code != 0 && !text.contains("text of"), "{line}: {code} {text}");
    }
    assert!(!lab.path("outside/new").exists());
}

#[test]
fn a_path_that_became_a_link_grants_nothing() {
    if !is_here() {
        return;
    }
    let lab = Lab::new();
    let plan = lab.plan(Mode::Look);
    fs::remove_dir_all(lab.path("work/sub")).unwrap();
    symlink(lab.path("outside"), lab.path("work/sub")).unwrap();
    let (_, text) = lab.run(&plan, &["/bin/cat", "sub/key"], &[]).unwrap();
    assert!(text.contains("Permission denied"), "{text}");
}

#[test]
fn what_cannot_be_executed_is_told_by_its_number() {
    if !is_here() {
        return;
    }
    let lab = Lab::new();
    let check = |program: &str, errno| {
        let ran = lab.run(&lab.plan(Mode::Look), &[program], &[]);
        assert_eq!(ran.err(), Some(errno), "{program}");
    };
    check("/no/such/program", libc::ENOENT);
    check("/etc/passwd", libc::EACCES);
    // It exists, but the task may not see it.
    fs::copy("/bin/true", lab.path("outside/true")).unwrap();
    check(lab.path("outside/true").to_str().unwrap(), libc::EACCES);
    let none = Plan { abi_max: Some(0), ..lab.plan(Mode::Look) };
    assert_eq!(lab.run(&none, &["/bin/true"], &[]).err(), Some(libc::EOPNOTSUPP));
}

/// The program that the tests below run again. As a test by itself it does nothing.
#[test]
fn tried() {
    let Ok(what) = std::env::var(TRY) else { return };
    let numbers: Vec<i64> = what.split(' ').map(|n| n.parse().unwrap()).collect();
    let mut args = [0_i64; 7];
    args[..numbers.len()].copy_from_slice(&numbers);
    if args[0] == -1 {
        std::process::exit(foreign());
    }
    // SAFETY: the arguments are not valid pointers, so at worst the kernel returns EFAULT.
    let result =
        unsafe { libc::syscall(args[0], args[1], args[2], args[3], args[4], args[5], args[6]) };
    let errno = std::io::Error::last_os_error().raw_os_error();
    let refused = result == -1 && matches!(errno, Some(libc::EPERM));
    std::process::exit(if refused { REFUSED } else { DONE });
}

/// Calls getpid through the 32-bit interface.
#[cfg(target_arch = "x86_64")]
fn foreign() -> i32 {
    let result: i64;
    // SAFETY: the call takes nothing and touches no memory.
    unsafe { std::arch::asm!("int 0x80", inlateout("rax") 20_i64 => result) };
    if result == -i64::from(libc::EPERM) { REFUSED } else { DONE }
}
#[cfg(not(target_arch = "x86_64"))]
fn foreign() -> i32 {
    REFUSED
}

/// The call's number and arguments that match a row, or that do not match its first condition.
fn arguments(row: &Row, fits: bool) -> Vec<i64> {
    // Descriptors that are not open and addresses that are not mapped.
    let mut args = vec![row.number, -1, -1, -1, -1, -1, -1];
    for (i, arg) in row.args.iter().enumerate() {
        let (index, value) = match (*arg, fits || i > 0) {
            (Arg::Is(index, value), true) => (index, value),
            (Arg::Is(index, value), false) => (index, value ^ 0x7f),
            (Arg::Not(index, value), true) => (index, value ^ 0x40),
            (Arg::Not(index, value), false) => (index, value),
            (Arg::Has(index, _, bits), true) => (index, bits),
            (Arg::Has(index, mask, bits), false) => (index, !bits & mask),
        };
        args[usize::from(index) + 1] = i64::from(value);
    }
    args
}

fn try_call(lab: &Lab, plan: &Plan, numbers: &[i64]) -> i32 {
    let exe = std::env::current_exe().unwrap();
    let text: Vec<String> = numbers.iter().map(ToString::to_string).collect();
    let argv = [exe.to_str().unwrap(), "tried", "--exact", "--test-threads=1"];
    lab.run(plan, &argv, &[(TRY, &text.join(" "))]).unwrap().0
}

#[test]
fn every_row_of_the_table_is_refused_in_the_kernel() {
    if !is_here() {
        return;
    }
    let lab = Lab::new();
    // The oldest version, so that every row applies.
    let old = Plan { abi_max: Some(1), ..lab.plan(Mode::Look) };
    for row in calls::TABLE.iter().chain(calls::OLD) {
        let online = row.when == calls::When::Online;
        let plan = Plan {
            network: online,
            mode: if online { Mode::Work } else { Mode::Look },
            ..old.clone()
        };
        let code = try_call(&lab, &plan, &arguments(row, true));
        assert_eq!(code, REFUSED, "{}", row.name);
    }
}

#[test]
fn what_a_row_does_not_mean_is_not_refused() {
    if !is_here() {
        return;
    }
    let lab = Lab::new();
    let plan = lab.plan(Mode::Look);
    let getpid = vec![libc::SYS_getpid];
    assert_eq!(try_call(&lab, &plan, &getpid), DONE);
    for (name, numbers) in [
        ("prlimit64 of its own", vec![libc::SYS_prlimit64, 0, i64::from(libc::RLIMIT_CORE), 0, 0]),
        ("setpriority of its own", vec![libc::SYS_setpriority, 0, 0, 19]),
        ("socketpair STREAM", vec![libc::SYS_socketpair, 1, 1, 0, 8]),
        ("openat to read", vec![libc::SYS_openat, -100, 8, 0]),
        ("truncate, which Landlock sees", vec![libc::SYS_truncate, 8, 0]),
    ] {
        assert_eq!(try_call(&lab, &plan, &numbers), DONE, "{name}");
    }
    let x32 = vec![0x4000_0000 | libc::SYS_getpid];
    if cfg!(target_arch = "x86_64") {
        assert_eq!(try_call(&lab, &plan, &x32), REFUSED, "x32");
        // The filter kills a process that makes a call of another architecture.
        let code = try_call(&lab, &plan, &[-1]);
        assert_eq!(code, 128 + libc::SIGSYS, "int 0x80");
    }
}

#[test]
fn an_old_kernels_truncation_by_opening_is_refused() {
    if !is_here() {
        return;
    }
    let lab = Lab::new();
    let old = Plan { abi_max: Some(2), ..lab.plan(Mode::Look) };
    let before = fs::metadata(lab.path("work/a")).unwrap().size();
    let line = "use Fcntl; sysopen(F, 'a', O_RDONLY|O_TRUNC) or print \"refused: $!\"";
    let (_, text) = lab.run(&old, &["/usr/bin/perl", "-e", line], &[]).unwrap();
    assert!(text.contains("refused"), "{text}");
    assert_eq!(fs::metadata(lab.path("work/a")).unwrap().size(), before);
}
