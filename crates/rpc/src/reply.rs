//! Replies as they stand on the wire, and the router's errors in words that help.

use meanwhile_rpc::frame::{Fault, MESSAGE_BYTES};
use meanwhile_rpc::message::{Id, Malformed};
use serde::Serialize;
use serde_json::Value;
use tower_lsp::jsonrpc::{Error, ErrorCode, Response};

use crate::convert::error;
use crate::methods;
use crate::outbox::{Mark, Outbox};

/// A reply.
#[derive(Debug, Serialize)]
pub(crate) struct Reply<'a> {
    jsonrpc: &'static str,
    id: &'a Id,
    #[serde(flatten)]
    outcome: Outcome<'a>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
enum Outcome<'a> {
    Result(&'a Value),
    Error(std::borrow::Cow<'a, Error>),
}

impl<'a> Reply<'a> {
    /// The reply to a request.
    pub(crate) fn new(id: &'a Id, outcome: &'a Result<Value, Error>) -> Self {
        let outcome = match outcome {
            Ok(result) => Outcome::Result(result),
            Err(error) => Outcome::Error(std::borrow::Cow::Borrowed(error)),
        };
        Self { jsonrpc: "2.0", id, outcome }
    }

    /// A refusal.
    pub(crate) fn error(id: &'a Id, error: Error) -> Self {
        let outcome = Outcome::Error(std::borrow::Cow::Owned(error));
        Self { jsonrpc: "2.0", id, outcome }
    }

    /// Sends it.
    ///
    /// # Errors
    ///
    /// It is longer than a message may be; an error was sent in its place.
    pub(crate) fn send(&self, outbox: &Outbox) -> Result<Mark, Mark> {
        let body = serde_json::to_vec(self)
            .expect("replies are made of strings, numbers and string-keyed maps only");
        if body.len() > MESSAGE_BYTES {
            let error = error::reply_too_long(body.len(), MESSAGE_BYTES);
            return Err(outbox.send(&Reply::error(self.id, error)));
        }
        Ok(outbox.send_body(&body))
    }
}

/// The answer to what was no message.
#[derive(Debug, Serialize)]
pub(crate) struct Refusal {
    jsonrpc: &'static str,
    /// Always null: it answers what has no id.
    id: (),
    error: Error,
}

impl Reply<'_> {
    /// The answer to a body that is no message.
    pub(crate) fn malformed(malformed: Malformed) -> Refusal {
        let Malformed { code, message } = malformed;
        Refusal { jsonrpc: "2.0", id: (), error: Error { code: code.into(), message, data: None } }
    }

    /// The answer to a frame that cannot be read.
    pub(crate) fn fault(fault: &Fault) -> Refusal {
        let error =
            Error { code: fault.code().into(), message: fault.to_string().into(), data: None };
        Refusal { jsonrpc: "2.0", id: (), error }
    }
}

/// The answer to a request whose id another one that runs has.
pub(crate) fn duplicate_id() -> Error {
    Error {
        code: ErrorCode::InvalidRequest,
        message: "`id` is that of a request still running; expected one of its own".into(),
        data: None,
    }
}

/// What the router answered, with its bare errors put in words.
pub(crate) fn explain(
    method: &str,
    shut_down: bool,
    response: Option<Response>,
) -> Result<Value, Error> {
    let outcome = match response {
        Some(response) => response.into_parts().1,
        // The router keeps silent about requests of `$/` that it does not know.
        None => Err(Error::method_not_found()),
    };
    outcome.map_err(|mut error| {
        let bare = error.message == error.code.description();
        match error.code {
            // The router knows all of LSP, and reads the parameters of what we do not serve.
            ErrorCode::InvalidParams if !methods::is_known(method) => {
                return unknown_method(method);
            }
            ErrorCode::MethodNotFound => return unknown_method(method),
            ErrorCode::ServerError(-32002) => error = error::not_initialized(),
            ErrorCode::InvalidRequest if shut_down => {
                error.message = "the server was shut down; only `exit` is accepted".into();
            }
            ErrorCode::InvalidRequest if bare && method == "initialize" => {
                error.message = "`initialize` was sent already; expected it once".into();
            }
            ErrorCode::RequestCancelled => error.message = "cancelled by the client".into(),
            ErrorCode::InvalidRequest
            | ErrorCode::ParseError
            | ErrorCode::InvalidParams
            | ErrorCode::InternalError
            | ErrorCode::ServerError(_)
            | ErrorCode::ContentModified => {}
        }
        error
    })
}

fn unknown_method(method: &str) -> Error {
    let shown: String = method.chars().take(64).collect();
    let message = format!("unknown method `{shown}`; the result of `initialize` lists them");
    Error { code: ErrorCode::MethodNotFound, message: message.into(), data: None }
}
