//! What every test stands on: a store of its own, daemons on it, and the look at what they leave.
//!
//! The harness asserts on its own, when a [`Daemon`] and the [`Lab`] it ran in are dropped, what
//! must hold after any session whatever: one answer a request, pushes in the promised order, the
//! right exit code, a silent stderr, no process and no stray file left.

mod daemon;
mod gate;
mod lab;
mod log;
mod procs;
mod start;
mod talk;
mod wait;
mod wire;

pub(crate) use daemon::Daemon;
pub(crate) use gate::Gate;
pub(crate) use lab::Lab;
pub(crate) use log::{Direction, Entry};
pub(crate) use procs::{Process, all, gone, parent, state_of};
pub(crate) use start::{Start, Transport};
pub(crate) use talk::{RpcError, id_of};
pub(crate) use wait::{DEADLINE, eventually, skip, until};
pub(crate) use wire::frame;

/// The binary under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_meanwhile");
