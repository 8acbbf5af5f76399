//! The pieces of a timeline by key, which of them changed, and which segments are open.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use crate::agent::story::piece::{Gap, Look, Piece, Segment, SegmentKind};
use crate::background::task::Timestamp;
use crate::background::words;

/// The shortest period without events that is drawn as a gap.
const GAP: Duration = Duration::from_secs(60);

/// The pieces of one timeline, with the bookkeeping for updates.
#[derive(Debug, Clone, Default)]
pub(super) struct Sheet {
    pub(super) pieces: Vec<Piece>,
    /// The index of each piece, by its key.
    pub(super) places: HashMap<String, usize>,
    /// Indexes of pieces that clients have not received yet.
    pub(super) changed: BTreeSet<usize>,
    /// For each kind, when each row becomes free.
    rows: HashMap<SegmentKind, Vec<Timestamp>>,
    /// Keys of what is running, except servers.
    busy: HashSet<String>,
    /// Since when nothing is running.
    idle: Option<Timestamp>,
}

impl Sheet {
    /// Adds a segment that starts at `from`.
    pub(super) fn opens(
        &mut self,
        lane: &str,
        key: String,
        (kind, look): (SegmentKind, Look),
        from: Timestamp,
        label: String,
    ) -> &mut Segment {
        let row = self.row(kind, from);
        let (lane, says) = (lane.to_owned(), Vec::new());
        let (to, task, call) = (None, None, None);
        let place = self.put(Piece::Segment(Segment {
            key,
            lane,
            kind,
            look,
            from,
            to,
            row,
            label,
            says,
            task,
            call,
        }));
        let Piece::Segment(segment) = &mut self.pieces[place] else {
            unreachable!("a segment was put there")
        };
        segment
    }

    pub(super) fn closes(&mut self, key: &str, at: Timestamp, failed: bool, says: Vec<String>) {
        let Some(segment) = self.segment(key).filter(|segment| segment.to.is_none()) else {
            return;
        };
        segment.to = Some(at);
        segment.says = says;
        segment.says.push(words::elapsed(at.since(segment.from)));
        if failed {
            segment.look = Look::Failed;
        }
        let (kind, row) = (segment.kind, segment.row);
        self.frees(kind, row, at);
    }

    /// The segment of this key, which the caller is about to change; marks it as changed.
    pub(super) fn segment(&mut self, key: &str) -> Option<&mut Segment> {
        let place = *self.places.get(key)?;
        self.changed.insert(place);
        match &mut self.pieces[place] {
            Piece::Segment(segment) => Some(segment),
            Piece::Lane(_) | Piece::Mark(_) | Piece::Arrow(_) | Piece::Gap(_) => None,
        }
    }

    /// Adds a piece, or replaces the one with its key; returns its index.
    pub(super) fn put(&mut self, piece: Piece) -> usize {
        match self.places.get(piece.key()) {
            Some(place) => {
                if self.pieces[*place] != piece {
                    self.pieces[*place] = piece;
                    self.changed.insert(*place);
                }
                *place
            }
            None => {
                let place = self.pieces.len();
                self.places.insert(piece.key().to_owned(), place);
                self.changed.insert(place);
                self.pieces.push(piece);
                place
            }
        }
    }

    /// The first row in which no segment of this kind is still open.
    pub(super) fn row(&mut self, kind: SegmentKind, from: Timestamp) -> u32 {
        let rows = self.rows.entry(kind).or_default();
        let row = rows.iter().position(|until| *until <= from).unwrap_or_else(|| {
            rows.push(from);
            rows.len() - 1
        });
        rows[row] = Timestamp(i64::MAX);
        u32::try_from(row).unwrap_or(u32::MAX)
    }

    pub(super) fn frees(&mut self, kind: SegmentKind, row: u32, at: Timestamp) {
        let row = usize::try_from(row).ok();
        let rows = self.rows.get_mut(&kind);
        if let Some(until) = rows.zip(row).and_then(|(rows, row)| rows.get_mut(row)) {
            // The row may have been reused since.
            if *until == Timestamp(i64::MAX) {
                *until = at;
            }
        }
    }

    /// Notes that something starts.
    pub(super) fn begins(&mut self, key: String, at: Timestamp) {
        if self.busy.is_empty() {
            self.breaks(at);
        }
        self.busy.insert(key);
    }

    /// Notes that something ended.
    pub(super) fn ends(&mut self, key: &str, at: Timestamp) {
        let went_on = self.busy.remove(key);
        if !self.busy.is_empty() {
            return;
        }
        if !went_on {
            self.breaks(at);
        }
        self.idle = self.idle.max(Some(at));
    }

    /// Called for each event: adds a gap if nothing happened for long enough before it.
    fn breaks(&mut self, at: Timestamp) {
        let Some(from) = self.idle.filter(|from| at.since(*from) >= GAP) else { return };
        let label = words::elapsed(at.since(from));
        self.put(Piece::Gap(Gap { key: format!("gap:{}", from.0), from, to: at, label }));
    }
}
