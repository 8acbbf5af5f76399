//! Serves one client over a byte stream, in any protocol based on JSON-RPC.
//!
//! Owns what every front needs: decoding bytes to messages, concurrent requests, the order of their replies,
//! cancellation, output, and the end of the connection. It knows no method and no protocol: a [`Front`] interprets
//! the messages.

mod answer;
mod calls;
mod client;
mod front;
mod outbox;
mod parent;
mod reply;
mod serve;
mod transport;

/// The parts without I/O; they are in the library so that fuzzers can reach them.
pub(crate) use meanwhile_rpc::{frame, message};

pub(crate) use answer::{After, Answer, Follow};
#[cfg(test)]
pub(crate) use client::mute;
pub(crate) use client::{Client, Voice};
pub(crate) use front::{Call, Conduct, Front, Handling, Jobs, Note};
pub(crate) use outbox::Outbox;
pub(crate) use parent::gone;
#[cfg(test)]
pub(crate) use serve::{BUSY_MAX, serve};
pub(crate) use serve::{run, terminated};
