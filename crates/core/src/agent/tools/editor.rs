//! Files as the person's editor has them, with unsaved changes.
//!
//! A front answers the [`EditorRequest`]s; this module decides what to request, and what to do without an answer.
//! Text comes from the editor if it has the file, otherwise from the disk. Files that the editor should write are
//! written by it, or the model gets an error: a file written behind the editor's back would differ from what the
//! person sees.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::blocking::blocking;
use super::encoding::Encoding;
use crate::background::words::seconds;

/// How long an editor may take for one file.
const PATIENCE: Duration = Duration::from_secs(10);
/// Maximum bytes of a file that is requested from an editor; a larger one is data.
const FILE_BYTES: u64 = 4 << 20;

/// The channel to the editor. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Editor {
    reads: bool,
    writes: bool,
    requests: mpsc::UnboundedSender<EditorRequest>,
    /// The editor did not answer in time. No requests are made until its late answer arrives.
    is_deaf: Arc<AtomicBool>,
    patience: Duration,
}

/// A request to an editor.
#[derive(Debug)]
pub enum EditorRequest {
    /// Read the whole text of a file.
    Read {
        /// The id of the session that asks.
        session: String,
        /// The absolute path of the file.
        path: PathBuf,
        /// Receives the text, or why there is none.
        reply: oneshot::Sender<Result<String, String>>,
    },
    /// Write a file.
    Write {
        /// The id of the session that asks.
        session: String,
        /// The absolute path of the file.
        path: PathBuf,
        /// The complete new text.
        content: String,
        /// Receives whether it was written, or why not.
        reply: oneshot::Sender<Result<(), String>>,
    },
    /// The call no longer waits: the reply channel of an earlier request is closed.
    GivenUp,
}

/// Sends [`EditorRequest::GivenUp`] if it is dropped before the answer arrives.
struct Waiting<'a, T> {
    answer: Option<oneshot::Receiver<Result<T, String>>>,
    requests: &'a mpsc::UnboundedSender<EditorRequest>,
}

impl<T> Drop for Waiting<'_, T> {
    fn drop(&mut self) {
        if self.answer.take().is_some() {
            // The reply channel is closed by now, so the front can tell which request this is. If the editor is
            // gone, there is nothing to withdraw.
            let _ = self.requests.send(EditorRequest::GivenUp);
        }
    }
}

/// Why an editor did not do what was requested.
enum Failed {
    /// The editor reported an error.
    Said(String),
    /// The editor did not answer in time.
    Late,
    /// The editor is no longer connected.
    Gone,
}

impl Editor {
    /// A channel to an editor with these abilities, and the receiver of the requests.
    pub fn new(reads: bool, writes: bool) -> (Self, mpsc::UnboundedReceiver<EditorRequest>) {
        let (requests, asked) = mpsc::unbounded_channel();
        (Self { reads, writes, requests, is_deaf: Arc::default(), patience: PATIENCE }, asked)
    }

    /// Sets how long to wait for an answer.
    #[must_use]
    pub fn patient_for(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Notes that the editor has answered something.
    pub fn heard(&self) {
        self.is_deaf.store(false, Ordering::Relaxed);
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, String>>) -> EditorRequest,
    ) -> Result<T, Failed> {
        let (reply, answer) = oneshot::channel();
        let mut waiting = Waiting { answer: Some(answer), requests: &self.requests };
        self.requests.send(request(reply)).map_err(|_| Failed::Gone)?;
        let answer = waiting.answer.as_mut().expect("it is taken when the answer is there");
        let answer = tokio::time::timeout(self.patience, answer).await;
        if answer.is_ok() {
            waiting.answer = None;
        }
        match answer {
            Ok(Ok(answer)) => answer.map_err(Failed::Said),
            Ok(Err(_)) => Err(Failed::Gone),
            Err(_) => {
                self.is_deaf.store(true, Ordering::Relaxed);
                Err(Failed::Late)
            }
        }
    }
}

/// Why an editor did not write a file.
pub(super) struct Unwritten {
    why: String,
    /// Whether the editor itself said so, which means that it has not written the file.
    pub(super) is_refused: bool,
}

impl From<Unwritten> for String {
    fn from(unwritten: Unwritten) -> Self {
        unwritten.why
    }
}

/// The editor, as used by one session.
#[derive(Debug, Clone)]
pub(super) struct Buffers {
    pub(super) editor: Editor,
    pub(super) session: String,
}

/// The state of a file on disk.
enum Lies {
    /// The file does not exist.
    Nowhere,
    /// Text that an editor would have in its buffer in the same form.
    AsText,
    /// Anything else: a directory, data, or text whose encoding or line endings an editor would change.
    Otherwise,
}

async fn lies(path: &Path) -> Lies {
    let path = path.to_owned();
    let looked = blocking(move |gone| {
        Ok(match std::fs::metadata(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Lies::Nowhere,
            Ok(about) if about.is_file() && about.len() <= FILE_BYTES => {
                match gone.whole(&path, FILE_BYTES) {
                    Ok(bytes)
                        if Encoding::of(&bytes) == Encoding::Utf8 { mark: false }
                            && memchr::memmem::find(&bytes, b"\r\n").is_none() =>
                    {
                        Lies::AsText
                    }
                    Ok(_) | Err(_) => Lies::Otherwise,
                }
            }
            Ok(_) | Err(_) => Lies::Otherwise,
        })
    });
    looked.await.unwrap_or(Lies::Otherwise)
}

impl Buffers {
    /// The text of a file, if the editor has it.
    pub(super) async fn read(&self, path: &Path) -> Option<String> {
        let Editor { reads, is_deaf, .. } = &self.editor;
        if !reads || is_deaf.load(Ordering::Relaxed) {
            return None;
        }
        let lies = lies(path).await;
        if matches!(lies, Lies::Otherwise) {
            return None;
        }
        let (session, path) = (self.session.clone(), path.to_owned());
        let asked = self.editor.ask(|reply| EditorRequest::Read { session, path, reply });
        match asked.await {
            // CodeCompanion returns this for a file that does not exist.
            Ok(text) if text.is_empty() && matches!(lies, Lies::Nowhere) => None,
            Ok(text) => Some(text),
            Err(Failed::Said(why)) => {
                tracing::debug!("the editor does not read a file: {why}");
                None
            }
            Err(Failed::Late | Failed::Gone) => None,
        }
    }

    /// Whether the editor should write this file.
    pub(super) async fn writes(&self, path: &Path) -> bool {
        let Editor { writes, is_deaf, .. } = &self.editor;
        *writes && !is_deaf.load(Ordering::Relaxed) && !matches!(lies(path).await, Lies::Otherwise)
    }

    /// Whether the editor should change this file, that is, both read and write it.
    pub(super) async fn edits(&self, path: &Path) -> bool {
        self.editor.reads && self.writes(path).await
    }

    /// Writes a file through the editor.
    pub(super) async fn write(&self, path: &Path, content: String) -> Result<(), Unwritten> {
        let shown = path.display().to_string();
        let (session, path) = (self.session.clone(), path.to_owned());
        let asked = self.editor.ask(|reply| EditorRequest::Write { session, path, content, reply });
        asked.await.map_err(|failed| {
            let is_refused = matches!(failed, Failed::Said(_));
            let why = match failed {
                Failed::Said(why) => format!("the editor did not write `{shown}`: {why}"),
                Failed::Late => format!(
                    "the editor did not say within {} whether it wrote `{shown}`: read the file before you write it again",
                    seconds(self.editor.patience)
                ),
                Failed::Gone => format!("`{shown}` was not written: the editor is gone"),
            };
            Unwritten { why, is_refused }
        })
    }
}
