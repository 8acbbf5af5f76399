//! Standard input and output without blocking a thread, if they allow it.
//!
//! The runtime polls a pipe (most clients) or a socket (Node creates a socketpair). Anything else, a terminal or a
//! file, is read and written on blocking threads, because `O_NONBLOCK` on a terminal affects all processes that share
//! it. For the same reason a pipe is opened again: the flag then applies only to this process, even if standard error
//! is the same pipe.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::os::unix::net::UnixStream as StdUnixStream;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio::net::unix::pipe;

/// The stream that requests are read from.
pub(crate) type Input = Box<dyn AsyncRead + Send + Unpin>;
/// The stream that replies are written to.
pub(crate) type Output = Box<dyn AsyncWrite + Send + Unpin>;

/// Opens standard input.
///
/// # Errors
///
/// The descriptor cannot be duplicated or watched.
pub(crate) fn input() -> io::Result<Input> {
    let file = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let kind = file.metadata()?.file_type();
    if kind.is_fifo() {
        let own = reopened(&file, OpenOptions::new().read(true)).unwrap_or(file);
        return Ok(Box::new(pipe::Receiver::from_file(own)?));
    }
    match stream(file, kind.is_socket())? {
        Some(stream) => Ok(Box::new(stream)),
        None => Ok(Box::new(tokio::io::stdin())),
    }
}

/// Opens standard output.
///
/// # Errors
///
/// The descriptor cannot be duplicated or watched.
pub(crate) fn output() -> io::Result<Output> {
    let file = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    let kind = file.metadata()?.file_type();
    if kind.is_fifo() {
        let own = reopened(&file, OpenOptions::new().write(true)).unwrap_or(file);
        return Ok(Box::new(pipe::Sender::from_file(own)?));
    }
    match stream(file, kind.is_socket())? {
        Some(stream) => Ok(Box::new(stream)),
        None => Ok(Box::new(tokio::io::stdout())),
    }
}

/// Opens the same pipe with an open file description of its own, proc(5). Fails if `/proc` is missing or the other
/// end is closed; then the shared description is used.
fn reopened(file: &File, how: &mut OpenOptions) -> io::Result<File> {
    how.custom_flags(libc::O_NONBLOCK).open(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// The descriptor as a Unix stream socket; `None` if it is not one.
fn stream(file: File, is_socket: bool) -> io::Result<Option<UnixStream>> {
    if !is_socket {
        return Ok(None);
    }
    let stream = StdUnixStream::from(OwnedFd::from(file));
    // Fails for sockets of other families, which have no paths as addresses.
    if stream.local_addr().is_err() {
        return Ok(None);
    }
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream).map(Some)
}
