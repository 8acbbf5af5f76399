//! Replaces files of a person.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Replaces a file's contents atomically; a file that did not exist is created with `mode`.
///
/// # Errors
///
/// I/O errors of the file system.
pub(crate) fn replace(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    // Follows a symbolic link, because many people keep their settings elsewhere.
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    fs::create_dir_all(path.parent().unwrap_or(Path::new("/")))?;
    let new = path.with_extension("meanwhile-new");
    let made = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&new);
    made?.write_all(text.as_bytes())?;
    if let Ok(old) = fs::metadata(&path) {
        fs::set_permissions(&new, old.permissions())?;
    }
    fs::rename(&new, &path)
}
