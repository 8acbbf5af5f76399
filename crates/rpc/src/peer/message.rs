//! Parses the bodies of JSON-RPC 2.0 messages.
//!
//! Parses a body once, into a JSON value whose members are moved out, never cloned. Decides whether it is a request,
//! a notification or a response, and what to reply if it is none of these. Knows no method.

use std::borrow::Cow;

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

/// A message from the client.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// A message that expects a response.
    Request {
        /// The id, which the response repeats.
        id: Id,
        /// The name of the method.
        method: String,
        /// Its parameters; `None` if missing or null.
        params: Option<Value>,
    },
    /// A message that expects no response.
    Notification {
        /// The name of the method.
        method: String,
        /// Its parameters; `None` if missing or null.
        params: Option<Value>,
    },
    /// A response to a request of the server.
    Response {
        /// The id of that request; `None` if the client did not know it.
        id: Option<Id>,
        /// The result, or the error object.
        outcome: Result<Value, Value>,
    },
}

/// The id of a request, returned unchanged.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Id {
    /// An integer up to `i64::MAX`.
    Number(i64),
    /// An integer above `i64::MAX`.
    Large(u64),
    /// A string, which may be empty.
    Text(String),
}

impl Id {
    /// Parses a value; `None` if it cannot be an id.
    pub fn read(value: &Value) -> Option<Self> {
        match value {
            Value::String(text) => Some(Self::Text(text.clone())),
            Value::Number(number) => match (number.as_i64(), number.as_u64()) {
                (Some(number), _) => Some(Self::Number(number)),
                (None, Some(number)) => Some(Self::Large(number)),
                (None, None) => None,
            },
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        }
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(number) => out.serialize_i64(*number),
            Self::Large(number) => out.serialize_u64(*number),
            Self::Text(text) => out.serialize_str(text),
        }
    }
}

/// The error for a body that is not a message. It is sent with a null id, because the id of an invalid request is not
/// reliable (JSON-RPC 2.0, section 5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// -32700 for text that is not JSON, -32600 for JSON that is not a request.
    pub code: i64,
    /// What was wrong and what was expected.
    pub message: Cow<'static, str>,
}

/// Parses a body.
///
/// # Errors
///
/// Returns the error to reply with if the body is not JSON (or not UTF-8, or nested more than 127 deep), or is not a
/// JSON-RPC 2.0 message.
pub fn parse(body: &[u8]) -> Result<Message, Malformed> {
    let value = serde_json::from_slice(body).map_err(|error| Malformed {
        code: -32700,
        message: format!("the body is not JSON: {error}; expected one JSON-RPC message").into(),
    })?;
    match value {
        Value::Object(members) => classify(members),
        Value::Array(_) => {
            Err(invalid("a batch is not supported; send each request in a frame of its own"))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            Err(invalid("the body is not an object; expected one JSON-RPC message"))
        }
    }
}

fn classify(mut members: Map<String, Value>) -> Result<Message, Malformed> {
    let id = match members.remove("id") {
        None => None,
        Some(Value::String(text)) => Some(Some(Id::Text(text))),
        Some(Value::Number(number)) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Some(Some(Id::Number(number))),
            (None, Some(number)) => Some(Some(Id::Large(number))),
            (None, None) => {
                return Err(invalid("`id` is a fraction; expected an integer or a string"));
            }
        },
        Some(Value::Null) => Some(None),
        Some(Value::Bool(_) | Value::Array(_) | Value::Object(_)) => {
            return Err(invalid("`id` is not valid; expected an integer or a string"));
        }
    };
    if members.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
        return Err(invalid("`jsonrpc` is not \"2.0\"; expected a JSON-RPC 2.0 message"));
    }
    let params = members.remove("params").filter(|params| !params.is_null());
    match (members.remove("method"), id) {
        (Some(Value::String(method)), Some(Some(id))) => {
            Ok(Message::Request { id, method, params })
        }
        (Some(Value::String(method)), None) => Ok(Message::Notification { method, params }),
        (Some(Value::String(_)), Some(None)) => {
            Err(invalid("`id` is null; expected an integer or a string"))
        }
        (Some(_), _) => Err(invalid("`method` is not a string; expected a method's name")),
        (None, id) => {
            let outcome = match (members.remove("result"), members.remove("error")) {
                (Some(result), None) => Ok(result),
                (None, Some(error)) => Err(error),
                (Some(_), Some(_)) | (None, None) => {
                    let message = "neither request nor response; expected `method`, or `id` with \
                                   one of `result` and `error`";
                    return Err(invalid(message));
                }
            };
            match id {
                Some(id) => Ok(Message::Response { id, outcome }),
                None => Err(invalid("a response without `id`; expected the id of a request")),
            }
        }
    }
}

fn invalid(message: &'static str) -> Malformed {
    Malformed { code: -32600, message: message.into() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn refused(body: impl AsRef<[u8]>, code: i64) {
        let body = body.as_ref();
        let shown = String::from_utf8_lossy(body).chars().take(80).collect::<String>();
        match parse(body) {
            Err(malformed) => {
                assert_eq!(malformed.code, code, "{shown}");
            }
            Ok(message) => panic!("{shown} was taken for {message:?}"),
        }
    }

    #[track_caller]
    fn taken(body: &Value, expect: Message) {
        assert_eq!(parse(body.to_string().as_bytes()), Ok(expect), "{body}");
    }

    #[test]
    fn what_is_not_json_is_a_parse_error() {
        refused("", -32700);
        refused("{", -32700);
        refused("{} {}", -32700);
        refused(b"\"\xff\"", -32700);
        refused(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xc3\x28\"}", -32700);
        let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
        refused(&deep, -32700);
        refused(format!(r#"{{"jsonrpc":"2.0","id":1,"method":"m","params":{deep}}}"#), -32700);
    }

    #[test]
    fn json_that_is_not_a_message_is_an_invalid_request() {
        for body in ["{}", "[]", "5", "null", "\"x\"", r#"[{"jsonrpc":"2.0","id":1,"method":"m"}]"#]
        {
            refused(body, -32600);
        }
        for id in ["1.5", "1e300", "true", "[]", "{}", "null"] {
            let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"m"}}"#);
            refused(body, -32600);
        }
        refused(r#"{"jsonrpc":"1.0","id":1,"method":"m"}"#, -32600);
        refused(r#"{"jsonrpc":2.0,"id":1,"method":"m"}"#, -32600);
        refused(r#"{"id":1,"method":"m"}"#, -32600);
        refused(r#"{"jsonrpc":"2.0","id":1}"#, -32600);
        refused(r#"{"jsonrpc":"2.0","id":1,"method":5}"#, -32600);
        refused(r#"{"jsonrpc":"2.0","id":1,"result":1,"error":{}}"#, -32600);
        refused(r#"{"jsonrpc":"2.0","result":1}"#, -32600);
    }

    #[test]
    fn messages_are_told_apart() {
        let method = "task/check".to_owned();
        for (id, expect) in [
            (json!(1), Id::Number(1)),
            (json!(-1), Id::Number(-1)),
            (json!(u64::MAX), Id::Large(u64::MAX)),
            (json!("a"), Id::Text("a".to_owned())),
        ] {
            assert_eq!(serde_json::to_value(&expect).unwrap(), id);
            taken(
                &json!({"jsonrpc": "2.0", "id": id, "method": method, "params": {"a": 1}}),
                Message::Request {
                    id: expect,
                    method: method.clone(),
                    params: Some(json!({"a": 1})),
                },
            );
        }
        for body in [
            json!({"jsonrpc": "2.0", "method": method}),
            json!({"jsonrpc": "2.0", "method": method, "params": null}),
        ] {
            taken(&body, Message::Notification { method: method.clone(), params: None });
        }
        taken(
            &json!({"jsonrpc": "2.0", "id": "a", "result": null}),
            Message::Response { id: Some(Id::Text("a".to_owned())), outcome: Ok(Value::Null) },
        );
        taken(
            &json!({"jsonrpc": "2.0", "id": null, "error": {"code": -32700}}),
            Message::Response { id: None, outcome: Err(json!({"code": -32700})) },
        );
    }
}
