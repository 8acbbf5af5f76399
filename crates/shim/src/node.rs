//! What a courier and the keeper on a node of a batch system must agree on.
//!
//! ```text
//! SHARED/store            the name of this folder's store, made once
//! SHARED/bin/             the shim, which is the keeper too
//! SHARED/tasks/<id>/      a task
//!     spec, record, ctl   as in a state directory (see `layout`)
//!     claim               made by the keeper that has it: another one ends with [`CLAIMED`]
//!     beat                the keeper's signs of life, see [`Beat`]
//!     job                 the engine's number of it, once that is known
//!     out                 what the engine and the keeper had to say
//! ```

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

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
/// In a task's folder: the engine's number of it.
pub const JOB: &str = "job";
/// In a task's folder: what the engine and the keeper had to say.
pub const OUT: &str = "out";
/// The exit code of a keeper whose task another one has, or had.
pub const CLAIMED: u8 = 98;
/// Bytes of the file of signs of life.
pub const BEAT_BYTES: usize = 128;
/// Bytes of the file of the engine's number.
pub const JOB_BYTES: usize = 32;

const AT_SYNCED: usize = 8;
const AT_TERMINATED: usize = 16;
const AT_JOB: usize = 24;
const AT_HOST: usize = AT_JOB + JOB_BYTES;

/// A keeper's sign of life.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Beat {
    /// How many there were; 0: no keeper has the task yet.
    pub beats: u64,
    /// Bytes of the task's output that readers elsewhere see.
    pub synced: u64,
    /// The batch system has asked it to end.
    pub terminated: bool,
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
            job: text(&bytes[AT_JOB..AT_HOST]),
            host: text(&bytes[AT_HOST..]),
        })
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
            let beat = Beat { beats: 7, synced: 9, terminated: true, job, host: host.clone() };
            beat.write(&file).unwrap();
            let host = host[..host.len().min(BEAT_BYTES - AT_HOST)].to_owned();
            assert_eq!(Beat::read(&file).unwrap(), Beat { host, ..beat });
        }
    }
}
