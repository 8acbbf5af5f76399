//! The replies on the wire.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::Value;

use super::frame::{Fault, MESSAGE_BYTES};
use super::message::{Id, Malformed};
use super::outbox::{Mark, Outbox};
use crate::convert::error;
use crate::wire::Error;

/// The reply to a request.
#[derive(Debug, Serialize)]
pub(super) struct Reply<'a> {
    jsonrpc: &'static str,
    id: &'a Id,
    #[serde(flatten)]
    outcome: Outcome<'a>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
enum Outcome<'a> {
    Result(&'a Value),
    Error(Cow<'a, Error>),
}

impl<'a> Reply<'a> {
    /// Creates the reply for this outcome.
    pub(super) fn new(id: &'a Id, outcome: &'a Result<Value, Error>) -> Self {
        let outcome = match outcome {
            Ok(result) => Outcome::Result(result),
            Err(error) => Outcome::Error(Cow::Borrowed(error)),
        };
        Self { jsonrpc: "2.0", id, outcome }
    }

    /// Creates an error reply.
    pub(super) fn error(id: &'a Id, error: Error) -> Self {
        let outcome = Outcome::Error(Cow::Owned(error));
        Self { jsonrpc: "2.0", id, outcome }
    }

    /// Sends the reply.
    ///
    /// # Errors
    ///
    /// The reply exceeds the limit of a message; an error was sent instead.
    pub(super) fn send(&self, outbox: &Outbox) -> Result<Mark, Mark> {
        let body = serde_json::to_vec(self)
            .expect("replies are made of strings, numbers and string-keyed maps only");
        if body.len() > MESSAGE_BYTES {
            let error = error::reply_too_long(body.len(), MESSAGE_BYTES);
            return Err(outbox.send(&Reply::error(self.id, error)));
        }
        Ok(outbox.send_body(&body))
    }
}

/// The reply to a body or frame that is not a message.
#[derive(Debug, Serialize)]
pub(super) struct Refusal {
    jsonrpc: &'static str,
    /// Always null, because such a message has no id.
    id: (),
    error: Error,
}

impl Reply<'_> {
    /// Creates the reply to a body that is not a message.
    pub(super) fn malformed(malformed: Malformed) -> Refusal {
        let Malformed { code, message } = malformed;
        Refusal { jsonrpc: "2.0", id: (), error: Error::new(code, message) }
    }

    /// Creates the reply to a frame that cannot be decoded.
    pub(super) fn fault(fault: &Fault) -> Refusal {
        Refusal { jsonrpc: "2.0", id: (), error: Error::new(fault.code(), fault.to_string()) }
    }
}
