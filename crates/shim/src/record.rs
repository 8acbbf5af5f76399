//! The record of a task: who supervises it, how much it wrote, and how it ended.
//!
//! It is the first [`HEADER_BYTES`] of the file `record`, which are allocated before the task starts,
//! because an allocated record can be written on a full disk. The end is written once, protected by a
//! CRC, and published by the phase. Readers never guess: bytes that do not parse are not an end.
//!
//! All numbers are little-endian. From byte 6 656 on, a record of version 0.1.0 is all zeros, and readers
//! of that version ignore these bytes. Version 1:
//!
//! | at | bytes | what |
//! |---|---|---|
//! | 0 | 8 | magic and version, `MWTASK01` |
//! | 8 | 4 | phase: 0 idle, 1 starting, 2 running, 3 stopping, 4 ended |
//! | 12 | 4 | flags: 1 = waits for input, 2 = waits for its turn |
//! | 16 | 4, 4, 8 | the shim's pid, the leader's pid, the leader's start time |
//! | 32 | 16 | boot id |
//! | 48 | 8 × 6 | log: total, head length, tail start, head capacity, tail capacity, reserved |
//! | 96 | 8, 8 | the inodes of the pipe of its output and, while input can be written, of the pipe of its input |
//! | 112 | 1, 1, 2 | stop: actor, pad, message length |
//! | 116 | 512 | stop: message |
//! | 636 | 4 | length of the last bytes |
//! | 640 | 3 968 | the end, see [`End`] |
//! | 4 608 | 2 048 | the last bytes that the task wrote, even if writing the log failed |
//! | 6 656 | 3 × 2, 1, 1 | the shim: its version, how many kinds of order it knows, pad |
//! | 6 664 | 8 | how many orders it has taken |
//! | 6 672 | 16 | the kinds of order it knows, a byte each, see [`crate::ctl`] |
//! | 6 688 | 1, 1, 2, 4 | the last signal it was ordered to send: actor, pad, message length, signal |
//! | 6 696 | 512 | that order's message |
//! | 7 208 | 4 | the pid of the shim that wrote these abilities; they are ignored if another shim runs the task |
//! | 7 212 | 4, 16 × 4 | how many processes could not be ended, and their pids |
//! | 7 280 | 8 | its control group's `oom_kill` at its start, plus one; 0: not known |
//! | 7 288 | 4, 4, 8 | bits: 1 = it runs at a place, 2 = output not fetched yet, 4 = may have been sent; pad; fetches so far |
//! | 7 304 | 8, 8, 4 | its id at its place, the hash of the place, 1 = its input has ended |
//! | 7 324 | 4, 2, 600 | what an engine there says of it: CRC-32 of the text, its length, the text |
//! | 8 192 | | the log |

mod abilities;
pub mod elsewhere;
mod processes;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::log::Extent;
use crate::map::Map;

pub use abilities::{Abilities, Sent};
pub use elsewhere::{Elsewhere, Engine, SAME};

/// Bytes before the log.
pub const HEADER_BYTES: usize = 8_192;
/// The maximum length of a message in a record, in bytes.
pub const MESSAGE_BYTES: usize = 512;
/// The maximum number of survivors named in a record.
pub const SURVIVORS_MAX: usize = 16;
/// The maximum length of a survivor's command, in bytes.
pub const SURVIVOR_BYTES: usize = 200;
/// How many of the last bytes of the output the header holds.
pub const LAST_BYTES: usize = 2_048;

pub(crate) const MAGIC: &[u8; 8] = b"MWTASK01";
pub(crate) const AT_PHASE: usize = 8;
pub(crate) const AT_FLAGS: usize = 12;
pub(crate) const AT_SHIM_PID: usize = 16;
pub(crate) const AT_LEADER_PID: usize = 20;
pub(crate) const AT_LEADER_START: usize = 24;
pub(crate) const AT_BOOT_ID: usize = 32;
pub(crate) const AT_TOTAL: usize = 48;
pub(crate) const AT_HEAD_LEN: usize = 56;
pub(crate) const AT_TAIL_FROM: usize = 64;
pub(crate) const AT_HEAD_CAP: usize = 72;
pub(crate) const AT_TAIL_CAP: usize = 80;
pub(crate) const AT_RESERVED: usize = 88;
pub(crate) const AT_PIPE: usize = 96;
pub(crate) const AT_INPUT: usize = 104;
pub(crate) const AT_STOP: usize = 112;
pub(crate) const AT_LAST_LEN: usize = 636;
pub(crate) const AT_END: usize = 640;
pub(crate) const END_BYTES: usize = 3_968;
pub(crate) const AT_LAST: usize = 4_608;
pub(crate) const FLAG_STALLED: u32 = 1;
pub(crate) const FLAG_QUEUED: u32 = 2;

const SURVIVOR_SLOT: usize = SURVIVOR_BYTES + 8;
const END_SURVIVORS: usize = 80 + MESSAGE_BYTES;
const _: () = assert!(END_SURVIVORS + SURVIVORS_MAX * SURVIVOR_SLOT <= END_BYTES);
const _: () =
    assert!(AT_END + END_BYTES == AT_LAST && AT_LAST + LAST_BYTES <= abilities::AT_VERSION);

/// The phase of a task's life, as its supervisor writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Phase {
    /// The shim waits for a task.
    Idle = 0,
    /// The shim has a task and is about to start the leader.
    Starting = 1,
    /// The leader runs.
    Running = 2,
    /// The shim is ending the process tree.
    Stopping = 3,
    /// The end is written.
    Ended = 4,
}

impl Phase {
    fn from_u32(value: u32) -> Option<Self> {
        [Self::Idle, Self::Starting, Self::Running, Self::Stopping, Self::Ended]
            .into_iter()
            .find(|phase| *phase as u32 == value)
    }
}

/// Who asked for a stop or a signal. The numbers are those in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Actor {
    /// A person or program.
    Client = 1,
    /// An agent's model.
    Agent = 2,
    /// The task's deadline.
    Deadline = 3,
    /// No daemon was attached for the linger time.
    Linger = 4,
    /// A limit of the machine.
    Limit = 5,
    /// The daemon or the shim.
    Daemon = 6,
    /// A task that it waited for. The file has the number of the daemon instead, and a mark that version 0.1.0,
    /// which does not know this actor, ignores.
    Dependency = 7,
    /// The batch system that runs it at its place. In the file it is the daemon, with another mark.
    Engine = 8,
}

impl Actor {
    /// Its number in an order or a record.
    pub fn to_u8(self) -> u8 {
        match self {
            Self::Dependency | Self::Engine => Self::Daemon as u8,
            Self::Client
            | Self::Agent
            | Self::Deadline
            | Self::Linger
            | Self::Limit
            | Self::Daemon => self as u8,
        }
    }

    /// The actor of this number; `None` if it is unknown.
    pub fn from_u8(value: u8) -> Option<Self> {
        [Self::Client, Self::Agent, Self::Deadline, Self::Linger, Self::Limit, Self::Daemon]
            .into_iter()
            .find(|actor| *actor as u8 == value)
    }
}

/// Who asked for a stop or a signal, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// Who asked for it.
    pub actor: Actor,
    /// Why, as text for people and models; a record keeps at most [`MESSAGE_BYTES`] of it.
    pub message: String,
}

/// How a task ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Outcome {
    /// Its leader exited, or could not be started.
    Exited = 0,
    /// It was stopped by an order.
    Stopped = 1,
    /// It was stopped at its deadline.
    TimedOut = 2,
    /// Its supervisor was killed, and no other process saw how it ended.
    Lost = 3,
}

/// The leader's wait status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It exited with this code.
    Code(i32),
    /// It was killed by this signal.
    Signal(i32),
    /// It was never started, because of this errno(3).
    NotStarted(i32),
    /// The status is not known.
    Unknown,
}

/// A descendant that outlived the leader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survivor {
    /// Its process id.
    pub pid: u32,
    /// Its command line, at most [`SURVIVOR_BYTES`] of it.
    pub command: String,
}

/// A task's end. It is written once.
///
/// In the file: CRC-32 (4) of the rest, outcome (1), exit kind (1), cause's actor or 0 (1), 1 if the
/// actor is a dependency and 2 if it is an engine (1), exit value (4), pad (4), ended at (8), duration (8), total (8), dropped (8), pad (24),
/// message length (2), survivors (2), pad (4), message (512), survivors of 208 bytes each: pid (4), length
/// (2), pad (2), command (200).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// How the task ended.
    pub outcome: Outcome,
    /// The leader's status from the kernel.
    pub exit: Exit,
    /// Who ended the task and why; `None` if the command ended by itself.
    pub cause: Option<Cause>,
    /// When, in milliseconds since the epoch.
    pub at_ms: i64,
    /// How long it ran, in nanoseconds of the monotonic clock.
    pub duration_ns: u64,
    /// How many bytes of output the task had written.
    pub total: u64,
    /// How many of these bytes are not kept.
    pub dropped: u64,
    /// Processes of the tree that still ran then.
    pub survivors: Vec<Survivor>,
}

/// The contents of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The phase of the task's life.
    pub phase: Phase,
    /// Whether the task waits for input.
    pub stalled: bool,
    /// Whether the task waits for its turn; its shim then holds the FIFO `line` open.
    pub queued: bool,
    /// The pid of its shim.
    pub shim_pid: u32,
    /// The pid of its leader; 0 before the start.
    pub leader_pid: u32,
    /// The leader's start time, see [`crate::clock::start_time`].
    pub leader_start: u64,
    /// The id of the boot in which its shim was started, see [`crate::clock::boot_id`].
    pub boot_id: [u8; 16],
    /// The inode of the pipe of its output.
    pub pipe: u64,
    /// The inode of the pipe of its input; 0 if it has none, has not got it yet, or its input was ended.
    /// Version 0.1.0 had a FIFO in the folder instead.
    pub input: u64,
    /// Which parts of its output are kept, and at which offsets.
    pub extent: Extent,
    /// Who asked for its end; set from phase stopping on.
    pub stop: Option<Cause>,
    /// Which orders its shim knows, and how many it has taken.
    pub shim: Abilities,
    /// The last signal that its shim was ordered to send.
    pub signal: Option<Sent>,
    /// Pids of its processes that an order to stop could not end.
    pub left: Vec<u32>,
    /// How many processes of its control group the kernel had killed because of low memory when the task started;
    /// `None` if not known.
    pub oom_kills: Option<u64>,
    /// The last bytes of its output, at most [`LAST_BYTES`].
    pub last: Vec<u8>,
    /// The end, from phase ended on.
    pub end: Option<End>,
    /// Set if it runs at a place.
    pub elsewhere: Option<Elsewhere>,
    /// What an engine of that place says of it.
    pub engine: Option<Engine>,
}

/// Why bytes are not a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordError {
    /// They are shorter than a header.
    Short,
    /// They begin with another magic number or version.
    Magic,
    /// The number in this field is out of range.
    Range(&'static str),
    /// The checksum of the end is wrong.
    Checksum,
}

impl std::fmt::Display for RecordError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Short => f.write_str("the record is shorter than its header"),
            Self::Magic => f.write_str("not a record of this version"),
            Self::Range(field) => write!(f, "the record's {field} is out of range"),
            Self::Checksum => f.write_str("the checksum of the record's end is wrong"),
        }
    }
}

impl std::error::Error for RecordError {}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

fn text_at(bytes: &[u8], at: usize, len: usize) -> String {
    String::from_utf8_lossy(&bytes[at..at + len]).into_owned()
}

/// Reads a cause: actor (1), pad (1) and the message's length (2) are at `at`, the message is at `message`.
fn cause_at(bytes: &[u8], at: usize, message: usize) -> Result<Option<Cause>, RecordError> {
    if bytes[at] == 0 {
        return Ok(None);
    }
    let len = usize::from(u16_at(bytes, at + 2));
    if len > MESSAGE_BYTES {
        return Err(RecordError::Range("length of a cause's message"));
    }
    let actor = Actor::from_u8(bytes[at]).ok_or(RecordError::Range("actor"))?;
    Ok(Some(Cause { actor, message: text_at(bytes, message, len) }))
}

/// At most the first `max` bytes of `text`, cut at a character boundary.
pub fn cut(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

/// Parses a record from the first [`HEADER_BYTES`] of its file.
pub fn parse(bytes: &[u8]) -> Result<Record, RecordError> {
    let bytes = bytes.get(..HEADER_BYTES).ok_or(RecordError::Short)?;
    if &bytes[..8] != MAGIC {
        return Err(RecordError::Magic);
    }
    let phase = Phase::from_u32(u32_at(bytes, AT_PHASE)).ok_or(RecordError::Range("phase"))?;
    let stop = cause_at(bytes, AT_STOP, AT_STOP + 4)?;
    let last_len = u32_at(bytes, AT_LAST_LEN) as usize;
    if last_len > LAST_BYTES {
        return Err(RecordError::Range("length of the last bytes"));
    }
    let extent = Extent {
        total: u64_at(bytes, AT_TOTAL),
        head_len: u64_at(bytes, AT_HEAD_LEN),
        tail_from: u64_at(bytes, AT_TAIL_FROM),
        head_cap: u64_at(bytes, AT_HEAD_CAP),
        tail_cap: u64_at(bytes, AT_TAIL_CAP),
        reserved: u64_at(bytes, AT_RESERVED),
    };
    if extent.head_cap > i64::MAX as u64 / 4 || extent.tail_cap > i64::MAX as u64 / 4 {
        return Err(RecordError::Range("log capacity"));
    }
    Ok(Record {
        phase,
        stalled: u32_at(bytes, AT_FLAGS) & FLAG_STALLED != 0,
        queued: u32_at(bytes, AT_FLAGS) & FLAG_QUEUED != 0,
        shim_pid: u32_at(bytes, AT_SHIM_PID),
        leader_pid: u32_at(bytes, AT_LEADER_PID),
        leader_start: u64_at(bytes, AT_LEADER_START),
        boot_id: bytes[AT_BOOT_ID..AT_BOOT_ID + 16].try_into().expect("sixteen bytes"),
        pipe: u64_at(bytes, AT_PIPE),
        input: u64_at(bytes, AT_INPUT),
        extent,
        stop,
        shim: Abilities::parse(bytes)?,
        signal: Sent::parse(bytes)?,
        left: processes::left(bytes)?,
        oom_kills: processes::oom_kills(bytes),
        last: bytes[AT_LAST..AT_LAST + last_len].to_vec(),
        elsewhere: elsewhere::parse(bytes),
        engine: elsewhere::parse_engine(bytes),
        end: match phase {
            Phase::Ended => Some(End::parse(&bytes[AT_END..AT_END + END_BYTES])?),
            Phase::Idle | Phase::Starting | Phase::Running | Phase::Stopping => None,
        },
    })
}

/// Reads the record of an open file.
pub fn read(file: &File) -> io::Result<Record> {
    let mut bytes = vec![0; HEADER_BYTES];
    file.read_exact_at(&mut bytes, 0)?;
    parse(&bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// A record that its supervisor writes.
#[derive(Debug)]
pub struct Sheet {
    map: Map,
}

impl Sheet {
    /// Creates the record of this file, whose header must be allocated.
    pub fn create(file: &File) -> io::Result<Self> {
        let mut sheet = Self::open(file)?;
        sheet.map.write(0, MAGIC);
        sheet.map.write(AT_BOOT_ID, &crate::clock::boot_id());
        Ok(sheet)
    }

    /// Opens the existing record of this file, and writes this process's pid as the shim's.
    pub fn open(file: &File) -> io::Result<Self> {
        let sheet = Self { map: Map::new(file, HEADER_BYTES)? };
        sheet.map.store_u32(AT_SHIM_PID, std::process::id());
        Ok(sheet)
    }

    /// Sets the phase.
    pub fn phase(&self, phase: Phase) {
        self.map.store_u32(AT_PHASE, phase as u32);
    }

    /// Records the leader and the phase running.
    pub fn leader(&self, pid: u32, start_time: u64) {
        self.map.store_u64(AT_LEADER_START, start_time);
        self.map.store_u32(AT_LEADER_PID, pid);
        self.map.store_u32(AT_FLAGS, 0);
        self.phase(Phase::Running);
    }

    /// Records the inode of the output's pipe.
    pub fn pipe(&self, inode: u64) {
        self.map.store_u64(AT_PIPE, inode);
    }

    /// Records the inode of the input's pipe; 0: no more input can be written.
    pub fn input(&self, inode: u64) {
        self.map.store_u64(AT_INPUT, inode);
    }

    /// Records which parts of the output the log holds.
    pub fn extent(&self, extent: &Extent) {
        // `reserved` first: a reader that sees a new total must see what was overwritten for it.
        self.map.store_u64(AT_RESERVED, extent.reserved);
        self.map.store_u64(AT_TAIL_FROM, extent.tail_from);
        self.map.store_u64(AT_HEAD_CAP, extent.head_cap);
        self.map.store_u64(AT_TAIL_CAP, extent.tail_cap);
        self.map.store_u64(AT_HEAD_LEN, extent.head_len);
        self.map.store_u64(AT_TOTAL, extent.total);
    }

    /// Records the last bytes of the output.
    pub fn last(&mut self, bytes: &[u8]) {
        let bytes = &bytes[bytes.len().saturating_sub(LAST_BYTES)..];
        self.map.write(AT_LAST, bytes);
        self.map.store_u32(AT_LAST_LEN, bytes.len() as u32);
    }

    /// Records whether the task waits for input.
    pub fn stalled(&self, stalled: bool) {
        self.map.store_u32(AT_FLAGS, if stalled { FLAG_STALLED } else { 0 });
    }

    /// Records whether the task waits for its turn.
    pub fn queued(&self, queued: bool) {
        self.map.store_u32(AT_FLAGS, if queued { FLAG_QUEUED } else { 0 });
    }

    /// Records who asked for the end, and the phase stopping.
    pub fn stopping(&mut self, cause: &Cause) {
        let message = cut(&cause.message, MESSAGE_BYTES).as_bytes();
        self.map.write(AT_STOP + 4, message);
        self.map.write(AT_STOP + 2, &(message.len() as u16).to_le_bytes());
        self.map.write(AT_STOP, &[cause.actor.to_u8()]);
        self.phase(Phase::Stopping);
    }

    /// Writes the end and publishes it.
    pub fn end(&mut self, end: &End) {
        self.map.write(AT_END, &end.to_bytes());
        self.phase(Phase::Ended);
    }
}

impl End {
    /// The bytes of the end in the file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; END_BYTES];
        let (kind, value) = match self.exit {
            Exit::Code(code) => (0, code),
            Exit::Signal(signal) => (1, signal),
            Exit::NotStarted(errno) => (2, errno),
            Exit::Unknown => (3, 0),
        };
        bytes[4] = self.outcome as u8;
        bytes[5] = kind;
        bytes[8..12].copy_from_slice(&value.to_le_bytes());
        let numbers = [self.at_ms as u64, self.duration_ns, self.total, self.dropped];
        for (i, number) in numbers.into_iter().enumerate() {
            bytes[16 + 8 * i..24 + 8 * i].copy_from_slice(&number.to_le_bytes());
        }
        if let Some(cause) = &self.cause {
            let message = cut(&cause.message, MESSAGE_BYTES).as_bytes();
            bytes[6] = cause.actor.to_u8();
            bytes[7] = match cause.actor {
                Actor::Dependency => 1,
                Actor::Engine => 2,
                Actor::Client
                | Actor::Agent
                | Actor::Deadline
                | Actor::Linger
                | Actor::Limit
                | Actor::Daemon => 0,
            };
            bytes[72..74].copy_from_slice(&(message.len() as u16).to_le_bytes());
            bytes[80..80 + message.len()].copy_from_slice(message);
        }
        let survivors = &self.survivors[..self.survivors.len().min(SURVIVORS_MAX)];
        bytes[74..76].copy_from_slice(&(survivors.len() as u16).to_le_bytes());
        for (i, survivor) in survivors.iter().enumerate() {
            let at = END_SURVIVORS + i * SURVIVOR_SLOT;
            let command = cut(&survivor.command, SURVIVOR_BYTES).as_bytes();
            bytes[at..at + 4].copy_from_slice(&survivor.pid.to_le_bytes());
            bytes[at + 4..at + 6].copy_from_slice(&(command.len() as u16).to_le_bytes());
            bytes[at + 8..at + 8 + command.len()].copy_from_slice(command);
        }
        let crc = crc32fast::hash(&bytes[4..]);
        bytes[..4].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    fn parse(bytes: &[u8]) -> Result<Self, RecordError> {
        if u32_at(bytes, 0) != crc32fast::hash(&bytes[4..]) {
            return Err(RecordError::Checksum);
        }
        let outcome = [Outcome::Exited, Outcome::Stopped, Outcome::TimedOut, Outcome::Lost]
            .into_iter()
            .find(|outcome| *outcome as u8 == bytes[4])
            .ok_or(RecordError::Range("outcome"))?;
        let value = u32_at(bytes, 8) as i32;
        let exit = match bytes[5] {
            0 => Exit::Code(value),
            1 => Exit::Signal(value),
            2 => Exit::NotStarted(value),
            3 => Exit::Unknown,
            _ => return Err(RecordError::Range("exit")),
        };
        let message_len = usize::from(u16_at(bytes, 72));
        let survivors = usize::from(u16_at(bytes, 74));
        if message_len > MESSAGE_BYTES || survivors > SURVIVORS_MAX {
            return Err(RecordError::Range("lengths"));
        }
        let cause = match bytes[6] {
            0 => None,
            actor => Some(Cause {
                actor: match bytes[7] {
                    0 => Actor::from_u8(actor).ok_or(RecordError::Range("actor"))?,
                    2 => Actor::Engine,
                    _ => Actor::Dependency,
                },
                message: text_at(bytes, 80, message_len),
            }),
        };
        let survivors = (0..survivors)
            .map(|i| {
                let at = END_SURVIVORS + i * SURVIVOR_SLOT;
                let len = usize::from(u16_at(bytes, at + 4));
                if len > SURVIVOR_BYTES {
                    return Err(RecordError::Range("survivor"));
                }
                Ok(Survivor { pid: u32_at(bytes, at), command: text_at(bytes, at + 8, len) })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            outcome,
            exit,
            cause,
            at_ms: u64_at(bytes, 16) as i64,
            duration_ns: u64_at(bytes, 24),
            total: u64_at(bytes, 32),
            dropped: u64_at(bytes, 40),
            survivors,
        })
    }
}

#[cfg(test)]
mod tests;
