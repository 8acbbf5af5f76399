//! The shim's part in a task's standard input.
//!
//! Data for a pipe does not go through the shim: a writer opens the pipe itself, through the shim's
//! descriptors in `/proc`, and the shim only keeps the pipe open, so that the task sees no end of file
//! before a client ends the input. Data for a terminal goes from the FIFO `stdin` through the shim into
//! the terminal.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;

use meanwhile_shim::layout;

use crate::terminal::Terminal;

/// Bytes read from the FIFO at once: while the terminal does not accept them, the rest stays in the FIFO.
const BUFFER_BYTES: usize = 4_096;

/// Where standard input comes from.
pub enum Input {
    /// It is `/dev/null`.
    None,
    /// The write end of the pipe; held open until the end of input.
    Pipe(Option<File>),
    /// The source of what is typed into the terminal.
    Terminal(Typist),
}

/// Moves input from the FIFO into a terminal.
pub struct Typist {
    fifo: File,
    /// Bytes that the terminal has not accepted yet.
    waiting: Vec<u8>,
    /// The last byte that it accepted.
    last: Option<u8>,
    /// The input ends after `waiting`, and the end has not been typed yet.
    ends: bool,
}

fn open(read: bool, write: bool) -> io::Result<File> {
    OpenOptions::new()
        .read(read)
        .write(write)
        .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open(layout::STDIN)
}

/// Opens the write end of a task's input that a shim of version 0.1.0 started, which is the FIFO.
pub fn open_old_pipe() -> io::Result<File> {
    open(false, true)
}

impl Input {
    /// Ends the input.
    pub fn end(&mut self) {
        match self {
            Self::None => {}
            Self::Pipe(writer) => *writer = None,
            Self::Terminal(typist) => typist.end(),
        }
    }
}

impl Typist {
    /// Opens the FIFO `stdin` in the working directory.
    pub fn new() -> io::Result<Self> {
        Ok(Self { fifo: open(true, true)?, waiting: Vec::new(), last: None, ends: false })
    }

    /// The FIFO to read from; `None` while bytes wait for the terminal.
    pub fn source(&self) -> Option<&File> {
        self.waiting.is_empty().then_some(&self.fifo)
    }

    fn end(&mut self) {
        // What was written before the input was ended must be typed before the end.
        let mut bytes = [0; BUFFER_BYTES];
        while let Ok(len @ 1..) = self.fifo.read(&mut bytes) {
            self.waiting.extend_from_slice(&bytes[..len]);
        }
        self.ends = true;
    }

    /// Moves data into the terminal, as much as it accepts.
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
