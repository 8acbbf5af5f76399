//! A prompt that does not fit the model's context: the model gets both ends, and a file has the whole prompt.

use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Update;
use super::work::Work;
use crate::agent::permission::{Effect, Rule};
use crate::background::words::reason;

/// Bytes of a prompt that the model gets unchanged; of a longer one, half from each end.
const PROMPT_BYTES: usize = 8 << 10;
/// The directory for whole prompts, in the state directory.
const FOLDER: &str = "prompts";
/// How long such a file is kept: as long as an unused session.
const KEPT: Duration = Duration::from_secs(90 * 24 * 3_600);

impl Work {
    /// The text for the model in place of a prompt that is too long; `None` if the prompt is short enough. An error
    /// if the whole prompt cannot be stored where the model can read it.
    pub(super) async fn long_prompt(&mut self, prompt: &str) -> Result<Option<String>, String> {
        let Some((head, tail)) = ends(prompt) else { return Ok(None) };
        let left_out = prompt.len() - head.len() - tail.len();
        let too_long = |why: String| {
            format!(
                "the prompt of {} bytes does not fit the model's context, and could not be stored in a \
                 file: {why}; put it in a file yourself, and name the file in the prompt",
                prompt.len()
            )
        };
        let state = self.background.state_dir();
        let folder = state.ok_or_else(|| too_long("there is no state directory".to_owned()))?;
        let folder = folder.join(FOLDER);
        let path = folder.join(format!("{}-{}.txt", self.id, self.counts.messages));
        keep(&folder, &path, prompt)
            .map_err(|error| too_long(format!("`{}`: {}", path.display(), reason(&error))))?;
        // The file has the person's own text, so reading it needs no permission.
        let rule = Rule::with_effect(Effect::Allow, &format!("read {}", path.display()));
        self.terms.rules.add(rule.map_err(|error| too_long(error.to_string()))?);
        let whole =
            format!("The whole is in `{}`: read the rest there (read_file, grep).", path.display());
        let told = format!(
            "The prompt of {} bytes does not fit the model's context beside the rest: {left_out} bytes in \
             its middle were left out. {whole}",
            prompt.len()
        );
        self.out.send(Update::Notice(told)).await;
        Ok(Some(format!(
            "The person's last words were too long for the context. {left_out} bytes in the middle are \
             left out here. {whole}\n\nTheir beginning:\n{head}\n\n[{left_out} bytes left out]\n\n\
             Their end:\n{tail}"
        )))
    }
}

/// Both ends of a text that is too long, cut at character boundaries; `None` if it is short enough.
fn ends(text: &str) -> Option<(&str, &str)> {
    if text.len() <= PROMPT_BYTES {
        return None;
    }
    let head = text.floor_char_boundary(PROMPT_BYTES / 2);
    let tail = text.ceil_char_boundary(text.len() - PROMPT_BYTES / 2);
    Some((&text[..head], &text[tail..]))
}

/// Writes a prompt to a file that only its owner can read, and deletes files older than [`KEPT`].
fn keep(folder: &Path, path: &PathBuf, prompt: &str) -> std::io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    for entry in std::fs::read_dir(folder)?.flatten() {
        let age = entry.metadata().and_then(|it| it.modified()).map(|at| at.elapsed());
        if matches!(age, Ok(Ok(age)) if age > KEPT) {
            // The next call tries again.
            let _ = std::fs::remove_file(entry.path());
        }
    }
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(prompt.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_of_a_long_text_are_kept() {
        assert_eq!(ends(&"x".repeat(PROMPT_BYTES)), None);
        let text = format!("HEAD{}TAIL", "é".repeat(PROMPT_BYTES));
        let (head, tail) = ends(&text).unwrap();
        assert!(head.starts_with("HEAD") && tail.ends_with("TAIL"));
        assert!(head.len() + tail.len() <= PROMPT_BYTES);
    }
}
