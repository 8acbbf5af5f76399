//! The pieces of a timeline by their keys, what of them is new, and what goes on.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use crate::agent::story::piece::{Gap, Look, Piece, Segment, SegmentKind};
use crate::background::task::Timestamp;
use crate::background::words;

/// How long nothing must have happened for a gap.
const GAP: Duration = Duration::from_secs(60);

/// The pieces.
#[derive(Debug, Clone, Default)]
pub(super) struct Sheet {
    pub(super) pieces: Vec<Piece>,
    /// Where the piece of a key is.
    pub(super) places: HashMap<String, usize>,
    /// Those that no client was told of.
    pub(super) changed: BTreeSet<usize>,
    /// Until when each place side by side is taken.
    rows: HashMap<SegmentKind, Vec<Timestamp>>,
    /// What goes on, servers apart.
    busy: HashSet<String>,
    /// Since when nothing does.
    idle: Option<Timestamp>,
}

impl Sheet {
    /// Opens a stretch of time.
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

    /// The segment of this key, which is about to be another.
    pub(super) fn segment(&mut self, key: &str) -> Option<&mut Segment> {
        let place = *self.places.get(key)?;
        self.changed.insert(place);
        match &mut self.pieces[place] {
            Piece::Segment(segment) => Some(segment),
            Piece::Lane(_) | Piece::Mark(_) | Piece::Arrow(_) | Piece::Gap(_) => None,
        }
    }

    /// Takes a piece in, in the place of the one of its key; returns where it is.
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

    /// A place beside those of its kind that have not ended by then.
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
            // It may have been given to another since.
            if *until == Timestamp(i64::MAX) {
                *until = at;
            }
        }
    }

    /// Something begins to go on.
    pub(super) fn begins(&mut self, key: String, at: Timestamp) {
        if self.busy.is_empty() {
            self.breaks(at);
        }
        self.busy.insert(key);
    }

    /// Something does not go on any more.
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

    /// Something happens: was there a gap before it?
    fn breaks(&mut self, at: Timestamp) {
        let Some(from) = self.idle.filter(|from| at.since(*from) >= GAP) else { return };
        let label = words::elapsed(at.since(from));
        self.put(Piece::Gap(Gap { key: format!("gap:{}", from.0), from, to: at, label }));
    }
}
