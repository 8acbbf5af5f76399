//! The pure half of the wire: bytes to frames, frames to messages.
//!
//! A library of its own so that fuzzers and property tests reach it without a process. Does no I/O
//! and knows no method: the server is the binary beside it, whose `peer` these two belong to.

mod peer {
    pub mod frame;
    pub mod message;
}

pub use peer::{frame, message};
