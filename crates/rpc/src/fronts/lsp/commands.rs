//! `workspace/executeCommand`: four methods for clients that can only run commands.

use serde_json::{Map, Value};
use tower_lsp::ls_types::ExecuteCommandParams;

use crate::convert::error::invalid;
use crate::methods::{self, Method};
use crate::wire::Error;

/// The name of the request.
pub(super) const REQUEST: &str = "workspace/executeCommand";

/// Each command, with the method that it runs.
pub(super) const COMMANDS: [(&str, &str); 4] = [
    ("meanwhile.spawn", "task/spawn"),
    ("meanwhile.check", "task/check"),
    ("meanwhile.drain", "task/drain"),
    ("meanwhile.stop", "task/stop"),
];

/// The method that the command runs, with its parameters, which are the first argument and may be left out.
///
/// # Errors
///
/// -32602 if the command does not exist, or if there is more than one argument.
pub(super) fn resolve(params: ExecuteCommandParams) -> Result<Value, Error> {
    let mut arguments = params.arguments;
    if arguments.len() > 1 {
        let message = format!("has {} items; expected one object of parameters", arguments.len());
        return Err(invalid("arguments", message));
    }
    let given = arguments.pop().filter(|given| !given.is_null());
    let given = given.unwrap_or_else(|| Value::Object(Map::new()));
    let Some((_, method)) = COMMANDS.iter().find(|(command, _)| *command == params.command) else {
        let known = COMMANDS.map(|(command, _)| command).join("`, `");
        let shown: String = params.command.chars().take(64).collect();
        let message = format!("`{shown}` is not a command; expected one of `{known}`");
        return Err(invalid("command", message));
    };
    Ok(Value::Array(vec![(*method).into(), given]))
}

/// Reads the result of [`resolve`] after it has passed through the router.
pub(super) fn meant(methods: &'static [Method], resolved: Value) -> (&'static Method, Value) {
    let Value::Array(mut both) = resolved else { unreachable!("`resolve` returns an array") };
    let params = both.pop().unwrap_or_default();
    let name = both.pop().unwrap_or_default();
    let method = name.as_str().and_then(|name| methods::find(methods, name));
    (method.expect("every command names a method of the table"), params)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::desk::Desk;
    use crate::methods::METHODS;

    const ID: &str = "0123abcd";

    #[tokio::test]
    async fn commands_take_the_parameters_of_their_method() {
        for (command, arguments, expect) in [
            ("meanwhile.spawn", json!([{"command": "true"}]), Ok(())),
            ("meanwhile.check", json!([]), Ok(())),
            ("meanwhile.drain", json!([null]), Ok(())),
            ("meanwhile.stop", json!([{"id": ID}]), Ok(())),
            ("meanwhile.stop", json!([]), Err("id")),
            ("meanwhile.check", json!([{}, {}]), Err("arguments")),
            ("meanwhile.check", json!(["x"]), Err("params")),
            ("meanwhile.dance", json!([]), Err("command")),
        ] {
            let params = json!({"command": command, "arguments": arguments});
            let params: ExecuteCommandParams = serde_json::from_value(params).unwrap();
            let error = match resolve(params).map(|resolved| meant(METHODS, resolved)) {
                Ok((method, params)) => (method.run)(Desk::without_store(), params).await.map(drop),
                Err(error) => Err(error),
            }
            .unwrap_err();
            let got = match error.code {
                1005 => Ok(()),
                _ => Err(error.data.unwrap()["field"].as_str().unwrap().to_owned()),
            };
            assert_eq!(got, expect.map_err(str::to_owned), "{command} {arguments}");
        }
    }
}
