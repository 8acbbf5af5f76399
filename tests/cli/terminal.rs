//! What a person sees on a terminal: the test reads a real one through a terminal emulator.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::pty::{Winsize, openpty};

use crate::harness::{PATIENCE, Store, until};

const ROWS: u16 = 24;

/// A run of the binary on a terminal.
pub(crate) struct Session {
    child: Child,
    pieces: mpsc::Receiver<Vec<u8>>,
    keyboard: File,
    seen: Vec<u8>,
    emulator: vt100::Parser,
}

impl Session {
    fn new(store: &Store, columns: u16, args: &[&str]) -> Self {
        Self::of(store.command(args), columns)
    }

    /// Runs this command on a terminal.
    pub(crate) fn of(mut command: Command, columns: u16) -> Self {
        let size = Winsize { ws_row: ROWS, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(&size, None).unwrap();
        // Otherwise a program of another test could hold this terminal open.
        fcntl(&pty.master, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).unwrap();
        let slave = || pty.slave.try_clone().unwrap();
        let child = command
            .env("TERM", "xterm-256color")
            .stdin(slave())
            .stdout(slave())
            .stderr(slave())
            .spawn()
            .unwrap();
        // The command holds the terminal open, too.
        drop((command, pty.slave));
        let emulator = vt100::Parser::new(ROWS, columns, 0);
        let keyboard = File::from(pty.master.try_clone().unwrap());
        Self { child, pieces: read_on(pty.master), keyboard, seen: Vec::new(), emulator }
    }

    /// Reads everything drawn so far; returns whether more may come.
    fn catch_up(&mut self) -> bool {
        loop {
            match self.pieces.try_recv() {
                Ok(piece) => self.take(&piece),
                Err(mpsc::TryRecvError::Empty) => return true,
                Err(mpsc::TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn take(&mut self, piece: &[u8]) {
        self.seen.extend(piece);
        self.emulator.process(piece);
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    /// Changes the width of the window; the terminal's foreground process group gets SIGWINCH.
    pub(crate) fn resize(&mut self, columns: u16) {
        let size =
            rustix::termios::Winsize { ws_row: ROWS, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&self.keyboard, size).unwrap();
        // Text that was drawn before must not count as drawn at the new width.
        self.catch_up();
        self.emulator.screen_mut().set_size(ROWS, columns);
    }

    /// Types these keys.
    pub(crate) fn type_in(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Everything drawn so far, with its escape sequences.
    pub(crate) fn drawn(&mut self) -> String {
        self.catch_up();
        String::from_utf8_lossy(&self.seen).into_owned()
    }

    /// The current text of the screen.
    pub(crate) fn screen(&mut self) -> String {
        self.catch_up();
        self.emulator.screen().contents()
    }

    /// Waits until a condition on the screen holds.
    #[track_caller]
    pub(crate) fn until(&mut self, what: &str, holds: impl Fn(&str) -> bool) {
        let start = Instant::now();
        loop {
            let screen = self.screen();
            if holds(&screen) {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "never: {what}\n{screen}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until the command exits; returns its exit code and the last screen.
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        while let Ok(piece) = self.pieces.recv_timeout(PATIENCE) {
            self.take(&piece);
        }
        let code = self.child.wait().unwrap().code();
        (code, self.screen())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // The command waits for keys that will not be typed.
            let _gone = self.child.kill();
            let _reaped = self.child.wait();
        }
    }
}

fn read_on(master: OwnedFd) -> mpsc::Receiver<Vec<u8>> {
    let (sender, pieces) = mpsc::channel();
    let mut master = File::from(master);
    std::thread::spawn(move || {
        let mut buffer = vec![0; 4_096];
        // At the end of a terminal, reading fails with EIO instead of an end of file.
        while let Ok(count @ 1..) = master.read(&mut buffer) {
            if sender.send(buffer[..count].to_vec()).is_err() {
                break;
            }
        }
    });
    pieces
}

/// Whether a line begins with a spinner, which is a braille pattern.
fn spins(screen: &str) -> bool {
    screen.lines().any(|line| line.starts_with(|c| matches!(c, '\u{2800}'..='\u{28ff}')))
}

#[test]
fn a_wait_draws_a_line_and_leaves_the_result() {
    let store = Store::new();
    let id = store.spawn_held(3);
    let mut session = Session::new(&store, 80, &["wait", &id]);
    until("a line is drawn", || {
        let screen = session.screen();
        spins(&screen) && screen.contains(&id) && screen.contains("until [ -e go ]")
    });
    store.release();
    let (code, screen) = session.end();
    assert_eq!(code, Some(3), "{screen}");
    assert!(!spins(&screen), "the spinner's line is cleared: {screen}");
    let lines: Vec<&str> = screen.lines().collect();
    assert_eq!(lines.len(), 1, "{screen}");
    assert!(lines[0].starts_with(&format!("{id}  exit 3 after ")), "{screen}");
}

#[test]
fn output_runs_above_the_line() {
    let store = Store::new();
    let line = "echo one; until [ -e go ]; do sleep 0.02; done; echo two; printf three";
    let mut session = Session::new(&store, 80, &["spawn", "--wait", "--", "sh", "-c", line]);
    until("output and line are drawn", || {
        let screen = session.screen();
        screen.starts_with("one\n") && spins(&screen)
    });
    store.release();
    let (code, screen) = session.end();
    assert_eq!(code, Some(0), "{screen}");
    let lines: Vec<&str> = screen.lines().collect();
    assert_eq!(lines[..3], ["one", "two", "three"], "{screen}");
    assert!(lines[3].contains("  exit 0 after "), "{screen}");
    assert_eq!(lines.len(), 4, "{screen}");
}

#[test]
fn a_command_that_ran_before_has_a_forecast() {
    let store = Store::new();
    // The first run is long enough for a forecast; the second is held so that the forecast can be seen.
    let line = "sleep 0.6; if [ -e second ]; then until [ -e go ]; do sleep 0.02; done; fi";
    store.ok(&["spawn", "--wait", "--", "sh", "-c", line]);
    std::fs::write(store.workspace().join("second"), "").unwrap();
    let mut session = Session::new(&store, 80, &["spawn", "--wait", "--", "sh", "-c", line]);
    until("a bar is drawn", || session.screen().contains(" [="));
    until("the task is overdue", || session.screen().contains("longer than the usual 0."));
    store.release();
    assert_eq!(session.end().0, Some(0));
}

#[test]
fn a_table_fits_its_terminal() {
    let store = Store::new();
    store.ok(&["spawn", "--wait", "--label", "a label", "--", "echo", &"long ".repeat(60)]);
    for columns in [40, 80, 200] {
        let (code, screen) = Session::new(&store, columns, &["ps"]).end();
        assert_eq!(code, Some(0), "{screen}");
        // A line that was too long would continue in the next row.
        assert_eq!(screen.lines().count(), 2, "{columns}: {screen}");
        assert!(screen.lines().nth(1).is_some_and(|line| line.ends_with('…')), "{screen}");
        assert_eq!(screen.contains("LABEL"), columns > 40, "{screen}");
    }
}

#[test]
fn colours_are_for_terminals_that_want_them() {
    let store = Store::new();
    store.ok(&["spawn", "--wait", "--", "true"]);
    let drawn = |name: &str, value: &str| {
        let size = Winsize { ws_row: ROWS, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(&size, None).unwrap();
        let mut child = store
            .command(&["ps"])
            .env("TERM", "xterm-256color")
            .env(name, value)
            .stdout(pty.slave)
            .spawn()
            .unwrap();
        let seen: Vec<u8> = read_on(pty.master).iter().flatten().collect();
        assert_eq!(child.wait().unwrap().code(), Some(0));
        String::from_utf8(seen).unwrap()
    };
    assert!(drawn("X", "").contains("\x1b[32mexit 0"));
    for (name, value) in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let text = drawn(name, value);
        assert!(text.contains("exit 0") && !text.contains('\x1b'), "{name}: {text:?}");
    }
}

#[test]
fn an_argument_that_is_quoted_moves_nothing() {
    let store = Store::new();
    let odd = "\u{1b}]0;title\u{7}\u{1b}[31mx";
    for args in [
        &["wait", "--timeout", odd, "ab"][..],
        &["ps", "--state", odd],
        &["sessions", odd],
        &["spawn", "--env", &format!("={odd}"), "true"],
        &["signal", "ab", odd],
        &["logs", odd],
        &["--workspace", odd, "ps"],
    ] {
        let mut session = Session::new(&store, 80, args);
        while let Ok(piece) = session.pieces.recv_timeout(PATIENCE) {
            session.take(&piece);
        }
        let (code, text) = (session.child.wait().unwrap().code(), session.drawn());
        assert!(matches!(code, Some(1 | 2)) && text.contains("error:"), "{args:?}: {text:?}");
        assert!(!text.contains("\u{1b}]0;") && !text.contains('\u{7}'), "{args:?}: {text:?}");
        assert!(!text.contains("\u{1b}[31mx"), "{args:?}: {text:?}");
    }
}
