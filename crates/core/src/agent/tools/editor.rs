//! Files as the person's editor has them, with what is not saved yet.
//!
//! Who has the editor answers [`EditorRequest`]s; here is what is asked of it, and what becomes of a file where it
//! does not answer. Text is read from it where it has it, else from the disk. What it is to write it writes, or the
//! model is told that it did not: written beside it, the file would be another than the one that the person sees.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::blocking::blocking;
use super::encoding::Encoding;
use crate::background::words::seconds;

/// How long an editor may take with one file.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of a file that is asked of an editor; a larger one is data.
const FILE_BYTES: u64 = 4 << 20;

/// A way to the editor. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Editor {
    reads: bool,
    writes: bool,
    requests: mpsc::UnboundedSender<EditorRequest>,
    /// It did not answer in time. It is asked again once it has answered.
    is_deaf: Arc<AtomicBool>,
    patience: Duration,
}

/// What an editor is asked.
#[derive(Debug)]
pub enum EditorRequest {
    /// The whole text of a file.
    Read {
        /// The session that asks.
        session: String,
        /// The file, absolute.
        path: PathBuf,
        /// The text, or why there is none.
        reply: oneshot::Sender<Result<String, String>>,
    },
    /// To write a file.
    Write {
        /// The session that asks.
        session: String,
        /// The file, absolute.
        path: PathBuf,
        /// The whole text.
        content: String,
        /// Whether it is written, or why not.
        reply: oneshot::Sender<Result<(), String>>,
    },
    /// The call that asked does not wait any more: the reply of a request before this one is closed.
    GivenUp,
}

/// Says that a request was given up, where it is dropped before the answer.
struct Waiting<'a, T> {
    answer: Option<oneshot::Receiver<Result<T, String>>>,
    requests: &'a mpsc::UnboundedSender<EditorRequest>,
}

impl<T> Drop for Waiting<'_, T> {
    fn drop(&mut self) {
        if self.answer.take().is_some() {
            // Closed by now, so that it is found. Where the editor is gone nothing is to be withdrawn.
            let _ = self.requests.send(EditorRequest::GivenUp);
        }
    }
}

/// Why an editor did not do something.
enum Failed {
    /// It said so.
    Said(String),
    /// It did not answer in time.
    Late,
    /// It is gone.
    Gone,
}

impl Editor {
    /// A way to an editor that can do this, and what is asked of it.
    pub fn new(reads: bool, writes: bool) -> (Self, mpsc::UnboundedReceiver<EditorRequest>) {
        let (requests, asked) = mpsc::unbounded_channel();
        (Self { reads, writes, requests, is_deaf: Arc::default(), patience: PATIENCE }, asked)
    }

    /// The same, with another patience.
    #[must_use]
    pub fn patient_for(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// It has answered something.
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
    /// It said so: it has not written it.
    pub(super) is_refused: bool,
}

impl From<Unwritten> for String {
    fn from(unwritten: Unwritten) -> Self {
        unwritten.why
    }
}

/// The editor for one session.
#[derive(Debug, Clone)]
pub(super) struct Buffers {
    pub(super) editor: Editor,
    pub(super) session: String,
}

/// A file as it lies on the disk.
enum Lies {
    /// There is none.
    Nowhere,
    /// It is text as an editor has it in its buffer.
    AsText,
    /// It is something else: a directory, data, a text in an encoding or with ends of lines that would change on
    /// the way.
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
    /// The text of a file, where the editor has it.
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
            // CodeCompanion says so of a file that there is not.
            Ok(text) if text.is_empty() && matches!(lies, Lies::Nowhere) => None,
            Ok(text) => Some(text),
            Err(Failed::Said(why)) => {
                tracing::debug!("the editor does not read a file: {why}");
                None
            }
            Err(Failed::Late | Failed::Gone) => None,
        }
    }

    /// Whether the editor is to write this file.
    pub(super) async fn writes(&self, path: &Path) -> bool {
        let Editor { writes, is_deaf, .. } = &self.editor;
        *writes && !is_deaf.load(Ordering::Relaxed) && !matches!(lies(path).await, Lies::Otherwise)
    }

    /// Whether the editor is to change this file: to read it and to write it.
    pub(super) async fn edits(&self, path: &Path) -> bool {
        self.editor.reads && self.writes(path).await
    }

    /// Has the editor write a file.
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
