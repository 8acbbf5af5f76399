//! Accesses files through the client: `fs/read_text_file` and `fs/write_text_file`, if its capabilities include them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use meanwhile_core::agent::tools::{Editor, EditorRequest};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use crate::peer::{Client, Jobs};
use crate::wire::acp;

/// The prefix of the ids of these requests.
const PREFIX: &str = "meanwhile/fs/";

/// The requests that the client has not answered.
#[derive(Debug, Default)]
pub(super) struct Files(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    editor: Option<Editor>,
    last: u64,
    asked: HashMap<String, Reply>,
}

/// The receiver of a response.
#[derive(Debug)]
enum Reply {
    Text(oneshot::Sender<Result<String, String>>),
    Done(oneshot::Sender<Result<(), String>>),
}

impl Reply {
    /// Whether the call that waits for the response is gone.
    fn is_closed(&self) -> bool {
        match self {
            Self::Text(reply) => reply.is_closed(),
            Self::Done(reply) => reply.is_closed(),
        }
    }
}

impl Files {
    /// Reads the client's capabilities. Returns access to its files, if it offers that.
    pub(super) fn learn(
        &self,
        capabilities: &acp::ClientCapabilities,
        client: &Client,
        jobs: &Jobs,
    ) -> Option<Editor> {
        let acp::FileSystemCapabilities { read_text_file, write_text_file, .. } = capabilities.fs;
        if !read_text_file && !write_text_file {
            return None;
        }
        let (editor, requests) = Editor::new(read_text_file, write_text_file);
        lock(&self.0).editor = Some(editor.clone());
        jobs.beside(ask(self.0.clone(), requests, client.clone()));
        Some(editor)
    }

    /// Handles a response of the client. Returns whether it belongs to one of these requests.
    pub(super) fn answered(&self, id: &str, outcome: &Result<Value, Value>) -> bool {
        if !id.starts_with(PREFIX) {
            return false;
        }
        let mut state = lock(&self.0);
        if let Some(editor) = &state.editor {
            editor.heard();
        }
        let failed = |error: &Value| match error["message"].as_str() {
            Some(message) => message.chars().take(500).collect(),
            None => "it does not say why".to_owned(),
        };
        // The receiver may be gone.
        match state.asked.remove(id) {
            Some(Reply::Text(reply)) => {
                let text = outcome.as_ref().map_err(failed).and_then(|result| {
                    let text = result["content"].as_str().map(str::to_owned);
                    text.ok_or_else(|| "its answer has no `content`".to_owned())
                });
                let _ = reply.send(text);
            }
            Some(Reply::Done(reply)) => {
                let _ = reply.send(outcome.as_ref().map(drop).map_err(failed));
            }
            None => {}
        }
        true
    }
}

/// Sends the sessions' requests to the client.
async fn ask(
    state: Arc<Mutex<State>>,
    mut requests: mpsc::UnboundedReceiver<EditorRequest>,
    client: Client,
) {
    while let Some(request) = requests.recv().await {
        let (method, params, reply) = match request {
            EditorRequest::GivenUp => {
                let gone: Vec<_> =
                    lock(&state).asked.extract_if(|_, reply| reply.is_closed()).collect();
                for (id, _) in gone {
                    client.withdraw(&id);
                }
                continue;
            }
            EditorRequest::Read { session, path, reply } => {
                let params = json!({"sessionId": session, "path": path});
                ("fs/read_text_file", params, Reply::Text(reply))
            }
            EditorRequest::Write { session, path, content, reply } => {
                let params = json!({"sessionId": session, "path": path, "content": content});
                ("fs/write_text_file", params, Reply::Done(reply))
            }
        };
        client.room().await;
        if reply.is_closed() {
            // The request was given up while it waited for room: a write that is sent now would undo later ones.
            continue;
        }
        let id = {
            let mut state = lock(&state);
            state.last += 1;
            let id = format!("{PREFIX}{}", state.last);
            // Stored before the request is sent, so that the response finds it.
            state.asked.insert(id.clone(), reply);
            id
        };
        client
            .outbox()
            .send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}));
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // A panic under the lock leaves the state consistent: every change is one insert or remove.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
