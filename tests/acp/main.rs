//! The agent in a client of the Agent Client Protocol: `meanwhile acp`, with a scripted model.

#![expect(clippy::unwrap_used, reason = "a panic fails the test")]

#[path = "../cli/harness.rs"]
#[expect(dead_code, reason = "the tests of the command line use the rest")]
mod harness;

#[path = "../cli/agent.rs"]
#[expect(dead_code, reason = "the tests of the command line use the rest")]
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
