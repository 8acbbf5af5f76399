//! Words that come one by one, as rows of a screen.
//!
//! A row is written once it cannot change any more: at a line's end, or where the next word does not
//! fit. What is left is shown in the moving line until then.

use console::measure_text_width;

use crate::cli::show;

/// Text on its way to the screen.
#[derive(Debug, Default)]
pub(super) struct Flow {
    rest: String,
}

impl Flow {
    /// More text. Returns the rows that are complete.
    pub(super) fn add(&mut self, text: &str, width: usize) -> Vec<String> {
        let mut rows = Vec::new();
        // The width of a tab depends on where it stands.
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

    /// What is not a row yet.
    pub(super) fn rest(&self) -> &str {
        &self.rest
    }

    /// The end of a text: its last row, if there is anything in it.
    pub(super) fn end(&mut self) -> Option<String> {
        let rest = std::mem::take(&mut self.rest);
        (!rest.trim().is_empty()).then_some(rest)
    }

    /// Takes full rows off the rest, between words where there are any.
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
                // An indentation is not a place to break.
                if c == ' ' && !self.rest[..place].trim().is_empty() {
                    space = Some(place);
                }
            }
            // A word that just fits is followed by its blank.
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

    /// Adds a text in one piece and letter by letter; both must come out alike.
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
