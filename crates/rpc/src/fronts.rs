//! The protocols a client may speak, one module each: a [`Front`](crate::peer::Front) says what the
//! messages of its protocol mean, and the methods' table does the rest.

mod acp;
pub(crate) mod lsp;
mod mcp;

use std::io;
use std::process::ExitCode;

use crate::desk::Options;

/// Serves one client on standard input and output until it is gone.
pub(crate) type Serve = fn(Options) -> io::Result<ExitCode>;

/// Every front under its name, the usual one first.
pub(crate) const FRONTS: &[(&str, Serve)] =
    &[("lsp", lsp::serve), ("mcp", mcp::serve), ("acp", acp::serve)];
