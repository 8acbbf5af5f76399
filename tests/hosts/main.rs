//! Other agents as hosts of the real binary: its MCP server and its hooks.

#![expect(clippy::unwrap_used, reason = "a panic fails the test")]

#[path = "../cli/harness.rs"]
#[expect(dead_code, reason = "the tests of the command line use the rest")]
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
