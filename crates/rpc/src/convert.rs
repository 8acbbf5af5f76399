//! Between the domain's types and the wire's: the only module that knows both.
//!
//! `to_wire` never fails; `from_wire` refuses what a limit or the contract forbids, naming the
//! field. Nothing here does I/O.

pub(crate) mod error;
pub(crate) mod from_wire;
pub(crate) mod signal;
pub(crate) mod to_wire;

#[cfg(test)]
mod tests;
