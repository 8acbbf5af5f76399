//! Converts timelines from the domain to the wire.

use meanwhile_core::agent::story::Timeline;
use meanwhile_core::agent::story::piece::{self, LaneKind, Look, MarkKind, SegmentKind};

use super::to_wire::time;
use crate::wire;

/// Converts a complete timeline.
pub(crate) fn whole(timeline: &Timeline) -> wire::Timeline {
    let (pieces, left_out) = timeline.whole();
    let entry =
        |(it, label): (Look, &str)| wire::LegendEntry { look: look(it), label: label.to_owned() };
    wire::Timeline {
        pieces: pieces.into_iter().map(piece).collect(),
        legend: Look::LEGEND.into_iter().map(entry).collect(),
        left_out: left_out as u64,
        recorded: false,
    }
}

/// Converts one piece of a timeline.
pub(crate) fn piece(piece: piece::Piece) -> wire::Piece {
    use piece::Piece as From;
    match piece {
        From::Lane(it) => wire::Piece::Lane {
            key: it.key,
            kind: match it.kind {
                LaneKind::Agent => wire::LaneKind::Agent,
                LaneKind::Queue => wire::LaneKind::Queue,
                LaneKind::Task => wire::LaneKind::Task,
            },
            label: it.label,
            look: it.look.map(look),
            task_id: it.task.map(|task| task.to_string()),
        },
        From::Segment(it) => wire::Piece::Segment {
            key: it.key,
            lane: it.lane,
            kind: match it.kind {
                SegmentKind::Turn => wire::SegmentKind::Turn,
                SegmentKind::Call => wire::SegmentKind::Call,
                SegmentKind::Tool => wire::SegmentKind::Tool,
                SegmentKind::Asks => wire::SegmentKind::Asks,
                SegmentKind::Line => wire::SegmentKind::Line,
                SegmentKind::Task => wire::SegmentKind::Task,
                SegmentKind::Result => wire::SegmentKind::Result,
            },
            look: look(it.look),
            from: time(it.from),
            to: it.to.map(time),
            row: it.row,
            label: it.label,
            says: it.says,
            task_id: it.task.map(|task| task.to_string()),
            call: it.call,
        },
        From::Mark(it) => wire::Piece::Mark {
            key: it.key,
            lane: it.lane,
            kind: match it.kind {
                MarkKind::Enters => wire::MarkKind::Enters,
                MarkKind::Compacted => wire::MarkKind::Compacted,
                MarkKind::Resumed => wire::MarkKind::Resumed,
            },
            at: time(it.at),
            label: it.label,
            says: it.says,
            call: it.call,
        },
        From::Arrow(it) => wire::Piece::Arrow {
            key: it.key,
            from: it.from,
            to: it.to,
            at: time(it.at),
            task_id: it.task.to_string(),
        },
        From::Gap(it) => {
            wire::Piece::Gap { key: it.key, from: time(it.from), to: time(it.to), label: it.label }
        }
    }
}

fn look(look: Look) -> wire::Look {
    match look {
        Look::Turn => wire::Look::Turn,
        Look::Call => wire::Look::Call,
        Look::Tool => wire::Look::Tool,
        Look::Asks => wire::Look::Asks,
        Look::Queued => wire::Look::Queued,
        Look::Running => wire::Look::Running,
        Look::Succeeded => wire::Look::Succeeded,
        Look::Failed => wire::Look::Failed,
        Look::Stopped => wire::Look::Stopped,
        Look::StoppedByAgent => wire::Look::StoppedByAgent,
        Look::TimedOut => wire::Look::TimedOut,
        Look::Limited => wire::Look::Limited,
        Look::Skipped => wire::Look::Skipped,
        Look::Lost => wire::Look::Lost,
        Look::Result => wire::Look::Result,
        Look::Enters => wire::Look::Enters,
    }
}
