//! Orders to a shim, through the FIFO `ctl` in its task's folder.
//!
//! An order is one write of at most `PIPE_BUF` (4 096) bytes, which pipe(7) keeps whole: two
//! bytes of length, eight of the task's id, one of kind, and what belongs to it. Opening the FIFO
//! fails with ENXIO where no shim lives. A folder is used again for another task, and whoever opened
//! the FIFO before may write to it after: so an order names its task, and a shim obeys no other.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use crate::record::{Actor, Cause, MESSAGE_BYTES, cut};

/// What a shim can be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// The folder has been published: run what its spec says.
    Go,
    /// End the tree.
    Stop {
        /// The first signal.
        signal: i32,
        /// How long before SIGKILL.
        grace: Duration,
        /// Who asks, and why.
        cause: Cause,
    },
    /// No more standard input.
    EndInput,
    /// Ring once when there is output behind this offset.
    Arm(u64),
    /// The wait status of the leader, as waitpid(2) gives it, from the process that reaped it.
    Reaped(i32),
}

impl Order {
    fn to_bytes(&self, id: &[u8; 8]) -> Vec<u8> {
        let mut bytes = vec![0, 0];
        bytes.extend_from_slice(id);
        match self {
            Self::Go => bytes.push(b'G'),
            Self::Stop { signal, grace, cause } => {
                bytes.push(b'K');
                bytes.push(cause.actor as u8);
                bytes.extend_from_slice(&signal.to_le_bytes());
                bytes.extend_from_slice(&(grace.as_millis() as u64).to_le_bytes());
                bytes.extend_from_slice(cut(&cause.message, MESSAGE_BYTES).as_bytes());
            }
            Self::EndInput => bytes.push(b'E'),
            Self::Arm(offset) => {
                bytes.push(b'A');
                bytes.extend_from_slice(&offset.to_le_bytes());
            }
            Self::Reaped(status) => {
                bytes.push(b'X');
                bytes.extend_from_slice(&status.to_le_bytes());
            }
        }
        let len = bytes.len() as u16;
        bytes[..2].copy_from_slice(&len.to_le_bytes());
        bytes
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        let u64_of = |bytes: &[u8]| Some(u64::from_le_bytes(bytes.try_into().ok()?));
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
            b'A' => Some(Self::Arm(u64_of(rest)?)),
            b'X' => Some(Self::Reaped(i32_of(rest)?)),
            _ => None,
        }
    }

    /// Sends the order to the shim of task `id` through its open FIFO.
    pub fn send(&self, mut fifo: &File, id: &[u8; 8]) -> io::Result<()> {
        let bytes = self.to_bytes(id);
        // One write: a message below PIPE_BUF goes whole or not at all.
        match fifo.write(&bytes)? {
            n if n == bytes.len() => Ok(()),
            _ => Err(io::ErrorKind::WriteZero.into()),
        }
    }
}

/// Opens the FIFO of a living shim; ENXIO where there is none.
pub fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC).open(path)
}

/// Cuts the orders for task `id` out of what was read from the FIFO; a rest stays in `buffer`.
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

    #[test]
    fn orders_survive_any_cut_of_the_stream() {
        let cause = Cause { actor: Actor::Agent, message: "no longer needed".into() };
        let orders = vec![
            Order::Go,
            Order::Stop { signal: 15, grace: Duration::from_millis(2_000), cause },
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
