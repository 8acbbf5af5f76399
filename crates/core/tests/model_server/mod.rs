//! A scripted model server on loopback, which records its requests.
//!
//! Checks every request: whatever a test is about, no request may break the rules of the wire. The check of
//! calls and results is implemented separately here, on the wire's own JSON.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Makes an answer from a request's body.
pub(crate) type Judge = dyn Fn(&Value) -> Vec<u8> + Send + Sync;

/// How to answer one request.
#[derive(Clone)]
pub(crate) enum Reply {
    /// Write these bytes and close.
    Bytes(Vec<u8>),
    /// Write these bytes and keep the connection for the next request.
    Keep(Vec<u8>),
    /// Write these bytes, then nothing, until the client has closed.
    Hang(Vec<u8>),
    /// Write the first bytes, then the second ones repeatedly, until the client has closed.
    Drip(Vec<u8>, Vec<u8>),
    /// Write what this function returns for the request's body, and close.
    Judge(Arc<Judge>),
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (name, bytes): (_, &[u8]) = match self {
            Self::Bytes(bytes) => ("Bytes", bytes),
            Self::Keep(bytes) => ("Keep", bytes),
            Self::Hang(bytes) => ("Hang", bytes),
            Self::Drip(bytes, _) => ("Drip", bytes),
            Self::Judge(_) => ("Judge", &[]),
        };
        f.debug_tuple(name).field(&bytes).finish()
    }
}

/// A recorded request.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) at: Instant,
    pub(crate) line: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Value,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|header| header.0 == name).map(|header| header.1.as_str())
    }
}

#[derive(Debug, Default)]
struct Journal {
    asked: Vec<Asked>,
    connections: usize,
    closed_by_client: usize,
    /// Whether a request broke a rule of the wire, which was printed.
    broken: bool,
}

/// The server. It ends with the test's runtime.
#[derive(Debug)]
pub(crate) struct ModelServer {
    pub(crate) url: String,
    journal: Arc<Mutex<Journal>>,
}

impl ModelServer {
    /// Answers the n-th request with the n-th reply, and all further ones with the last.
    pub(crate) async fn start(replies: Vec<Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let journal = Arc::<Mutex<Journal>>::default();
        let shared = Arc::clone(&journal);
        let replies = Arc::new(replies);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&shared), Arc::clone(&replies)));
            }
        });
        Self { url, journal }
    }

    /// All requests so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.journal.lock().unwrap().asked.clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.journal.lock().unwrap().connections
    }

    /// Waits until a client has closed a connection that the server kept open.
    pub(crate) async fn closed_by_client(&self) {
        until(|| self.journal.lock().unwrap().closed_by_client > 0).await;
    }

    /// Waits until this many requests have come.
    pub(crate) async fn has_asked(&self, count: usize) {
        until(|| self.journal.lock().unwrap().asked.len() >= count).await;
    }
}

impl Drop for ModelServer {
    fn drop(&mut self) {
        let broken = self.journal.lock().map_or(true, |journal| journal.broken);
        assert!(!broken || std::thread::panicking(), "a request broke a rule of the wire");
    }
}

/// Waits for a condition, and fails after ten seconds.
pub(crate) async fn until(condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(10), "what was waited for did not come");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn serve(mut stream: TcpStream, journal: Arc<Mutex<Journal>>, replies: Arc<Vec<Reply>>) {
    journal.lock().unwrap().connections += 1;
    while let Some(asked) = request(&mut stream).await {
        let broken = std::panic::catch_unwind(|| check_wire(&asked)).is_err();
        let body = asked.body.clone();
        let reply = {
            let mut journal = journal.lock().unwrap();
            journal.broken |= broken;
            let reply = replies.get(journal.asked.len()).or(replies.last()).unwrap().clone();
            journal.asked.push(asked);
            reply
        };
        match reply {
            Reply::Bytes(bytes) => {
                stream.write_all(&bytes).await.ok();
                // A close with unread input would send a reset; all input has been read.
                stream.shutdown().await.ok();
                return;
            }
            Reply::Judge(judge) => {
                stream.write_all(&judge(&body)).await.ok();
                stream.shutdown().await.ok();
                return;
            }
            Reply::Keep(bytes) => stream.write_all(&bytes).await.unwrap(),
            Reply::Hang(bytes) => {
                stream.write_all(&bytes).await.ok();
                // A client that waits sends nothing more, so this returns when it closes the connection.
                stream.read_u8().await.ok();
                journal.lock().unwrap().closed_by_client += 1;
                return;
            }
            Reply::Drip(bytes, drop) => {
                stream.write_all(&bytes).await.ok();
                while stream.write_all(&drop).await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                journal.lock().unwrap().closed_by_client += 1;
                return;
            }
        }
    }
}

async fn request(stream: &mut TcpStream) -> Option<Asked> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let text = String::from_utf8(bytes[..head].to_vec()).unwrap();
    let mut lines = text.split("\r\n");
    let line = lines.next().unwrap().to_owned();
    let headers: Vec<_> = lines
        .map(|line| line.split_once(": ").unwrap())
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let length = headers.iter().find(|header| header.0 == "content-length");
    let length: usize = length.map_or(0, |header| header.1.parse().unwrap());
    while bytes.len() < head + 4 + length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    let body = serde_json::from_slice(&bytes[head + 4..]).unwrap_or(Value::Null);
    Some(Asked { at: Instant::now(), line, headers, body })
}

/// Writes the request to a file if `tests/llm/comply.py` asks for it, to check it against the vendors' schemas.
fn hand_over(asked: &Asked) {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    if let Some(dir) = std::env::var_os("MEANWHILE_REQUESTS_DIR") {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let route = asked.line.split(' ').nth(1).unwrap_or_default().replace('/', "_");
        let name = format!("{}-{number}-{route}.json", std::process::id());
        std::fs::write(std::path::Path::new(&dir).join(name), asked.body.to_string()).unwrap();
    }
}

/// The rules that no request may break.
fn check_wire(asked: &Asked) {
    if asked.line.starts_with("GET ") {
        return;
    }
    hand_over(asked);
    for forbidden in ["temperature", "top_p", "top_k", "tool_choice", "thinking"] {
        assert!(asked.body.get(forbidden).is_none(), "{forbidden} is never sent");
    }
    let mut open = BTreeSet::new();
    let messages = asked.body.get("messages").or(asked.body.get("input"));
    let messages = messages.and_then(Value::as_array).expect("a request has messages");
    let mut is_answering = false;
    for message in messages {
        let (calls, results) = pairs(message);
        for result in &results {
            assert!(open.remove(result), "a result that was not asked for: {result}");
        }
        is_answering = !open.is_empty() && (is_answering || !results.is_empty());
        // In chat completions each result is a separate message; in the Responses API each call and each result
        // is an item.
        let is_result = message["role"] == "tool" || message["type"] == "function_call_output";
        let is_of_answer = message["type"] == "function_call" && !is_answering;
        if !is_of_answer && (!is_result || !calls.is_empty()) {
            assert!(open.is_empty(), "calls without a result: {open:?} before {message}");
        }
        for call in calls {
            assert!(open.insert(call.clone()), "a call twice: {call}");
        }
    }
    assert!(open.is_empty(), "calls without a result: {open:?}");
}

/// The ids that a message calls, and those that it answers.
fn pairs(message: &Value) -> (Vec<String>, Vec<String>) {
    let id = |value: &Value| value.as_str().expect("an id is a string").to_owned();
    let (mut calls, mut results) = (Vec::new(), Vec::new());
    for call in message["tool_calls"].as_array().into_iter().flatten() {
        calls.push(id(&call["id"]));
    }
    match message["type"].as_str() {
        Some("function_call") => calls.push(id(&message["call_id"])),
        Some("function_call_output") => results.push(id(&message["call_id"])),
        Some(_) | None => {}
    }
    if message["role"] == "tool" {
        results.push(id(&message["tool_call_id"]));
    }
    let mut seen_other = false;
    for block in message["content"].as_array().into_iter().flatten() {
        match block["type"].as_str() {
            Some("tool_use") => calls.push(id(&block["id"])),
            Some("tool_result") => {
                assert!(!seen_other, "results come first: {message}");
                results.push(id(&block["tool_use_id"]));
            }
            _ => seen_other = true,
        }
    }
    (calls, results)
}

/// A complete streamed answer with status 200 that ends with the connection.
pub(crate) fn stream(body: &[u8]) -> Vec<u8> {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
    [head.as_bytes(), body].concat()
}

/// The same in one chunk, so that the connection can be reused.
pub(crate) fn chunked(body: &[u8]) -> Vec<u8> {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n\
        transfer-encoding: chunked\r\n\r\n";
    let length = format!("{:x}\r\n", body.len());
    [head.as_bytes(), length.as_bytes(), body, b"\r\n0\r\n\r\n"].concat()
}

/// An answer with another status.
pub(crate) fn status(status: u16, headers: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status} x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n{headers}\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// A file with recorded bytes.
pub(crate) fn recorded(name: &str) -> Vec<u8> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/llm");
    std::fs::read(root.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}
