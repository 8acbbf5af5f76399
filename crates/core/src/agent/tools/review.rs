//! What a call would change in a file, before a person is asked, and what that person has written in its place.
//!
//! Reads files and never writes one by itself: what was looked at is written by [`files::write`]. A file that is
//! not as it was shown any more is left alone, because a text that was made from the old one would undo what came
//! between; so is one whose path leads elsewhere now.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use similar::TextDiff;

use super::blocking::blocking;
use super::call::Action;
use super::editor::Buffers;
use super::{Diff, Outcome, edit, files, paths};

/// How long the lines of two texts are compared; what is left is told as replaced.
const PATIENCE: Duration = Duration::from_millis(500);
/// The mark at the beginning of a text, which editors keep to themselves.
const MARK: char = '\u{feff}';

/// A change that a person looked at.
#[derive(Debug, Clone)]
pub(super) struct Reviewed {
    /// As the person was shown it.
    shown: Diff,
    /// What is to be written.
    text: String,
    /// The model may read the file: leave to write one says nothing of what is in it.
    may_read: bool,
}

impl Reviewed {
    pub(super) fn new(shown: &Diff, text: String, may_read: bool) -> Self {
        let text = with_mark(shown.old.as_deref(), text);
        Self { shown: shown.clone(), text, may_read }
    }
}

/// A text with the mark of the one in whose place it comes.
fn with_mark(old: Option<&str>, text: String) -> String {
    match old.is_some_and(|old| old.starts_with(MARK)) && !text.starts_with(MARK) {
        true => format!("{MARK}{text}"),
        false => text,
    }
}

impl Diff {
    /// The lines that differ, as `diff -u` shows them.
    pub fn unified(&self) -> String {
        let old = self.old.as_deref().unwrap_or_default();
        let diff = TextDiff::configure().timeout(PATIENCE).diff_lines(old, &self.new);
        diff.unified_diff().to_string()
    }
}

/// What a call would change; `None`: it changes no file, or what cannot be shown as text.
pub(super) async fn proposed(action: &Action, buffers: Option<&Buffers>) -> Option<Diff> {
    if let Action::WriteFile { path, content } = action {
        let (path, content) = (path.clone(), content.clone());
        let old = now(&path, buffers).await?;
        let content = with_mark(old.as_deref(), content);
        return files::diff(&path, old.map(String::into_bytes), content);
    }
    let Action::Edit(edit) = action else { return None };
    let old = now(&edit.path, buffers).await??;
    let edit = edit.clone();
    let changed = blocking(move |_| {
        let changed = edit::change(old.as_bytes(), &edit.old, &edit.new, edit.all)?;
        Ok((edit.path, old, changed.bytes))
    });
    // Where there is nothing to change the call fails by itself.
    let (path, old, new) = changed.await.ok()?;
    files::diff(&path, Some(old.into_bytes()), String::from_utf8(new).ok()?)
}

/// Writes what a person left of a change.
pub(super) async fn write(
    reviewed: Reviewed,
    buffers: Option<&Buffers>,
) -> Result<Outcome, String> {
    let Reviewed { shown: Diff { path, old, new: proposed }, text, may_read } = reviewed;
    let is_as_proposed = text == proposed;
    // What is left of a new file is an empty text.
    if text == old.as_deref().unwrap_or_default() && !is_as_proposed {
        return Err(format!(
            "the person took nothing of this change, and `{}` is as it was; don't try the same in \
             another way, ask what to do instead",
            path.display()
        ));
    }
    let mut done = files::write(path.clone(), text.clone(), buffers).await?;
    if !is_as_proposed && !may_read {
        done.content = format!(
            "the person changed this call before it was carried out: not your text was written to \
             `{}`; what was is not shown, because this file is not read without a question",
            path.display()
        );
    } else if !is_as_proposed {
        let written = Diff { path: path.clone(), old, new: text };
        let lines = blocking(move |_| Ok(written.unified())).await?;
        done.content = format!(
            "the person changed this call before it was carried out: not your text was written to \
             `{}`, but this change of what was there:\n{lines}",
            path.display()
        );
    }
    Ok(done)
}

/// Whether a file is as it was shown; else what the model is told.
pub(super) async fn unchanged(shown: &Diff, buffers: Option<&Buffers>) -> Result<(), String> {
    let Diff { path, old, .. } = shown;
    let leads_there = paths::follow(path).as_deref() == Some(path);
    if leads_there && now(path, buffers).await.as_ref() == Some(old) {
        return Ok(());
    }
    Err(format!(
        "`{}` was not written: it changed while the person looked at this change; read it and \
         propose the change again",
        path.display()
    ))
}

/// The text of a file as the tools would change it: `Some(None)` where there is no file, `None` where it is not text.
async fn now(path: &Path, buffers: Option<&Buffers>) -> Option<Option<String>> {
    if let Some(buffers) = buffers
        && buffers.edits(path).await
        && let Some(text) = buffers.read(path).await
    {
        return Some(Some(text));
    }
    let path = path.to_owned();
    let read = blocking(move |gone| {
        let unreadable = |error: std::io::Error| files::failed("read", &path, &error);
        match fs::metadata(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            // A pipe would be waited for.
            Ok(about) if !about.is_file() || about.len() > edit::FILE_BYTES => {
                return Err(format!("`{}` cannot be shown", path.display()));
            }
            Ok(_) => {}
            Err(error) => return Err(unreadable(error)),
        }
        let bytes = gone.whole(&path, edit::FILE_BYTES).map_err(unreadable)?;
        let (text, _) = edit::decoded(bytes)?;
        String::from_utf8(text).map(Some).map_err(|error| error.to_string())
    });
    read.await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_that_an_editor_keeps_to_itself_is_put_back() {
        let text = |old: Option<&str>, text: &str| {
            let (old, new) = (old.map(str::to_owned), String::new());
            Reviewed::new(&Diff { path: "a".into(), old, new }, text.to_owned(), true).text
        };
        assert_eq!(text(Some("\u{feff}a"), "b"), "\u{feff}b");
        assert_eq!(text(Some("\u{feff}a"), "\u{feff}b"), "\u{feff}b");
        assert_eq!(text(Some("a"), "b"), "b");
        assert_eq!(text(None, "b"), "b");
    }

    #[test]
    fn what_differs_is_shown_with_what_is_around_it() {
        let diff = |old: Option<&str>, new: &str| {
            Diff { path: "a".into(), old: old.map(str::to_owned), new: new.to_owned() }.unified()
        };
        assert_eq!(diff(Some("a\nb\n"), "a\nc\n"), "@@ -1,2 +1,2 @@\n a\n-b\n+c\n");
        assert_eq!(diff(None, "a\n"), "@@ -0,0 +1 @@\n+a\n");
        assert_eq!(diff(Some("a\n"), "a\n"), "");
    }
}
