//! Places: other machines on which tasks run, and what the courier of a place keeps for all to see.
//!
//! ```text
//! places/installation   this store's name at places, made once
//! places/<name>/lock    locked by the courier of the place while it lives
//! places/<name>/contact whether the place can be reached, see [`Contact`]
//! places/<name>/log     what the courier had to say
//! ```
//!
//! A courier is a process that is for the tasks at one place what a shim is for one task here: it alone writes
//! their records, takes their orders, and rings. When it is killed another one goes on from what is in the files.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::{layout, lock};

/// The file that the courier locks.
const LOCK: &str = "lock";
const INSTALLATION: &str = "installation";
const CONTACT: &str = "contact";
/// Characters of a text in it.
const WORDS_MAX: usize = 500;
/// Bytes of it that are read: three such texts, of four bytes a character.
const CONTACT_BYTES: u64 = 12 * WORDS_MAX as u64 + 128;
/// What the courier had to say.
pub const LOG: &str = "log";
/// The folder of a place.
pub fn folder(state: &Path, name: &str) -> PathBuf {
    state.join(layout::PLACES).join(name)
}

/// The workspace that the bell of a place's courier is of: no directory is called so.
pub fn bell_hash(name: &str) -> u64 {
    layout::workspace_hash(Path::new(&format!("place:{name}")))
}

/// A name that no other store has, made once.
///
/// # Errors
///
/// The disk's, or that of the source of random numbers.
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
    // Another process may do the same: the first name stands, and no half of one is seen.
    let linked = fs::hard_link(&new, &path);
    let _ = fs::remove_file(&new);
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        Ok(()) | Err(_) => fs::read_to_string(&path),
    }
}

/// Takes the right to be the courier of a place. `None`: another process is.
///
/// # Errors
///
/// The folder cannot be made.
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

/// Whether a place can be reached, as its courier saw it last.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Contact {
    /// Since when it cannot be reached, in milliseconds since the epoch; `None`: it can.
    pub lost_since_ms: Option<i64>,
    /// Why, in the words of the program that is to reach it.
    pub why: String,
    /// A person has to sign in, or to accept a key.
    pub needs_you: bool,
    /// The version of `meanwhile` there, once it has answered.
    pub version: String,
    /// The store there, by its [`installation`]: what another one does not know is not lost.
    pub store: String,
}

impl Contact {
    /// Reads what the courier of a place wrote; `None`: nothing yet.
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

    /// Writes it. No reader sees half of it.
    ///
    /// # Errors
    ///
    /// The disk's.
    pub fn write(&self, state: &Path, name: &str) -> io::Result<()> {
        // A place has a say in both texts.
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
