//! Background work for coding agents: the background manager and the agent loop.
//!
//! Knows no JSON-RPC and no stdio: those belong to `crates/rpc`.

pub mod agent;
pub mod background;
pub mod confine;
pub mod error;
pub mod hosts;
pub mod limits;

pub use background::Background;
pub use error::{Culprit, Error, Limit, StoreFault, StoreFaultKind};
