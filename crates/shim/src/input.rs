//! A task's standard input, as far as it comes through the shim.
//!
//! A pipe's data does not: whoever writes opens the FIFO `stdin` itself, and the shim only keeps
//! it open, so that the task sees no end before somebody says so. A terminal's data goes from the
//! FIFO through the shim into the terminal.

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
    /// The FIFO; held open until the end of input.
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

/// Opens both ends. The reader is to be closed once the task has its own, so that a writer is told
/// (EPIPE) when the task has closed it.
pub fn open_pipe() -> io::Result<(File, File)> {
    let reader = open(true, false)?;
    Ok((reader, open(false, true)?))
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
