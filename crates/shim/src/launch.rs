//! Starts processes, always with posix_spawn(3).
//!
//! `std::process::Command` forks instead as soon as `PATH` is changed or a hook is set, and the time of
//! a fork grows with the caller's memory (31 ms with half a gigabyte, against 0.15 ms). A child also
//! needs its own session, which `Command` cannot create without a hook.

#![expect(unsafe_code, reason = "posix_spawn(3) is a C interface")]

use std::ffi::{CStr, CString, OsStr, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::unistd::AccessFlags;

/// The numbers of a child's descriptors are below this.
const CHILDS_MAX: i32 = 8;

/// What a child's descriptor refers to.
#[derive(Debug, Clone, Copy)]
pub enum Fd<'a> {
    /// This file, opened in the child with these flags. A terminal that is opened this way by a session's
    /// leader becomes the session's controlling terminal.
    Open(&'a CStr, i32),
    /// A descriptor of this process.
    Share(BorrowedFd<'a>),
    /// The same as the child's descriptor of this number, which is listed before.
    Same(i32),
}

/// What to start: the child's program, arguments, environment and descriptors.
#[derive(Debug)]
pub struct Launch<'a> {
    /// The file to execute; it is not searched for in `PATH`.
    pub program: &'a Path,
    /// Its arguments, beginning with its own name.
    pub argv: &'a [OsString],
    /// Its whole environment.
    pub env: &'a [(OsString, OsString)],
    /// Its working directory, entered after its descriptors were opened; `None`: the parent's.
    pub cwd: Option<&'a Path>,
    /// Its descriptors, in this order; all others of this process must be close-on-exec.
    pub fds: &'a [(i32, Fd<'a>)],
}

fn c_string(text: &OsStr) -> io::Result<CString> {
    CString::new(text.as_bytes()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}

fn check(code: i32) -> io::Result<()> {
    if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(code)) }
}

impl Launch<'_> {
    fn environment(&self) -> io::Result<Vec<CString>> {
        let entry = |(name, value): &(OsString, OsString)| {
            let mut entry = name.clone();
            entry.push("=");
            entry.push(value);
            c_string(&entry)
        };
        self.env.iter().map(entry).collect()
    }

    /// Starts the child in a new session and process group, with no signal blocked and all signals at
    /// their defaults; returns its pid. An error is the one that execve(2) returned.
    pub fn start(&self) -> io::Result<u32> {
        let program = c_string(self.program.as_os_str())?;
        let cwd = self.cwd.map(|cwd| c_string(cwd.as_os_str())).transpose()?;
        let argv: Vec<CString> = self.argv.iter().map(|a| c_string(a)).collect::<Result<_, _>>()?;
        let env = self.environment()?;
        let pointers = |strings: &[CString]| -> Vec<*mut libc::c_char> {
            strings.iter().map(|s| s.as_ptr().cast_mut()).chain([ptr::null_mut()]).collect()
        };
        let (argv, env) = (pointers(&argv), pointers(&env));
        let mut actions = MaybeUninit::uninit();
        let mut attributes = MaybeUninit::uninit();
        let mut no_signals = MaybeUninit::uninit();
        let mut all_signals = MaybeUninit::uninit();
        let mut pid = 0;
        // SAFETY: both objects are initialised before they are used and destroyed afterwards; every
        // pointer that is passed is to memory that outlives the call, and the two vectors end with a
        // null pointer.
        unsafe {
            check(libc::posix_spawn_file_actions_init(actions.as_mut_ptr()))?;
            check(libc::posix_spawnattr_init(attributes.as_mut_ptr()))?;
            libc::sigemptyset(no_signals.as_mut_ptr());
            libc::sigfillset(all_signals.as_mut_ptr());
            let result = (|| {
                for (number, fd) in self.fds {
                    check(match fd {
                        Fd::Open(path, flags) => libc::posix_spawn_file_actions_addopen(
                            actions.as_mut_ptr(),
                            *number,
                            path.as_ptr(),
                            *flags,
                            0,
                        ),
                        Fd::Share(fd) => libc::posix_spawn_file_actions_adddup2(
                            actions.as_mut_ptr(),
                            fd.as_raw_fd(),
                            *number,
                        ),
                        Fd::Same(other) => libc::posix_spawn_file_actions_adddup2(
                            actions.as_mut_ptr(),
                            *other,
                            *number,
                        ),
                    })?;
                }
                check(libc::posix_spawnattr_setsigmask(
                    attributes.as_mut_ptr(),
                    no_signals.as_ptr(),
                ))?;
                check(libc::posix_spawnattr_setsigdefault(
                    attributes.as_mut_ptr(),
                    all_signals.as_ptr(),
                ))?;
                if let Some(cwd) = &cwd {
                    check(libc::posix_spawn_file_actions_addchdir_np(
                        actions.as_mut_ptr(),
                        cwd.as_ptr(),
                    ))?;
                }
                let flags = i32::from(libc::POSIX_SPAWN_SETSID)
                    | libc::POSIX_SPAWN_SETSIGMASK
                    | libc::POSIX_SPAWN_SETSIGDEF;
                check(libc::posix_spawnattr_setflags(attributes.as_mut_ptr(), flags as i16))?;
                check(libc::posix_spawn(
                    &raw mut pid,
                    program.as_ptr(),
                    actions.as_ptr(),
                    attributes.as_ptr(),
                    argv.as_ptr(),
                    env.as_ptr(),
                ))
            })();
            libc::posix_spawn_file_actions_destroy(actions.as_mut_ptr());
            libc::posix_spawnattr_destroy(attributes.as_mut_ptr());
            result?;
        }
        Ok(pid as u32)
    }
}

/// Moves a descriptor to a number above those of a child's own descriptors, so that none of these
/// overwrites it in the child before it is used.
pub fn out_of_the_way(fd: OwnedFd) -> io::Result<OwnedFd> {
    if fd.as_raw_fd() >= CHILDS_MAX {
        return Ok(fd);
    }
    let number = fcntl(&fd, FcntlArg::F_DUPFD_CLOEXEC(CHILDS_MAX))?;
    // SAFETY: the call has just created the descriptor, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// The files that execvp(3) would try for a program's name: the name itself if it has a slash, otherwise
/// one in each folder of `path`.
pub fn candidates(program: &OsStr, path: Option<&OsStr>) -> Vec<PathBuf> {
    if program.as_bytes().contains(&b'/') {
        return vec![program.into()];
    }
    // The default of execvp(3) without PATH, see confstr(_CS_PATH).
    let path = path.unwrap_or(OsStr::new("/bin:/usr/bin"));
    std::env::split_paths(path)
        .map(|dir| if dir.as_os_str().is_empty() { Path::new(".").into() } else { dir })
        .map(|dir| dir.join(program))
        .collect()
}

/// The first program of this name in the absolute folders of `path`: a relative folder would mean another file in
/// each working directory.
pub fn find(program: &OsStr, path: Option<&OsStr>) -> Option<PathBuf> {
    let fits = |file: &PathBuf| file.is_absolute() && file.is_file() && probe(file).is_ok();
    candidates(program, path).into_iter().find(fits)
}

/// An error with which execve(2) would certainly fail: the file does not exist, or this user may not execute
/// it. `Ok` promises nothing: its interpreter may be missing, for example.
pub fn probe(candidate: &Path) -> io::Result<()> {
    match nix::unistd::eaccess(candidate, AccessFlags::X_OK) {
        // eaccess(3) reports a searchable folder as executable.
        Ok(()) if candidate.is_dir() => Err(io::Error::from_raw_os_error(libc::EACCES)),
        Err(errno @ (Errno::ENOENT | Errno::ENOTDIR | Errno::EACCES)) => Err(errno.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(program: &str, argv: &[&str]) -> io::Result<i32> {
        let argv: Vec<OsString> = argv.iter().map(OsString::from).collect();
        let fds = [(0, Fd::Open(c"/dev/null", libc::O_RDONLY))];
        let launch = Launch {
            program: Path::new(program),
            argv: &argv,
            env: &[("A".into(), "b".into())],
            cwd: None,
            fds: &fds,
        };
        let pid = nix::unistd::Pid::from_raw(launch.start()? as i32);
        let status = nix::sys::wait::waitpid(pid, None)?;
        let nix::sys::wait::WaitStatus::Exited(_, code) = status else { panic!("{status:?}") };
        Ok(code)
    }

    #[test]
    fn a_child_has_its_own_session_and_just_its_environment() {
        let script =
            r#"[ "$(ps -o sid= -p $$ | tr -d ' ')" = "$$" ] && [ "$A" = b ] && [ -z "$HOME" ]"#;
        assert_eq!(run("/bin/sh", &["sh", "-c", script]).unwrap(), 0);
    }

    #[test]
    fn the_kernels_word_on_a_bad_program_comes_back() {
        assert_eq!(run("/no/such", &["x"]).unwrap_err().raw_os_error(), Some(libc::ENOENT));
        assert_eq!(run("/etc/passwd", &["x"]).unwrap_err().raw_os_error(), Some(libc::EACCES));
        assert_eq!(run("/bin/sh", &["a\0b"]).unwrap_err().raw_os_error(), Some(libc::EINVAL));
    }

    #[test]
    fn a_name_is_searched_for_like_execvp_does() {
        let found = candidates(OsStr::new("cc"), Some(OsStr::new("/a::/b")));
        assert_eq!(found, [Path::new("/a/cc"), Path::new("./cc"), Path::new("/b/cc")]);
        assert_eq!(candidates(OsStr::new("./cc"), None), [Path::new("./cc")]);
    }
    #[test]
    fn probing_and_executing_give_the_same_errors() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("folder");
        std::fs::create_dir(&folder).unwrap();
        for (program, errno) in [
            (dir.path().join("missing"), Some(libc::ENOENT)),
            (PathBuf::from("/etc/passwd/x"), Some(libc::ENOTDIR)),
            (PathBuf::from("/etc/passwd"), Some(libc::EACCES)),
            (folder, Some(libc::EACCES)),
            (PathBuf::from("/bin/true"), None),
        ] {
            let executed = run(program.to_str().unwrap(), &["x"]).err();
            let probed = probe(&program).err();
            assert_eq!(executed.and_then(|error| error.raw_os_error()), errno, "{program:?}");
            assert_eq!(probed.and_then(|error| error.raw_os_error()), errno, "{program:?}");
        }
    }

    #[test]
    fn a_probe_leaves_it_to_the_kernel_to_refuse_what_it_is_not_sure_of() {
        let dir = tempfile::tempdir().unwrap();
        let script = dir.path().join("script");
        std::fs::write(&script, "#!/no/such/interpreter\n").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&script, mode).unwrap();
        assert!(probe(&script).is_ok());
        let error = run(script.to_str().unwrap(), &["x"]).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
    }
}
