//! Background work for coding agents: the background manager and the agent loop.
//!
//! Knows no JSON-RPC and no stdio: those are `crates/rpc`'s.

pub mod agent;
mod ansi;
pub mod background;
mod command;
mod convert;
mod doorbell;
pub mod error;
mod events;
mod home;
pub mod ledger;
pub mod limits;
mod live;
mod manager;
mod memory;
mod pool;
pub mod preview;
pub mod progress;
pub mod quote;
pub mod store;
mod supervisor;
pub mod task;
mod upkeep;
pub mod watch;
pub mod words;

pub use background::Background;
pub use error::Error;
