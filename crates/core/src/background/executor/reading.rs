//! A task's record and output at one point in time.

use std::fs::File;
use std::io;
use std::ops::Range;

use meanwhile_shim::log;
use meanwhile_shim::record::{self, Phase, Record};

use crate::background::ledger::{Finish, NewTask};
use crate::background::live::life::{Ran, Tree};
use crate::background::task::{Cause, Job, OutputStat, Preview, Survivor, Wait};
use crate::background::{convert, left};

/// The current state of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Its leader's pid, if it runs.
    pub pid: Option<u32>,
    /// How much output it has written.
    pub output: OutputStat,
    /// Who requested its stop and why, if anyone did.
    pub stopping: Option<Cause>,
    /// What it waits for before it starts, if it does.
    pub queued: Option<Wait>,
    /// What the batch system of its place calls it, where one runs it.
    pub job: Option<Job>,
    /// Processes that are still alive after a stop has done all it can.
    pub left: Vec<Survivor>,
    /// Whether it has started to read its terminal or input and has written nothing since.
    pub waits: bool,
}

/// A task's record as last read, and access to its output.
#[derive(Debug)]
pub struct Reading {
    record: Record,
    bytes: Bytes,
}

#[derive(Debug)]
enum Bytes {
    File(File),
    /// A test's output, which is complete.
    #[cfg(test)]
    Memory(Vec<u8>),
}

impl Reading {
    /// Reads the record of an open file.
    pub fn of_file(file: File) -> io::Result<Self> {
        Ok(Self { record: record::read(&file)?, bytes: Bytes::File(file) })
    }

    /// A record made by a test.
    #[cfg(test)]
    pub fn of_memory(record: Record, output: Vec<u8>) -> Self {
        Self { record, bytes: Bytes::Memory(output) }
    }

    /// Reads the record again.
    pub fn refresh(&mut self) -> io::Result<()> {
        match &self.bytes {
            Bytes::File(file) => self.record = record::read(file)?,
            #[cfg(test)]
            Bytes::Memory(_) => {}
        }
        Ok(())
    }

    /// The record as last read.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// The task's state according to the record.
    pub fn standing(&self) -> Standing {
        Standing {
            pid: self.pid(),
            output: convert::output(&self.record),
            stopping: self.record.stop.as_ref().map(convert::cause),
            queued: None,
            job: convert::job(&self.record),
            left: left::of_record(&self.record),
            waits: self.record.stalled,
        }
    }

    /// Its leader's pid; `None` before the start.
    pub fn pid(&self) -> Option<u32> {
        (self.record.leader_pid != 0).then_some(self.record.leader_pid)
    }

    /// Whether its leader is starting or has started, or the task has ended.
    pub fn has_begun(&self) -> bool {
        self.record.phase != Phase::Idle
    }

    /// Bytes written so far.
    pub fn total(&self) -> u64 {
        self.record.extent.total
    }

    /// Whether the end is recorded.
    pub fn has_ended(&self) -> bool {
        self.record.end.is_some()
    }

    /// Whether its leader ever ran.
    pub fn ran(&self) -> Ran {
        if self.record.leader_pid == 0 { Ran::Never } else { Ran::Yes }
    }

    /// Whether processes of its tree were alive at its end.
    pub fn tree(&self) -> Tree {
        match &self.record.end {
            Some(end) if !end.survivors.is_empty() => Tree::Survives,
            Some(_) | None => Tree::Gone,
        }
    }

    /// The first retained range of the output that reaches beyond `offset`, cut to begin there.
    pub fn next_kept(&self, offset: u64) -> Option<Range<u64>> {
        self.record.extent.next_kept(offset)
    }

    /// Reads output; `range` must lie in one retained range. Reads the record again; `None` if the output was
    /// overwritten meanwhile.
    pub fn read(&mut self, range: Range<u64>) -> io::Result<Option<Vec<u8>>> {
        let bytes = match &self.bytes {
            Bytes::File(file) => log::read(file, &self.record.extent, range.clone())?,
            #[cfg(test)]
            Bytes::Memory(bytes) => bytes[range.start as usize..range.end as usize].to_vec(),
        };
        self.refresh()?;
        let still = self.next_kept(range.start);
        let whole = still.is_some_and(|kept| kept.start == range.start && kept.end >= range.end);
        Ok(whole.then_some(bytes))
    }

    /// The beginning and end of the output.
    pub fn preview(&self) -> Preview {
        match &self.bytes {
            Bytes::File(file) => convert::preview(file, &self.record),
            #[cfg(test)]
            Bytes::Memory(bytes) => crate::background::preview::build(bytes, bytes, self.total()),
        }
    }

    /// The task's end according to its record; `None` if it has not ended.
    pub fn finish(&self, task: NewTask) -> Option<Finish> {
        Some(Finish {
            task,
            pid: self.pid(),
            end: convert::end(self.record.end.as_ref()?),
            output: convert::output(&self.record),
            progress: None,
            survivors: convert::survivors(&self.record),
            preview: self.preview(),
            matches: Vec::new(),
            job: convert::job(&self.record),
        })
    }
}
