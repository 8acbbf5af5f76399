//! Reads the lines that a server program writes. Drops a message that is too long, and immediately answers the
//! request that waits for it with an error.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};

/// Maximum bytes of one read.
const PIECE: usize = 16 << 10;

/// Passes lines on, and replaces an answer that is too long by an error.
#[derive(Debug)]
pub(super) struct Lines<R> {
    from: R,
    most: usize,
    /// Length of the current line so far.
    len: usize,
    members: Members,
    /// Bytes to pass on next.
    ready: Vec<u8>,
}

impl<R> Lines<R> {
    /// Lines of at most `most` bytes are passed on.
    pub(super) fn new(from: R, most: usize) -> Self {
        Self { from, most, len: 0, members: Members::default(), ready: Vec::new() }
    }

    fn take(&mut self, piece: &[u8]) {
        for &byte in piece {
            if byte == b'\n' {
                if self.len > self.most {
                    self.refuse();
                } else {
                    self.ready.push(byte);
                }
                (self.len, self.members) = (0, Members::default());
                continue;
            }
            self.len += 1;
            self.members.take(byte);
            if self.len <= self.most {
                self.ready.push(byte);
            } else if self.len == self.most + 1 {
                // The message is incomplete, so the parser skips it.
                self.ready.push(b'\n');
            }
        }
    }

    /// Answers the request if the line was an answer; its id is the first or the last member.
    fn refuse(&mut self) {
        let Some(id) = self.members.answered() else { return };
        let message = format!(
            "its answer has {} bytes, and at most {} are read; the tool may still have done its work",
            self.len, self.most
        );
        let error = serde_json::json!({"code": -32603, "message": message});
        let answer = serde_json::json!({"jsonrpc": "2.0", "id": id, "error": error});
        self.ready.extend(answer.to_string().into_bytes());
        self.ready.push(b'\n');
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Lines<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while this.ready.is_empty() {
            let mut bytes = [0; PIECE];
            let mut piece = ReadBuf::new(&mut bytes);
            match Pin::new(&mut this.from).poll_read(context, &mut piece) {
                Poll::Ready(Ok(())) if piece.filled().is_empty() => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(())) => this.take(piece.filled()),
                other @ (Poll::Ready(Err(_)) | Poll::Pending) => return other,
            }
        }
        let count = into.remaining().min(this.ready.len());
        into.put_slice(&this.ready[..count]);
        this.ready.drain(..count);
        Poll::Ready(Ok(()))
    }
}

/// Scans the members of a JSON object in a stream, and keeps the short ones.
#[derive(Debug, Default)]
struct Members {
    depth: u32,
    in_text: bool,
    is_escaped: bool,
    /// The current member, without blanks and nested values.
    member: Vec<u8>,
    id: Option<serde_json::Value>,
    /// Whether it is a request or a notification, rather than an answer.
    has_method: bool,
}

/// Bytes of a member that are kept: enough for a name and an id.
const MEMBER_BYTES: usize = 80;

impl Members {
    fn take(&mut self, byte: u8) {
        if self.in_text {
            self.in_text = self.is_escaped || byte != b'"';
            self.is_escaped = !self.is_escaped && byte == b'\\';
            return self.keep(byte);
        }
        match byte {
            b'{' | b'[' => self.depth = self.depth.saturating_add(1),
            b'}' | b']' => {
                if self.depth == 1 {
                    self.over();
                }
                self.depth = self.depth.saturating_sub(1);
            }
            b',' if self.depth == 1 => self.over(),
            b' ' | b'\t' | b'\r' => {}
            _ => {
                self.in_text = byte == b'"';
                self.keep(byte);
            }
        }
    }

    fn keep(&mut self, byte: u8) {
        if self.depth == 1 && self.member.len() < MEMBER_BYTES {
            self.member.push(byte);
        }
    }

    fn over(&mut self) {
        if let Some(id) = self.member.strip_prefix(b"\"id\":") {
            self.id = serde_json::from_slice(id).ok();
        }
        self.has_method |= self.member.starts_with(b"\"method\":");
        self.member.clear();
    }

    /// The id of the request that it answers; `None` if it is not an answer.
    fn answered(&self) -> Option<&serde_json::Value> {
        self.id.as_ref().filter(|id| !id.is_null() && !self.has_method)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use tokio::io::AsyncReadExt;

    /// What is passed on of `text`, read in pieces of `piece` bytes, with at most 60 bytes per line.
    async fn passed(text: &str, piece: usize) -> String {
        let mut lines = Lines::new(tokio::io::BufReader::with_capacity(piece, text.as_bytes()), 60);
        let mut passed = String::new();
        lines.read_to_string(&mut passed).await.expect("it is read");
        passed
    }

    fn id_in(line: &str) -> serde_json::Value {
        let answer: serde_json::Value = serde_json::from_str(line).expect("JSON");
        assert!(answer["error"]["message"].as_str().unwrap().contains("at most 60"), "{line}");
        answer["id"].clone()
    }

    #[tokio::test]
    async fn a_long_answer_is_refused_by_its_id_wherever_that_stands() {
        let (short, long) = (r#"{"id":1,"result":{}}"#, "x".repeat(90));
        let check = async |line: &str, id: Option<serde_json::Value>| {
            for piece in [1, 7, 4_096] {
                let told = passed(&format!("{short}\n{line}\n{short}\n"), piece).await;
                let told: Vec<&str> = told.lines().collect();
                assert_eq!((told[0], told[told.len() - 1]), (short, short), "{told:?}");
                assert_eq!(told[1], &line[..60], "its beginning, which is not JSON");
                let refused = &told[2..told.len() - 1];
                assert_eq!(refused.first().map(|line| id_in(line)), id, "{told:?}");
                assert!(refused.len() <= 1, "{told:?}");
            }
        };
        check(&format!(r#"{{"id":7,"result":"{long}"}}"#), Some(7.into())).await;
        check(
            &format!(r#"{{"result":{{"id":9,"a":["{long}"]}}, "id" : "b,\"}}"}}"#),
            Some("b,\"}".into()),
        )
        .await;
        check(&format!(r#"{{"result":"\"id\":3,{long}\\","id":4}}"#), Some(4.into())).await;
        check(&format!(r#"{{"method":"m","params":{{"id":1,"t":"{long}"}}}}"#), None).await;
        check(&format!(r#"{{"id":1,"method":"ask","params":"{long}"}}"#), None).await;
        check(&format!(r#"{{"id":null,"error":"{long}"}}"#), None).await;
        check(&long, None).await;
    }

    #[tokio::test]
    async fn what_is_not_too_long_is_passed_on_as_it_is() {
        let line = format!("{{\"id\":1,\"result\":\"{}\"}}", "y".repeat(60 - 20));
        assert_eq!(line.len(), 60);
        let text = format!("{line}\r\n\n{line}");
        // A carriage return counts as a byte of the line.
        let text = text.replace('\r', "");
        assert_eq!(passed(&text, 16).await, text);
    }
}
