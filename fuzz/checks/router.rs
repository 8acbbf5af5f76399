//! In any bytes, each frame is a message or is refused, and a reply can carry the id of each request.

use meanwhile_rpc::frame::{Decoder, Framing};
use meanwhile_rpc::message::{self, Id, Message};

/// Parses the bytes as messages from a client, and parses each reply as the client would.
pub fn check(data: &[u8]) {
    let mut decoder = Decoder::new(Framing::ContentLength);
    decoder.push(data);
    while let Some(item) = decoder.next() {
        let Ok(body) = item else { continue };
        match message::parse(body) {
            Ok(Message::Request { id, .. }) => answer(&id),
            Ok(Message::Notification { .. } | Message::Response { .. }) => {}
            Err(malformed) => assert!(matches!(malformed.code, -32700 | -32600)),
        }
    }
}

/// Checks that a reply with this id parses back to the same id.
fn answer(id: &Id) {
    let reply = serde_json::json!({"jsonrpc": "2.0", "id": id, "result": null});
    let mut bytes = Vec::new();
    Framing::ContentLength.append(&mut bytes, reply.to_string().as_bytes());
    let mut decoder = Decoder::new(Framing::ContentLength);
    decoder.push(&bytes);
    let body = decoder.next().expect("a frame").expect("without fault");
    match message::parse(body) {
        Ok(Message::Response { id: read, .. }) => assert_eq!(read.as_ref(), Some(id)),
        other => panic!("a reply was read as {other:?}"),
    }
}
