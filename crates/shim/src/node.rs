//! What a courier and the keeper on a node of a batch system must agree on.
//!
//! ```text
//! SHARED/store            the name of this folder's store, made once
//! SHARED/bin/             the shim, which is the keeper too
//! SHARED/tasks/<id>/      a task
//!     spec, record, ctl   as in a state directory (see `layout`)
//!     claim               made by the keeper that has it: another one ends with [`CLAIMED`]
//!     beat                the keeper's signs of life, see [`Beat`]
//!     job                 what the courier notes of it, see [`Note`]
//!     out                 what the engine and the keeper had to say
//! ```

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use crate::record::cut;

/// The word by which the shim becomes the keeper of one task.
pub const MODE: &str = "node";
/// The word by which it hands an order to the shim of a task.
pub const ORDER: &str = "order";
/// The folder of tasks.
pub const TASKS: &str = "tasks";
/// In a task's folder: that a keeper has it.
pub const CLAIM: &str = "claim";
/// In a task's folder: the keeper's signs of life.
pub const BEAT: &str = "beat";
/// In a task's folder: what the courier notes of it.
pub const JOB: &str = "job";
/// In a task's folder: what the engine and the keeper had to say.
pub const OUT: &str = "out";
/// The exit code of a keeper whose task another one has, or had.
pub const CLAIMED: u8 = 98;
/// Bytes of the file of signs of life.
pub const BEAT_BYTES: usize = 128;
/// Bytes of what the courier notes of a task.
pub const NOTE_BYTES: usize = 128;
/// Bytes of the engine's number in a sign of life.
const JOB_BYTES: usize = 32;

const AT_SYNCED: usize = 8;
const AT_TERMINATED: usize = 16;
const AT_FAILED: usize = 17;
const AT_JOB: usize = 24;
const AT_HOST: usize = AT_JOB + JOB_BYTES;

/// In a note: the number has the bytes before.
const AT_SIGNAL: usize = 20;
const AT_GRACE: usize = 24;
/// The bytes before are all that the file had once.
const AT_SHIM: usize = 32;

/// A keeper's sign of life.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Beat {
    /// How many there were; 0: no keeper has the task yet.
    pub beats: u64,
    /// Bytes of the task's output that readers elsewhere see.
    pub synced: u64,
    /// The batch system has asked it to end.
    pub terminated: bool,
    /// No shim can run the task there, and it was not started; the keeper has written why.
    pub failed: bool,
    /// The engine's number of it: of several jobs of the task, the one that runs it.
    pub job: String,
    /// The node it is on.
    pub host: String,
}

impl Beat {
    /// Writes it and forces it out.
    ///
    /// # Errors
    ///
    /// The disk's.
    pub fn write(&self, file: &File) -> io::Result<()> {
        let mut bytes = [0; BEAT_BYTES];
        bytes[..8].copy_from_slice(&self.beats.to_le_bytes());
        bytes[AT_SYNCED..AT_TERMINATED].copy_from_slice(&self.synced.to_le_bytes());
        bytes[AT_TERMINATED] = u8::from(self.terminated);
        bytes[AT_FAILED] = u8::from(self.failed);
        let (job, host) = (cut(&self.job, JOB_BYTES), cut(&self.host, BEAT_BYTES - AT_HOST));
        bytes[AT_JOB..AT_JOB + job.len()].copy_from_slice(job.as_bytes());
        bytes[AT_HOST..AT_HOST + host.len()].copy_from_slice(host.as_bytes());
        file.write_all_at(&bytes, 0)?;
        file.sync_data()
    }

    /// Reads it.
    ///
    /// # Errors
    ///
    /// The disk's, or it is cut off.
    pub fn read(file: &File) -> io::Result<Self> {
        let mut bytes = [0; BEAT_BYTES];
        file.read_exact_at(&mut bytes, 0)?;
        let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
        Ok(Self {
            beats: number(0),
            synced: number(AT_SYNCED),
            terminated: bytes[AT_TERMINATED] != 0,
            failed: bytes[AT_FAILED] != 0,
            job: text(&bytes[AT_JOB..AT_HOST]),
            host: text(&bytes[AT_HOST..]),
        })
    }
}

/// What the courier notes of a task.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Note {
    /// The engine's number of it; empty: not known.
    pub number: String,
    /// The order to stop it, as a signal and the time until SIGKILL, for the keeper of a task that the engine does not
    /// reach.
    pub stop: Option<(i32, Duration)>,
    /// The file name of the shim that its job runs; empty: not noted.
    pub shim: String,
}

impl Note {
    /// Writes it and forces it out.
    ///
    /// # Errors
    ///
    /// The disk's.
    pub fn write(&self, file: &File) -> io::Result<()> {
        let mut bytes = [0; NOTE_BYTES];
        let number = cut(&self.number, AT_SIGNAL);
        bytes[..number.len()].copy_from_slice(number.as_bytes());
        if let Some((signal, grace)) = self.stop {
            bytes[AT_SIGNAL] = u8::try_from(signal).unwrap_or(libc::SIGTERM as u8);
            let grace = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
            bytes[AT_GRACE..AT_SHIM].copy_from_slice(&grace.to_le_bytes());
        }
        let shim = cut(&self.shim, NOTE_BYTES - AT_SHIM);
        bytes[AT_SHIM..AT_SHIM + shim.len()].copy_from_slice(shim.as_bytes());
        file.write_all_at(&bytes, 0)?;
        file.sync_all()
    }

    /// Reads it. A file that is shorter has zeros behind its end.
    ///
    /// # Errors
    ///
    /// The disk's.
    pub fn read(file: &File) -> io::Result<Self> {
        let mut bytes = [0; NOTE_BYTES];
        file.read_at(&mut bytes, 0)?;
        let grace = bytes[AT_GRACE..AT_SHIM].try_into().map(u64::from_le_bytes);
        let stop = (bytes[AT_SIGNAL] != 0)
            .then(|| (i32::from(bytes[AT_SIGNAL]), Duration::from_millis(grace.expect("8 bytes"))));
        Ok(Self { number: text(&bytes[..AT_SIGNAL]), stop, shim: text(&bytes[AT_SHIM..]) })
    }
}

/// The text of a field that is filled up with zeros.
pub fn text(bytes: &[u8]) -> String {
    let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_of_life_is_read_as_it_was_written() {
        let file = tempfile::tempfile().unwrap();
        assert!(Beat::read(&file).is_err());
        file.set_len(BEAT_BYTES as u64).unwrap();
        assert_eq!(Beat::read(&file).unwrap(), Beat::default());
        let long = "n".repeat(BEAT_BYTES);
        for host in ["", "n1", &long] {
            let (job, host) = ("17".to_owned(), host.to_owned());
            let (terminated, failed) = (true, true);
            let beat = Beat { beats: 7, synced: 9, terminated, failed, job, host: host.clone() };
            beat.write(&file).unwrap();
            let host = host[..host.len().min(BEAT_BYTES - AT_HOST)].to_owned();
            assert_eq!(Beat::read(&file).unwrap(), Beat { host, ..beat });
        }
    }

    #[test]
    fn a_note_is_read_as_it_was_written_and_a_shorter_one_of_before() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(Note::read(&file).unwrap(), Note::default());
        // As it was made once: the number, and zeros up to 32 bytes.
        file.set_len(AT_SHIM as u64).unwrap();
        file.write_all_at(b"4711", 0).unwrap();
        let number = "4711".to_owned();
        assert_eq!(Note::read(&file).unwrap(), Note { number, ..Note::default() });
        for stop in [None, Some((libc::SIGINT, Duration::from_millis(u64::MAX)))] {
            let note = Note { number: "12".into(), stop, shim: "meanwhile-shim-0a".into() };
            note.write(&file).unwrap();
            assert_eq!(Note::read(&file).unwrap(), note);
        }
    }
}
