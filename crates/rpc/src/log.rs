//! The log. It goes to standard error, because standard output is the wire, and is empty in normal use.
//!
//! A client may not read standard error, or may have closed it. The log must not block the daemon then, so a line
//! that cannot be written at once is dropped.

use std::io::{self, Write};
use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// The maximum number of bytes of a line: `PIPE_BUF` on Linux. A pipe that is writable accepts this many without
/// blocking (pipe(7)).
const LINE_BYTES: usize = 4_096;

/// The filter without `MEANWHILE_LOG`: errors only. Errors of rmcp contain the whole URL of a server, which may
/// include a key, and the agent reports them itself.
const QUIETLY: &str = "error,rmcp=off";

/// Starts to log with the filter in `MEANWHILE_LOG` (`tracing`'s syntax), or else errors only.
pub(crate) fn init() {
    let wanted = std::env::var("MEANWHILE_LOG").unwrap_or_default();
    let wanted = if wanted.trim().is_empty() { QUIETLY } else { &wanted };
    let filter =
        EnvFilter::builder().with_default_directive(LevelFilter::ERROR.into()).parse_lossy(wanted);
    // Fails if a logger is already set; it is then kept.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| Lines(io::stderr()))
        .with_ansi(false)
        .try_init();
}

/// Writes whole lines to a descriptor that is writable now, and drops others. The descriptor stays blocking, because
/// other processes may share it.
struct Lines<W>(W);

impl<W: Write + AsFd> Lines<W> {
    fn is_writable(&self) -> bool {
        let mut fds = [PollFd::new(self.0.as_fd(), PollFlags::POLLOUT)];
        poll(&mut fds, PollTimeout::ZERO).is_ok()
            && fds[0].revents().is_some_and(|events| events.contains(PollFlags::POLLOUT))
    }
}

impl<W: Write + AsFd> Write for Lines<W> {
    // Never returns an error: `tracing` would report it on standard error, and panic if that fails.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.is_writable() {
            let _ = match line.len() {
                ..=LINE_BYTES => self.0.write(line),
                _ => self.0.write(&[&line[..LINE_BYTES - 1], b"\n"].concat()),
            };
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read;

    use super::*;

    #[test]
    fn a_line_that_does_not_fit_is_dropped_whole() {
        let (mut reader, writer) = io::pipe().unwrap();
        let mut lines = Lines(writer);
        let long = [b"long ", &[b'.'; 2 * LINE_BYTES][..], b"\n"].concat();
        for line in [&long[..], b"short\n"].iter().cycle().take(1_000) {
            lines.write_all(line).unwrap();
        }
        drop(lines);
        let mut read = String::new();
        reader.read_to_string(&mut read).unwrap();
        assert!(read.starts_with("long ..") && read.ends_with('\n'), "{read}");
        assert!(read.lines().all(|line| line == "short" || line.len() == LINE_BYTES - 1));
    }

    #[test]
    fn a_reader_that_left_is_not_an_error() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let mut lines = Lines(writer);
        lines.write_all(b"hello\n").unwrap();
        let mut full = Lines(File::options().write(true).open("/dev/full").unwrap());
        full.write_all(b"hello\n").unwrap();
    }
}
