//! Splits a byte stream into messages.
//!
//! Two framings are supported: `Content-Length` headers, the base protocol of the Language Server Protocol, and one
//! line per message, which the Agent Client Protocol and the Model Context Protocol use. Owns the received bytes that
//! are not yet a whole frame, at most one message and one read. It does no I/O, so the result does not depend on how
//! the input is split, which a property test checks. A fault in a frame is returned in its position among the frames;
//! [`Fault::is_fatal`] says whether reading can continue after it.

/// The maximum number of bytes of a message in either direction. The largest legitimate one is a `task/write` or a
/// `task/read` of a few megabytes.
pub const MESSAGE_BYTES: usize = 16 << 20;
/// The maximum number of bytes of all headers of a frame. Real ones take about 25.
pub const HEADER_BYTES: usize = 8 << 10;
/// A length that must be a mistake: skipping so many bytes would take too long.
pub const ABSURD_BYTES: u64 = 1 << 30;
/// An emptied buffer above this size is shrunk.
const KEEP_BYTES: usize = 1 << 20;

/// How messages are separated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// Headers with a `Content-Length`, an empty line, and the body.
    ContentLength,
    /// The body, which contains no line break, and a line break. Empty lines are ignored.
    Lines,
}

impl Framing {
    /// Appends a message with this body: JSON as `serde_json` writes it, without line breaks.
    pub fn append(self, out: &mut Vec<u8>, body: &[u8]) {
        out.reserve(body.len() + 32);
        match self {
            Self::ContentLength => {
                out.extend_from_slice(b"Content-Length: ");
                out.extend_from_slice(body.len().to_string().as_bytes());
                out.extend_from_slice(b"\r\n\r\n");
                out.extend_from_slice(body);
            }
            Self::Lines => {
                out.extend_from_slice(body);
                out.push(b'\n');
            }
        }
    }

    /// The decoder's state before a message.
    fn begin(self) -> State {
        match self {
            Self::ContentLength => State::Headers { seen: 0, used: 0, length: None },
            Self::Lines => State::Line { seen: 0 },
        }
    }
}

/// What is wrong with a frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A header line has no colon. The position in the stream is lost.
    #[error(
        "`{0}` is not a header: expected `Content-Length: N`, an empty line, then N bytes of JSON; \
         start the server again"
    )]
    NoHeader(String),
    /// The headers end without a length. The position in the stream is lost.
    #[error(
        "no `Content-Length` among the headers: expected the body's length in bytes; start the \
         server again"
    )]
    NoLength,
    /// The length is not a number, or there are two different ones. The position in the stream is lost.
    #[error(
        "`Content-Length: {0}` is not a length: expected one decimal number of bytes; start the \
         server again"
    )]
    BadLength(String),
    /// The headers exceed the limit. The position in the stream is lost.
    #[error("headers of more than {HEADER_BYTES} bytes; start the server again")]
    LongHeader,
    /// The body is above the limit; the decoder skips it.
    #[error(
        "a message of {0} bytes is above the limit of {MESSAGE_BYTES} bytes (`messageBytes`) and \
         is skipped; send it in parts"
    )]
    TooLong(u64),
    /// The line is above the limit; the decoder skips the rest of it.
    #[error(
        "a line of more than {MESSAGE_BYTES} bytes is above the limit (`messageBytes`) and is \
         skipped; send it in parts"
    )]
    LongLine,
    /// The length is so far above the limit that it must be a mistake; nothing more is read.
    #[error(
        "a message of {0} bytes is far above the limit of {MESSAGE_BYTES} bytes (`messageBytes`); \
         start the server again"
    )]
    Absurd(u64),
}

impl Fault {
    /// Whether nothing more can be read after this fault.
    pub fn is_fatal(&self) -> bool {
        match self {
            Self::NoHeader(_) | Self::NoLength | Self::BadLength(_) | Self::LongHeader => true,
            Self::Absurd(_) => true,
            Self::TooLong(_) | Self::LongLine => false,
        }
    }

    /// The JSON-RPC error code for the reply.
    pub fn code(&self) -> i64 {
        match self {
            Self::NoHeader(_) | Self::NoLength | Self::BadLength(_) | Self::LongHeader => -32700,
            Self::TooLong(_) | Self::LongLine | Self::Absurd(_) => -32600,
        }
    }
}

/// Splits a byte stream into message bodies.
#[derive(Debug)]
pub struct Decoder {
    framing: Framing,
    buffer: Vec<u8>,
    /// The index of the first unused byte.
    start: usize,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Reading headers. `seen` bytes after `start` contain no line break.
    Headers { seen: usize, used: usize, length: Option<u64> },
    /// Waiting for a body of this many bytes.
    Body(usize),
    /// Skipping this many bytes of a body that is too long.
    Skip(u64),
    /// Reading a line. `seen` bytes after `start` contain no line break.
    Line { seen: usize },
    /// Skipping the rest of a line that is too long.
    SkipLine,
    /// The position in the stream is lost.
    Lost,
}

impl Decoder {
    /// Creates a decoder without input.
    pub fn new(framing: Framing) -> Self {
        Self { framing, buffer: Vec::new(), start: 0, state: framing.begin() }
    }

    /// Adds bytes that were received.
    pub fn push(&mut self, bytes: &[u8]) {
        self.space().extend_from_slice(bytes);
    }

    /// The buffer to append input to, so that a read needs no copy.
    pub fn space(&mut self) -> &mut Vec<u8> {
        if self.start == self.buffer.len() {
            self.buffer.clear();
            self.buffer.shrink_to(KEEP_BYTES);
            self.start = 0;
        } else if self.start > self.buffer.len() / 2 {
            // Moves at most as many bytes as were used since the last call.
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        &mut self.buffer
    }

    /// How many bytes have arrived that are not part of a returned frame.
    pub fn buffered(&self) -> usize {
        self.buffer.len() - self.start
    }

    /// Whether the input may end here, between two frames.
    pub fn is_between_frames(&self) -> bool {
        self.start == self.buffer.len()
            && match self.state {
                State::Headers { used, .. } => used == 0,
                State::Line { .. } | State::Lost => true,
                State::Body(_) | State::Skip(_) | State::SkipLine => false,
            }
    }

    /// The next body or fault; `None` if more input is needed. Call it until it returns `None`.
    #[expect(
        clippy::should_implement_trait,
        reason = "the body borrows the buffer, which an iterator cannot express"
    )]
    pub fn next(&mut self) -> Option<Result<&[u8], Fault>> {
        loop {
            let available = self.buffer.len() - self.start;
            match &mut self.state {
                State::Lost => {
                    self.start = self.buffer.len();
                    return None;
                }
                State::Skip(left) => {
                    let now = usize::try_from(*left).unwrap_or(usize::MAX).min(available);
                    self.start += now;
                    *left -= now as u64;
                    if *left > 0 {
                        return None;
                    }
                    self.state = self.framing.begin();
                }
                State::Body(length) => {
                    let length = *length;
                    if available < length {
                        return None;
                    }
                    let from = self.start;
                    self.start += length;
                    self.state = self.framing.begin();
                    return Some(Ok(&self.buffer[from..from + length]));
                }
                State::Line { seen } => {
                    let rest = &self.buffer[self.start..];
                    let found = rest[*seen..].iter().position(|byte| *byte == b'\n');
                    let end = found.map_or(rest.len(), |at| *seen + at);
                    if end > MESSAGE_BYTES {
                        self.state = State::SkipLine;
                        return Some(Err(Fault::LongLine));
                    }
                    *seen = end;
                    found?;
                    let from = self.start;
                    self.start += end + 1;
                    self.state = self.framing.begin();
                    let line = &self.buffer[from..from + end];
                    if !line.trim_ascii().is_empty() {
                        return Some(Ok(&self.buffer[from..from + end]));
                    }
                }
                State::SkipLine => {
                    let rest = &self.buffer[self.start..];
                    let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
                        self.start = self.buffer.len();
                        return None;
                    };
                    self.start += end + 1;
                    self.state = self.framing.begin();
                }
                State::Headers { seen, used, length } => {
                    let rest = &self.buffer[self.start..];
                    let Some(end) = rest[*seen..].iter().position(|byte| *byte == b'\n') else {
                        *seen = rest.len();
                        let is_long = *used + *seen > HEADER_BYTES;
                        return is_long.then(|| Err(self.lose(Fault::LongHeader)));
                    };
                    let end = *seen + end;
                    let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
                    let line = String::from_utf8_lossy(line).into_owned();
                    self.start += end + 1;
                    *seen = 0;
                    *used += end + 1;
                    if *used > HEADER_BYTES {
                        return Some(Err(self.lose(Fault::LongHeader)));
                    }
                    if line.is_empty() {
                        let length = *length;
                        if let Some(fault) = self.begin_body(length) {
                            return Some(Err(fault));
                        }
                    } else if let Err(fault) = header(&line, length) {
                        return Some(Err(self.lose(fault)));
                    }
                }
            }
        }
    }

    fn begin_body(&mut self, length: Option<u64>) -> Option<Fault> {
        let Some(length) = length else { return Some(self.lose(Fault::NoLength)) };
        if length >= ABSURD_BYTES {
            return Some(self.lose(Fault::Absurd(length)));
        }
        match usize::try_from(length) {
            Ok(bytes) if bytes <= MESSAGE_BYTES => {
                self.state = State::Body(bytes);
                None
            }
            Ok(_) | Err(_) => {
                self.state = State::Skip(length);
                Some(Fault::TooLong(length))
            }
        }
    }

    fn lose(&mut self, fault: Fault) -> Fault {
        self.state = State::Lost;
        fault
    }
}

/// Parses one header line and ignores all headers other than the length.
fn header(line: &str, length: &mut Option<u64>) -> Result<(), Fault> {
    let Some((name, value)) = line.split_once(':') else {
        return Err(Fault::NoHeader(shown(line)));
    };
    if !name.trim().eq_ignore_ascii_case("content-length") {
        return Ok(());
    }
    let value = value.trim();
    if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Fault::BadLength(shown(value)));
    }
    // Only digits are left, so a parse error means that the number is too large.
    let bytes = value.parse().unwrap_or(u64::MAX);
    if length.is_some_and(|before| before != bytes) {
        return Err(Fault::BadLength(shown(value)));
    }
    *length = Some(bytes);
    Ok(())
}

/// The start of a header, to quote in an error.
fn shown(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests;
