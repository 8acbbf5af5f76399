//! Wraps text that arrives in pieces into rows of the screen.
//!
//! A row is printed once it cannot change any more: at a line break, or when the next word does not fit. The rest is
//! shown in the status line until then.

use console::measure_text_width;

use crate::cli::show;

/// Text that has not been printed yet.
#[derive(Debug, Default)]
pub(super) struct Flow {
    rest: String,
}

impl Flow {
    /// Adds text. Returns the rows that are complete.
    pub(super) fn add(&mut self, text: &str, width: usize) -> Vec<String> {
        let mut rows = Vec::new();
        // The width of a tab would depend on its column.
        for piece in show::harmless(text).replace('\t', " ").split_inclusive('\n') {
            match piece.strip_suffix('\n') {
                Some(piece) => {
                    self.rest.push_str(piece);
                    self.wrap(width, &mut rows);
                    rows.push(std::mem::take(&mut self.rest));
                }
                None => {
                    self.rest.push_str(piece);
                    self.wrap(width, &mut rows);
                }
            }
        }
        rows
    }

    /// The text that does not form a complete row yet.
    pub(super) fn rest(&self) -> &str {
        &self.rest
    }

    /// Ends the text: returns its last row, if it is not blank.
    pub(super) fn end(&mut self) -> Option<String> {
        let rest = std::mem::take(&mut self.rest);
        (!rest.trim().is_empty()).then_some(rest)
    }

    /// Moves full rows out of the rest, broken between words if possible.
    fn wrap(&mut self, width: usize, rows: &mut Vec<String>) {
        let width = width.max(8);
        while measure_text_width(&self.rest) > width {
            let mut used = 0;
            let mut end = 0;
            let mut space = None;
            for (place, c) in self.rest.char_indices() {
                used += measure_text_width(c.encode_utf8(&mut [0; 4]));
                if used > width {
                    break;
                }
                end = place + c.len_utf8();
                // Do not break within the indentation.
                if c == ' ' && !self.rest[..place].trim().is_empty() {
                    space = Some(place);
                }
            }
            // A space right after a word that just fits is a place to break.
            if self.rest[end..].starts_with(' ') {
                space = Some(end);
            }
            let (row, next) = match space {
                Some(space) => (&self.rest[..space], &self.rest[space + 1..]),
                None => self.rest.split_at(end.max(1)),
            };
            let (row, next) = (row.to_owned(), next.to_owned());
            rows.push(row);
            self.rest = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Adds a text as a whole and character by character; the results must be equal.
    #[track_caller]
    fn check(text: &str, width: usize, expected: &[&str]) {
        let mut whole = Flow::default();
        let mut rows = whole.add(text, width);
        rows.extend(whole.end());
        assert_eq!(rows, expected, "{text:?}");
        let mut pieces = Flow::default();
        let mut rows: Vec<String> = Vec::new();
        for c in text.chars() {
            rows.extend(pieces.add(&c.to_string(), width));
        }
        rows.extend(pieces.end());
        assert_eq!(rows, expected, "letter by letter: {text:?}");
    }

    #[test]
    fn rows_end_between_words() {
        check("one two three four", 9, &["one two", "three", "four"]);
        check("one two\nthree\n\nfour", 80, &["one two", "three", "", "four"]);
        check("exactly10!", 10, &["exactly10!"]);
        check("exactly10! more", 10, &["exactly10!", "more"]);
        check("incomprehensibilities", 10, &["incomprehe", "nsibilitie", "s"]);
        check("", 10, &[]);
    }

    #[test]
    fn wide_letters_take_two_columns() {
        check("日本語日本語", 8, &["日本語日", "本語"]);
    }

    #[test]
    fn nothing_moves_the_cursor() {
        check("a\x1b[2Jb\x07\r\n", 80, &["a\u{fffd}[2Jb\u{fffd}"]);
    }
}
