//! MCP servers that a client passes with a session: the session can use their tools.
//!
//! This module owns the connections: each has a tokio task of its own, which ends with the session. The protocol is
//! spoken by rmcp, which no other module of this crate uses. A session waits for a server only at the start of a
//! model call, so no request of a client is delayed. The model gets what a server says about its tools; nothing
//! else trusts it.

mod answer;
mod http;
mod lines;
mod link;
pub(super) mod names;
mod process;

use std::collections::{HashMap, HashSet};
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

use link::{Described, Listed, State};

/// A server, as the client specifies it.
#[derive(Debug, Clone)]
pub struct Server {
    /// The name that a person gave it.
    pub name: String,
    /// How to connect to it.
    pub way: Way,
}

/// How to connect to a server.
#[derive(Debug, Clone)]
pub enum Way {
    /// A program to start, with the protocol on its standard input and output.
    Program {
        /// The program: a path, or a name that is looked up in `PATH`.
        program: OsString,
        /// The arguments, without the program itself.
        args: Vec<String>,
        /// Variables added to the daemon's own environment, which is passed without the keys of models.
        env: Vec<(String, Secret)>,
    },
    /// Streamable HTTP, to a server that is already running.
    Http {
        /// The URL of the endpoint.
        url: String,
        /// Headers sent with every request.
        headers: Vec<(String, Secret)>,
    },
    /// No usable connection; the text says why.
    None(String),
}

/// The servers of one session. Dropping them closes the connections.
#[derive(Debug, Default)]
pub(super) struct Servers(Vec<Connection>);

#[derive(Debug)]
struct Connection {
    /// The name that a person gave it.
    name: String,
    /// The server's part of its tools' names.
    label: String,
    state: watch::Receiver<State>,
    /// Whether the final state was already handled.
    is_over: bool,
    work: tokio::task::JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.work.abort();
    }
}

/// What changed since the last check.
#[derive(Debug, Default)]
pub(super) struct News {
    /// Texts for the person.
    pub(super) notices: Vec<String>,
    /// All current tools.
    pub(super) offered: Offered,
}

/// The tools of a session's servers.
#[derive(Debug, Default)]
pub(super) struct Offered {
    /// The tools in the form that requests contain.
    pub(super) tools: Vec<Tool>,
    means: HashMap<String, Meant>,
}

#[derive(Debug)]
struct Meant {
    tool: ToolName,
    title: String,
    /// The tool's name on its server.
    name: String,
    peer: Peer<RoleClient>,
}

/// A call of a server's tool.
#[derive(Debug, Clone)]
pub(super) struct Calling {
    /// The name that the model used, split into server and tool.
    pub(super) tool: ToolName,
    /// The title that a person sees.
    pub(super) title: String,
    name: String,
    arguments: JsonObject,
    peer: Peer<RoleClient>,
}

impl Servers {
    /// Starts to connect. Returns at once.
    pub(super) fn start(servers: Vec<Server>, workspace: &Path) -> Self {
        let mut labels = HashSet::new();
        let connect = |Server { name, mut way }: Server| {
            let label = names::label(&name);
            if !labels.insert(label.clone()) {
                way = Way::None("another one has the same name".to_owned());
            }
            let (says, state) = watch::channel(State::Connecting);
            let work = tokio::spawn(link::run(way, workspace.to_owned(), says));
            Connection { name, label, state, is_over: false, work }
        };
        Self(servers.into_iter().map(connect).collect())
    }

    /// Returns once each server is ready or has failed. Cancel-safe.
    pub(super) async fn settled(&mut self) {
        for connection in &self.0 {
            let mut state = connection.state.clone();
            // A closed channel means that the connection has ended and stored the reason.
            let _ = state.wait_for(State::is_settled).await;
        }
    }

    /// What changed since the last check; `None` if nothing did.
    pub(super) fn news(&mut self) -> Option<News> {
        let changed: Vec<bool> = self.0.iter_mut().map(Connection::has_changed).collect();
        if !changed.contains(&true) {
            return None;
        }
        let mut news = News::default();
        let mut room = limits::SERVER_LIST_BYTES;
        for (connection, is_new) in self.0.iter_mut().zip(changed) {
            let Connection { name, label, state, .. } = connection;
            let notices = match &*state.borrow_and_update() {
                State::Connecting => Vec::new(),
                State::Serves(listed) => news.offered.take(name, label, listed, &mut room),
                State::Gone(why) => {
                    let name = shorten(name, limits::NAME_BYTES);
                    vec![format!("The MCP server `{name}` is not used: {why}.")]
                }
            };
            if is_new {
                news.notices.extend(notices);
            }
        }
        Some(news)
    }
}

impl Connection {
    fn has_changed(&mut self) -> bool {
        match self.state.has_changed() {
            Ok(is_new) => is_new,
            // The sender is gone, so this state is final.
            Err(_) => !std::mem::replace(&mut self.is_over, true),
        }
    }
}

impl Offered {
    /// Adds the tools of a server. Returns texts for the person about those that are left out.
    fn take(
        &mut self,
        server: &str,
        label: &str,
        listed: &Listed,
        room: &mut usize,
    ) -> Vec<String> {
        let (mut beyond, mut odd) = (listed.left_out, Vec::new());
        for Described { name, description, schema } in &listed.tools {
            let named = names::tool(label, name);
            let full = named.to_string();
            let Some(input_schema) = self::schema(schema) else {
                odd.push(format!("`{}`", shorten(name, limits::NAME_BYTES)));
                continue;
            };
            let bytes = full.len() + description.len() + input_schema.get().len();
            let has_room = bytes <= *room && self.tools.len() < limits::SERVER_TOOLS;
            if !has_room || self.means.contains_key(&full) {
                beyond += 1;
                continue;
            }
            *room -= bytes;
            let description = description.clone();
            self.tools.push(Tool { name: full.clone(), description, input_schema });
            let title = format!("{server}: {name}");
            let (name, peer) = (name.clone(), listed.peer.clone());
            self.means.insert(full, Meant { tool: named, title, name, peer });
        }
        let server = shorten(server, limits::NAME_BYTES);
        let mut notices = Vec::new();
        if listed.is_unlisted {
            let most = seconds(limits::SERVER_LIST_AGAIN);
            notices.push(format!(
                "The MCP server `{server}` reported that its tools have changed, but did not list them within \
                 {most}: the previous ones are used until it does."
            ));
        }
        if beyond > 0 {
            notices.push(format!(
                "The MCP server `{server}` has more tools than can be used: at least {beyond} are left out."
            ));
        }
        if !odd.is_empty() {
            notices.push(format!(
                "Tools of the MCP server `{server}` are left out, because models' servers refuse the \
                 schemas of their arguments: {}.",
                shorten(&odd.join(", "), limits::NAME_BYTES)
            ));
        }
        notices
    }

    /// The names of the tools, sorted.
    pub(super) fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.means.keys().map(String::as_str).collect();
        names.sort_unstable();
        names
    }

    /// The tool with this name, called with these arguments; `None` if no server has it.
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
    /// Calls the tool. If the future is dropped, the server receives a cancellation.
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

/// Keywords that model servers reject at the top level of a schema.
const COMBINED: [&str; 6] = ["allOf", "anyOf", "enum", "not", "oneOf", "$ref"];

/// The schema of a tool's arguments in a form that model servers accept: an object with its properties. `None` if
/// it does not list properties. Further conditions on them are removed; the server itself checks them when it is
/// called.
fn schema(given: &Arc<JsonObject>) -> Option<Box<RawValue>> {
    let mut schema = JsonObject::clone(given);
    let is_combined = COMBINED.map(|word| schema.remove(word).is_some()).contains(&true);
    if is_combined && !schema.contains_key("properties") {
        return None;
    }
    let is_object = *schema.entry("type").or_insert_with(|| "object".into()) == "object";
    let properties = schema.entry("properties").or_insert_with(|| JsonObject::new().into());
    let is_whole = is_object && properties.is_object();
    is_whole.then(|| serde_json::value::to_raw_value(&schema).expect("it was read from JSON"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_schema_is_an_object_that_says_what_is_in_it() {
        let schema = |given: Value| {
            let given = Arc::new(given.as_object().unwrap().clone());
            schema(&given).map(|it| serde_json::from_str::<Value>(it.get()).unwrap())
        };
        let named = json!({"type": "object", "properties": {"a": {"type": "string"}}});
        let mut combined = named.clone();
        combined["anyOf"] = json!([{"required": ["a"]}]);
        assert_eq!(schema(combined), Some(named.clone()));
        assert_eq!(schema(named.clone()), Some(named));
        assert_eq!(schema(json!({})), Some(json!({"type": "object", "properties": {}})));
        for refused in [
            json!({"oneOf": [{"type": "object"}]}),
            json!({"$ref": "#/$defs/a", "$defs": {"a": {"type": "object"}}}),
            json!({"type": "string"}),
            json!({"type": ["object", "null"], "properties": {}}),
            json!({"type": "object", "properties": null}),
        ] {
            assert_eq!(schema(refused.clone()), None, "{refused}");
        }
    }
}
