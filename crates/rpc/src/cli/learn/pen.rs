//! Draws text and signs on a frame, from top to bottom.

use console::measure_text_width;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};

/// The styles of a page. The colours are the terminal's sixteen on its own background, so that they are readable on
/// light and dark ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    Plain,
    Bold,
    Dim,
    /// For the agent.
    Agent,
    /// For a running task, or a right answer.
    Good,
    /// For a failed task, or a wrong answer.
    Bad,
    /// For a result that has not been delivered.
    Result,
    /// For the current position.
    Here,
}

/// Whether colours are used.
#[derive(Debug, Clone, Copy)]
pub(super) struct Theme {
    pub(super) colour: bool,
}

impl Theme {
    fn style(self, look: Look) -> Style {
        let style = match look {
            Look::Plain => Style::new(),
            Look::Bold => Style::new().add_modifier(Modifier::BOLD),
            Look::Dim => Style::new().add_modifier(Modifier::DIM),
            Look::Agent => Style::new().fg(Color::Cyan),
            Look::Good => Style::new().fg(Color::Green),
            Look::Bad => Style::new().fg(Color::Red),
            Look::Result => Style::new().fg(Color::Magenta).add_modifier(Modifier::BOLD),
            Look::Here => Style::new().add_modifier(Modifier::REVERSED),
        };
        if self.colour { style } else { Style { fg: None, ..style } }
    }
}

/// A piece of text with its style.
pub(super) type Piece = (String, Look);

/// Draws on a frame. It starts at the top and moves down as it writes; what does not fit is not shown.
pub(super) struct Pen<'a> {
    buffer: &'a mut Buffer,
    area: Rect,
    theme: Theme,
    /// The next row, counted from the top of the area.
    row: u16,
}

impl<'a> Pen<'a> {
    pub(super) fn new(buffer: &'a mut Buffer, area: Rect, theme: Theme) -> Self {
        Self { buffer, area, theme, row: 0 }
    }

    /// The number of columns and rows.
    pub(super) fn size(&self) -> (usize, usize) {
        (usize::from(self.area.width), usize::from(self.area.height))
    }

    /// The number of rows that are left.
    pub(super) fn left(&self) -> usize {
        usize::from(self.area.height.saturating_sub(self.row))
    }

    /// A pen for a part of the remaining area: without `columns` on each side and `bottom` rows.
    pub(super) fn inside(&mut self, columns: u16, bottom: u16) -> Pen<'_> {
        let area = Rect {
            x: self.area.x + columns.min(self.area.width),
            y: self.area.y + self.row.min(self.area.height),
            width: self.area.width.saturating_sub(2 * columns),
            height: self.area.height.saturating_sub(self.row + bottom),
        };
        Pen { buffer: &mut *self.buffer, area, theme: self.theme, row: 0 }
    }

    /// A pen for the current row and those below it, starting at a column.
    pub(super) fn at_column(&mut self, column: u16) -> Pen<'_> {
        let column = column.min(self.area.width);
        let row = self.row.min(self.area.height);
        let area = Rect {
            x: self.area.x + column,
            y: self.area.y + row,
            width: self.area.width - column,
            height: self.area.height - row,
        };
        Pen { buffer: &mut *self.buffer, area, theme: self.theme, row: 0 }
    }

    /// Moves to a row, counted from the top.
    pub(super) fn go_to(&mut self, row: usize) {
        self.row = u16::try_from(row).unwrap_or(u16::MAX).min(self.area.height);
    }

    /// Leaves a row empty.
    pub(super) fn gap(&mut self) {
        self.row = (self.row + 1).min(self.area.height);
    }

    /// Writes a row of pieces, cut at the edge of the area.
    pub(super) fn row(&mut self, pieces: &[Piece]) {
        if self.left() == 0 {
            return;
        }
        let spans: Vec<Span<'_>> = pieces
            .iter()
            .map(|(text, look)| Span::styled(text.as_str(), self.theme.style(*look)))
            .collect();
        let (x, y) = (self.area.x, self.area.y + self.row);
        self.buffer.set_line(x, y, &Line::from(spans), self.area.width);
        self.gap();
    }

    /// Writes text, wrapped between words; rows after the first are indented by `indent` columns.
    pub(super) fn text(&mut self, text: &str, look: Look, indent: usize) {
        for line in wrap(text, usize::from(self.area.width), indent) {
            self.row(&[(line, look)]);
        }
    }

    /// Writes a sign at a column of the current row, if it is inside the area.
    pub(super) fn put(&mut self, column: usize, sign: char, look: Look) {
        let Ok(column) = u16::try_from(column) else { return };
        if column >= self.area.width || self.row >= self.area.height {
            return;
        }
        if let Some(cell) = self.buffer.cell_mut((self.area.x + column, self.area.y + self.row)) {
            // Styles accumulate, so reset the previous one.
            cell.reset();
            cell.set_char(sign).set_style(self.theme.style(look));
        }
    }

    /// Writes the same sign in the columns from `from` up to, not including, `to`.
    pub(super) fn fill(&mut self, from: usize, to: usize, sign: char, look: Look) {
        for column in from..to.min(usize::from(self.area.width)) {
            self.put(column, sign, look);
        }
    }

    /// Writes a word at a column if all of it fits: a word that was cut would be misleading.
    pub(super) fn word(&mut self, column: usize, word: &str, look: Look) {
        if column + word.chars().count() <= usize::from(self.area.width) {
            for (at, sign) in word.chars().enumerate() {
                self.put(column + at, sign, look);
            }
        }
    }
}

/// Wraps text between words.
pub(super) fn wrap(text: &str, width: usize, indent: usize) -> Vec<String> {
    let mut rows = vec![String::new()];
    for word in text.split(' ') {
        let row = rows.last_mut().expect("there is a row from the start");
        let is_first = row.trim().is_empty();
        if !is_first && measure_text_width(row) + 1 + measure_text_width(word) > width {
            rows.push(format!("{}{word}", " ".repeat(indent)));
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
mod tests {
    use super::*;

    #[test]
    fn text_is_broken_between_words() {
        let check = |text: &str, indent: usize, expect: &[&str]| {
            assert_eq!(wrap(text, 10, indent), expect, "{text}");
        };
        check("", 0, &[""]);
        check("one two", 0, &["one two"]);
        check("one two three four", 2, &["one two", "  three", "  four"]);
        check("exactlyten x", 0, &["exactlyten", "x"]);
        check("longerthanthewidth x", 0, &["longerthanthewidth", "x"]);
    }

    #[test]
    fn nothing_is_drawn_outside() {
        let area = Rect::new(0, 0, 10, 3);
        let mut buffer = Buffer::empty(area);
        let mut pen = Pen::new(&mut buffer, area, Theme { colour: true });
        let mut inner = pen.inside(2, 1);
        assert_eq!((inner.size(), inner.left()), ((6, 2), 2));
        inner.fill(4, 99, '#', Look::Good);
        inner.word(4, "no", Look::Plain);
        inner.word(5, "no", Look::Plain);
        inner.gap();
        for _ in 0..5 {
            inner.row(&[("a long row".to_owned(), Look::Plain)]);
        }
        inner.put(0, '#', Look::Plain);
        let mut expect = Buffer::with_lines(["      no  ", "  a long  ", "          "]);
        expect.set_style(Rect::new(6, 0, 2, 1), Style::new());
        let text: Vec<&str> = buffer.content().iter().map(ratatui::buffer::Cell::symbol).collect();
        let want: Vec<&str> = expect.content().iter().map(ratatui::buffer::Cell::symbol).collect();
        assert_eq!(text, want);
    }
}
