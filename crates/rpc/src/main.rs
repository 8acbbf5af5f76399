//! The `meanwhile` binary.
fn main() {}
