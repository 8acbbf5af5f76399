//! Any bytes give the same frames and faults however they are split, and nothing follows a fatal fault.

use meanwhile_rpc::frame::{Decoder, Fault, Framing, MESSAGE_BYTES};

/// The first byte determines the size of the pieces.
pub fn check(data: &[u8]) {
    let Some((size, input)) = data.split_first() else { return };
    for framing in [Framing::ContentLength, Framing::Lines] {
        check_as(framing, usize::from(*size) + 1, input);
    }
}

fn check_as(framing: Framing, size: usize, input: &[u8]) {
    let whole = decode(framing, [input].into_iter());
    let pieces = decode(framing, input.chunks(size));
    assert_eq!(whole, pieces);
    for (i, item) in whole.iter().enumerate() {
        match item {
            Ok(body) => assert!(body.len() <= MESSAGE_BYTES),
            Err(fault) if fault.is_fatal() => assert_eq!(i + 1, whole.len()),
            Err(_) => {}
        }
    }
}

fn decode<'a>(
    framing: Framing,
    pieces: impl Iterator<Item = &'a [u8]>,
) -> Vec<Result<Vec<u8>, Fault>> {
    let mut decoder = Decoder::new(framing);
    let mut items = Vec::new();
    for piece in pieces {
        decoder.push(piece);
        while let Some(item) = decoder.next() {
            items.push(item.map(<[u8]>::to_vec));
        }
    }
    items
}
