//! One client at the other end of a stream of bytes, in any protocol that is JSON-RPC.
//!
//! Owns what every front needs: bytes in and messages out of them, requests that run beside one
//! another, their replies in order, cancelling, the way out, and how it all ends. It knows no method
//! and no protocol: a [`Front`] says what a message means.

mod answer;
mod calls;
mod client;
mod front;
mod outbox;
mod parent;
mod reply;
mod serve;
mod transport;

/// The pure half, a library so that fuzzers reach it.
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
