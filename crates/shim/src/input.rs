//! A task's standard input, as far as it comes through the shim.
//!
//! A pipe's data does not: a writer opens the pipe itself, through `/proc` in the shim, which only
//! keeps it open, so that the task sees no end before a client says so. A terminal's data goes from
//! the FIFO `stdin` through the shim into the terminal.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;

use meanwhile_shim::layout;

use crate::terminal::Terminal;

/// Bytes taken from the FIFO at once: while the terminal does not take them, the rest stays there.
const BUFFER_BYTES: usize = 4_096;

/// Where standard input comes from.
pub enum Input {
    /// `/dev/null`.
    None,
    /// The writing end of the pipe; held open until the end of input.
    Pipe(Option<File>),
    /// What is typed into the terminal.
    Terminal(Typist),
}

/// Moves input from the FIFO into a terminal.
pub struct Typist {
    fifo: File,
    /// What the terminal has not taken yet.
    waiting: Vec<u8>,
    /// What it took last.
    last: Option<u8>,
    /// There is no more behind what waits, which the terminal has not been told.
    ends: bool,
}

fn open(read: bool, write: bool) -> io::Result<File> {
    OpenOptions::new()
        .read(read)
        .write(write)
        .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open(layout::STDIN)
}

/// The writing end of a task's input that a shim of version 0.1.0 started: there it was the FIFO.
pub fn open_old_pipe() -> io::Result<File> {
    open(false, true)
}

impl Input {
    /// Takes note that there is no more.
    pub fn end(&mut self) {
        match self {
            Self::None => {}
            Self::Pipe(writer) => *writer = None,
            Self::Terminal(typist) => typist.end(),
        }
    }
}

impl Typist {
    /// Opens the FIFO.
    pub fn new() -> io::Result<Self> {
        Ok(Self { fifo: open(true, true)?, waiting: Vec::new(), last: None, ends: false })
    }

    /// Where input comes from, while nothing waits for the terminal.
    pub fn source(&self) -> Option<&File> {
        self.waiting.is_empty().then_some(&self.fifo)
    }

    fn end(&mut self) {
        // What was written before the end comes before the end.
        let mut bytes = [0; BUFFER_BYTES];
        while let Ok(len @ 1..) = self.fifo.read(&mut bytes) {
            self.waiting.extend_from_slice(&bytes[..len]);
        }
        self.ends = true;
    }

    /// Moves data on into the terminal, as far as it takes it.
    pub fn feed(&mut self, terminal: &Terminal) {
        if self.waiting.is_empty() && !self.ends {
            let mut bytes = [0; BUFFER_BYTES];
            if let Ok(len) = self.fifo.read(&mut bytes) {
                self.waiting.extend_from_slice(&bytes[..len]);
            }
        }
        self.write(terminal);
        if self.waiting.is_empty() && std::mem::take(&mut self.ends) {
            self.waiting = terminal.end_of_input(self.last);
            self.write(terminal);
        }
    }

    fn write(&mut self, terminal: &Terminal) {
        if let Ok(len @ 1..) = terminal.write(&self.waiting) {
            self.last = self.waiting.drain(..len).next_back();
        }
    }
}
