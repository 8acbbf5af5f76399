//! The agent: how a language model is talked to.
//!
//! Owns the words of a conversation ([`message`]), the wire formats of the model providers
//! ([`provider`]), when a failed call is made again ([`retry`]), which model is meant
//! ([`config`]) and what a call cost ([`usage`]). Knows nothing of background tasks and nothing of
//! the store: a history is handed in, a turn is handed back, and who keeps them is the caller's
//! business. That is why every wire rule can be tested on recorded bytes alone.
//!
//! This is the one part of the crate that knows JSON: a model's answer is JSON that has to be sent
//! back as it came.

pub mod config;
pub mod failure;
pub mod message;
pub mod notice;
pub mod pairing;
pub mod permission;
pub mod provider;
pub mod retry;
pub mod session;
pub mod tools;
pub mod trace;
pub mod usage;

pub use config::{ConfigError, Settings};
pub use failure::{Failure, FailureKind};
pub use message::{Assistant, Message, ToolCall, ToolResult};
pub use provider::{Call, Delta, Provider, Request, StopReason, Tool, Turn};
pub use usage::{Cost, Usage};
