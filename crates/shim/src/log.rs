//! The log of a task: its beginning, and a ring of its end, in the record's own file.
//!
//! Byte `o` of the output lies at `o` while it is below the head's capacity, and in the ring
//! otherwise. A ring reuses its pages: on the machine this was measured on, a gigabyte through a
//! pipe into a ring took a third of the time of a gigabyte into a plain file, and the disk is
//! bounded on every file system, with no holes to punch.
//!
//! A write that fails (a full disk, a quota) loses log, never the task: the bytes count as
//! dropped, and the log goes on once there is space again.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use crate::record::HEADER_BYTES;

/// What of an output is kept, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Extent {
    /// Bytes written so far.
    pub total: u64,
    /// The head is whole up to here.
    pub head_len: u64,
    /// Nothing between the head and here is kept: a write failed. From here on all was written.
    pub tail_from: u64,
    /// Bytes kept from the beginning.
    pub head_cap: u64,
    /// Bytes kept from the end.
    pub tail_cap: u64,
    /// A write up to here may be under way: what it overwrites in the ring is gone already.
    pub reserved: u64,
}

impl Extent {
    /// The ranges of the output that are kept, in order, none empty, no two touching.
    pub fn kept(&self) -> Vec<Range<u64>> {
        let end = self.total.max(self.reserved);
        let ring_from = self.head_cap.max(end.saturating_sub(self.tail_cap));
        let total = self.total;
        let ranges = [
            0..self.head_len.min(total),
            self.tail_from..self.head_cap.min(total),
            ring_from.max(self.tail_from)..total,
        ];
        let mut kept: Vec<Range<u64>> = Vec::with_capacity(3);
        for range in ranges.into_iter().filter(|range| range.start < range.end) {
            match kept.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                Some(_) | None => kept.push(range),
            }
        }
        kept
    }

    /// Bytes that are no longer kept, or never were.
    pub fn dropped(&self) -> u64 {
        self.total - self.kept().iter().map(|range| range.end - range.start).sum::<u64>()
    }

    /// The first kept range that reaches beyond `offset`, cut to begin there.
    pub fn next_kept(&self, offset: u64) -> Option<Range<u64>> {
        let range = self.kept().into_iter().find(|range| range.end > offset)?;
        Some(range.start.max(offset)..range.end)
    }

    /// Where byte `offset` lies in the file, and how many follow it there without a break.
    fn place(&self, offset: u64) -> (u64, u64) {
        let header = HEADER_BYTES as u64;
        if offset < self.head_cap {
            (header + offset, self.head_cap - offset)
        } else {
            let at = (offset - self.head_cap) % self.tail_cap.max(1);
            (header + self.head_cap + at, self.tail_cap - at)
        }
    }

    /// Takes note of a write of `len` bytes at the end that succeeded or failed.
    fn advance(&mut self, len: u64, written: bool) {
        let from = self.total;
        self.total += len;
        if !written {
            self.tail_from = self.total;
        } else if from == self.head_len && from < self.head_cap {
            self.head_len = self.total.min(self.head_cap);
        }
    }
}

/// Writes `data` behind what is there. `publish` is told of every step, so that a reader never
/// takes for kept what is being overwritten; the log's own failures never reach the task.
pub fn append(file: &File, extent: &mut Extent, mut data: &[u8], publish: impl Fn(&Extent)) {
    while !data.is_empty() {
        let (at, room) = extent.place(extent.total);
        // A log without a ring keeps its head only.
        let (now, keep) = match room {
            0 => (data.len(), false),
            room => (data.len().min(usize::try_from(room).unwrap_or(usize::MAX)), true),
        };
        let (piece, rest) = data.split_at(now);
        extent.reserved = extent.total + now as u64;
        publish(extent);
        let written = keep && file.write_all_at(piece, at).is_ok();
        extent.advance(now as u64, written);
        publish(extent);
        data = rest;
    }
}

/// Writes bytes where those of this offset lie.
pub(crate) fn write_at(
    file: &File,
    extent: &Extent,
    mut offset: u64,
    mut data: &[u8],
) -> io::Result<()> {
    while !data.is_empty() {
        let (at, room) = extent.place(offset);
        let now = data.len().min(usize::try_from(room).unwrap_or(usize::MAX));
        if now == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let (piece, rest) = data.split_at(now);
        file.write_all_at(piece, at)?;
        offset += now as u64;
        data = rest;
    }
    Ok(())
}

/// Reads what is kept from `range`, which must lie in one kept range of `extent`. The caller reads
/// the record again afterwards and throws away what was overwritten meanwhile.
pub fn read(file: &File, extent: &Extent, range: Range<u64>) -> io::Result<Vec<u8>> {
    let mut data = vec![0; usize::try_from(range.end - range.start).unwrap_or(0)];
    let mut done = 0;
    while done < data.len() {
        let (at, room) = extent.place(range.start + done as u64);
        let len = (data.len() - done).min(usize::try_from(room).unwrap_or(usize::MAX));
        if len == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        file.read_exact_at(&mut data[done..done + len], at)?;
        done += len;
    }
    Ok(data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn byte(offset: u64) -> u8 {
        (offset.wrapping_mul(31) >> 3) as u8
    }

    fn check_log(head_cap: u64, tail_cap: u64, writes: &[(u64, bool)]) {
        let file = tempfile::tempfile().unwrap();
        let mut extent = Extent { head_cap, tail_cap, ..Extent::default() };
        for (len, works) in writes {
            let data: Vec<u8> = (extent.total..extent.total + len).map(byte).collect();
            if *works {
                append(&file, &mut extent, &data, |_| ());
            } else {
                extent.reserved = extent.total + len;
                extent.advance(*len, false);
            }
            let kept = extent.kept();
            assert!(kept.windows(2).all(|pair| pair[0].end < pair[1].start), "{kept:?}");
            for range in kept {
                let data = read(&file, &extent, range.clone()).unwrap();
                assert_eq!(data, range.map(byte).collect::<Vec<_>>(), "{extent:?}");
            }
        }
        let all_worked = writes.iter().all(|(_, works)| *works);
        if all_worked {
            let want = extent.total.saturating_sub(head_cap + tail_cap);
            assert_eq!(extent.dropped(), want, "{extent:?}");
        }
    }

    #[test]
    fn the_ends_are_kept_and_the_middle_goes() {
        check_log(10, 20, &[(5, true), (5, true), (7, true), (100, true), (3, true)]);
    }

    #[test]
    fn a_failed_write_is_a_gap_and_the_log_goes_on() {
        check_log(100, 50, &[(20, true), (10, false), (30, true), (90, true), (200, true)]);
    }

    #[test]
    fn a_log_without_a_ring_keeps_its_head() {
        check_log(10, 0, &[(8, true), (8, true), (8, true)]);
    }

    proptest! {
        #[test]
        fn whatever_is_called_kept_reads_back(
            head in 0u64..64, tail in 0u64..64,
            writes in proptest::collection::vec((0u64..90, proptest::bool::weighted(0.8)), 0..12),
        ) {
            check_log(head, tail, &writes);
        }
    }
}
