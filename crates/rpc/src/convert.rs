//! Conversions between the types of the domain and those of the wire: the only module that knows both.
//!
//! `to_wire` never fails; `from_wire` returns an error with the name of the field if a limit or a rule of the
//! protocol is violated. This module does no I/O.

pub(crate) mod error;
pub(crate) mod from_wire;
pub(crate) mod hint;
pub(crate) mod options;
pub(crate) mod params;
pub(crate) mod prompt;
pub(crate) mod servers;
pub(crate) mod signal;
pub(crate) mod timeline;
pub(crate) mod to_wire;
pub(crate) mod trace;
pub(crate) mod unseen;
pub(crate) mod update;
pub(crate) mod watched;

#[cfg(test)]
mod tests;
