//! The fields of a record for a task that runs at a place. The courier writes the record; the pids are those of the
//! place's machine, and the log has the output that was fetched so far.

use super::{HEADER_BYTES, Sheet, cut, text_at, u16_at, u32_at, u64_at};
use crate::log::{self, Extent};

/// 0 if the task runs on this machine; otherwise the bits below.
const AT_ELSEWHERE: usize = 7_288;
const AT_FETCHES: usize = 7_296;
const AT_REMOTE: usize = 7_304;
const AT_PLACE: usize = 7_312;
const AT_INPUT_ENDED: usize = 7_320;
const AT_ENGINE: usize = 7_324;
/// The most bytes of the text about an engine.
const ENGINE_BYTES: usize = 705;
/// The most bytes of one field in it.
const WORD_BYTES: usize = 140;
const _: () = assert!(AT_INPUT_ENDED + 4 == AT_ENGINE);
const _: () = assert!(AT_ENGINE + 6 + ENGINE_BYTES <= HEADER_BYTES);
const _: () = assert!(5 * (WORD_BYTES + 1) <= ENGINE_BYTES);

const BIT_ELSEWHERE: u32 = 1;
const BIT_PARTIAL: u32 = 2;
const BIT_SENT: u32 = 4;

/// The state of a task at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elsewhere {
    /// The task has ended, and not all output that the place keeps was fetched.
    pub partial: bool,
    /// The task may have been sent to its place.
    pub sent: bool,
    /// The input has ended, and the place may not have been told yet.
    pub input_ended: bool,
    /// The task's id at the place, once that is known.
    pub remote: Option<[u8; 8]>,
    /// The hash of the place's name, see [`crate::place::bell_hash`].
    pub place: u64,
    /// How many fetches of its output have finished.
    pub fetches: u64,
}

/// What is known of a task at its place: from its engine, a batch system, and about its sources.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Engine {
    /// The name of the engine: `slurm`.
    pub name: String,
    /// The job id of the task; empty until it is known.
    pub job: String,
    /// The node on which the task runs; empty until it has one.
    pub node: String,
    /// Why the task waits; empty if it does not wait.
    pub reason: String,
    /// How its sources there differ from those here, or [`SAME`]; empty until they were compared.
    pub sources: String,
}

/// The sources of a task are the same here and at its place.
pub const SAME: &str = "=";

pub(super) fn parse_engine(bytes: &[u8]) -> Option<Engine> {
    let (at, len) = (AT_ENGINE + 6, usize::from(u16_at(bytes, AT_ENGINE + 4)));
    if len == 0 || len > ENGINE_BYTES {
        return None;
    }
    // The checksum fails while the text is being written.
    if crc32fast::hash(&bytes[at..at + len]) != u32_at(bytes, AT_ENGINE) {
        return None;
    }
    let text = text_at(bytes, at, len);
    let mut words = text.split('\n').map(str::to_owned);
    let mut next = || words.next().unwrap_or_default();
    Some(Engine { name: next(), job: next(), node: next(), reason: next(), sources: next() })
}

pub(super) fn parse(bytes: &[u8]) -> Option<Elsewhere> {
    let bits = u32_at(bytes, AT_ELSEWHERE);
    (bits & BIT_ELSEWHERE != 0).then(|| Elsewhere {
        partial: bits & BIT_PARTIAL != 0,
        sent: bits & BIT_SENT != 0,
        input_ended: u32_at(bytes, AT_INPUT_ENDED) != 0,
        remote: Some(bytes[AT_REMOTE..AT_PLACE].try_into().expect("eight bytes"))
            .filter(|id| *id != [0; 8]),
        place: u64_at(bytes, AT_PLACE),
        fetches: u64_at(bytes, AT_FETCHES),
    })
}

impl Sheet {
    /// Records that the task runs at the place with this hash.
    pub fn elsewhere(&self, place: u64) {
        self.map.store_u64(AT_PLACE, place);
        self.map.store_u32(AT_ELSEWHERE, BIT_ELSEWHERE);
    }

    /// Records that the task may have been sent to its place.
    pub fn sent(&self) {
        self.map.store_u32(AT_ELSEWHERE, BIT_ELSEWHERE | BIT_SENT);
    }

    /// Records the task's id at the place.
    pub fn remote(&mut self, id: &[u8; 8]) {
        self.map.write(AT_REMOTE, id);
    }

    /// Records whether output of the ended task is still to be fetched.
    pub fn partial(&self, partial: bool) {
        let partial = if partial { BIT_PARTIAL } else { 0 };
        self.map.store_u32(AT_ELSEWHERE, BIT_ELSEWHERE | BIT_SENT | partial);
    }

    /// Records that the input has ended, or, with `false`, that the place was told.
    pub fn input_ended(&self, ended: bool) {
        self.map.store_u32(AT_INPUT_ENDED, u32::from(ended));
    }

    /// Records what the engine reports about the task.
    pub fn engine(&mut self, engine: &Engine) {
        let word = |word: &str| cut(word, WORD_BYTES).replace(char::is_control, " ");
        let words = [&engine.name, &engine.job, &engine.node, &engine.reason, &engine.sources]
            .map(|it| word(it));
        let text = words.join("\n");
        let bytes = cut(&text, ENGINE_BYTES).as_bytes();
        self.map.write(AT_ENGINE, &crc32fast::hash(bytes).to_le_bytes());
        self.map.write(AT_ENGINE + 4, &(bytes.len() as u16).to_le_bytes());
        self.map.write(AT_ENGINE + 6, bytes);
    }

    /// Stores the number of fetches of the task's output.
    pub fn fetched(&self, fetches: u64) {
        self.map.store_u64(AT_FETCHES, fetches);
    }
}

/// Sets the total length of an ended task's output, of which nothing after the head was fetched yet.
pub fn end_extent(extent: &mut Extent, total: u64) {
    if total > extent.total {
        extent.total = total;
        extent.tail_from = total;
        extent.reserved = total;
    }
}

/// The next range of an ended task's output to fetch, if any: the head first, then the tail.
/// `head_done`: no more of the head can be fetched; `filled_to`: the end of what was fetched of the tail.
pub fn next_missing(
    extent: &Extent,
    head_done: bool,
    filled_to: u64,
) -> Option<std::ops::Range<u64>> {
    let head_end = extent.head_cap.min(extent.total);
    if !head_done && extent.head_len < head_end {
        return Some(extent.head_len..head_end);
    }
    let from = tail_start(extent).max(filled_to);
    (extent.tail_from >= extent.total && from < extent.total).then_some(from..extent.total)
}

/// The offset of the longest tail of the output that the log has room for.
pub fn tail_start(extent: &Extent) -> u64 {
    extent.head_cap.max(extent.total.saturating_sub(extent.tail_cap))
}

/// Writes output that was fetched after the end. It starts at `offset`, which [`next_missing`] returned.
///
/// # Errors
///
/// I/O errors of the file system.
pub fn fill(
    file: &std::fs::File,
    extent: &mut Extent,
    offset: u64,
    data: &[u8],
) -> std::io::Result<()> {
    log::write_at(file, extent, offset, data)?;
    if offset == extent.head_len && offset < extent.head_cap {
        extent.head_len = (offset + data.len() as u64).min(extent.head_cap);
    }
    Ok(())
}

/// Records that the tail of the output was fetched, from `from` on.
pub fn end_filled(extent: &mut Extent, from: u64) {
    extent.tail_from = from;
}

#[cfg(test)]
mod tests {
    use super::super::read;
    use super::*;
    use proptest::prelude::*;

    fn byte(offset: u64) -> u8 {
        (offset.wrapping_mul(31) >> 3) as u8
    }

    #[test]
    fn a_record_stores_that_its_task_runs_elsewhere() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(HEADER_BYTES as u64).unwrap();
        let mut sheet = Sheet::create(&file).unwrap();
        assert_eq!(read(&file).unwrap().elsewhere, None);
        sheet.elsewhere(7);
        let mut expected = Elsewhere {
            partial: false,
            sent: false,
            input_ended: false,
            remote: None,
            place: 7,
            fetches: 0,
        };
        assert_eq!(read(&file).unwrap().elsewhere, Some(expected));
        sheet.sent();
        sheet.remote(b"0123abcd");
        sheet.fetched(3);
        expected = Elsewhere { sent: true, remote: Some(*b"0123abcd"), fetches: 3, ..expected };
        assert_eq!(read(&file).unwrap().elsewhere, Some(expected));
        sheet.partial(true);
        assert!(read(&file).unwrap().elsewhere.unwrap().partial);
        assert_eq!(read(&file).unwrap().engine, None);
        let engine = Engine {
            name: "slurm".to_owned(),
            job: "17".to_owned(),
            node: String::new(),
            reason: "Resources\n".repeat(99),
            sources: SAME.to_owned(),
        };
        sheet.engine(&engine);
        let reason = "Resources ".repeat(14);
        assert_eq!(read(&file).unwrap().engine, Some(Engine { reason, ..engine }));
    }

    proptest! {
        #[test]
        fn what_is_fetched_after_the_end_is_what_would_have_been_kept(
            head_cap in 0u64..40, tail_cap in 0u64..40, before in 0u64..60, more in 0u64..120,
            piece in 1u64..30,
        ) {
            let file = tempfile::tempfile().unwrap();
            let mut extent = Extent { head_cap, tail_cap, ..Extent::default() };
            let data: Vec<u8> = (0..before).map(byte).collect();
            log::append(&file, &mut extent, &data, |_| ());
            let total = before + more;
            end_extent(&mut extent, total);
            let mut filled_to = 0;
            while let Some(range) = next_missing(&extent, false, filled_to) {
                let end = range.end.min(range.start + piece);
                let data: Vec<u8> = (range.start..end).map(byte).collect();
                fill(&file, &mut extent, range.start, &data).unwrap();
                filled_to = end;
                if end == total {
                    let from = tail_start(&extent);
                    end_filled(&mut extent, from);
                }
                for kept in extent.kept() {
                    let read = log::read(&file, &extent, kept.clone()).unwrap();
                    prop_assert_eq!(read, kept.map(byte).collect::<Vec<_>>());
                }
            }
            prop_assert_eq!(extent.dropped(), total.saturating_sub(head_cap + tail_cap));
        }
    }
}
