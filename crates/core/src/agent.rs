//! The agent: a conversation with a language model that runs commands.
//!
//! The lower half knows nothing of background tasks and nothing of the store, so that every wire rule
//! can be tested on recorded bytes alone: the words of a conversation ([`message`]), the wire formats
//! of the model providers ([`provider`]), when a failed call is made again ([`retry`]), which model
//! is meant ([`choice`]), whose models there are ([`vendor`]), what a call cost ([`usage`]) and where
//! a command belongs ([`placement`]). The upper half stands on [`Background`](crate::Background):
//! what a model can do ([`tools`]) and may do ([`permission`]), how results are told to it
//! ([`notice`]), the loop that owns the history ([`session`]), the facts it leaves ([`trace`]) and what they tell
//! together ([`story`]).
//!
//! This is the one part of the crate that knows JSON: a model's answer is JSON that has to be sent
//! back as it came.

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
