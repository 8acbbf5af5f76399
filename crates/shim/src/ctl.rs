//! Orders to a shim, through the FIFO `ctl` in its task's folder.
//!
//! An order is one write of at most `PIPE_BUF` (4 096) bytes, which pipe(7) keeps whole: two
//! bytes of length, eight of the task's id, one of kind, and the parameters of that kind. Opening the
//! FIFO fails with ENXIO if no shim lives. A folder is reused for another task, and a process that
//! opened the FIFO before that may write to it afterwards: so an order names its task, and a shim
//! ignores orders for other tasks.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use crate::record::{Actor, Cause, MESSAGE_BYTES, cut};

/// An order that a shim can get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// The folder has been published: run what its spec says.
    Go,
    /// End the process tree.
    Stop {
        /// The first signal.
        signal: i32,
        /// The time between the first signal and SIGKILL.
        grace: Duration,
        /// Who asks, and why.
        cause: Cause,
    },
    /// Close the task's standard input.
    EndInput,
    /// Ring once when there is output behind this offset, in bytes.
    Arm(u64),
    /// The wait status of the leader, as waitpid(2) returned it to the process that reaped it.
    Reaped(i32),
    /// Send a signal, and record who asked for it.
    Signal {
        /// The number of the signal.
        signal: i32,
        /// Which processes get it.
        to: Recipient,
        /// Who asks, and why.
        cause: Cause,
    },
    /// Give the task's terminal this size.
    Resize {
        /// The height in characters.
        rows: u16,
        /// The width in characters.
        cols: u16,
    },
    /// Check whether the task's turn has come, because the limit of its slot was changed.
    Look,
    /// Fetch the output of a task at a place, and record that it was fetched.
    Fetch,
}

/// Which processes of a task get a signal. The numbers are those in the order's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Recipient {
    /// The process group of its leader.
    Group = 1,
    /// Only its leader.
    Leader = 2,
}

impl Recipient {
    fn from_u8(value: u8) -> Option<Self> {
        [Self::Group, Self::Leader].into_iter().find(|to| *to as u8 == value)
    }
}

/// The kinds of order that this version's shim knows, as their bytes in an order. A shim ignores an order
/// of a kind that it does not know.
pub const KNOWN: &[u8] = b"GKEAXSWL";
/// The kinds that a shim knows that took a task over: the terminal was lost with the shim that was killed.
pub const KNOWN_ADOPTED: &[u8] = b"GKEAXSL";
/// The kinds that a courier knows, which manages the tasks at a place.
pub const KNOWN_ELSEWHERE: &[u8] = b"KEASWF";
/// The kinds that a shim of version 0.1.0 knows, whose records do not list them.
pub const KNOWN_FIRST: &[u8] = b"GKEAX";

impl Order {
    /// The byte that names this kind of order.
    pub fn kind(&self) -> u8 {
        match self {
            Self::Go => b'G',
            Self::Stop { .. } => b'K',
            Self::EndInput => b'E',
            Self::Arm(_) => b'A',
            Self::Reaped(_) => b'X',
            Self::Signal { .. } => b'S',
            Self::Resize { .. } => b'W',
            Self::Look => b'L',
            Self::Fetch => b'F',
        }
    }

    /// What it orders, as an infinitive after "the order to".
    pub fn describe(&self) -> &'static str {
        match self {
            Self::Go => "start the task",
            Self::Stop { .. } => "stop the task",
            Self::EndInput => "end its standard input",
            Self::Arm(_) => "report output",
            Self::Reaped(_) => "record its leader's status",
            Self::Signal { .. } => "send a signal",
            Self::Resize { .. } => "resize its terminal",
            Self::Look => "check whether its turn has come",
            Self::Fetch => "fetch its output",
        }
    }

    /// The order to the shim of task `id`, as it goes through the FIFO.
    pub fn to_bytes(&self, id: &[u8; 8]) -> Vec<u8> {
        let mut bytes = vec![0, 0];
        bytes.extend_from_slice(id);
        bytes.push(self.kind());
        match self {
            Self::Go | Self::EndInput | Self::Look | Self::Fetch => {}
            Self::Stop { signal, grace, cause } => {
                bytes.push(cause.actor.to_u8());
                bytes.extend_from_slice(&signal.to_le_bytes());
                bytes.extend_from_slice(&(grace.as_millis() as u64).to_le_bytes());
                bytes.extend_from_slice(cut(&cause.message, MESSAGE_BYTES).as_bytes());
            }
            Self::Arm(offset) => bytes.extend_from_slice(&offset.to_le_bytes()),
            Self::Reaped(status) => bytes.extend_from_slice(&status.to_le_bytes()),
            Self::Signal { signal, to, cause } => {
                bytes.push(cause.actor.to_u8());
                bytes.push(*to as u8);
                bytes.extend_from_slice(&signal.to_le_bytes());
                bytes.extend_from_slice(cut(&cause.message, MESSAGE_BYTES).as_bytes());
            }
            Self::Resize { rows, cols } => {
                bytes.extend_from_slice(&rows.to_le_bytes());
                bytes.extend_from_slice(&cols.to_le_bytes());
            }
        }
        let len = bytes.len() as u16;
        bytes[..2].copy_from_slice(&len.to_le_bytes());
        bytes
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        let u64_of = |bytes: &[u8]| Some(u64::from_le_bytes(bytes.try_into().ok()?));
        let u16_of = |bytes: &[u8]| Some(u16::from_le_bytes(bytes.try_into().ok()?));
        let i32_of = |bytes: &[u8]| Some(i32::from_le_bytes(bytes.try_into().ok()?));
        match kind {
            b'G' => Some(Self::Go),
            b'K' => Some(Self::Stop {
                signal: i32_of(rest.get(1..5)?)?,
                grace: Duration::from_millis(u64_of(rest.get(5..13)?)?),
                cause: Cause {
                    actor: Actor::from_u8(*rest.first()?)?,
                    message: String::from_utf8_lossy(rest.get(13..)?).into_owned(),
                },
            }),
            b'E' => Some(Self::EndInput),
            b'L' => Some(Self::Look),
            b'F' => Some(Self::Fetch),
            b'A' => Some(Self::Arm(u64_of(rest)?)),
            b'X' => Some(Self::Reaped(i32_of(rest)?)),
            b'S' => Some(Self::Signal {
                signal: i32_of(rest.get(2..6)?)?,
                to: Recipient::from_u8(*rest.get(1)?)?,
                cause: Cause {
                    actor: Actor::from_u8(*rest.first()?)?,
                    message: String::from_utf8_lossy(rest.get(6..)?).into_owned(),
                },
            }),
            b'W' => {
                Some(Self::Resize { rows: u16_of(rest.get(..2)?)?, cols: u16_of(rest.get(2..)?)? })
            }
            _ => None,
        }
    }

    /// Sends the order to the shim of task `id` through its open FIFO.
    pub fn send(&self, mut fifo: &File, id: &[u8; 8]) -> io::Result<()> {
        let bytes = self.to_bytes(id);
        // One write: a message below PIPE_BUF is written whole or not at all.
        match fifo.write(&bytes)? {
            n if n == bytes.len() => Ok(()),
            _ => Err(io::ErrorKind::WriteZero.into()),
        }
    }
}

/// Opens the FIFO of a living shim; fails with ENXIO if no shim has it open.
pub fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC).open(path)
}

/// Removes all complete orders from `buffer`, which was read from the FIFO, and returns those for task `id`.
pub fn take(buffer: &mut Vec<u8>, id: &[u8; 8]) -> Vec<Order> {
    let mut orders = Vec::new();
    while let [low, high, ..] = buffer[..] {
        let len = usize::from(u16::from_le_bytes([low, high])).max(2);
        if buffer.len() < len {
            break;
        }
        if let Some((to, order)) = buffer[2..len].split_at_checked(8)
            && to == id
        {
            orders.extend(Order::parse(order));
        }
        buffer.drain(..len);
    }
    orders
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes that version 0.1.0 wrote: its daemons and shims are still in use.
    #[test]
    fn the_orders_of_the_first_version_keep_their_bytes() {
        let cause = Cause { actor: Actor::Agent, message: "enough".into() };
        let grace = Duration::from_millis(2_000);
        let id = b"0123abcd";
        let table: [(Order, &[u8]); 5] = [
            (Order::Go, b"\x0b\x000123abcdG"),
            (
                Order::Stop { signal: 15, grace, cause },
                b"\x1e\x000123abcdK\x02\x0f\0\0\0\xd0\x07\0\0\0\0\0\0enough",
            ),
            (Order::EndInput, b"\x0b\x000123abcdE"),
            (Order::Arm(258), b"\x13\x000123abcdA\x02\x01\0\0\0\0\0\0"),
            (Order::Reaped(0x0900), b"\x0f\x000123abcdX\0\x09\0\0"),
        ];
        for (order, bytes) in table {
            assert_eq!(order.to_bytes(id), bytes, "{order:?}");
            assert_eq!(take(&mut bytes.to_vec(), id), [order]);
        }
    }

    #[test]
    fn orders_survive_any_cut_of_the_stream() {
        let cause = Cause { actor: Actor::Agent, message: "no longer needed".into() };
        let orders = vec![
            Order::Go,
            Order::Stop { signal: 15, grace: Duration::from_millis(2_000), cause: cause.clone() },
            Order::Signal { signal: 10, to: Recipient::Leader, cause: cause.clone() },
            Order::Signal { signal: 64, to: Recipient::Group, cause },
            Order::Resize { rows: 24, cols: 500 },
            Order::Look,
            Order::EndInput,
            Order::Arm(u64::MAX),
            Order::Reaped(0x0900),
        ];
        let (mine, other) = (b"0123abcd", b"feedc0de");
        let both = |order: &Order| [order.to_bytes(mine), order.to_bytes(other)].concat();
        let stream: Vec<u8> = orders.iter().flat_map(both).collect();
        for piece in 1..stream.len() {
            let mut buffer = Vec::new();
            let mut got = Vec::new();
            for bytes in stream.chunks(piece) {
                buffer.extend_from_slice(bytes);
                got.extend(take(&mut buffer, mine));
            }
            assert_eq!(got, orders, "pieces of {piece}");
        }
    }
}
