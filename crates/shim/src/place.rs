//! Places: other machines on which tasks run, and the files that the courier of a place writes.
//!
//! ```text
//! places/installation   the name by which places know this store, created once
//! places/<name>/lock    locked by the courier of the place while it runs
//! places/<name>/contact whether the place can be reached, see [`Contact`]
//! places/<name>/log     warnings and errors of the courier
//! ```
//!
//! A courier is a process that does for the tasks at one place what a shim does for one task on this machine: only it
//! writes their records, receives their orders, and rings. If it is killed, another one continues from these files.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::{layout, lock};

/// The file that the courier locks.
const LOCK: &str = "lock";
const INSTALLATION: &str = "installation";
const CONTACT: &str = "contact";
/// The most characters of a text in the contact file.
const WORDS_MAX: usize = 500;
/// The most bytes of the contact file that are read: three such texts, with four bytes per character.
const CONTACT_BYTES: u64 = 12 * WORDS_MAX as u64 + 128;
/// The courier's log file.
pub const LOG: &str = "log";

/// The folder of a place in the state directory.
pub fn folder(state: &Path, name: &str) -> PathBuf {
    state.join(layout::PLACES).join(name)
}

/// The workspace hash in the name of the bell of a place's courier. No directory has this hash's path.
pub fn bell_hash(name: &str) -> u64 {
    layout::workspace_hash(Path::new(&format!("place:{name}")))
}

/// Returns the store's unique name at places; creates it at the first call.
///
/// # Errors
///
/// I/O errors of the file system, or of the source of random numbers.
pub fn installation(state: &Path) -> io::Result<String> {
    let folder = state.join(layout::PLACES);
    DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
    let path = folder.join(INSTALLATION);
    if let Ok(name) = fs::read_to_string(&path) {
        return Ok(name);
    }
    let mut random = [0; 8];
    File::open("/dev/urandom")?.read_exact(&mut random)?;
    let name = format!("{:016x}", u64::from_le_bytes(random));
    let new = folder.join(format!(".{name}"));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(name.as_bytes())?;
    file.sync_all()?;
    // Another process may do the same. The link keeps the first name, and readers never see half of one.
    let linked = fs::hard_link(&new, &path);
    let _ = fs::remove_file(&new);
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        Ok(()) | Err(_) => fs::read_to_string(&path),
    }
}

/// Locks a place for its courier. Returns `None` if another process holds the lock.
///
/// # Errors
///
/// The folder or the lock file cannot be created.
pub fn take(state: &Path, name: &str) -> io::Result<Option<File>> {
    let folder = folder(state, name);
    DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(folder.join(LOCK))?;
    Ok(lock::exclusive(&file)?.then_some(file))
}

/// Whether a place has a courier.
pub fn has_courier(state: &Path, name: &str) -> bool {
    let file = OpenOptions::new().read(true).write(true).open(folder(state, name).join(LOCK));
    file.and_then(|file| lock::is_held(&file)).unwrap_or(false)
}

/// Whether a place could be reached when its courier last tried.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Contact {
    /// Since when the place is out of reach, in milliseconds since the epoch; `None` if it can be reached.
    pub lost_since_ms: Option<i64>,
    /// Why, usually the last lines of the standard error of the program that connects to it.
    pub why: String,
    /// Whether a person has to sign in or accept a host key.
    pub needs_you: bool,
    /// The version of `meanwhile` there, once it has answered.
    pub version: String,
    /// The [`installation`] of the store there. Tasks that a different store does not know are not lost.
    pub store: String,
}

impl Contact {
    /// Reads the contact file of a place; `None` if its courier has not written it yet.
    pub fn read(state: &Path, name: &str) -> Option<Self> {
        let mut text = String::new();
        let file = layout::open_regular(&folder(state, name).join(CONTACT)).ok()?;
        file.take(CONTACT_BYTES).read_to_string(&mut text).ok()?;
        let mut contact = Self::default();
        for (key, value) in text.lines().filter_map(|line| line.split_once('=')) {
            match key {
                "lost" => contact.lost_since_ms = value.parse().ok(),
                "why" => value.clone_into(&mut contact.why),
                "needs-you" => contact.needs_you = true,
                "version" => value.clone_into(&mut contact.version),
                "store" => value.clone_into(&mut contact.store),
                _ => {}
            }
        }
        Some(contact)
    }

    /// Replaces the contact file atomically.
    ///
    /// # Errors
    ///
    /// I/O errors of the file system.
    pub fn write(&self, state: &Path, name: &str) -> io::Result<()> {
        // The texts come from the place, so they may contain line breaks or be long.
        let line = |text: &str| -> String {
            let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
            plain.take(WORDS_MAX).collect()
        };
        let mut text = String::new();
        if let Some(since) = self.lost_since_ms {
            text.push_str(&format!("lost={since}\nwhy={}\n", line(&self.why)));
        }
        if self.needs_you {
            text.push_str("needs-you=1\n");
        }
        if !self.version.is_empty() {
            text.push_str(&format!("version={}\n", line(&self.version)));
        }
        if !self.store.is_empty() {
            text.push_str(&format!("store={}\n", line(&self.store)));
        }
        let (path, new) = (folder(state, name).join(CONTACT), folder(state, name).join(".contact"));
        fs::write(&new, text)?;
        fs::rename(new, path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_has_one_courier_and_its_contact_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!has_courier(dir.path(), "build"));
        let lock = take(dir.path(), "build").unwrap().unwrap();
        assert!(has_courier(dir.path(), "build"));
        assert!(take(dir.path(), "build").unwrap().is_none());
        drop(lock);
        assert!(!has_courier(dir.path(), "build"));
        assert_eq!(Contact::read(dir.path(), "build"), None);
        let lost = Contact {
            lost_since_ms: Some(5),
            why: "ssh: no route\nto host".to_owned(),
            needs_you: true,
            version: "0.1.0".to_owned(),
            store: "0123456789abcdef".to_owned(),
        };
        lost.write(dir.path(), "build").unwrap();
        let why = "ssh: no route to host".to_owned();
        assert_eq!(Contact::read(dir.path(), "build"), Some(Contact { why, ..lost }));
        Contact::default().write(dir.path(), "build").unwrap();
        assert_eq!(Contact::read(dir.path(), "build"), Some(Contact::default()));
    }
}
