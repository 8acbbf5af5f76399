//! The MCP servers that a client passes with a session.

use meanwhile_core::agent::provider::Secret;
use meanwhile_core::agent::servers::{Server, Way};
use meanwhile_core::limits;

use super::error::invalid;
use crate::wire::{Error, acp};

/// The servers, as the core has them.
pub(crate) fn read(given: Vec<acp::McpServer>) -> Result<Vec<Server>, Error> {
    let (count, most) = (given.len(), limits::SERVERS_MAX);
    if count > most {
        return Err(invalid("mcpServers", format!("has {count} servers; expected at most {most}")));
    }
    Ok(given.into_iter().map(server).collect())
}

fn server(given: acp::McpServer) -> Server {
    // A way that this version does not know is a server less, and not a session that cannot be made.
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
        acp::McpServer::Sse(it) => Server {
            name: it.name,
            way: none("HTTP with server-sent events (`sse`) is deprecated"),
        },
        _ => Server { name: "of an unknown type".to_owned(), way: none("its type is not known") },
    }
}
