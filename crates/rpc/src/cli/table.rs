//! Tables that fit the terminal.
//!
//! Computes the column widths; the `console` crate measures and truncates text with wide characters and colours.
//! If the width is not sufficient, whole columns are omitted, the least important first, and the last column is cut;
//! a line is never wrapped.

use std::borrow::Cow;
use std::fmt::Write as _;

use anstyle::Style;

use super::out::{paint, style};

/// A column's title, and what happens to it if the width is not sufficient.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    pub(crate) title: &'static str,
    pub(crate) fit: Fit,
}

/// What happens to a column if the width is not sufficient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fit {
    /// It keeps the width of its content.
    Fixed,
    /// It is omitted; the highest rank first.
    Optional(u8),
    /// It is cut to the remaining width. Only the last column may be of this kind.
    Stretch,
}

/// A cell's text and style.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    pub(crate) text: String,
    pub(crate) style: Style,
}

impl Cell {
    pub(crate) fn new(text: impl Into<String>, style: Style) -> Self {
        Self { text: text.into(), style }
    }
}

#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) columns: Vec<Column>,
    pub(crate) rows: Vec<Vec<Cell>>,
}

/// The number of spaces between two columns.
const GAP: usize = 2;
/// The least width of the last column before another column is omitted for it.
const STRETCH_MIN: usize = 16;

impl Table {
    /// Renders the table as lines, each at most `width` columns wide; `None` cuts nothing.
    pub(crate) fn render(&self, width: Option<usize>, colour: bool) -> String {
        let wanted = self.content_widths();
        let shown = self.choose(&wanted, width);
        let mut text = String::new();
        let titles: Vec<Cell> =
            self.columns.iter().map(|column| Cell::new(column.title, style::DIM)).collect();
        for row in std::iter::once(&titles).chain(&self.rows) {
            render_row(&mut text, row, &wanted, &shown, width, colour);
        }
        text
    }

    fn content_widths(&self) -> Vec<usize> {
        let mut widths: Vec<usize> =
            self.columns.iter().map(|column| console::measure_text_width(column.title)).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(console::measure_text_width(&cell.text));
            }
        }
        widths
    }

    /// The indices of the columns that fit.
    fn choose(&self, wanted: &[usize], width: Option<usize>) -> Vec<usize> {
        let mut shown: Vec<usize> = (0..self.columns.len()).collect();
        let Some(width) = width else { return shown };
        let least = |column: usize| match self.columns[column].fit {
            Fit::Fixed | Fit::Optional(_) => wanted[column],
            Fit::Stretch => wanted[column].min(STRETCH_MIN),
        };
        let rank = |column: usize| match self.columns[column].fit {
            Fit::Optional(rank) => Some(rank),
            Fit::Fixed | Fit::Stretch => None,
        };
        while shown.iter().map(|column| least(*column)).sum::<usize>()
            + GAP * shown.len().saturating_sub(1)
            > width
        {
            let Some(last) = shown
                .iter()
                .enumerate()
                .filter_map(|(place, column)| Some((rank(*column)?, place)))
                .max()
            else {
                break;
            };
            shown.remove(last.1);
        }
        shown
    }
}

fn render_row(
    text: &mut String,
    row: &[Cell],
    wanted: &[usize],
    shown: &[usize],
    width: Option<usize>,
    colour: bool,
) {
    let mut left = width.unwrap_or(usize::MAX);
    for (place, column) in shown.iter().enumerate() {
        let cell = &row[*column];
        let last = place + 1 == shown.len();
        if left == 0 {
            break;
        }
        let cut: Cow<'_, str> = console::truncate_str(&cell.text, wanted[*column].min(left), "…");
        let used = console::measure_text_width(&cut);
        // Writing to a string cannot fail.
        let _ = write!(text, "{}", paint(colour && !cut.is_empty(), cell.style, &cut));
        left = left.saturating_sub(used);
        if !last && left > 0 {
            let blanks = (wanted[*column] - used + GAP).min(left);
            text.extend(std::iter::repeat_n(' ', blanks));
            left -= blanks;
        }
    }
    text.truncate(text.trim_end_matches(' ').len());
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(command: &str) -> Table {
        let column = |title, fit| Column { title, fit };
        let cells = |texts: [&str; 5]| texts.map(|text| Cell::new(text, style::GOOD)).to_vec();
        Table {
            columns: vec![
                column("ID", Fit::Fixed),
                column("STATE", Fit::Fixed),
                column("TIME", Fit::Optional(1)),
                column("LABEL", Fit::Optional(2)),
                column("COMMAND", Fit::Stretch),
            ],
            rows: vec![
                cells(["b3f9c2a1", "running", "1m 32s", "web", command]),
                cells(["77e01c44", "exit 1", "4.0s", "", "pytest -q"]),
            ],
        }
    }

    const LONG: &str = "cargo test --workspace --all-features --no-fail-fast -- --test-threads=1 \
                        --nocapture supervisor::tests::everything_that_can_go_wrong_does_go_wrong \
                        and some more of it, to the end of a wide screen";

    fn check(width: Option<usize>, expected: &str) {
        let text = sample(LONG).render(width, false);
        assert_eq!(text, expected, "{width:?}");
        for line in text.lines() {
            assert!(width.is_none_or(|width| console::measure_text_width(line) <= width), "{line}");
        }
    }

    #[test]
    fn forty_columns_lose_what_matters_least() {
        check(
            Some(40),
            "ID        STATE    COMMAND\n\
             b3f9c2a1  running  cargo test --workspa…\n\
             77e01c44  exit 1   pytest -q\n",
        );
    }

    #[test]
    fn eighty_columns_cut_the_command() {
        check(
            Some(80),
            "ID        STATE    TIME    LABEL  COMMAND\n\
             b3f9c2a1  running  1m 32s  web    cargo test --workspace --all-features --no-fa…\n\
             77e01c44  exit 1   4.0s           pytest -q\n",
        );
    }

    #[test]
    fn two_hundred_columns_and_a_pipe_show_all() {
        let all = format!(
            "ID        STATE    TIME    LABEL  COMMAND\n\
             b3f9c2a1  running  1m 32s  web    {LONG}\n\
             77e01c44  exit 1   4.0s           pytest -q\n"
        );
        check(None, &all);
        assert_eq!(all.lines().map(str::len).max(), Some(34 + LONG.len()));
        check(Some(34 + LONG.len()), &all);
        check(Some(200), &all.replace(LONG, &format!("{}…", &LONG[..200 - 34 - 1])));
    }

    #[test]
    fn no_terminal_is_too_narrow() {
        for width in 0..30 {
            for line in sample(LONG).render(Some(width), false).lines() {
                assert!(console::measure_text_width(line) <= width, "{width}: {line}");
            }
        }
    }

    #[test]
    fn wide_characters_take_two_columns() {
        for width in 20..60 {
            for line in sample(&"名前".repeat(40)).render(Some(width), false).lines() {
                assert!(console::measure_text_width(line) <= width, "{width}: {line}");
            }
        }
    }

    #[test]
    fn colours_change_no_width() {
        for width in [0, 10, 40, 80, 200] {
            let plain = sample(LONG).render(Some(width), false);
            let coloured = sample(LONG).render(Some(width), true);
            assert_eq!(console::strip_ansi_codes(&coloured), plain);
        }
        assert!(sample(LONG).render(None, true).contains("\x1b[32m"));
    }
}
