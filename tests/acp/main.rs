//! The agent in a client of the Agent Client Protocol: `meanwhile acp`, with a scripted model.

#![expect(clippy::unwrap_used, reason = "what cannot be unwrapped fails the test, there and then")]

#[path = "../cli/harness.rs"]
#[expect(dead_code, reason = "the harness is the command line's tests' too")]
mod harness;

#[path = "../cli/agent.rs"]
#[expect(dead_code, reason = "the scripts are the command line's tests' too")]
mod agent;
#[path = "../hosts/pipe.rs"]
mod pipe;

mod client;
mod commands;
mod ends;
mod files;
mod hold;
mod images;
mod servers;
mod session;
mod settings;
mod terminals;
mod watched;
