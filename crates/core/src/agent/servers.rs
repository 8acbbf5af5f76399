//! Servers of the Model Context Protocol that a client passes with a session: their tools are the session's.
//!
//! Owns the connections: each has a task of its own, which ends with the session. rmcp, which this module alone
//! knows in this crate, speaks to them. A server is never waited for but where a turn begins, so a request of a client
//! is not delayed by one. What a server says of its tools is shown to the model and believed by nothing else.

mod answer;
mod link;
mod names;
mod process;

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

use rmcp::RoleClient;
use rmcp::model::{CallToolRequestParams, JsonObject};
use rmcp::service::Peer;
use serde_json::value::RawValue;
use tokio::sync::watch;

use super::provider::{Secret, Tool};
use super::tools::ToolName;
use crate::background::words::{seconds, shorten};
use crate::limits;

use link::{Listed, State};

/// A server, as a client passes it.
#[derive(Debug, Clone)]
pub struct Server {
    /// What a person calls it.
    pub name: String,
    /// The way to it.
    pub way: Way,
}

/// The way to a server.
#[derive(Debug, Clone)]
pub enum Way {
    /// A program that is started, and spoken to on its standard input and output.
    Program {
        /// The program.
        program: OsString,
        /// Its arguments.
        args: Vec<String>,
        /// What it has in its environment beside our own, without keys of models.
        env: Vec<(String, Secret)>,
    },
    /// Streamable HTTP.
    Http {
        /// Where.
        url: String,
        /// Sent with every request.
        headers: Vec<(String, Secret)>,
    },
    /// None that is served; the text says why.
    None(String),
}

/// The servers of one session. Dropped, they end.
#[derive(Debug, Default)]
pub(super) struct Servers(Vec<Connection>);

#[derive(Debug)]
struct Connection {
    /// What a person calls it.
    name: String,
    /// What it is called in the names of its tools.
    label: String,
    state: watch::Receiver<State>,
    /// Its last word was heard.
    is_over: bool,
    work: tokio::task::JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.work.abort();
    }
}

/// What changed since the last look.
#[derive(Debug, Default)]
pub(super) struct News {
    /// What the person is to be told.
    pub(super) notices: Vec<String>,
    /// All tools there are now.
    pub(super) offered: Offered,
}

/// The tools of a session's servers.
#[derive(Debug, Default)]
pub(super) struct Offered {
    /// As requests carry them.
    pub(super) tools: Vec<Tool>,
    means: HashMap<String, Meant>,
}

#[derive(Debug)]
struct Meant {
    tool: ToolName,
    title: String,
    /// The tool's name at its server.
    name: String,
    peer: Peer<RoleClient>,
}

/// A call of a server's tool.
#[derive(Debug, Clone)]
pub(super) struct Calling {
    /// The tool.
    pub(super) tool: ToolName,
    /// What a person is shown.
    pub(super) title: String,
    name: String,
    arguments: JsonObject,
    peer: Peer<RoleClient>,
}

impl Servers {
    /// Begins to connect. Returns at once.
    pub(super) fn start(servers: Vec<Server>, workspace: &Path) -> Self {
        let mut labels = names::Names::default();
        let connect = |server: Server| {
            let label = labels.label(&server.name);
            let (says, state) = watch::channel(State::Connecting);
            let work = tokio::spawn(link::run(server.way, workspace.to_owned(), says));
            Connection { name: server.name, label, state, is_over: false, work }
        };
        Self(servers.into_iter().map(connect).collect())
    }

    /// Returns once each of them serves, or will not. Cancel-safe.
    pub(super) async fn settled(&mut self) {
        for connection in &self.0 {
            let mut state = connection.state.clone();
            // A connection that is over has said why.
            let _ = state.wait_for(State::is_settled).await;
        }
    }

    /// What changed since the last look; `None`: nothing.
    pub(super) fn news(&mut self) -> Option<News> {
        let mut news = None;
        for connection in &mut self.0 {
            let is_new = match connection.state.has_changed() {
                Ok(is_new) => is_new,
                // It has said its last word.
                Err(_) => !std::mem::replace(&mut connection.is_over, true),
            };
            if !is_new {
                continue;
            }
            let notices = &mut news.get_or_insert_with(News::default).notices;
            let name = shorten(&connection.name, limits::NAME_BYTES);
            match &*connection.state.borrow_and_update() {
                State::Connecting => {}
                State::Serves(Listed { left_out: 0, .. }) => {}
                State::Serves(Listed { left_out, .. }) => notices.push(format!(
                    "The MCP server `{name}` has more tools than can be used: {left_out} are left out."
                )),
                State::Gone(why) => {
                    notices.push(format!("The MCP server `{name}` is not used: {why}."));
                }
            }
        }
        let mut news = news?;
        let mut names = names::Names::default();
        for connection in &self.0 {
            if let State::Serves(listed) = &*connection.state.borrow() {
                news.offered.take(connection, listed, &mut names);
            }
        }
        Some(news)
    }
}

impl Offered {
    fn take(&mut self, connection: &Connection, listed: &Listed, names: &mut names::Names) {
        for tool in &listed.tools {
            let named = names.tool(&connection.label, &tool.name);
            let (full, name) = (named.to_string(), tool.name.to_string());
            let description = tool.description.as_deref().unwrap_or_default();
            self.tools.push(Tool {
                name: full.clone(),
                description: shorten(description, limits::SERVER_DESCRIPTION_BYTES),
                input_schema: schema(&tool.input_schema),
            });
            let title = format!("{}: {name}", connection.name);
            let meant = Meant { tool: named, title, name, peer: listed.peer.clone() };
            self.means.insert(full, meant);
        }
    }

    /// What they are called, in order.
    pub(super) fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.means.keys().map(String::as_str).collect();
        names.sort_unstable();
        names
    }

    /// The tool that a model calls so, with these arguments.
    pub(super) fn meant(&self, called: &str, arguments: &str) -> Option<Result<Calling, String>> {
        let Meant { tool, title, name, peer } = self.means.get(called)?;
        let read = serde_json::from_str(arguments)
            .map_err(|error| format!("the arguments of `{called}` are not a JSON object: {error}"));
        Some(read.map(|arguments: JsonObject| {
            let shown = match arguments.is_empty() {
                true => title.clone(),
                false => format!("{title} {}", serde_json::Value::Object(arguments.clone())),
            };
            let (tool, name, peer) = (tool.clone(), name.clone(), peer.clone());
            Calling { tool, title: shown, name, arguments, peer }
        }))
    }
}

impl Calling {
    /// Asks the server. Dropped, the server is told that the call is cancelled.
    pub(super) async fn run(self) -> Result<String, String> {
        let params = CallToolRequestParams::new(self.name).with_arguments(self.arguments);
        let called = tokio::time::timeout(limits::SERVER_CALL, self.peer.call_tool(params)).await;
        match called {
            Ok(Ok(result)) => answer::text(result),
            Ok(Err(error)) => Err(link::why(&error)),
            Err(_) => {
                let most = seconds(limits::SERVER_CALL);
                Err(format!("the server did not answer within {most}, and the call was cancelled"))
            }
        }
    }
}

/// The schema of a tool's arguments. Models' servers refuse one that says nothing of what it is.
fn schema(given: &Arc<JsonObject>) -> Box<RawValue> {
    let mut schema = JsonObject::clone(given);
    schema.entry("type").or_insert_with(|| "object".into());
    schema.entry("properties").or_insert_with(|| JsonObject::new().into());
    serde_json::value::to_raw_value(&schema).expect("it was read from JSON")
}
