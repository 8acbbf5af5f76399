//! `workspace/executeCommand`: four methods for clients that can only run commands.

use serde::Serialize;
use serde_json::{Map, Value};
use tower_lsp::jsonrpc::Error;
use tower_lsp::ls_types::ExecuteCommandParams;

use super::{Result, check, drain, spawn, stop};
use crate::convert::error::invalid;
use crate::methods::COMMANDS;
use crate::session::Server;

/// The first argument is the method's parameters, and may be left out; the result is the method's.
pub(crate) async fn run(server: &Server, params: ExecuteCommandParams) -> Result<Value> {
    let mut arguments = params.arguments;
    if arguments.len() > 1 {
        let message = format!("has {} items; expected one object of parameters", arguments.len());
        return Err(invalid("arguments", message));
    }
    let given = arguments.pop().filter(|given| !given.is_null());
    let given = given.unwrap_or_else(|| Value::Object(Map::new()));
    match params.command.as_str() {
        "meanwhile.spawn" => value(&spawn::run(server, given).await?),
        "meanwhile.check" => value(&check::run(server, given).await?),
        "meanwhile.drain" => value(&drain::run(server, given).await?),
        "meanwhile.stop" => value(&stop::run(server, given).await?),
        other => {
            let known = COMMANDS.join("`, `");
            let shown: String = other.chars().take(64).collect();
            Err(invalid("command", format!("`{shown}` is no command; expected one of `{known}`")))
        }
    }
}

fn value(result: &impl Serialize) -> Result<Value> {
    serde_json::to_value(result).map_err(|_| Error::internal_error())
}
