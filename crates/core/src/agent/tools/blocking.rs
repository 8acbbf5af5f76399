//! Runs work on files on a thread that may block.
//!
//! A thread cannot be stopped from outside, so long work checks from time to time whether the call still waits for
//! it.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Set once the call that waits for the work has been dropped.
#[derive(Debug, Clone, Default)]
pub(super) struct Gone(Arc<AtomicBool>);

impl Gone {
    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Wraps a reader so that it fails once the waiting call has been dropped.
    pub(super) fn watch<R: Read>(&self, reader: R) -> impl Read {
        Watched { reader, gone: self.clone() }
    }

    /// Reads a file of at most `most` bytes, whatever length it reports: files in /proc report a length of 0, and
    /// some of them have no end.
    pub(super) fn whole(&self, path: &Path, most: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.watch(File::open(path)?).take(most + 1).read_to_end(&mut bytes)?;
        match bytes.len() as u64 <= most {
            true => Ok(bytes),
            false => Err(ErrorKind::FileTooLarge.into()),
        }
    }
}

struct Watched<R> {
    reader: R,
    gone: Gone,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.gone.is_set() {
            return Err(io::Error::other("the call that waited for it is gone"));
        }
        self.reader.read(buffer)
    }
}

/// Sets the flag when the future is dropped.
struct Waiting(Gone);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}

/// Runs work that may block on another thread.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce(&Gone) -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    let gone = Gone::default();
    let _waiting = Waiting(gone.clone());
    let done = tokio::task::spawn_blocking(move || work(&gone)).await;
    done.unwrap_or_else(|error| Err(format!("the tool failed: {error}")))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_file_is_read_whole_whatever_length_it_says() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, "12345").unwrap();
        let gone = Gone::default();
        assert_eq!(gone.whole(&path, 5).unwrap(), b"12345");
        assert_eq!(gone.whole(&path, 4).unwrap_err().kind(), ErrorKind::FileTooLarge);
        // This file reports a length of 0.
        let status = Path::new("/proc/self/status");
        assert!(gone.whole(status, 1 << 20).unwrap().starts_with(b"Name:"));
        assert_eq!(gone.whole(status, 10).unwrap_err().kind(), ErrorKind::FileTooLarge);
    }

    #[tokio::test]
    async fn work_without_a_waiter_ends() {
        let (tell, told) = mpsc::channel();
        let work = blocking(move |gone| {
            let mut zeroes = gone.watch(io::repeat(0));
            let error = io::copy(&mut zeroes, &mut io::sink()).unwrap_err();
            tell.send(error.to_string()).unwrap();
            Ok(())
        });
        assert!(tokio::time::timeout(Duration::from_millis(10), work).await.is_err());
        assert_eq!(told.recv().unwrap(), "the call that waited for it is gone");
    }
}
