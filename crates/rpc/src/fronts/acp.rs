//! The Agent Client Protocol, version 1: makes the built-in agent available to any ACP client.
//!
//! Translates ACP's messages to the methods of the table. ACP clients use sessions differently: one process works in
//! several workspaces, and clients stop showing updates once a prompt is answered. So a prompt is held open while
//! background tasks of the session run (`hold`).

mod commands;
mod files;
mod hold;
mod places;
mod terminals;
mod voice;
mod watched;

use std::collections::HashMap;
use std::io;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use agent_client_protocol_schema::ProtocolVersion;
use serde_json::{Map, Value};
use tokio::sync::mpsc;

use self::commands::Command;
use self::files::Files;
use self::hold::Holds;
use self::places::Places;
use self::terminals::{Terminals, Wanted};
use self::voice::AcpVoice;
use self::watched::Loads;
use crate::convert::{error, options, params};
use crate::desk::{Desk, Options};
use crate::handlers::session;
use crate::methods::{self, METHODS};
use crate::peer::frame::Framing;
use crate::peer::message::Id;
use crate::peer::{self, Answer, Call, Client, Conduct, Front, Handling, Jobs, Note, Outbox};
use crate::wire::{Code, Error, WatchSessionParams, acp};

/// ACP's code for "authenticate first" (schema, `ErrorCode`).
const AUTH_REQUIRED: i64 = -32000;
/// The only authentication method: choose a model.
const CHOOSE_MODEL: &str = "model";

/// Serves a client on standard input and output until it exits.
///
/// # Errors
///
/// Standard input or output cannot be used at all.
pub(crate) fn serve(options: Options) -> io::Result<ExitCode> {
    let client = std::os::unix::process::parent_id();
    peer::run(move |outbox, jobs| {
        // An editor may be killed while another process holds the other end of standard input.
        jobs.until_gone(peer::gone(client));
        jobs.until_gone(peer::terminated());
        Acp::new(options, outbox, jobs)
    })
}

/// The ACP front of one connection.
struct Acp {
    /// A desk for all sessions, without a workspace of its own.
    desk: Desk,
    places: Arc<Places>,
    files: Files,
    holds: Arc<Holds>,
    voice: Arc<AcpVoice>,
    client: Client,
    jobs: Jobs,
    /// Sessions that were loaded and are only watched.
    loads: Arc<Loads>,
    /// By session: what the client asked for and does not get. The next prompt reports it.
    untold: Arc<Mutex<HashMap<String, String>>>,
    initialized: bool,
}

impl Acp {
    fn new(options: Options, outbox: Outbox, jobs: Jobs) -> Self {
        let (terminals, wanted) = Terminals::new();
        let voice = Arc::new(AcpVoice::new(terminals));
        let client = Client::new(outbox, voice.clone());
        let desk = Desk::new(options, client.clone(), jobs.clone());
        jobs.beside(show_output(wanted, desk.clone(), voice.clone(), jobs.clone()));
        let places = Arc::new(Places::new(desk.clone()));
        let (holds, loads, untold) = (Arc::default(), Arc::default(), Arc::default());
        Self {
            desk,
            places,
            files: Files::default(),
            holds,
            loads,
            voice,
            client,
            jobs,
            untold,
            initialized: false,
        }
    }

    fn initialize(&mut self, given: Value) -> Result<Value, Error> {
        let request: acp::InitializeRequest = params::parse(given)?;
        let can = &request.client_capabilities;
        self.voice.terminals.learn(can);
        if let Some(editor) = self.files.learn(can, &self.client, &self.jobs) {
            self.desk.use_editor(editor);
        }
        self.initialized = true;
        let prompts =
            acp::PromptCapabilities::new().embedded_context(true).image(self.desk.takes_images());
        let sessions = acp::SessionCapabilities::new()
            .list(acp::SessionListCapabilities::new())
            .delete(acp::SessionDeleteCapabilities::new())
            .resume(acp::SessionResumeCapabilities::new())
            .close(acp::SessionCloseCapabilities::new());
        let capabilities = acp::AgentCapabilities::new()
            .load_session(true)
            .prompt_capabilities(prompts)
            .mcp_capabilities(acp::McpCapabilities::new().http(true))
            .session_capabilities(sessions);
        let method = acp::AuthMethodAgent::new(CHOOSE_MODEL, "Choose a model").description(
            "Set a model with its key or server, in the environment or in config.toml, then try again"
                .to_owned(),
        );
        let about = acp::Implementation::new("meanwhile", env!("CARGO_PKG_VERSION"))
            .title("meanwhile".to_owned());
        // The same for every requested version: a client that does not support this one disconnects.
        let response = acp::InitializeResponse::new(ProtocolVersion::V1)
            .agent_capabilities(capabilities)
            .auth_methods(vec![acp::AuthMethod::Agent(method)])
            .agent_info(about);
        Ok(serde_json::to_value(response).expect("it contains only strings, numbers and flags"))
    }

    /// Handles the session methods that name a directory.
    fn placed(&self, method: &'static methods::Method, mut given: Value) -> Handling {
        let (places, untold) = (self.places.clone(), self.untold.clone());
        let ignored = ignored(&mut given);
        let (jobs, voice, loads) = (self.jobs.clone(), self.voice.clone(), self.loads.clone());
        Box::pin(async move {
            let desk = places.of(given.get("cwd"))?;
            let loaded = given.get("sessionId").and_then(Value::as_str).map(str::to_owned);
            let knew_none = desk.models().is_empty();
            let again = method.name == "session/load";
            if let Some(session) = &loaded {
                voice.terminals.is_at(session, desk.workspace()?, again);
            }
            let answer = (method.run)(desk.clone(), given.clone()).await.map_err(in_acp);
            if let (true, Some(session), Err(error)) = (again, &loaded, &answer)
                && watched::is_held(error)
            {
                let answer = watch(&desk, session, &voice).await?;
                loads.keep(session, given);
                return Ok(answer);
            }
            if let (Some(session), Ok(_)) = (&loaded, &answer) {
                loads.forget(session);
                voice.terminals.is_live(session);
            }
            let answer = answer?;
            let made = answer.result.get("sessionId").and_then(Value::as_str).map(str::to_owned);
            if let Some(session) = &made {
                voice.terminals.is_at(session, desk.workspace()?, false);
            }
            let Some(session) = made.or(loaded) else { return Ok(answer) };
            if let Some(ignored) = ignored {
                let mut untold = untold.lock().unwrap_or_else(PoisonError::into_inner);
                untold.insert(session.clone(), ignored);
            }
            jobs.beside(async move { begun(&desk, &session, knew_none).await });
            Ok(answer)
        })
    }

    /// Lists the sessions of the named directory, or of all directories.
    fn list(&self, method: &'static methods::Method, given: Value) -> Handling {
        let (places, desk) = (self.places.clone(), self.desk.clone());
        Box::pin(async move {
            match given.get("cwd") {
                None | Some(Value::Null) => {
                    session::list::everywhere(&desk, params::parse(given)?).await?.written()
                }
                named => (method.run)(places.of(named)?, given).await,
            }
        })
    }

    /// Deletes a session of any directory.
    fn delete(&self, method: &'static methods::Method, given: Value) -> Handling {
        let (places, kept) = (self.places.clone(), self.kept());
        Box::pin(async move {
            let request: acp::DeleteSessionRequest = params::parse(given.clone())?;
            let desk = places.of_session(&request.session_id.0).await?;
            let answer = (method.run)(desk, given).await?;
            // A session that another process has open is not deleted, so its watch stays.
            kept.forget(&request.session_id.0);
            Ok(answer)
        })
    }

    /// Closes a session, or ends the watch of one.
    fn close_session(&self, method: &'static methods::Method, given: Value) -> Handling {
        let id = given.get("sessionId").and_then(Value::as_str).unwrap_or_default().to_owned();
        let is_watched = self.loads.of(&id).is_some();
        self.kept().forget(&id);
        let desk = self.desk.clone();
        Box::pin(async move {
            if is_watched && desk.watches().end(&id).await {
                return Answer::from(acp::CloseSessionResponse::new()).written();
            }
            (method.run)(desk, given).await
        })
    }

    fn kept(&self) -> Kept {
        Kept {
            holds: self.holds.clone(),
            loads: self.loads.clone(),
            voice: self.voice.clone(),
            untold: self.untold.clone(),
        }
    }

    fn opening(&self) -> Opening {
        Opening {
            places: self.places.clone(),
            loads: self.loads.clone(),
            voice: self.voice.clone(),
            jobs: self.jobs.clone(),
        }
    }

    fn prompt(&self, given: Value) -> Handling {
        let request = params::parse::<acp::PromptRequest>(given);
        if let Ok(request) = &request
            && let Some((command, rest)) = commands::meant(&request.prompt)
        {
            return self.command(&request.session_id, command, rest);
        }
        // Start the hold now, not when the work starts, because the next message may be a cancel.
        let held = request.map(|request| (self.holds.begin(&request.session_id.0), request));
        let (desk, client, untold) = (self.desk.clone(), self.client.clone(), self.untold.clone());
        let (voice, opening) = (self.voice.clone(), self.opening());
        Box::pin(async move {
            let (hold, request) = held?;
            let id = request.session_id.0.to_string();
            let longest = hold::longest(request.meta.as_ref())?;
            opening.take_over(&id).await?;
            desk.ask_again(&id);
            voice.asked(&id);
            let text = untold.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
            if let Some(text) = text {
                voice.think(&id, text, client.outbox());
            }
            let answer = session::prompt::run(&desk, request).await.map_err(in_acp)?;
            let reason = answer.result.stop_reason;
            match (reason, desk.sessions().get(&id)) {
                (_, None) => answer.written(),
                (acp::StopReason::Cancelled, Some(_)) => {
                    voice.terminals.settled(&id).await;
                    answer.written()
                }
                (_, Some(open)) => {
                    let cancelled = hold.over(&open, longest, &voice).await;
                    open.told().await;
                    voice.terminals.settled(&id).await;
                    let reason = if cancelled { acp::StopReason::Cancelled } else { reason };
                    Answer::from(acp::PromptResponse::new(reason)).written()
                }
            }
        })
    }

    /// Runs a command that was typed as a prompt. It does not take over a hold.
    fn command(&self, id: &acp::SessionId, command: Command, rest: String) -> Handling {
        let (id, desk, voice) = (id.clone(), self.desk.clone(), self.voice.clone());
        let opening = self.opening();
        Box::pin(async move {
            opening.take_over(&id.0).await?;
            let open = session::open(&desk, &id)?;
            let (reason, text) = commands::run(command, &rest, &open.session).await?;
            open.told().await;
            if !text.is_empty() {
                voice.say(&id.0, text, desk.client().outbox());
            }
            Answer::from(acp::PromptResponse::new(reason)).written()
        })
    }

    /// Looks for a model again, because the person may have set one since.
    fn authenticate(&self, given: Value) -> Handling {
        let desk = self.desk.clone();
        Box::pin(async move {
            let request: acp::AuthenticateRequest = params::parse(given)?;
            if &*request.method_id.0 != CHOOSE_MODEL {
                return Err(error::invalid("methodId", format!("expected `{CHOOSE_MODEL}`")));
            }
            desk.session_terms(None).await.map_err(in_acp)?;
            Answer::from(acp::AuthenticateResponse::new()).written()
        })
    }
}

/// Watches a session that another process has open, instead of opening it.
async fn watch(desk: &Desk, session: &str, voice: &AcpVoice) -> Result<Answer<Value>, Error> {
    // An earlier load may have started a watch.
    desk.watches().end(session).await;
    let params = WatchSessionParams { session_id: session.to_owned() };
    let watched = session::watch::run(desk, params).await?.result;
    voice.think(session, watched::begun(&watched), desk.client().outbox());
    Answer::from(acp::LoadSessionResponse::new()).written()
}

/// The state that is kept for each session, by its id.
struct Kept {
    holds: Arc<Holds>,
    loads: Arc<Loads>,
    voice: Arc<AcpVoice>,
    untold: Arc<Mutex<HashMap<String, String>>>,
}

impl Kept {
    /// Removes the state of a session that is closed or deleted.
    fn forget(&self, session: &str) {
        self.holds.forget(session);
        self.loads.forget(session);
        self.voice.forget(session);
        self.untold.lock().unwrap_or_else(PoisonError::into_inner).remove(session);
    }
}

/// Opens a session that the client loaded and only watches.
struct Opening {
    places: Arc<Places>,
    loads: Arc<Loads>,
    voice: Arc<AcpVoice>,
    jobs: Jobs,
}

impl Opening {
    /// Opens a session that the client loaded while another process had it open, and sends what the response to that
    /// load could not contain: commands and options. The client already has the conversation. Does nothing for other
    /// sessions.
    async fn take_over(&self, session: &str) -> Result<(), Error> {
        let Some(params) = self.loads.of(session) else { return Ok(()) };
        let desk = self.places.of(params.get("cwd"))?;
        let knew_none = desk.models().is_empty();
        let resume = methods::find(METHODS, "session/resume").expect("it is in the table");
        if let Err(error) = (resume.run)(desk.clone(), params).await {
            // Another prompt may have opened it first.
            return desk.sessions().get(session).map(|_| ()).ok_or_else(|| in_acp(error));
        }
        self.loads.forget(session);
        self.voice.terminals.is_live(session);
        tell_options(&desk, session);
        let session = session.to_owned();
        self.jobs.beside(async move { begun(&desk, &session, knew_none).await });
        Ok(())
    }
}

fn tell_options(desk: &Desk, session: &str) {
    if let Some(open) = desk.sessions().get(session) {
        let options = options::of(&open.session, desk.models());
        let update = acp::ConfigOptionUpdate::new(options);
        desk.tell(session, acp::SessionUpdate::ConfigOptionUpdate(update));
    }
}

/// Removes unsupported parameters, and returns a text that says so.
fn ignored(given: &mut Value) -> Option<String> {
    let directories = given.as_object_mut()?.remove("additionalDirectories");
    let names: Vec<_> = directories.iter().flat_map(Value::as_array).flatten().collect();
    let names: Vec<_> = names.into_iter().filter_map(Value::as_str).collect();
    (!names.is_empty())
        .then(|| format!("Only the directory of the session is used, not {}.", names.join(", ")))
}

/// Sends the output of tasks that the client shows as terminals.
async fn show_output(
    mut wanted: mpsc::UnboundedReceiver<Wanted>,
    desk: Desk,
    voice: Arc<AcpVoice>,
    jobs: Jobs,
) {
    while let Some(Wanted { session, task }) = wanted.recv().await {
        let Some(open) = desk.sessions().get(&session) else { continue };
        let (voice, client) = (voice.clone(), desk.client().clone());
        jobs.beside(async move {
            let background = open.session.background();
            client.room().await;
            let tell = |update| voice.update(update, client.outbox());
            terminals::show(&voice.terminals, background, task, tell).await;
        });
    }
}

/// After a session was opened: sends the client its commands and, once the servers have listed them, its models.
async fn begun(desk: &Desk, session: &str, knew_no_models: bool) {
    let Some(open) = desk.sessions().get(session) else { return };
    // The reply that names the session comes first.
    open.told().await;
    desk.tell(session, commands::offered());
    if !knew_no_models || !desk.learn_models().await {
        return;
    }
    tell_options(desk, session);
}

/// Converts an error to ACP: without a model, a client must authenticate.
fn in_acp(mut error: Error) -> Error {
    if error.code == Code::NoModel.number() {
        error.code = AUTH_REQUIRED;
    }
    error
}

/// No request is refused because of too many open ones: the error code for that means "authenticate first" in ACP.
const CONDUCT: Conduct = Conduct { waits: false, cancellable: true, large: false };

impl Front for Acp {
    const FRAMING: Framing = Framing::Lines;

    fn client(&self) -> &Client {
        &self.client
    }

    async fn request(&mut self, method: String, params: Option<Value>) -> Call {
        let given = tidied(params);
        if method == "initialize" {
            return Call::Answered(self.initialize(given));
        }
        if !self.initialized {
            let message = "the agent is not initialized; send `initialize` first";
            return Call::Answered(Err(Error::new(Error::INVALID_REQUEST, message)));
        }
        let change = Conduct { cancellable: false, ..CONDUCT };
        let known = methods::find(METHODS, &method);
        match (method.as_str(), known) {
            // Only `session/cancel` ends a turn; cancelling the request would leave the turn running.
            ("session/prompt", _) => Call::Run(change, self.prompt(given)),
            ("authenticate", _) => Call::Run(CONDUCT, self.authenticate(given)),
            ("session/new" | "session/load" | "session/resume", Some(known)) => {
                Call::Run(change, self.placed(known, given))
            }
            ("session/list", Some(known)) => Call::Run(CONDUCT, self.list(known, given)),
            ("session/delete", Some(known)) => Call::Run(change, self.delete(known, given)),
            ("session/set_config_option" | "session/set_mode", Some(known)) => {
                Call::Run(change, (known.run)(self.desk.clone(), given))
            }
            ("session/close", Some(known)) => Call::Run(change, self.close_session(known, given)),
            _ => Call::Answered(Err(error::unknown_method(&method))),
        }
    }

    fn notification(&mut self, method: &str, params: Option<Value>) -> Note {
        let given = tidied(params);
        match method {
            "$/cancel_request" => {
                given.get("requestId").and_then(Id::read).map_or(Note::Done, Note::Cancel)
            }
            "session/cancel" => {
                let desk = self.desk.clone();
                if let Some(id) = given.get("sessionId").and_then(Value::as_str) {
                    self.holds.cancel(id);
                }
                Note::Run(Box::pin(async move {
                    // A person who stops the agent does not want the queued prompts either.
                    let cancel = async {
                        let params: acp::CancelNotification = params::parse(given)?;
                        let open = session::open(&desk, &params.session_id)?;
                        open.session.cancel_all().await.map_err(session::refused)
                    };
                    if let Err(error) = cancel.await {
                        tracing::warn!(%error, "cannot cancel a turn");
                    }
                }))
            }
            _ => Note::Done,
        }
    }

    fn answered(&mut self, id: &str, outcome: Result<Value, Value>) -> bool {
        self.files.answered(id, &outcome) || self.desk.answered(id, &outcome)
    }

    fn wind_up(&self) -> impl Future<Output = ()> + Send + 'static {
        let sessions = self.desk.sessions().clone();
        async move { sessions.close().await }
    }

    async fn close(&self) {
        self.places.close().await;
    }

    fn is_clean(&self) -> bool {
        // ACP has no message for the end: a client closes the pipe.
        true
    }
}

/// The parameters in the form that ACP's types parse: Lua and PHP write an empty object as an empty array.
fn tidied(params: Option<Value>) -> Value {
    let is_nothing = |value: &Value| value.is_null() || value.as_array().is_some_and(Vec::is_empty);
    let mut params = params.unwrap_or_default();
    if is_nothing(&params) {
        params = Value::Object(Map::new());
    }
    for member in ["clientCapabilities", "_meta"] {
        if let Some(value) = params.get_mut(member).filter(|value| is_nothing(value)) {
            *value = Value::Object(Map::new());
        }
    }
    params
}
