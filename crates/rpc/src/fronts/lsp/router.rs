//! tower-lsp's router: decides which requests are allowed now, and handles LSP's own requests.
//!
//! The methods of the table are registered with it, so that it decides whether one is allowed now (not before
//! `initialize`, not after `shutdown`). The connection runs the accepted ones, because a handler returns more than a
//! result: the actions that follow its reply.

use std::borrow::Cow;

use serde_json::Value;
use tower_lsp::jsonrpc::{self, ErrorCode, Request};
use tower_lsp::{ClientSocket, LspService};
use tower_service::Service as _;

use super::commands;
use super::handshake::Handshake;
use crate::convert::error;
use crate::methods::{self, Method};
use crate::wire::Error;

/// The router of one connection.
pub(super) struct Router {
    service: LspService<Handshake>,
    methods: &'static [Method],
    /// The router's channel to the client. It is unused, but dropping it would end the router.
    _socket: ClientSocket,
}

impl Router {
    /// Creates a router for these methods and those of LSP.
    pub(super) fn new(methods: &'static [Method], handshake: Handshake) -> Self {
        let mut builder = LspService::build(|_| handshake);
        for method in methods {
            builder = builder.custom_method(method.name, passed);
        }
        let (service, _socket) = builder.finish();
        Self { service, methods, _socket }
    }

    /// The state of the handshake.
    pub(super) fn handshake(&self) -> &Handshake {
        self.service.inner()
    }

    /// Passes a request to the router.
    ///
    /// # Errors
    ///
    /// The router's refusal, with a helpful message.
    pub(super) async fn call(
        &mut self,
        method: impl Into<Cow<'static, str>>,
        params: Option<Value>,
    ) -> Result<Value, Error> {
        let method = method.into();
        let shut_down = self.handshake().is_shut_down();
        // The calls do not overlap, so all can have the same id.
        let mut request = Request::build(method.clone()).id(0);
        if let Some(params) = params {
            request = request.params(params);
        }
        let response = self.service.call(request.finish()).await;
        match response.ok().flatten() {
            Some(response) => {
                response.into_parts().1.map_err(|error| self.explain(&method, shut_down, error))
            }
            // The router does not answer unknown requests whose names start with `$/`.
            None => Err(error::unknown_method(&method)),
        }
    }

    /// Replaces the router's bare errors with helpful messages.
    fn explain(&self, method: &str, shut_down: bool, mut error: jsonrpc::Error) -> Error {
        let bare = error.message == error.code.description();
        let is_known = matches!(method, "initialize" | "shutdown" | commands::REQUEST)
            || methods::find(self.methods, method).is_some();
        match error.code {
            // The router knows all methods of LSP, and parses the parameters of those that are not served here.
            ErrorCode::InvalidParams if !is_known => return error::unknown_method(method),
            ErrorCode::MethodNotFound => return error::unknown_method(method),
            ErrorCode::ServerError(Error::NOT_INITIALIZED) => return error::not_initialized(),
            ErrorCode::InvalidRequest if shut_down => {
                error.message = "the server was shut down; only `exit` is accepted".into();
            }
            ErrorCode::InvalidRequest if bare && method == "initialize" => {
                error.message = "`initialize` was sent already; expected it once".into();
            }
            ErrorCode::InvalidRequest
            | ErrorCode::ParseError
            | ErrorCode::InvalidParams
            | ErrorCode::InternalError
            | ErrorCode::RequestCancelled
            | ErrorCode::ServerError(_)
            | ErrorCode::ContentModified => {}
        }
        let jsonrpc::Error { code, message, data } = error;
        Error { code: code.code(), message, data }
    }
}

/// The handler that is registered for each method of the table: the method is allowed now.
async fn passed(_: &Handshake) -> jsonrpc::Result<()> {
    Ok(())
}

/// Converts an error to the router's type.
pub(super) fn to_lsp(error: Error) -> jsonrpc::Error {
    let Error { code, message, data } = error;
    jsonrpc::Error { code: code.into(), message, data }
}
