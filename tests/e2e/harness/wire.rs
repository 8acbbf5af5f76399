//! LSP's base protocol, from the client's side.

use std::io::{self, BufRead};

use serde_json::Value;

/// The bytes of a message on the wire.
pub(crate) fn frame(message: &Value) -> Vec<u8> {
    frame_bytes(message.to_string().as_bytes())
}

/// A body with its header.
pub(crate) fn frame_bytes(body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("Content-Length: {}\r\n\r\n", body.len()).into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// Reads the next message; `None` at the end of the stream. Anything but complete, well-formed messages is
/// an error, because the daemon writes nothing else to stdout.
pub(crate) fn read_frame(from: &mut impl BufRead) -> io::Result<Option<Value>> {
    let mut length = None;
    loop {
        let mut line = String::new();
        if from.read_line(&mut line)? == 0 {
            return if length.is_none() { Ok(None) } else { Err(broken("ended in a header")) };
        }
        let Some(line) = line.strip_suffix("\r\n") else {
            return Err(broken(&format!("no header line: {line:?}")));
        };
        if line.is_empty() {
            break;
        }
        let (name, value) =
            line.split_once(": ").ok_or_else(|| broken(&format!("no header: {line:?}")))?;
        if name.eq_ignore_ascii_case("content-length") {
            length = Some(value.parse().map_err(|_| broken(&format!("length {value:?}")))?);
        }
    }
    let mut body = vec![0; length.ok_or_else(|| broken("no Content-Length"))?];
    from.read_exact(&mut body)?;
    serde_json::from_slice(&body).map(Some).map_err(|e| broken(&format!("body: {e}")))
}

fn broken(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not a message on stdout: {what}"))
}
