//! Any bytes parse as a record or return an error, because a disk may contain anything.

/// Parses the bytes as a record.
pub fn check(data: &[u8]) {
    let _ = meanwhile_shim::record::parse(data);
}
