//! The agent: a conversation with a language model that runs commands.
//!
//! The lower half knows nothing of background tasks or of the store, so that every wire rule can be tested on
//! recorded bytes alone: the messages of a conversation ([`message`]), the wire formats of the model providers
//! ([`provider`]), when a failed call is retried ([`retry`]), which model a setting selects ([`choice`]), the
//! table of vendors ([`vendor`]), what a call cost ([`usage`]) and whether a command belongs in the background
//! ([`placement`]). The upper half is built on [`Background`](crate::Background): what a model can do
//! ([`tools`]) and may do ([`permission`]), how it receives the results of tasks ([`notice`]), the loop that
//! owns the history ([`session`]), the facts that a session records ([`trace`]) and the timeline built from
//! them ([`story`]).
//!
//! This is the only part of the crate that uses JSON: a model's answer is JSON that must be sent back
//! unchanged.

pub mod choice;
pub mod failure;
pub mod message;
pub mod notice;
pub mod pairing;
pub mod permission;
pub mod placement;
pub mod provider;
pub mod retry;
pub mod servers;
pub mod session;
pub mod story;
pub mod tools;
pub mod trace;
pub mod usage;
pub mod vendor;

pub use choice::{ModelChoice, NoModel};
pub use failure::{Failure, FailureKind};
pub use message::{Assistant, Message, ToolCall, ToolResult};
pub use provider::{Call, Delta, Provider, Request, StopReason, Tool, Turn};
pub use usage::{Cost, Usage};
