//! The agent's tools on a real background manager, in a temporary directory.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

#[path = "agent_tools/calls.rs"]
mod calls;
#[path = "agent_tools/commands.rs"]
mod commands;
#[path = "agent_tools/editor.rs"]
mod editor;
#[path = "agent_tools/files.rs"]
mod files;
#[path = "agent_tools/keys.rs"]
mod keys;
#[path = "agent_tools/lab.rs"]
mod lab;
#[path = "agent_tools/search.rs"]
mod search;
#[path = "agent_tools/tasks.rs"]
mod tasks;
