//! Between the domain's types and the wire's: the only module that knows both.
//!
//! `to_wire` never fails; `from_wire` refuses what a limit or the protocol forbids, naming the
//! field. Nothing here does I/O.

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

#[cfg(test)]
mod tests;
