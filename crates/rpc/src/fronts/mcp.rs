//! The Model Context Protocol (MCP): background work as tools for an agent with its own loop.
//!
//! Owns the meaning of MCP's messages. Only this module uses rmcp, which provides the types, both handshakes
//! (`initialize`, and `server/discover` of 2026-07-28) and the rules of the Tasks extension. The serve loop is the
//! same as for every front, so that notifications in a reply are acknowledged once the reply is written.

mod bridge;
mod place;
mod run;
mod sandbox;
mod server;
mod tasks;
mod told;
mod tools;

use std::io;
use std::process::ExitCode;
use std::sync::Arc;

use rmcp::model::{CallToolRequestParams, InitializeRequestParams};
use serde_json::{Map, Value};

use self::bridge::Bridge;
use self::place::Places;
use self::server::Server;
use crate::desk::Options;
use crate::peer::frame::Framing;
use crate::peer::message::Id;
use crate::peer::{self, Call, Client, Conduct, Follow, Front, Jobs, Note, Outbox, Voice};
use crate::wire::{Error, Push, acp};

/// Serves a client on standard input and output until it is gone.
///
/// # Errors
///
/// Standard input or output cannot be used.
pub(crate) fn serve(options: Options) -> io::Result<ExitCode> {
    let client = std::os::unix::process::parent_id();
    peer::run(move |outbox, jobs| {
        // A host may be killed while another process holds standard input open.
        jobs.until_gone(peer::gone(client));
        jobs.until_gone(peer::terminated());
        Mcp::new(options, outbox, jobs)
    })
}

struct Mcp {
    bridge: Bridge,
    places: Arc<Places>,
    client: Client,
    jobs: Jobs,
    begun: bool,
}

impl Mcp {
    fn new(options: Options, outbox: Outbox, jobs: Jobs) -> Self {
        let places = Arc::new(Places::new(options));
        let bridge = Bridge::new(Server::new(places.clone()), &jobs);
        let client = Client::new(outbox, Arc::new(Silent));
        Self { bridge, places, client, jobs, begun: false }
    }

    /// On the first message: attaches to the workspace of the session, so that linger times of its tasks do not
    /// start.
    fn begin(&mut self) {
        if std::mem::replace(&mut self.begun, true) {
            return;
        }
        let places = self.places.clone();
        self.jobs.beside(async move {
            if let Err(error) = places.of(None).await {
                tracing::warn!(%error, "cannot open the store; the next request tries again");
            }
        });
    }
}

impl Front for Mcp {
    const FRAMING: Framing = Framing::Lines;

    fn client(&self) -> &Client {
        &self.client
    }

    async fn request(&mut self, method: String, params: Option<Value>) -> Call {
        self.begin();
        let params = tidied(&method, params);
        if let Err(error) = check(&method, &params) {
            return Call::Answered(Err(error));
        }
        let conduct = conduct(&method, &params);
        match self.bridge.ask(method, params) {
            Ok(handling) => Call::Run(conduct, handling),
            Err(error) => Call::Answered(Err(error)),
        }
    }

    fn notification(&mut self, method: &str, params: Option<Value>) -> Note {
        let request = || params.as_ref()?.get("requestId").and_then(Id::read);
        match (method, request()) {
            ("notifications/cancelled", Some(id)) => Note::Cancel(id),
            // Other notifications are ignored.
            _ => Note::Done,
        }
    }

    fn answered(&mut self, _: &str, _: Result<Value, Value>) -> bool {
        // The server sends the client no requests.
        false
    }

    fn wind_up(&self) -> impl Future<Output = ()> + Send + 'static {
        std::future::ready(())
    }

    async fn close(&self) {
        self.places.close().await;
    }

    fn is_clean(&self) -> bool {
        // MCP has no shutdown request: a client closes the pipe.
        true
    }
}

/// The parameters as rmcp expects them. Lua and PHP encode an empty table as an empty list.
fn tidied(method: &str, params: Option<Value>) -> Value {
    let empty = || Value::Object(Map::new());
    let is_nothing = |value: &Value| value.is_null() || value.as_array().is_some_and(Vec::is_empty);
    let mut params = params.filter(|params| !is_nothing(params)).unwrap_or_else(empty);
    for member in ["arguments", "_meta", "capabilities"] {
        if let Some(value) = params.get_mut(member).filter(|value| is_nothing(value)) {
            *value = empty();
        }
    }
    if let (Some(members), "tasks/update") = (params.as_object_mut(), method) {
        // Tasks never ask for input, so there are no responses.
        members.entry("inputResponses").or_insert_with(empty);
    }
    params
}

/// Reports invalid parameters, which rmcp would otherwise match to another method.
fn check(method: &str, params: &Value) -> Result<(), Error> {
    let read = match method {
        "initialize" => serde_json::from_value::<InitializeRequestParams>(params.clone()).err(),
        "tools/call" => serde_json::from_value::<CallToolRequestParams>(params.clone()).err(),
        "tasks/get" | "tasks/update" | "tasks/cancel" => match params.get("taskId") {
            Some(Value::String(_)) => None,
            Some(_) | None => {
                return Err(bridge::invalid("`taskId`: is not a string; expected a task's id"));
            }
        },
        _ => None,
    };
    match read {
        None => Ok(()),
        Some(why) => Err(bridge::invalid(format!("the parameters of `{method}`: {why}"))),
    }
}

/// How a request is run. A change is completed and reported even if the client cancels it.
fn conduct(method: &str, params: &Value) -> Conduct {
    let name = params.get("name").and_then(Value::as_str).unwrap_or_default();
    let waits = matches!(method, "tools/call" | "tasks/cancel");
    let cancellable =
        method == "tools/call" && tools::Tool::named(name).is_some_and(tools::Tool::looks);
    Conduct { waits, cancellable, large: false }
}

/// Sends no pushes: in existing hosts a notification neither starts a turn nor reaches a model.
#[derive(Debug)]
struct Silent;

impl Voice for Silent {
    fn push(&self, _: &Push, _: &Outbox) {}
    fn ask(&self, _: &str, _: &acp::RequestPermissionRequest, _: &Outbox) {}
    fn withdraw(&self, _: &str, _: &Outbox) {}
    fn follow(&self, _: Follow, _: &Outbox) {}
}
