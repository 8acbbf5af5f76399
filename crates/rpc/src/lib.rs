//! The parts of the wire without I/O: bytes to frames, frames to messages.
//!
//! It is a separate library so that fuzzers and property tests can use it without a process. It knows no method: the
//! server is the binary in this package, and these two modules belong to its `peer`.

mod peer {
    pub mod frame;
    pub mod message;
}

pub use peer::{frame, message};
