//! A task's standard input, as far as it comes through the shim.
//!
//! A pipe's data does not: whoever writes opens the pipe itself, through `/proc` in the shim, which only
//! keeps it open, so that the task sees no end before a client says so. A terminal's data goes from
//! the FIFO `stdin` through the shim into the terminal.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;

use meanwhile_shim::layout;

/// Bytes taken from the FIFO at once: while the terminal does not take them, the rest stays there.
const BUFFER_BYTES: usize = 4_096;
/// Control-D, the terminal's sign for the end of input (termios(3), VEOF).
const END_OF_INPUT: u8 = 4;

/// Where standard input comes from.
pub enum Input {
    /// `/dev/null`.
    None,
    /// The writing end of the pipe; held open until the end of input.
    Pipe(Option<File>),
    /// The FIFO, and what the terminal has not taken yet.
    Terminal {
        /// Where data comes from.
        fifo: File,
        /// What is to be written to the terminal.
        waiting: Vec<u8>,
    },
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

/// Opens the FIFO that feeds a terminal.
pub fn open_fifo() -> io::Result<File> {
    open(true, true)
}

impl Input {
    /// Takes note that there is no more.
    pub fn end(&mut self) {
        match self {
            Self::None => {}
            Self::Pipe(writer) => *writer = None,
            Self::Terminal { fifo, waiting } => {
                // What was written before the end comes before the end.
                let mut bytes = [0; BUFFER_BYTES];
                while let Ok(len @ 1..) = fifo.read(&mut bytes) {
                    waiting.extend_from_slice(&bytes[..len]);
                }
                waiting.push(END_OF_INPUT);
            }
        }
    }

    /// Moves data on into the terminal, as far as it takes it.
    pub fn feed(&mut self, mut terminal: &File) {
        let Self::Terminal { fifo, waiting } = self else { return };
        if waiting.is_empty() {
            let mut bytes = [0; BUFFER_BYTES];
            if let Ok(len) = fifo.read(&mut bytes) {
                waiting.extend_from_slice(&bytes[..len]);
            }
        }
        if let Ok(len) = terminal.write(waiting) {
            waiting.drain(..len);
        }
    }
}
