//! Reads the body of an answer: a stream of events, one JSON object, or one object per line; handles timeouts,
//! interruptions and the end.
//!
//! The format is detected by the first character, because headers may be wrong.

use std::pin::pin;
use std::time::Duration;

use futures_util::StreamExt as _;
use serde_json::value::RawValue;
use sse_stream::{Sse, SseByteStream};

use super::super::failure::{Again, Failure, Peer};
use super::super::retry::Patience;
use super::assemble::Assembler;
use super::http::root;
use super::mask::Mask;
use super::{Sink, Turn};

/// Maximum bytes of one answer: hundreds of times the longest answer of any model.
const ANSWER_BYTES: usize = 64 << 20;
/// Maximum bytes of an error response that are read.
const REFUSAL_BYTES: usize = 64 << 10;
/// How long to wait for the end of a body after the end of the answer, so that the connection can be reused;
/// usually it has already arrived.
const TRAILER: Duration = Duration::from_millis(20);

/// Reads a body that is not a stream, up to [`REFUSAL_BYTES`].
pub(crate) async fn text(
    mut response: reqwest::Response,
    patience: &Patience,
    mask: &Mask,
) -> String {
    let mut body = Vec::new();
    while body.len() < REFUSAL_BYTES
        && let Ok(Ok(Some(chunk))) = tokio::time::timeout(patience.stall, response.chunk()).await
    {
        body.extend_from_slice(&chunk);
    }
    String::from_utf8_lossy(&mask.text(&body)).into_owned()
}

/// Why reading an answer stopped early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    #[error("nothing came for {0:?}")]
    Silent(Duration),
    #[error("it is longer than {ANSWER_BYTES} bytes")]
    Endless,
    #[error("{0}")]
    Connection(String),
}

/// The bytes of an answer, with a timeout and a maximum length. The first byte has a longer timeout.
pub(crate) fn bytes(
    response: reqwest::Response,
    patience: &Patience,
    mask: &Mask,
) -> impl futures_util::Stream<Item = Result<Vec<u8>, Broken>> + Send + use<> {
    struct State {
        response: reqwest::Response,
        limit: Duration,
        stall: Duration,
        total: usize,
        mask: Mask,
        held: Vec<u8>,
    }
    let start = State {
        response,
        limit: patience.first_byte,
        stall: patience.stall,
        total: 0,
        mask: mask.clone(),
        held: Vec::new(),
    };
    futures_util::stream::unfold(start, |mut state| async move {
        let item = match tokio::time::timeout(state.limit, state.response.chunk()).await {
            Ok(Ok(None)) if state.held.is_empty() => return None,
            // The next poll finds the end again.
            Ok(Ok(None)) => Ok(std::mem::take(&mut state.held)),
            Ok(Ok(Some(chunk))) => {
                state.limit = state.stall;
                state.total += chunk.len();
                let piece = state.mask.piece(&mut state.held, &chunk);
                if state.total > ANSWER_BYTES { Err(Broken::Endless) } else { Ok(piece) }
            }
            Ok(Err(error)) => Err(Broken::Connection(root(&error))),
            Err(_) => Err(Broken::Silent(state.limit)),
        };
        Some((item, state))
    })
}

/// Assembles the events of an answer into a turn.
pub(crate) async fn read<S, B>(
    bytes: S,
    mut assembler: impl Assembler,
    peer: &Peer,
    sink: &Sink,
) -> Result<Turn, Failure>
where
    S: futures_util::Stream<Item = Result<B, Broken>>,
    B: AsRef<[u8]>,
{
    let mut bytes = pin!(bytes.fuse());
    let mut begin = Vec::new();
    // The format is detected by the first character; the headers may be wrong.
    let first = loop {
        if let Some(first) = first_letter(&begin) {
            break Some(first);
        }
        match bytes.next().await {
            Some(Ok(chunk)) => begin.extend_from_slice(chunk.as_ref()),
            Some(Err(error)) => return Err(broken(&error, peer)),
            None => break None,
        }
    };
    let rest = bytes.map(|chunk| chunk.map(|chunk| chunk.as_ref().to_vec()));
    match first {
        Some(b'{' | b'[') => return read_json(begin, rest, assembler, peer, sink).await,
        Some(b'<') => {
            let what = "a page instead of a stream of events";
            return Err(peer.garbage(what, &String::from_utf8_lossy(&begin)));
        }
        Some(_) | None => {}
    }
    // The decoder requires buffers that it can consume.
    let begin = futures_util::stream::iter([Ok(begin)]);
    let bytes = begin.chain(rest).map(|chunk| chunk.map(std::io::Cursor::new));
    let mut events = pin!(SseByteStream::new(bytes));
    while !assembler.is_whole() {
        match events.next().await {
            Some(Ok(Sse { data: Some(data), .. })) => {
                if data.trim().is_empty() {
                    continue;
                }
                for delta in assembler.event(&data, peer)? {
                    sink.send(delta).await;
                }
            }
            Some(Ok(Sse { data: None, .. })) => {}
            None => return assembler.finish(peer),
            Some(Err(sse_stream::Error::Body(error))) => {
                return Err(match error.downcast_ref::<Broken>() {
                    Some(error) => broken(error, peer),
                    None => peer.cut(&error.to_string()),
                });
            }
            Some(Err(error)) => {
                return Err(peer.garbage("bytes that are not events", &error.to_string()));
            }
        }
    }
    let rest = async { while events.next().await.is_some() {} };
    // If the answer continues, close its connection: the rest is not needed.
    tokio::time::timeout(TRAILER, rest).await.ok();
    assembler.finish(peer)
}

/// The first character of an answer after whitespace and a byte order mark.
fn first_letter(bytes: &[u8]) -> Option<u8> {
    const MARK: &[u8] = b"\xef\xbb\xbf";
    let bytes = bytes.strip_prefix(MARK).unwrap_or(bytes);
    if bytes.len() < MARK.len() && MARK.starts_with(bytes) {
        return None;
    }
    bytes.iter().copied().find(|byte| !byte.is_ascii_whitespace())
}

fn broken(error: &Broken, peer: &Peer) -> Failure {
    match error {
        Broken::Silent(limit) => peer.silent("in the middle of its answer", *limit, Again::Later),
        Broken::Endless | Broken::Connection(_) => peer.cut(&error.to_string()),
    }
}

/// Reads an answer that is not an event stream: one object, a list of objects, or one object per line.
async fn read_json<S>(
    begin: Vec<u8>,
    rest: S,
    mut assembler: impl Assembler,
    peer: &Peer,
    sink: &Sink,
) -> Result<Turn, Failure>
where
    S: futures_util::Stream<Item = Result<Vec<u8>, Broken>>,
{
    let begin = futures_util::stream::iter([Ok(begin)]);
    let mut chunks = pin!(begin.chain(rest));
    // `lines` collects the lines that are not JSON values by themselves.
    let (mut lines, mut line) = (String::new(), Vec::new());
    while let Some(chunk) = chunks.next().await {
        for byte in chunk.map_err(|error| broken(&error, peer))? {
            if byte != b'\n' {
                line.push(byte);
                continue;
            }
            let text = String::from_utf8_lossy(&line).trim_start_matches('\u{feff}').to_owned();
            line.clear();
            let is_event = lines.is_empty() && serde_json::from_str::<Box<RawValue>>(&text).is_ok();
            if is_event && text.trim_start().starts_with('{') {
                for delta in assembler.event(&text, peer)? {
                    sink.send(delta).await;
                }
            } else if !text.trim().is_empty() {
                lines.push_str(&text);
                lines.push('\n');
            }
        }
    }
    lines.push_str(String::from_utf8_lossy(&line).trim_start_matches('\u{feff}'));
    let lines = lines.trim();
    let values: Vec<Box<RawValue>> = match serde_json::from_str(lines) {
        Ok(values) => values,
        Err(_) if lines.is_empty() => Vec::new(),
        Err(_) => match serde_json::from_str(lines) {
            Ok(value) => vec![value],
            Err(_) => return Err(peer.garbage("JSON that breaks off", lines)),
        },
    };
    for value in values {
        for delta in assembler.event(value.get(), peer)? {
            sink.send(delta).await;
        }
    }
    assembler.finish(peer)
}
