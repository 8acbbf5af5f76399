//! Describes in words what a line diff does not show of a change: the line endings, and whether the last line ends.

use std::fmt;

/// The kinds of line endings in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ends {
    Lf,
    CrLf,
    Mixed,
}

impl Ends {
    /// Returns `None` for a text without any line ending.
    fn of(text: &str) -> Option<Self> {
        let (all, crlf) = (text.matches('\n').count(), text.matches("\r\n").count());
        match (all, crlf) {
            (0, _) => None,
            (_, 0) => Some(Self::Lf),
            (all, crlf) if all == crlf => Some(Self::CrLf),
            (_, _) => Some(Self::Mixed),
        }
    }
}

impl fmt::Display for Ends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lf => "LF",
            Self::CrLf => "CRLF",
            Self::Mixed => "both LF and CRLF",
        })
    }
}

/// The remarks to show to people beside the diff, one line each.
pub(crate) fn of(old: Option<&str>, new: &str) -> Vec<String> {
    let Some(old) = old else { return Vec::new() };
    let mut says = Vec::new();
    match (Ends::of(old), Ends::of(new)) {
        (Some(was), Some(is)) if was != is => {
            says.push(format!("line endings change from {was} to {is}"));
        }
        (Some(Ends::Mixed), Some(Ends::Mixed)) if old.lines().eq(new.lines()) && old != new => {
            says.push("line endings change in some lines".to_owned());
        }
        (Some(_) | None, Some(_) | None) => {}
    }
    // An empty text has no last line.
    if !old.is_empty() && !new.is_empty() {
        match (old.ends_with('\n'), new.ends_with('\n')) {
            (true, false) => says.push("the newline at the end of the file is removed".to_owned()),
            (false, true) => says.push("a newline is added at the end of the file".to_owned()),
            (true, true) | (false, false) => {}
        }
    }
    says
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_diff_by_lines_hides_is_said() {
        let check = |old: &str, new: &str, want: &[&str]| {
            assert_eq!(of(Some(old), new), want, "{old:?} {new:?}");
        };
        check("a\nb\n", "a\nc\n", &[]);
        check("a\nb\n", "a\r\nb\r\n", &["line endings change from LF to CRLF"]);
        check("a\r\nb\r\n", "a\r\nb\n", &["line endings change from CRLF to both LF and CRLF"]);
        check("a\r\nb\n", "a\nb\r\n", &["line endings change in some lines"]);
        check("a\n", "a", &["the newline at the end of the file is removed"]);
        check("a", "a\n", &["a newline is added at the end of the file"]);
        check("", "a", &[]);
        check(
            "a\r\nb",
            "a\nb\n",
            &["line endings change from CRLF to LF", "a newline is added at the end of the file"],
        );
        assert_eq!(of(None, "a"), Vec::<String>::new(), "a new file changes none");
    }
}
