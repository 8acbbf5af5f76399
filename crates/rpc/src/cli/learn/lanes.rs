//! Draws the lanes: time runs to the right, and simultaneous events are in the same column.
//!
//! Draws a [`Board`] in the lesson's time. Everything is taken from the session: a diamond is only drawn at the call
//! that the trace names.

use std::time::Duration;

use console::truncate_str;
use meanwhile_core::background::task::Timestamp;

use super::clock::Clock;
use super::pen::{Look, Pen};
use crate::cli::demo::board::Board;
use crate::cli::show;

/// The columns for the lanes' names, with the space after them.
pub(super) const NAME: usize = 8;

/// The columns for the start of a call: a diamond and a number of two digits.
const CALL: usize = 3;

/// Maps the lesson's time to columns.
#[derive(Debug, Clone)]
pub(super) enum Scale {
    /// Columns of equal duration, from this time on.
    Rolling {
        /// The time of the first column.
        start: Duration,
        /// The duration of one column. Never zero.
        column: Duration,
    },
    /// The whole time, from start to end. It is linear between two calls, but each call has at least the columns that
    /// its start needs. Times and columns are ascending.
    Whole(Vec<(Duration, usize)>),
}

impl Scale {
    /// A scale that ends now.
    pub(super) fn rolling(now: Duration, column: Duration, columns: usize) -> Self {
        let shown = column.saturating_mul(u32::try_from(columns.saturating_sub(2)).unwrap_or(0));
        Self::Rolling { start: now.saturating_sub(shown), column }
    }

    /// A scale of everything until now.
    pub(super) fn whole(board: &Board, clock: &Clock, now: Timestamp, columns: usize) -> Self {
        let last = columns.saturating_sub(1);
        let end = clock.at(now).max(Duration::from_millis(1));
        let even = |time: Duration| {
            let share = time.as_secs_f64() / end.as_secs_f64();
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share")]
            let column = (share * last as f64) as usize;
            column.min(last)
        };
        let mut marks = vec![(Duration::ZERO, 0)];
        let calls = board.calls.len();
        for (at, call) in board.calls.iter().enumerate() {
            let time = clock.at(call.start);
            let least = if at == 0 { 0 } else { marks.last().map_or(0, |mark| mark.1 + CALL) };
            let most = last.saturating_sub(CALL * (calls - at));
            marks.push((time, even(time).min(most).max(least)));
        }
        marks.push((end, last));
        Self::Whole(marks)
    }

    /// The column of a time; `None` before the first column.
    fn column(&self, time: Duration) -> Option<usize> {
        match self {
            Self::Rolling { start, column } => {
                let after = time.checked_sub(*start)?;
                let column = after.as_nanos() / column.as_nanos().max(1);
                Some(usize::try_from(column).unwrap_or(usize::MAX))
            }
            Self::Whole(marks) => {
                let next = marks.iter().position(|mark| mark.0 > time).unwrap_or(marks.len());
                let (before, after) = (marks.get(next.wrapping_sub(1))?, marks.get(next));
                let Some(after) = after else { return Some(before.1) };
                let share = (time - before.0).as_secs_f64() / (after.0 - before.0).as_secs_f64();
                let columns = after.1.saturating_sub(before.1) as f64 * share;
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "a share"
                )]
                Some(before.1 + columns as usize)
            }
        }
    }
}

/// Maps real times to columns.
struct Plot<'a> {
    clock: &'a Clock,
    scale: Scale,
}

impl Plot<'_> {
    /// The column of a time; `None` before the first column.
    fn column(&self, at: Timestamp) -> Option<usize> {
        self.scale.column(self.clock.at(at))
    }

    /// The column where a bar starts: the first column if it started before that.
    fn from(&self, at: Timestamp) -> usize {
        self.column(at).unwrap_or(0)
    }
}

/// A lane of tasks.
pub(super) struct Row<'a> {
    pub(super) name: &'a str,
    /// The name of the tasks in it.
    pub(super) tasks: &'a str,
    /// The text after its last task, such as how many commands wait for the lane.
    pub(super) note: String,
}

/// Draws the agent, the queue and the lanes, one row each.
pub(super) fn draw(
    pen: &mut Pen<'_>,
    board: &Board,
    clock: &Clock,
    scale: Scale,
    now: Timestamp,
    rows: &[Row<'_>],
) {
    let plot = Plot { clock, scale };
    lane(pen, "agent", Look::Agent, |pen| agent(pen, board, &plot, now));
    lane(pen, "queue", Look::Result, |pen| queue(pen, board, &plot, now));
    for row in rows {
        lane(pen, row.name, Look::Plain, |pen| tasks(pen, board, row, &plot, now));
    }
}

/// Draws the meaning of the signs, in as many rows as needed.
pub(super) fn legend(pen: &mut Pen<'_>) {
    let text = "━ model call  ╌ its tools  · idle  ● result queued  ▲ enters ◆ that call";
    pen.text(text, Look::Dim, 0);
}

fn lane(pen: &mut Pen<'_>, name: &str, look: Look, draw: impl FnOnce(&mut Pen<'_>)) {
    let name = truncate_str(name, NAME - 1, "…").into_owned();
    pen.word(0, &name, look);
    let indent = u16::try_from(NAME).unwrap_or(0);
    // Only the left side is indented: the right side is the terminal's edge.
    let mut inner = pen.at_column(indent);
    draw(&mut inner);
    pen.gap();
}

/// Draws each model call as a bar with its number, with a diamond where results enter it; its tools follow it.
fn agent(pen: &mut Pen<'_>, board: &Board, plot: &Plot<'_>, now: Timestamp) {
    let end = plot.from(now);
    if let Some(first) = board.turns.first() {
        pen.fill(plot.from(first.0), end, '·', Look::Dim);
    }
    for (start, over) in &board.turns {
        let over = over.map_or(end, |over| plot.from(over));
        pen.fill(plot.from(*start), over, '╌', Look::Agent);
    }
    for (place, call) in board.calls.iter().enumerate() {
        let over = call.end.unwrap_or(now);
        if plot.column(over).is_none() {
            continue;
        }
        let start = plot.from(call.start);
        pen.fill(start, plot.from(over).max(start + 1), '━', Look::Agent);
        let carries =
            board.tasks.iter().any(|task| task.delivered.is_some_and(|it| it.0 == call.number));
        let number = call.number.to_string();
        let at = match (carries, plot.column(call.start)) {
            (true, Some(start)) => {
                pen.put(start, '◆', Look::Result);
                start + 1
            }
            (false, Some(start)) => start,
            // It started before the first column.
            (_, None) => continue,
        };
        // A number that the next call would cut off would be misleading.
        let next = board.calls.get(place + 1).and_then(|next| plot.column(next.start));
        if next.is_none_or(|next| at + number.len() <= next) {
            pen.word(at, &number, Look::Bold);
        }
    }
}

/// Draws each result from its task's end until the call that takes it.
fn queue(pen: &mut Pen<'_>, board: &Board, plot: &Plot<'_>, now: Timestamp) {
    for task in &board.tasks {
        let Some(end) = task.end() else { continue };
        let until = task.delivered.map_or(now, |(_, at)| at);
        let Some(column) = plot.column(until) else { continue };
        let start = plot.from(end.at);
        let until = column.max(start);
        pen.fill(start, until, '─', Look::Result);
        if plot.column(end.at).is_some() {
            pen.put(start, '●', Look::Result);
        }
        if task.delivered.is_some() {
            pen.put(until, '▲', Look::Result);
        }
    }
}

/// Draws the lane's tasks one after the other, followed by how the last one ended.
fn tasks(pen: &mut Pen<'_>, board: &Board, row: &Row<'_>, plot: &Plot<'_>, now: Timestamp) {
    let (mut free, mut behind) = (0, None);
    for task in board.tasks.iter().filter(|task| task.name() == row.tasks) {
        let over = task.end().map_or(now, |end| end.at);
        let Some(column) = plot.column(over) else { continue };
        // Do not overwrite the end of the previous task.
        let start = plot.from(task.task.created_at).max(free);
        let end = column.max(start);
        free = end + 1;
        pen.fill(start, end, '━', Look::Good);
        let (word, look) = match task.end() {
            Some(how) => {
                let look = if show::exit_code(how) == 0 { Look::Good } else { Look::Bad };
                pen.put(end, '●', look);
                (show::state(&task.task).0, look)
            }
            None => {
                pen.put(end, '╸', Look::Good);
                (String::new(), Look::Good)
            }
        };
        behind = Some((end + 2, word, look));
    }
    let (mut at, word, look) = behind.unwrap_or((0, String::new(), Look::Plain));
    pen.word(at, &word, look);
    if !word.is_empty() {
        at += word.chars().count() + 1;
    }
    pen.word(at, &row.note, Look::Dim);
}
