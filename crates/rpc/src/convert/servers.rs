//! Parses the MCP servers that a client passes with a session.

use meanwhile_core::agent::provider::Secret;
use meanwhile_core::agent::servers::{Server, Way};
use meanwhile_core::limits;

use serde::Deserialize as _;
use serde_json::{Map, Value, json};

use super::error::invalid;
use crate::wire::{Error, acp};

/// The member of `_meta` that says why a server cannot be read.
const UNREAD: &str = "unread";

/// Rewrites the servers in these parameters so that ACP's types can parse them. Otherwise one server that cannot be
/// read, or one missing list, would make the whole request fail. An unreadable server that has a name is kept, with
/// the reason.
pub(crate) fn tidy(given: &mut Value) {
    let servers = given.get_mut("mcpServers").and_then(Value::as_array_mut);
    for server in servers.into_iter().flatten() {
        let Some(members) = server.as_object_mut() else { continue };
        fill(members);
        let text = |name: &str| members.get(name).and_then(Value::as_str).map(str::to_owned);
        let (name, kind) = (text("name"), text("type"));
        let Some(name) = name else { continue };
        let why = match kind.as_deref() {
            None if server.get("url").is_some() => "it has a `url` and no `type`".to_owned(),
            None | Some("stdio" | "http" | "sse") => match acp::McpServer::deserialize(&*server) {
                Ok(_) => continue,
                Err(error) => format!("it cannot be read: {error}"),
            },
            Some(kind) => {
                format!("its type `{}` is not known", kind.chars().take(64).collect::<String>())
            }
        };
        let own = json!({"meanwhile": {UNREAD: why}});
        *server = json!({"type": "sse", "name": name, "url": "", "headers": [], "_meta": own});
    }
}

/// Adds empty lists where a client left them out.
fn fill(server: &mut Map<String, Value>) {
    for list in if server.contains_key("url") { &["headers"][..] } else { &["args", "env"] } {
        server.entry(*list).or_insert_with(|| Value::Array(Vec::new()));
    }
}

/// Converts the servers to the core's types.
pub(crate) fn read(given: Vec<acp::McpServer>) -> Result<Vec<Server>, Error> {
    let (count, most) = (given.len(), limits::SERVERS_MAX);
    if count > most {
        return Err(invalid("mcpServers", format!("has {count} servers; expected at most {most}")));
    }
    Ok(given.into_iter().map(server).collect())
}

fn server(given: acp::McpServer) -> Server {
    // A transport that this version does not know disables one server, not the session.
    let none = |why: &str| Way::None(format!("{why}; expected a program (stdio) or HTTP"));
    match given {
        acp::McpServer::Stdio(it) => {
            let env = it.env.into_iter().map(|it| (it.name, Secret::verbatim(it.value)));
            let way = Way::Program {
                program: it.command.into_os_string(),
                args: it.args,
                env: env.collect(),
            };
            Server { name: it.name, way }
        }
        acp::McpServer::Http(it) => {
            let headers = it.headers.into_iter().map(|it| (it.name, Secret::new(&it.value)));
            Server { name: it.name, way: Way::Http { url: it.url, headers: headers.collect() } }
        }
        acp::McpServer::Sse(it) => {
            let own = it.meta.as_ref().and_then(|meta| meta.get("meanwhile"));
            let unread = own.and_then(|own| own.get(UNREAD)).and_then(Value::as_str);
            let why = unread.unwrap_or("HTTP with server-sent events (`sse`) is deprecated");
            Server { name: it.name, way: none(why) }
        }
        _ => Server { name: "of an unknown type".to_owned(), way: none("its type is not known") },
    }
}
