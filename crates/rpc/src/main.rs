//! `meanwhile`: background work for coding agents.

mod convert;
mod serve;
mod wire;

fn main() {}
