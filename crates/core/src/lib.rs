//! Background work for coding agents: the background manager and the agent loop.
//!
//! Knows no JSON-RPC and no stdio: those are `crates/rpc`'s.

pub mod background;
pub mod error;
pub mod ledger;
pub mod limits;
pub mod store;
pub mod task;

pub use background::Background;
pub use error::Error;
