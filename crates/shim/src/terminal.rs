//! A task's terminal: the master, through which the shim reads and types, and a slave that the shim also
//! holds open.
//!
//! A terminal hangs up when its last slave is closed, and a task may close all its descriptors of the
//! terminal and continue (`exec >log 2>&1 </dev/null`, the filters of coreutils before they exit). With the
//! shim's slave the terminal lives as long as the shim supervises the task.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::pty::{Winsize, openpty};
use nix::sys::termios::{
    InputFlags, LocalFlags, SpecialCharacterIndices as Special, Termios, tcgetattr,
};

/// Control-D, which ends the input of a program that reads single keys, such as one with readline.
const END_OF_INPUT: u8 = 4;
/// `_POSIX_VDISABLE` (termios(3)): the terminal has no character for this function.
const DISABLED: u8 = 0;

/// A terminal, from the shim's side.
pub struct Terminal {
    master: File,
    /// `None`: the task hung up the terminal (vhangup(2)), and no other slave could be opened.
    slave: Option<OwnedFd>,
}

impl Terminal {
    /// Creates a terminal of this size; also returns the path at which the task's leader opens it.
    pub fn create(rows: u16, cols: u16) -> io::Result<(Self, CString)> {
        let size = Winsize { ws_row: rows, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(&size, None)?;
        for fd in [&pty.master, &pty.slave] {
            fcntl(fd.as_fd(), FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
        }
        fcntl(pty.master.as_fd(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        let path = nix::unistd::ttyname(pty.slave.as_fd())?;
        let path = CString::new(path.into_os_string().into_encoded_bytes())?;
        Ok((Self { master: File::from(pty.master), slave: Some(pty.slave) }, path))
    }

    /// The master, from which output is read.
    pub fn output(&self) -> &File {
        &self.master
    }

    /// A descriptor that is readable when there is output; `None` after a hangup, when it would always be readable.
    pub fn watched(&self) -> Option<BorrowedFd<'_>> {
        self.slave.as_ref().map(|_| self.master.as_fd())
    }

    /// Types; returns how many bytes the terminal took.
    pub fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        (&self.master).write(bytes)
    }

    /// Opens another slave, after the terminal was hung up together with the shim's slave.
    #[expect(unsafe_code, reason = "ioctl(2) is a C interface")]
    pub fn open_again(&mut self) {
        let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
        // SAFETY: TIOCGPTPEER (ioctl_tty(2)) takes flags and returns a new descriptor, which nothing
        // else owns.
        self.slave = unsafe {
            match libc::ioctl(self.master.as_raw_fd(), libc::TIOCGPTPEER, flags) {
                fd @ 0.. => Some(OwnedFd::from_raw_fd(fd)),
                _ => None,
            }
        };
    }

    /// The metadata of the slave's file, which identify the terminal.
    pub fn metadata(&self) -> io::Result<std::fs::Metadata> {
        let slave = self.slave.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        File::from(slave.try_clone()?).metadata()
    }

    /// Changes its size; the kernel sends SIGWINCH to the foreground process group.
    #[expect(unsafe_code, reason = "ioctl(2) is a C interface")]
    pub fn resize(&self, rows: u16, cols: u16) {
        let size = Winsize { ws_row: rows, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 };
        // SAFETY: TIOCSWINSZ reads one winsize.
        let _ = unsafe { libc::ioctl(self.master.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
    }

    /// The bytes to type for the end of input; `last` is the last byte that was typed.
    pub fn end_of_input(&self, last: Option<u8>) -> Vec<u8> {
        // The settings of a master are those of its slave.
        tcgetattr(&self.master).map_or(Vec::new(), |settings| end_of_input(&settings, last))
    }
}

/// In canonical mode, the first end-of-file character in an unfinished line only submits that line, and
/// a second one ends the input.
fn end_of_input(settings: &Termios, last: Option<u8>) -> Vec<u8> {
    let sign = settings.control_chars[Special::VEOF as usize];
    if !settings.local_flags.contains(LocalFlags::ICANON) {
        return vec![if sign == DISABLED { END_OF_INPUT } else { sign }];
    }
    if sign == DISABLED {
        return Vec::new();
    }
    let is_open = last.is_some_and(|byte| !ends_line(settings, byte));
    vec![sign; 1 + usize::from(is_open)]
}

/// Whether the terminal's line is empty after this byte was typed.
fn ends_line(settings: &Termios, byte: u8) -> bool {
    let translates = |flag| settings.input_flags.contains(flag);
    let is_newline = match byte {
        b'\n' => !translates(InputFlags::INLCR),
        b'\r' => translates(InputFlags::ICRNL) && !translates(InputFlags::IGNCR),
        _ => false,
    };
    let ending = [Special::VEOF, Special::VEOL, Special::VEOL2, Special::VKILL];
    let signals = [Special::VINTR, Special::VQUIT, Special::VSUSP];
    let signals = signals.iter().filter(|_| settings.local_flags.contains(LocalFlags::ISIG));
    is_newline
        || (byte != DISABLED
            && ending.iter().chain(signals).any(|at| settings.control_chars[*at as usize] == byte))
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use nix::sys::termios::{SetArg, tcsetattr};

    use super::*;

    fn has_hung_up(terminal: &Terminal) -> bool {
        let mut fds = [PollFd::new(terminal.master.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO).unwrap();
        fds[0].revents().unwrap().contains(PollFlags::POLLHUP)
    }

    fn open(path: &CString) -> File {
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY;
        nix::fcntl::open(path.as_c_str(), flags, nix::sys::stat::Mode::empty()).unwrap().into()
    }

    #[test]
    fn a_terminal_lives_on_when_its_task_has_closed_it() {
        let (terminal, path) = Terminal::create(24, 80).unwrap();
        for word in [b"once", b"more"] {
            (&open(&path)).write_all(word).unwrap();
            assert!(!has_hung_up(&terminal));
            let mut bytes = [0; 4];
            terminal.output().read_exact(&mut bytes).unwrap();
            assert_eq!(&bytes, word);
        }
        assert!(terminal.output().read(&mut [0; 4]).is_err(), "no end, but nothing now");
    }

    #[test]
    fn a_terminal_whose_slave_was_taken_away_has_another_one() {
        let (mut terminal, path) = Terminal::create(24, 80).unwrap();
        terminal.slave = None;
        drop(open(&path));
        assert!(has_hung_up(&terminal) && terminal.watched().is_none());
        terminal.open_again();
        assert!(!has_hung_up(&terminal) && terminal.watched().is_some());
    }

    #[test]
    fn the_end_of_input_is_said_as_the_terminal_wants_it() {
        let (terminal, path) = Terminal::create(24, 80).unwrap();
        let slave = open(&path);
        let mut settings = tcgetattr(&slave).unwrap();
        let check = |settings: &Termios, table: &[(Option<u8>, &[u8])]| {
            tcsetattr(&slave, SetArg::TCSANOW, settings).unwrap();
            for (last, expected) in table {
                assert_eq!(terminal.end_of_input(*last), *expected, "after {last:?}");
            }
        };
        check(
            &settings,
            &[
                (None, &[4]),
                (Some(b'\n'), &[4]),
                (Some(b'\r'), &[4]),
                (Some(b'x'), &[4, 4]),
                (Some(4), &[4]),
                (Some(3), &[4]),
                (Some(0), &[4, 4]),
            ],
        );
        settings.control_chars[Special::VEOF as usize] = 26;
        settings.input_flags.remove(InputFlags::ICRNL);
        settings.local_flags.remove(LocalFlags::ISIG);
        check(
            &settings,
            &[
                (Some(b'\n'), &[26]),
                (Some(b'\r'), &[26, 26]),
                (Some(3), &[26, 26]),
                (Some(4), &[26, 26]),
            ],
        );
        settings.control_chars[Special::VEOF as usize] = DISABLED;
        check(&settings, &[(Some(b'x'), &[]), (None, &[])]);
        settings.local_flags.remove(LocalFlags::ICANON);
        check(&settings, &[(Some(b'x'), &[4]), (None, &[4])]);
        settings.control_chars[Special::VEOF as usize] = 26;
        check(&settings, &[(Some(b'x'), &[26])]);
    }
}
