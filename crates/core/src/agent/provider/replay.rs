//! Recorded and hand-made streams, replayed whole and in pieces: what comes out may not depend on
//! where the network cuts the bytes.

use std::path::Path;

use super::super::failure::{Failure, FailureKind, Peer};
use super::super::message::Input;
use super::anthropic::Messages;
use super::assemble::Assembler;
use super::http::{Broken, read};
use super::openai::Chat;
use super::{Call, Delta, StopReason, Turn};

fn peer() -> Peer {
    Peer {
        url: "http://127.0.0.1:8080".into(),
        model: "asked".into(),
        key_setting: "KEY",
        url_setting: "URL",
        has_key: false,
    }
}

/// A recorded body, or one of the few written here.
fn recorded(name: &str) -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/llm");
    let path = root.join(format!("{name}.body"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

type Outcome = (Vec<Delta>, Result<Turn, Failure>);

async fn run<A: Assembler + 'static>(assembler: A, pieces: Vec<Result<Vec<u8>, Broken>>) -> Outcome {
    let mut call = Call::new(|sink| async move {
        let bytes = futures_util::stream::iter(pieces);
        read(bytes, assembler, &peer(), &sink).await
    });
    let mut deltas = Vec::new();
    while let Some(delta) = call.next().await {
        deltas.push(delta);
    }
    (deltas, call.finish().await)
}

async fn replay(is_anthropic: bool, pieces: Vec<Result<Vec<u8>, Broken>>) -> Outcome {
    if is_anthropic {
        run(Messages::new("asked", false), pieces).await
    } else {
        run(Chat::new("asked", false), pieces).await
    }
}

fn is_anthropic(name: &str) -> bool {
    name.starts_with('a') || name.ends_with("-anthropic")
}

fn pieces(bytes: &[u8], size: usize) -> Vec<Result<Vec<u8>, Broken>> {
    bytes.chunks(size).map(|chunk| Ok(chunk.to_vec())).collect()
}

/// A turn in one line: `text | calls | stop | cut | usage`.
fn line(turn: &Turn) -> String {
    let calls: Vec<_> = turn
        .answer
        .calls()
        .iter()
        .map(|call| match &call.input {
            Input::Object(raw) => format!("{}{}", call.name, raw.get()),
            Input::Invalid { text } => format!("{}!{text}", call.name),
        })
        .collect();
    let cut = turn.cut.as_ref().map_or(String::new(), |cut| format!("{}{}", cut.name, cut.arguments));
    let text: String = turn.answer.text().chars().take(40).collect();
    let u = turn.usage;
    format!(
        "{text} | {} | {:?} | {cut} | {}+{}r+{}w {}",
        calls.join(" "),
        turn.stop,
        u.input,
        u.cache_read,
        u.cache_write,
        u.output
    )
}

/// What the deltas add up to has to be what the turn says.
fn assert_deltas_agree(deltas: &[Delta], turn: &Turn) {
    let (mut text, mut thinking, mut names) = (String::new(), String::new(), Vec::new());
    for delta in deltas {
        match delta {
            Delta::Text(more) => text.push_str(more),
            Delta::Thinking(more) => thinking.push_str(more),
            Delta::CallStarted { name, .. } => names.push(name.clone()),
            Delta::CallInput { .. } => {}
            Delta::Retrying { .. } => panic!("nothing retries here"),
        }
    }
    assert_eq!(text, turn.answer.text());
    assert_eq!(thinking, turn.answer.thinking());
    let mut kept: Vec<_> = turn.answer.calls().into_iter().map(|call| call.name).collect();
    kept.extend(turn.cut.iter().map(|cut| cut.name.clone()));
    assert_eq!(names, kept);
}

const RECORDED: [(&str, &str); 19] = [
    ("a02-chat-stream", ""),
    ("a03s-stop-seq-stream", ""),
    ("a04s-max-tokens-stream", ""),
    ("a06-tools-auto-stream", ""),
    ("a07-tools-any-stream", ""),
    ("a10s-parallel-stream", ""),
    ("a11-tool-args-cut-by-max-tokens-stream", ""),
    ("a12-toolresult-roundtrip-stream", ""),
    ("a13c-results-after-assistant-turn-stream", ""),
    ("ctxfull-anthropic", ""),
    ("o02-chat-stream", ""),
    ("o02b-chat-stream-nousage", ""),
    ("o04s-length-stream", ""),
    ("o06-tools-auto-stream", ""),
    ("o07-tools-required-stream", ""),
    ("o10s-parallel-stream", ""),
    ("o11-tool-args-cut-by-length-stream", ""),
    ("o12-toolresult-roundtrip-stream", ""),
    ("ctxfull-openai", ""),
];

#[tokio::test]
async fn recorded_answers_are_read_whole_and_byte_by_byte() {
    for (name, want) in RECORDED {
        let bytes = recorded(name);
        for size in [bytes.len(), 1, 2, 7] {
            let (deltas, turn) = replay(is_anthropic(name), pieces(&bytes, size)).await;
            let turn = turn.unwrap_or_else(|failure| panic!("{name} in {size}: {failure}"));
            assert_deltas_agree(&deltas, &turn);
            assert_eq!(line(&turn), want, "{name} in pieces of {size}");
        }
    }
}
