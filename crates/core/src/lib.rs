//! Background work for coding agents: the background manager and the agent loop.
//!
//! Knows no JSON-RPC and no stdio: those are `crates/rpc`'s.

mod ansi;
pub mod background;
pub mod error;
pub mod ledger;
pub mod limits;
pub mod preview;
pub mod progress;
pub mod quote;
pub mod store;
pub mod task;
pub mod watch;

pub use background::Background;
pub use error::Error;
