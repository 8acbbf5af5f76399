//! What a record says about its shim: which orders it knows, how many it has taken, and the last signal
//! that it was ordered to send. Version 0.1.0 writes none of this.

use super::{AT_SHIM_PID, Cause, HEADER_BYTES, MESSAGE_BYTES, RecordError, Sheet, cause_at, cut};
use super::{u16_at, u32_at, u64_at};
use crate::ctl::{self, Order};

pub(super) const AT_VERSION: usize = 6_656;
const AT_KNOWN_LEN: usize = 6_662;
const AT_TAKEN: usize = 6_664;
const AT_KNOWN: usize = 6_672;
const KNOWN_BYTES: usize = 16;
const AT_SIGNAL: usize = 6_688;
const AT_INTRODUCED: usize = 7_208;

const _: () = assert!(AT_KNOWN + KNOWN_BYTES == AT_SIGNAL && ctl::KNOWN.len() <= KNOWN_BYTES);
const _: () = assert!(AT_SIGNAL + 8 + MESSAGE_BYTES == AT_INTRODUCED);
const _: () = assert!(AT_INTRODUCED + 4 <= HEADER_BYTES);

/// This version of the shim.
const VERSION: [u16; 3] = [
    part(env!("CARGO_PKG_VERSION_MAJOR")),
    part(env!("CARGO_PKG_VERSION_MINOR")),
    part(env!("CARGO_PKG_VERSION_PATCH")),
];

const fn part(digits: &str) -> u16 {
    match u16::from_str_radix(digits, 10) {
        Ok(part) => part,
        Err(_) => 0,
    }
}

/// Which orders a shim knows, and how many it has taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Abilities {
    version: [u16; 3],
    known: Vec<u8>,
    /// How many orders it has taken, which is also the number of the last one.
    pub taken: u64,
}

impl Abilities {
    /// Whether the shim knows this kind of order.
    pub fn knows(&self, order: &Order) -> bool {
        self.known.contains(&order.kind())
    }

    /// Whether it took the task over from a killed shim, with which the task's terminal was lost if it had one.
    pub fn has_lost_terminal(&self) -> bool {
        self.known == ctl::KNOWN_ADOPTED
    }

    /// The shim's version, as `major.minor.patch`.
    pub fn version(&self) -> String {
        self.version.map(|part| part.to_string()).join(".")
    }

    pub(super) fn parse(bytes: &[u8]) -> Result<Self, RecordError> {
        let taken = u64_at(bytes, AT_TAKEN);
        let introduced = u32_at(bytes, AT_INTRODUCED);
        if introduced == 0 || introduced != u32_at(bytes, AT_SHIM_PID) {
            // A shim of version 0.1.0 does not write this, and keeps what the shim before it wrote.
            return Ok(Self { version: [0, 1, 0], known: ctl::KNOWN_FIRST.to_vec(), taken });
        }
        let len = usize::from(bytes[AT_KNOWN_LEN]);
        if len > KNOWN_BYTES {
            return Err(RecordError::Range("kinds of order"));
        }
        let version = [0, 2, 4].map(|at| u16_at(bytes, AT_VERSION + at));
        Ok(Self { version, known: bytes[AT_KNOWN..AT_KNOWN + len].to_vec(), taken })
    }
}

/// A signal that a shim sent on an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// The number of the signal.
    pub signal: i32,
    /// Who asked for it, and why.
    pub cause: Cause,
}

impl Sent {
    pub(super) fn parse(bytes: &[u8]) -> Result<Option<Self>, RecordError> {
        let cause = cause_at(bytes, AT_SIGNAL, AT_SIGNAL + 8)?;
        let signal = u32_at(bytes, AT_SIGNAL + 4) as i32;
        Ok(cause.map(|cause| Self { signal, cause }))
    }
}

impl Sheet {
    /// Records which kinds of order this shim knows. Otherwise readers treat it as one of version 0.1.0.
    pub fn introduce(&mut self, known: &[u8]) {
        for (at, part) in VERSION.iter().enumerate() {
            self.map.write(AT_VERSION + 2 * at, &part.to_le_bytes());
        }
        self.map.write(AT_KNOWN, known);
        self.map.write(AT_KNOWN_LEN, &[known.len() as u8]);
        self.map.store_u32(AT_INTRODUCED, std::process::id());
    }

    /// Records how many orders were taken so far.
    pub fn took(&self, count: u64) {
        self.map.store_u64(AT_TAKEN, count);
    }

    /// Records a signal, and who asked for it.
    pub fn signalled(&mut self, signal: i32, cause: &Cause) {
        let message = cut(&cause.message, MESSAGE_BYTES).as_bytes();
        self.map.write(AT_SIGNAL + 8, message);
        self.map.write(AT_SIGNAL + 4, &signal.to_le_bytes());
        self.map.write(AT_SIGNAL + 2, &(message.len() as u16).to_le_bytes());
        self.map.write(AT_SIGNAL, &[cause.actor.to_u8()]);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::os::unix::fs::FileExt;

    use super::super::processes::AT_LEFT;
    use super::super::{Actor, read};
    use super::*;

    /// Changes random bytes so that most parts of the parser see values in range.
    pub(in super::super) fn bring_into_range(bytes: &mut [u8]) {
        bytes[AT_SIGNAL] %= 8;
        bytes[AT_KNOWN_LEN] %= 20;
        bytes[AT_LEFT] %= 20;
        bytes[AT_LEFT + 1..AT_LEFT + 4].fill(0);
        let shim = bytes[AT_SHIM_PID..AT_SHIM_PID + 4].to_vec();
        bytes[AT_INTRODUCED..AT_INTRODUCED + 4].copy_from_slice(&shim);
    }

    #[test]
    fn what_a_shim_can_do_counts_for_that_shim_only() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(HEADER_BYTES as u64).unwrap();
        let mut sheet = Sheet::create(&file).unwrap();
        let resize = Order::Resize { rows: 24, cols: 80 };
        let first = read(&file).unwrap().shim;
        assert!(first.knows(&Order::EndInput) && !first.knows(&resize));
        assert!(!first.has_lost_terminal());
        assert_eq!(first.version(), "0.1.0");
        sheet.introduce(ctl::KNOWN_ADOPTED);
        assert!(read(&file).unwrap().shim.has_lost_terminal());
        sheet.introduce(ctl::KNOWN);
        sheet.took(7);
        let cause = Cause { actor: Actor::Agent, message: "look".to_owned() };
        sheet.signalled(10, &cause);
        let record = read(&file).unwrap();
        assert!(record.shim.knows(&resize));
        assert_eq!((record.shim.taken, record.signal), (7, Some(Sent { signal: 10, cause })));
        // A shim of version 0.1.0 takes over: it writes its pid, but not which orders it knows.
        file.write_all_at(&1_u32.to_le_bytes(), AT_SHIM_PID as u64).unwrap();
        assert!(!read(&file).unwrap().shim.knows(&resize));
    }
}
