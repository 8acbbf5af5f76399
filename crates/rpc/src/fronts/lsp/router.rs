//! tower-lsp's router: what may be asked now, and LSP's own requests.
//!
//! The methods of the table are registered with it under their names, so that it decides whether one
//! may come now (not before `initialize`, not after `shutdown`). What it lets pass is run by the
//! connection, because a handler says more than a result: what is to follow its reply.

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
    /// The router's own way to the client. Unused, and its end would be the router's.
    _socket: ClientSocket,
}

impl Router {
    /// Routes these methods, and what LSP has.
    pub(super) fn new(methods: &'static [Method], handshake: Handshake) -> Self {
        let mut builder = LspService::build(|_| handshake);
        for method in methods {
            builder = builder.custom_method(method.name, passed);
        }
        let (service, _socket) = builder.finish();
        Self { service, methods, _socket }
    }

    /// What the handshake settled.
    pub(super) fn handshake(&self) -> &Handshake {
        self.service.inner()
    }

    /// Asks it.
    ///
    /// # Errors
    ///
    /// What it refuses, in words that help.
    pub(super) async fn call(
        &mut self,
        method: impl Into<Cow<'static, str>>,
        params: Option<Value>,
    ) -> Result<Value, Error> {
        let method = method.into();
        let shut_down = self.handshake().is_shut_down();
        // Each call is over before the next, so all have one number.
        let mut request = Request::build(method.clone()).id(0);
        if let Some(params) = params {
            request = request.params(params);
        }
        let response = self.service.call(request.finish()).await;
        match response.ok().flatten() {
            Some(response) => {
                response.into_parts().1.map_err(|error| self.explain(&method, shut_down, error))
            }
            // It keeps silent about requests of `$/` that it does not know.
            None => Err(error::unknown_method(&method)),
        }
    }

    /// Its bare errors, put in words.
    fn explain(&self, method: &str, shut_down: bool, mut error: jsonrpc::Error) -> Error {
        let bare = error.message == error.code.description();
        let is_known = matches!(method, "initialize" | "shutdown" | commands::REQUEST)
            || methods::find(self.methods, method).is_some();
        match error.code {
            // It knows all of LSP, and reads the parameters of what is not served here.
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

/// What a method of the table is to the router: something that may come now.
async fn passed(_: &Handshake) -> jsonrpc::Result<()> {
    Ok(())
}

/// An error as the router takes it.
pub(super) fn to_lsp(error: Error) -> jsonrpc::Error {
    let Error { code, message, data } = error;
    jsonrpc::Error { code: code.into(), message, data }
}
