//! The Language Server Protocol, which carries the protocol of `docs/protocol.md` for editors.
//!
//! Owns the handshake, LSP's own messages, and the names of pushes in this protocol. It is the only module that uses
//! tower-lsp, which provides LSP's types, lifecycle and routing.

mod commands;
mod earlier;
mod handshake;
mod progress;
mod router;
pub(crate) mod schema;
mod voice;
mod workspace;

use std::io;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use serde_json::{Map, Value};
use tokio::time::Instant;

use self::handshake::Handshake;
use self::router::Router;
use self::voice::LspVoice;
use crate::desk::{Desk, Options};
use crate::handlers::stop;
use crate::methods::{self, METHODS, Method};
use crate::peer::frame::Framing;
use crate::peer::message::Id;
use crate::peer::{self, Call, Client, Front, Jobs, Note, Outbox};

pub(crate) use self::voice::Named;

/// Serves a client on standard input and output until it is gone.
///
/// # Errors
///
/// Standard input or output cannot be used.
pub(crate) fn serve(options: Options) -> io::Result<ExitCode> {
    peer::run(|outbox, jobs| Lsp::new(METHODS, options, outbox, jobs))
}

struct Lsp {
    methods: &'static [Method],
    router: Router,
    desk: Desk,
    client: Client,
    voice: Arc<LspVoice>,
    jobs: Jobs,
    /// When the client last sent something.
    heard: Arc<Mutex<Instant>>,
}

impl Lsp {
    fn new(methods: &'static [Method], options: Options, outbox: Outbox, jobs: Jobs) -> Self {
        let voice = Arc::new(LspVoice::default());
        let client = Client::new(outbox, voice.clone());
        let desk = Desk::new(options, client.clone(), jobs.clone());
        let router = Router::new(methods, Handshake::new(desk.clone()));
        let heard = Arc::new(Mutex::new(Instant::now()));
        Self { methods, router, desk, client, voice, jobs, heard }
    }

    /// Runs a method that the router has accepted.
    fn run(&self, method: &Method, params: Option<Value>) -> Call {
        let params = params.unwrap_or_else(empty);
        Call::Run((method.conduct)(&params), (method.run)(self.desk.clone(), params))
    }

    /// Runs after the handshake: opens the store, and watches the client.
    fn begin(&self) {
        if let Some(pid) = self.router.handshake().parent() {
            self.jobs.until_gone(peer::gone(pid));
        }
        if let Some(silence) = self.router.handshake().silence() {
            let heard = self.heard.clone();
            self.jobs.until_gone(async move {
                loop {
                    let until = *heard.lock().expect("no holder panics") + silence;
                    if Instant::now() >= until {
                        return;
                    }
                    tokio::time::sleep_until(until).await;
                }
            });
        }
        if let (Some(name), Some(state)) = (self.router.handshake().name(), self.desk.state_dir()) {
            earlier::end(state, name);
        }
        self.desk.open_early();
    }

    fn hear(&self) {
        *self.heard.lock().expect("no holder panics") = Instant::now();
    }

    /// Stops the task whose progress the client has cancelled.
    fn cancel_progress(&self, params: Option<Value>) {
        let token = params.and_then(|mut params| params.get_mut("token").map(Value::take));
        let Some(token) = token.and_then(|token| serde_json::from_value(token).ok()) else {
            return;
        };
        // A repeated cancellation does not stop the task twice.
        let Some(task) = self.voice.progresses.cancel(&token) else { return };
        let (desk, voice) = (self.desk.clone(), self.voice.clone());
        self.jobs.beside(async move {
            if let Err(error) = stop::whole(&desk, task, "its progress was cancelled").await {
                voice.progresses.not_cancelled(&token);
                tracing::warn!(%task, %error, "cannot stop a task whose progress was cancelled");
            }
        });
    }
}

impl Front for Lsp {
    const FRAMING: Framing = Framing::ContentLength;

    fn client(&self) -> &Client {
        &self.client
    }

    async fn request(&mut self, method: String, params: Option<Value>) -> Call {
        self.hear();
        let mut params = params.filter(|params| !is_nothing(&method, params));
        if let Some(method) = methods::find(self.methods, &method) {
            return match self.router.call(method.name, None).await {
                Ok(_) => self.run(method, params),
                Err(error) => Call::Answered(Err(error)),
            };
        }
        if method == "initialize" {
            workspace::normalize(params.get_or_insert_with(empty));
        }
        let outcome = self.router.call(method.clone(), params).await;
        match (method.as_str(), outcome) {
            ("initialize", Ok(result)) => {
                self.begin();
                Call::Answered(Ok(result))
            }
            (commands::REQUEST, Ok(meant)) => {
                let (method, params) = commands::meant(self.methods, meant);
                self.run(method, Some(params))
            }
            (_, outcome) => Call::Answered(outcome),
        }
    }

    fn notification(&mut self, method: &str, params: Option<Value>) -> Note {
        self.hear();
        let params = params.filter(|params| !is_nothing(method, params));
        match method {
            "exit" => Note::Exit,
            "$/cancelRequest" => {
                let id = params.as_ref().and_then(|params| params.get("id")).and_then(Id::read);
                id.map_or(Note::Done, Note::Cancel)
            }
            "window/workDoneProgress/cancel" => {
                self.cancel_progress(params);
                Note::Done
            }
            "session/cancel" => {
                let Some(cancel) = methods::find(self.methods, method) else { return Note::Done };
                let work = (cancel.run)(self.desk.clone(), params.unwrap_or_else(empty));
                Note::Run(Box::pin(async move {
                    if let Err(error) = work.await {
                        tracing::warn!(%error, "cannot cancel a turn");
                    }
                }))
            }
            // Other notifications of LSP are ignored.
            _ => Note::Done,
        }
    }

    fn answered(&mut self, id: &str, outcome: Result<Value, Value>) -> bool {
        self.desk.answered(id, &outcome)
            || self.voice.progresses.created(id, outcome.is_ok(), self.client.outbox())
    }

    fn wind_up(&self) -> impl Future<Output = ()> + Send + 'static {
        let sessions = self.desk.sessions().clone();
        async move { sessions.close().await }
    }

    async fn close(&self) {
        self.desk.close().await;
    }

    fn is_clean(&self) -> bool {
        self.router.handshake().is_shut_down()
    }
}

/// Whether these parameters mean that there are none: vim sends empty parameters as an array, and Emacs' eglot sends
/// an empty object with `shutdown`.
fn is_nothing(method: &str, params: &Value) -> bool {
    match params {
        Value::Array(list) => list.is_empty(),
        Value::Object(members) => members.is_empty() && method == "shutdown",
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn empty() -> Value {
    Value::Object(Map::new())
}

#[cfg(test)]
mod tests;
