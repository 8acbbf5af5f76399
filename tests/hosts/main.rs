//! Other agents as hosts of the real binary: its MCP server and its hooks.

#![expect(clippy::unwrap_used, reason = "what cannot be unwrapped fails the test, there and then")]

#[path = "../cli/harness.rs"]
#[expect(dead_code, reason = "the harness is the command line's tests' too")]
mod harness;

mod client;
mod doctor;
mod hook;
mod mcp;
mod mcp_ends;
mod mcp_sandbox;
mod mcp_tasks;
mod pipe;
mod places;
mod sandboxed;
