//! The demo as lanes: time runs to the right, and simultaneous events are in the same column.
//!
//! A frame is a pure function of the board and the clock; it is drawn by moving the cursor up and overwriting the
//! previous frame.

use console::{measure_text_width, truncate_str};
use meanwhile_core::background::task::Timestamp;

use super::board::{Board, What};
use super::lines;
use crate::cli::failure::Failure;
use crate::cli::out::{Out, paint, style};
use crate::cli::show;

/// The columns for the lanes' names, with the space after them.
const NAME: usize = 8;
/// The rows of text below the lanes.
const WORDS: usize = 8;
/// The maximum number of lanes for tasks.
const LANES: usize = 6;
/// The spans of the ruler, in seconds. After the last one, the span grows by half.
const SPANS: [u64; 8] = [10, 15, 20, 30, 45, 60, 90, 120];
/// The width of the widest frame: longer rows are hard to follow.
const WIDTH_MAX: usize = 140;
/// The number of rows if the terminal does not report it.
const ROWS: usize = 24;

/// Draws the lanes on a terminal.
pub(super) struct Lanes<'a> {
    out: &'a mut Out,
    colour: bool,
    /// The number of rows of the last frame.
    rows: usize,
}

impl<'a> Lanes<'a> {
    pub(super) fn new(out: &'a mut Out, colour: bool) -> Self {
        Self { out, colour, rows: 0 }
    }

    /// Draws the current state of the board.
    pub(super) fn draw(&mut self, board: &Board, now: Timestamp) -> Result<(), Failure> {
        let (rows, columns) = size();
        let frame = frame(board, now, columns, rows, self.colour);
        self.write(&frame)
    }

    /// Draws the last frame, with the summary.
    pub(super) fn last(&mut self, board: &Board, now: Timestamp) -> Result<(), Failure> {
        let (rows, columns) = size();
        let mut frame = frame(board, now, columns, rows, self.colour);
        for line in lines::summary(board) {
            frame.extend(wrap(&line, columns));
        }
        self.write(&frame)
    }

    fn write(&mut self, frame: &[String]) -> Result<(), Failure> {
        // Synchronized output, if the terminal supports it, and a hidden cursor avoid flicker.
        let mut text = String::from("\x1b[?2026h\x1b[?25l");
        if self.rows > 0 {
            text.push_str(&format!("\x1b[{}A\r", self.rows));
        }
        for row in frame {
            text.push_str(row);
            text.push_str("\x1b[K\n");
        }
        text.push_str("\x1b[J\x1b[?25h\x1b[?2026l");
        self.rows = frame.len();
        self.out.raw(text.as_bytes())?;
        self.out.flush()
    }
}

/// The rows and columns of the terminal.
fn size() -> (usize, usize) {
    match console::Term::stdout().size_checked() {
        Some((rows, columns)) => (usize::from(rows), usize::from(columns)),
        None => (ROWS, 80),
    }
}

/// A frame; each row is at most as wide as the terminal.
fn frame(board: &Board, now: Timestamp, columns: usize, rows: usize, colour: bool) -> Vec<String> {
    // Some terminals wrap when the last column is used.
    let width = columns.saturating_sub(1).clamp(30, WIDTH_MAX);
    let plot = Plot::new(board, now, width - NAME);
    let mut frame = vec![header(board, now, width, colour), ruler(&plot, colour)];
    frame.push(lane("agent", agent(board, &plot, now, colour), colour));
    frame.push(lane("queue", queue(board, &plot, now, colour), colour));
    for task in board.tasks.iter().rev().take(LANES).rev() {
        frame.push(lane(&task.name(), bar(task, &plot, now, colour), colour));
    }
    frame.push(legend(width, colour));
    let room = rows.saturating_sub(frame.len() + 4).min(WORDS);
    frame.extend(words(board, width, room, colour));
    frame
}

fn header(board: &Board, now: Timestamp, width: usize, colour: bool) -> String {
    let clock = show::seconds(now.since(board.start));
    let title = "meanwhile demo";
    let rest = "  scripted model, real commands, no key, no network";
    let room = width.saturating_sub(clock.len() + 1);
    let rest = truncate_str(rest, room.saturating_sub(title.len()), "…").into_owned();
    let gap = width.saturating_sub(title.len() + measure_text_width(&rest) + clock.len());
    format!(
        "{}{}{}{}",
        paint(colour, style::BOLD, title),
        paint(colour, style::DIM, rest),
        " ".repeat(gap),
        paint(colour, style::BOLD, clock)
    )
}

fn legend(width: usize, colour: bool) -> String {
    let text = "━ runs  · idle  ● has ended, its result is queued  ▲ enters ◆ this model call";
    let gap = " ".repeat(NAME);
    let text = truncate_str(text, width.saturating_sub(NAME), "…").into_owned();
    format!("{gap}{}", paint(colour, style::DIM, text))
}

/// Maps times to columns.
struct Plot {
    start: Timestamp,
    span: u64,
    columns: usize,
}

impl Plot {
    fn new(board: &Board, now: Timestamp, columns: usize) -> Self {
        let gone = now.since(board.start).as_secs() + 1;
        let span = SPANS.into_iter().find(|span| *span >= gone).unwrap_or(gone + gone / 2);
        Self { start: board.start, span, columns }
    }

    fn column(&self, at: Timestamp) -> usize {
        let millis = u64::try_from(at.since(self.start).as_millis()).unwrap_or(u64::MAX);
        let column = millis.saturating_mul(self.columns as u64) / (self.span * 1_000);
        usize::try_from(column).unwrap_or(usize::MAX).min(self.columns - 1)
    }
}

/// A row of cells with their styles.
struct Row(Vec<(char, anstyle::Style)>);

impl Row {
    fn new(columns: usize) -> Self {
        Self(vec![(' ', style::PLAIN); columns])
    }

    fn put(&mut self, column: usize, c: char, look: anstyle::Style) {
        if let Some(cell) = self.0.get_mut(column) {
            *cell = (c, look);
        }
    }

    fn fill(&mut self, from: usize, to: usize, c: char, look: anstyle::Style) {
        for column in from..to {
            self.put(column, c, look);
        }
    }

    fn text(&mut self, column: usize, text: &str, look: anstyle::Style) {
        // A text that was cut would be misleading.
        if column + text.chars().count() <= self.0.len() {
            for (at, c) in text.chars().enumerate() {
                self.put(column + at, c, look);
            }
        }
    }

    /// The row as text, with one escape sequence for each run of cells in one style.
    fn render(&self, colour: bool) -> String {
        let mut text = String::new();
        for run in self.0.chunk_by(|a, b| a.1 == b.1) {
            let cells: String = run.iter().map(|cell| cell.0).collect();
            match run[0].1 {
                look if look == style::PLAIN => text.push_str(&cells),
                look => text.push_str(&paint(colour, look, cells).to_string()),
            }
        }
        text.truncate(text.trim_end().len());
        text
    }
}

fn lane(name: &str, cells: String, colour: bool) -> String {
    let name = truncate_str(name, NAME - 1, "…").into_owned();
    let gap = NAME.saturating_sub(measure_text_width(&name));
    format!("{}{}{cells}", paint(colour, style::BOLD, name), " ".repeat(gap))
}

fn ruler(plot: &Plot, colour: bool) -> String {
    let mut row = Row::new(plot.columns);
    let step = (plot.span / 5).max(1);
    for second in (0..plot.span).step_by(usize::try_from(step).unwrap_or(1)) {
        let at = Timestamp(plot.start.0 + i64::try_from(second * 1_000).unwrap_or(0));
        row.text(plot.column(at), &format!("{second}s"), style::DIM);
    }
    format!("{}{}", " ".repeat(NAME), row.render(colour))
}

/// The agent's lane: each model call is a bar with its number, with a diamond where results enter it.
fn agent(board: &Board, plot: &Plot, now: Timestamp, colour: bool) -> String {
    let mut row = Row::new(plot.columns);
    let first = board.calls.first().map_or(0, |call| plot.column(call.start));
    row.fill(first, plot.column(now), '·', style::DIM);
    for call in &board.calls {
        let start = plot.column(call.start);
        let end = plot.column(call.end.unwrap_or(now)).max(start + 1);
        row.fill(start, end, '━', style::LIVE);
        let carries = board
            .tasks
            .iter()
            .any(|task| task.delivered.is_some_and(|(number, _)| number == call.number));
        let number = call.number.to_string();
        match carries {
            true => {
                row.put(start, '◆', style::ODD);
                row.text(start + 1, &number, style::BOLD);
            }
            false => row.text(start, &number, style::BOLD),
        }
    }
    row.render(colour)
}

/// The queue: each result from its task's end until the call that takes it.
fn queue(board: &Board, plot: &Plot, now: Timestamp, colour: bool) -> String {
    let mut row = Row::new(plot.columns);
    for task in &board.tasks {
        let Some(end) = task.end() else { continue };
        let start = plot.column(end.at);
        let until = plot.column(task.delivered.map_or(now, |(_, at)| at)).max(start);
        row.fill(start, until, '─', style::ODD);
        row.put(start, '●', style::ODD);
        if task.delivered.is_some() {
            row.put(until, '▲', style::ODD);
        }
    }
    row.render(colour)
}

/// The lane of a task.
fn bar(task: &super::board::Lane, plot: &Plot, now: Timestamp, colour: bool) -> String {
    let mut row = Row::new(plot.columns);
    let start = plot.column(task.task.created_at);
    let (word, look) = show::state(&task.task);
    let end = plot.column(task.end().map_or(now, |end| end.at)).max(start);
    row.fill(start, end, '━', style::GOOD);
    match task.end() {
        Some(_) => row.put(end, '●', look),
        None => row.put(end, '╸', style::GOOD),
    }
    row.text(end + 2, &word, look);
    row.render(colour)
}

/// The last events as text.
fn words(board: &Board, width: usize, room: usize, colour: bool) -> Vec<String> {
    let mut rows: Vec<String> = board
        .moments()
        .iter()
        .map(|moment| {
            let time = paint(colour, style::DIM, format!("{:>6}", show::seconds(moment.after)));
            let text = lines::words(&moment.what);
            let text = truncate_str(&text, width.saturating_sub(8), "…").into_owned();
            let look = match &moment.what {
                What::Call { carries, .. } if !carries.is_empty() => style::ODD,
                What::Call { .. } | What::Idle { .. } => style::DIM,
                What::Ended { good: true, .. } => style::GOOD,
                What::Ended { good: false, .. } => style::BAD,
                What::Said(_) | What::Prompt(_) => style::PLAIN,
                What::Spawned { .. } => style::GOOD,
                What::Tool(_) => style::LIVE,
            };
            format!("{time}  {}", paint(colour, look, text))
        })
        .collect();
    let saying = show::one_line(board.saying());
    if !saying.is_empty() {
        let text = format!("        agent    {saying}");
        rows.push(truncate_str(&text, width, "…").into_owned());
    }
    let skip = rows.len().saturating_sub(room);
    rows.split_off(skip)
}

/// Wraps a line between words.
fn wrap(line: &str, columns: usize) -> Vec<String> {
    let width = columns.saturating_sub(1).max(20);
    let mut rows = vec![String::new()];
    for word in line.split(' ') {
        let row = rows.last_mut().expect("there is a row from the start");
        if !row.is_empty() && measure_text_width(row) + 1 + measure_text_width(word) > width {
            rows.push(format!("  {word}"));
        } else {
            if !row.is_empty() {
                row.push(' ');
            }
            row.push_str(word);
        }
    }
    rows
}

#[cfg(test)]
mod tests;
