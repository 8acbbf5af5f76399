//! What every test uses: a temporary store, daemons with it, and checks of what they leave behind.
//!
//! When a [`Daemon`] and its [`Lab`] are dropped, the harness asserts what must hold after every session:
//! one answer for each request, pushes in the promised order, the right exit code, an empty stderr, and no
//! process or stray file left.

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
