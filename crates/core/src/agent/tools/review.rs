//! The change that a call would make to a file, to be shown to a person, and the text that this person made of it.
//!
//! This module reads files; [`files::write`] does the writing. A file that changed since it was shown is left
//! alone, because a text made from the old version would undo the other change. The same holds for a path that now
//! leads elsewhere.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use similar::TextDiff;

use super::blocking::blocking;
use super::call::Action;
use super::editor::Buffers;
use super::{Diff, Outcome, edit, files, paths};

/// The maximum time for comparing two texts; what was not compared by then counts as replaced.
const PATIENCE: Duration = Duration::from_millis(500);
/// The byte order mark, which editors do not show.
const MARK: char = '\u{feff}';

/// A change that a person has reviewed.
#[derive(Debug, Clone)]
pub(super) struct Reviewed {
    /// The change as the person saw it.
    shown: Diff,
    /// The text to write.
    text: String,
    /// Whether the model may read the file: permission to write a file does not include its contents.
    may_read: bool,
}

impl Reviewed {
    pub(super) fn new(shown: &Diff, text: String, may_read: bool) -> Self {
        let text = with_mark(shown.old.as_deref(), text);
        Self { shown: shown.clone(), text, may_read }
    }
}

/// Adds the byte order mark of the replaced text.
fn with_mark(old: Option<&str>, text: String) -> String {
    match old.is_some_and(|old| old.starts_with(MARK)) && !text.starts_with(MARK) {
        true => format!("{MARK}{text}"),
        false => text,
    }
}

impl Diff {
    /// The differing lines in the format of `diff -u`.
    pub fn unified(&self) -> String {
        let old = self.old.as_deref().unwrap_or_default();
        let diff = TextDiff::configure().timeout(PATIENCE).diff_lines(old, &self.new);
        diff.unified_diff().to_string()
    }
}

/// The change that a call would make; `None` if it changes no file, or if the change cannot be shown as text.
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
    // If nothing can be changed, the call itself fails later.
    let (path, old, new) = changed.await.ok()?;
    files::diff(&path, Some(old.into_bytes()), String::from_utf8(new).ok()?)
}

/// Writes the text that a person made of a change.
pub(super) async fn write(
    reviewed: Reviewed,
    buffers: Option<&Buffers>,
) -> Result<Outcome, String> {
    let Reviewed { shown: Diff { path, old, new: proposed }, text, may_read } = reviewed;
    let is_as_proposed = text == proposed;
    // For a new file, an empty text means that nothing is left of the change.
    if text == old.as_deref().unwrap_or_default() && !is_as_proposed {
        return Err(format!(
            "the person rejected all of this change, and `{}` is unchanged; don't try the same in \
             another way, ask what to do instead",
            path.display()
        ));
    }
    let mut done = files::write(path.clone(), text.clone(), buffers).await?;
    if !is_as_proposed && !may_read {
        done.content = format!(
            "the person changed this call before it was carried out: another text was written to \
             `{}`; it is not shown, because reading this file needs permission",
            path.display()
        );
    } else if !is_as_proposed {
        let written = Diff { path: path.clone(), old, new: text };
        let lines = blocking(move |_| Ok(written.unified())).await?;
        done.content = format!(
            "the person changed this call before it was carried out: instead of your text, this \
             change was written to `{}`:\n{lines}",
            path.display()
        );
    }
    Ok(done)
}

/// Whether a file is the same as when it was shown; the error is the text for the model.
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

/// The text of a file as the tools would change it: `Some(None)` if there is no file, `None` if it is not text.
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
            // Opening a pipe would block.
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
