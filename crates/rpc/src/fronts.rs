//! The protocols that a client can use, one module each: a [`Front`](crate::peer::Front) interprets the messages of
//! its protocol, and the table of methods does the rest.

mod acp;
pub(crate) mod lsp;
mod mcp;

use std::io;
use std::process::ExitCode;

use crate::desk::Options;

/// Serves one client on standard input and output until it is gone.
pub(crate) type Serve = fn(Options) -> io::Result<ExitCode>;

/// All fronts by name, the default first.
pub(crate) const FRONTS: &[(&str, Serve)] =
    &[("lsp", lsp::serve), ("mcp", mcp::serve), ("acp", acp::serve)];
