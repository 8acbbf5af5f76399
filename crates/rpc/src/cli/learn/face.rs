//! The page around a chapter: title, keys, help, summary.

use meanwhile_core::agent::placement::Next;
use meanwhile_core::background::task::Timestamp;

use super::lanes;
use super::lesson::{Chapter, Lesson, Score};
use super::pen::{Look, Pen, Piece};
use crate::cli::show;

/// The size of the smallest terminal that fits a page.
pub(super) const COLUMNS: usize = 60;
pub(super) const ROWS: usize = 22;

const CHAPTERS: [&str; 3] = ["1 Timeline", "2 Fire & Forget", "3 Drain Timing"];

/// A key and its meaning, for the line of keys.
type Hint = (&'static str, &'static str);

/// Draws the whole page.
pub(super) fn draw(pen: &mut Pen<'_>, lesson: &Lesson, now: Timestamp) {
    let (columns, rows) = pen.size();
    if columns < COLUMNS || rows < ROWS {
        let text = format!(
            "This window has {columns} columns and {rows} rows; the lesson needs {COLUMNS} and \
             {ROWS}. Make it larger, or leave with q."
        );
        return pen.text(&text, Look::Plain, 0);
    }
    title(pen, lesson);
    pen.gap();
    let mut hints: Vec<Hint> = match &lesson.chapter {
        Chapter::Timeline(timeline) => timeline.keys(),
        Chapter::Placing(placing) => placing.keys(),
        Chapter::Draining(draining) => draining.keys(),
        Chapter::Summary => vec![("enter", "leave"), ("p", "back")],
    };
    if lesson.has_help() {
        hints = vec![("any key", "go on")];
    } else {
        if lesson.moves() {
            hints.extend([("space", "pause"), ("+ -", "speed")]);
        }
        if lesson.number() <= 3 {
            hints.extend([("n", "next chapter"), ("?", "help")]);
        }
    }
    if lesson.number() <= 3 {
        hints.push(("q", "leave"));
    }
    let keys = keys(&hints, columns - 2);
    let bottom = u16::try_from(keys.len() + 1).unwrap_or(u16::MAX);
    {
        let mut page = pen.inside(1, bottom);
        match &lesson.chapter {
            _ if lesson.has_help() => help(&mut page),
            Chapter::Timeline(timeline) => timeline.draw(&mut page, now),
            Chapter::Placing(placing) => placing.draw(&mut page),
            Chapter::Draining(draining) => draining.draw(&mut page, now),
            Chapter::Summary => {
                page.text("That was the lesson.", Look::Bold, 0);
                page.gap();
                for line in summary(lesson.scores) {
                    page.text(&line, Look::Plain, 2);
                }
            }
        }
    }
    pen.go_to(rows - keys.len());
    let mut bottom = pen.inside(1, 0);
    for row in &keys {
        bottom.row(row);
    }
}

fn title(pen: &mut Pen<'_>, lesson: &Lesson) {
    let mut pieces: Vec<Piece> = vec![(" learn ".to_owned(), Look::Bold)];
    for (number, name) in (1..).zip(CHAPTERS) {
        let look = if number == lesson.number() { Look::Here } else { Look::Dim };
        pieces.extend([(" ".to_owned(), Look::Plain), (format!(" {name} "), look)]);
    }
    pen.row(&pieces);
}

/// The keys, in as many rows as needed.
fn keys(hints: &[Hint], columns: usize) -> Vec<Vec<Piece>> {
    let mut rows: Vec<Vec<Piece>> = vec![Vec::new()];
    let mut used = 0;
    for (key, says) in hints {
        let width = key.chars().count() + says.chars().count() + 5;
        // The spaces after the last one may be cut.
        if used > 0 && used + width > columns + 2 {
            rows.push(Vec::new());
            used = 0;
        }
        used += width;
        let row = rows.last_mut().expect("there is a row from the start");
        row.extend([(format!(" {key} "), Look::Here), (format!(" {says}  "), Look::Plain)]);
    }
    rows
}

fn help(pen: &mut Pen<'_>) {
    pen.text("What is on the page", Look::Bold, 0);
    lanes::legend(pen);
    pen.text(
        "Everything happens: a real session with a model that follows a script, real commands, a \
         store and a directory of their own, taken away when you leave. The commands of chapter 2 \
         are never run.",
        Look::Plain,
        0,
    );
    pen.gap();
    pen.text("Keys", Look::Bold, 0);
    for (key, says) in [
        ("a b", "start a command in lane A or B; several wait for their lane"),
        ("e", "end the loop's work, or give it more"),
        ("f b", "foreground, background"),
        ("1 to 5", "pick what stands behind the number"),
        ("enter", "go on to the next question"),
        ("space", "stop what moves, and let it go on"),
        ("+ -", "faster, slower"),
        ("n p", "the next chapter, the one before"),
        ("q Ctrl-C", "leave; nothing stays behind"),
    ] {
        pen.row(&[(format!("{key:>9}  "), Look::Bold), (says.to_owned(), Look::Plain)]);
    }
}

/// The results of the lesson in three lines, and a line about where to read more.
pub(super) fn summary(scores: (Score, Score)) -> Vec<String> {
    let score = |score: Score| match score {
        Some((right, all)) => format!(" Your score: {right} / {all}."),
        None => String::new(),
    };
    let limit = |next: Next| show::seconds(next.break_even()).replace(".0s", "s");
    vec![
        format!(
            "1. A result enters where a model call starts, and nowhere else; an idle agent is woken \
             by it.{}",
            score(scores.1)
        ),
        format!(
            "2. A command deserves the background beyond {} where there is other work, beyond {} \
             where the next step needs it, and always if it never ends.{}",
            limit(Next::OtherWork),
            limit(Next::NeedsResult),
            score(scores.0)
        ),
        "3. Nothing is polled and nothing waits: each result is told once.".to_owned(),
        "Read on: `meanwhile demo` is the first chapter as a film, `meanwhile chat` the agent with a \
         model that you choose, and docs/learn.md the rules behind the answers."
            .to_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::pen::wrap;
    use super::*;

    #[test]
    fn keys_take_the_rows_they_need() {
        let hints: [Hint; 4] = [("a", "build"), ("b", "tests"), ("space", "pause"), ("q", "leave")];
        let text = |columns: usize| -> Vec<String> {
            let row = |row: &Vec<Piece>| row.iter().map(|piece| piece.0.as_str()).collect();
            keys(&hints, columns).iter().map(row).collect()
        };
        assert_eq!(text(80), [" a  build   b  tests   space  pause   q  leave  "]);
        assert_eq!(text(40), [" a  build   b  tests   space  pause  ", " q  leave  "]);
    }

    #[test]
    fn the_summary_has_three_lines_and_both_scores() {
        let lines = summary((Some((7, 8)), Some((4, 5))));
        assert_eq!(lines.len(), 4);
        assert!(lines[0].ends_with("Your score: 4 / 5."), "{lines:?}");
        assert!(lines[1].contains("beyond 6s") && lines[1].contains("beyond 60s"), "{lines:?}");
        assert!(lines[1].ends_with("Your score: 7 / 8."), "{lines:?}");
        assert!(wrap(&lines[2], 58, 2).len() <= 2, "{lines:?}");
        assert!(!summary((None, None)).concat().contains("score"));
    }
}
