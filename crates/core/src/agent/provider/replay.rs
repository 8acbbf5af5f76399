//! Replays recorded and handwritten streams, whole and in pieces: the result must not depend on where the network
//! splits the bytes.

use std::path::Path;

use super::super::failure::{Failure, FailureKind, Peer};
use super::super::message::Arguments;
use super::anthropic::Messages;
use super::assemble::Assembler;
use super::body::{Broken, read};
use super::openai::Chat;
use super::responses::Stream;
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

/// Reads a recorded body, or one of the few handwritten ones.
pub(super) fn recorded(name: &str) -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/llm");
    let path = root.join(format!("{name}.body"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub(super) type Outcome = (Vec<Delta>, Result<Turn, Failure>);

async fn run<A: Assembler + 'static>(
    assembler: A,
    pieces: Vec<Result<Vec<u8>, Broken>>,
) -> Outcome {
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

pub(super) async fn replay_items(pieces: Vec<Result<Vec<u8>, Broken>>) -> Outcome {
    run(Stream::new("asked", false), pieces).await
}

pub(super) async fn replay(is_anthropic: bool, pieces: Vec<Result<Vec<u8>, Broken>>) -> Outcome {
    if is_anthropic {
        run(Messages::new("asked", false), pieces).await
    } else {
        run(Chat::new("asked", false), pieces).await
    }
}

fn is_anthropic(name: &str) -> bool {
    name.starts_with('a') || name.ends_with("-anthropic")
}

pub(super) fn pieces(bytes: &[u8], size: usize) -> Vec<Result<Vec<u8>, Broken>> {
    bytes.chunks(size).map(|chunk| Ok(chunk.to_vec())).collect()
}

/// Formats a turn as one line: `text | calls | stop | cut | usage`.
pub(super) fn line(turn: &Turn) -> String {
    let calls: Vec<_> = turn
        .answer
        .calls()
        .iter()
        .map(|call| match &call.input {
            Arguments::Object(raw) => format!("{}{}", call.name, raw.get()),
            Arguments::Invalid { text } => format!("{}!{text}", call.name),
        })
        .collect();
    let cut =
        turn.cut.as_ref().map_or(String::new(), |cut| format!("{}{}", cut.name, cut.arguments));
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

/// The deltas must add up to the content of the turn.
pub(super) fn assert_deltas_agree(deltas: &[Delta], turn: &Turn) {
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
    ("a02-chat-stream", r#"Hello! How can I assist you today? |  | EndTurn |  | 1+31r+0w 10"#),
    ("a03s-stop-seq-stream", r#"1 2 3 4  |  | EndTurn |  | 1+48r+0w 9"#),
    (
        "a04s-max-tokens-stream",
        r#"Rust is a statically typed, compiled lan |  | MaxTokens |  | 11+24r+0w 12"#,
    ),
    (
        "a06-tools-auto-stream",
        r#" | background_run{"command": "cargo test"} | ToolUse |  | 1+323r+0w 22"#,
    ),
    (
        "a07-tools-any-stream",
        r#"Hello! How can I assist you today? Is th |  | MaxTokens |  | 7+310r+0w 96"#,
    ),
    (
        "a10s-parallel-stream",
        r#" | background_run{"command": "cargo build"} background_run{"command": "cargo clippy"} | ToolUse |  | 1+336r+0w 40"#,
    ),
    (
        "a11-tool-args-cut-by-max-tokens-stream",
        r#" |  | MaxTokens | background_run{" | 14+310r+0w 14"#,
    ),
    (
        "a12-toolresult-roundtrip-stream",
        r#" | background_run{"command": "cargo test"} | ToolUse |  | 33+337r+0w 22"#,
    ),
    (
        "a13c-results-after-assistant-turn-stream",
        "<background-results>\n<task id=\"bg_1\" com |  | EndTurn |  | 70+368r+0w 51",
    ),
    (
        "ctxfull-anthropic",
        r#"1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 1 |  | MaxTokens |  | 49+0r+0w 463"#,
    ),
    ("o02-chat-stream", r#"Hello! How can I assist you today? |  | EndTurn |  | 1+34r+0w 10"#),
    (
        "o02b-chat-stream-nousage",
        r#"Hello! How can I assist you today? |  | EndTurn |  | 0+0r+0w 0"#,
    ),
    (
        "o04s-length-stream",
        r#"Rust is a statically typed, compiled lan |  | MaxTokens |  | 1+34r+0w 12"#,
    ),
    (
        "o06-tools-auto-stream",
        r#" | background_run{"command": "cargo test"} | ToolUse |  | 1+323r+0w 22"#,
    ),
    (
        "o07-tools-required-stream",
        r#"Hello! How can I assist you today? Is th |  | MaxTokens |  | 7+310r+0w 96"#,
    ),
    (
        "o10s-parallel-stream",
        r#" | background_run{"command": "cargo build"} background_run{"command": "cargo clippy"} | ToolUse |  | 1+336r+0w 40"#,
    ),
    ("o11-tool-args-cut-by-length-stream", r#" |  | MaxTokens | background_run{" | 14+310r+0w 14"#),
    (
        "o12-toolresult-roundtrip-stream",
        r#" | background_run{"command": "cargo test"} | ToolUse |  | 33+337r+0w 22"#,
    ),
    ("ctxfull-openai", r#"1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 1 |  | MaxTokens |  | 0+0r+0w 0"#),
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

#[tokio::test]
async fn a_cut_at_any_byte_changes_nothing_but_the_pieces() {
    for name in [
        "a10s-parallel-stream",
        "a11-tool-args-cut-by-max-tokens-stream",
        "o10s-parallel-stream",
        "o11-tool-args-cut-by-length-stream",
    ] {
        let bytes = recorded(name);
        let (_, whole) = replay(is_anthropic(name), pieces(&bytes, bytes.len())).await;
        let whole = line(&whole.unwrap());
        for at in 1..bytes.len() {
            let two = vec![Ok(bytes[..at].to_vec()), Ok(bytes[at..].to_vec())];
            let (_, turn) = replay(is_anthropic(name), two).await;
            assert_eq!(turn.map(|turn| line(&turn)).as_ref(), Ok(&whole), "{name} at {at}");
        }
    }
}

#[tokio::test]
async fn an_answer_that_ends_early_is_never_an_answer() {
    for (name, end) in [
        // The answer is complete after this event: some servers send no `message_stop`.
        ("a10s-parallel-stream", "\"stop_reason\":\"tool_use\""),
        ("o10s-parallel-stream", "\"finish_reason\":\"tool_calls\""),
    ] {
        let bytes = recorded(name);
        let text = String::from_utf8(bytes.clone()).unwrap();
        let at = text.find(end).unwrap();
        let enough = at + text[at..].find("\n\n").unwrap() + 2;
        for length in 0..enough {
            let (_, turn) = replay(is_anthropic(name), pieces(&bytes[..length], 4_096)).await;
            let kind = turn.map(|turn| line(&turn)).map_err(|failure| failure.kind);
            assert_eq!(kind, Err(FailureKind::Unfinished), "{name}, {length} bytes");
        }
        let (_, turn) = replay(is_anthropic(name), pieces(&bytes[..enough], 4_096)).await;
        assert_eq!(turn.unwrap().answer.calls().len(), 2);
    }
}

#[tokio::test]
async fn a_broken_connection_is_told_from_a_silent_one() {
    let start = || Ok(recorded("a10s-parallel-stream")[..500].to_vec());
    let reset = Broken::Connection("connection reset by peer".into());
    let (_, turn) = replay(true, vec![start(), Err(reset)]).await;
    let failure = turn.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Cut);
    assert!(failure.to_string().contains("connection reset by peer"), "{failure}");
    let silent = Broken::Silent(std::time::Duration::from_secs(9));
    let failure = replay(true, vec![start(), Err(silent)]).await.1.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Stalled);
    assert!(failure.to_string().contains("9s"), "{failure}");
}

/// A stream of events with one data line each.
pub(super) fn events(lines: &[&str]) -> Vec<u8> {
    lines.iter().map(|line| format!("data: {line}\n\n")).collect::<String>().into_bytes()
}

const START: &str = r#"{"type":"message_start","message":{"model":"m-1","usage":{"input_tokens":5,"cache_creation_input_tokens":7,"cache_read_input_tokens":2,"output_tokens":1}}}"#;
const STOP: &str = r#"{"type":"message_stop"}"#;

fn anthropic(middle: &[&str], stop: &str) -> Vec<u8> {
    let delta = format!(
        r#"{{"type":"message_delta","delta":{{"stop_reason":"{stop}"}},"usage":{{"output_tokens":9}}}}"#
    );
    let mut lines = vec![START];
    lines.extend(middle);
    lines.extend([delta.as_str(), STOP]);
    events(&lines)
}

async fn check(is_anthropic: bool, bytes: &[u8], want: &str) -> Turn {
    check_by(async |pieces| replay(is_anthropic, pieces).await, bytes, want).await
}

/// Checks the result of a stream, in pieces of several sizes.
pub(super) async fn check_by(
    replay: impl AsyncFn(Vec<Result<Vec<u8>, Broken>>) -> Outcome,
    bytes: &[u8],
    want: &str,
) -> Turn {
    let mut last = None;
    for size in [bytes.len(), 1, 5] {
        let (deltas, turn) = replay(pieces(bytes, size)).await;
        let turn = turn.unwrap_or_else(|f| panic!("{f}: {}", String::from_utf8_lossy(bytes)));
        assert_eq!(line(&turn), want);
        if turn.stop != StopReason::Refusal {
            assert_deltas_agree(&deltas, &turn);
        }
        last = Some(turn);
    }
    last.expect("there are three sizes")
}

#[tokio::test]
async fn overlapping_blocks_are_kept_apart_and_unknown_ones_are_kept() {
    let bytes = anthropic(
        &[
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}"#,
            r#"{"type":"ping"}"#,
            r#"{"type":"content_block_start","index":2,"content_block":{"type":"tool_use","id":"b","name":"bash","input":{}}}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"hm "}}"#,
            r#"{"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"{\"n\":1.0,"}}"#,
            r#"{"type":"content_block_start","index":1,"content_block":{"type":"text","text":"","citations":[]}}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"so"}}"#,
            r#"{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"Both: "}}"#,
            r#"{"type":"content_block_delta","index":1,"delta":{"type":"citations_delta","citation":{"z":1,"a":2}}}"#,
            r#"{"type":"something_new","index":1,"payload":[1]}"#,
            r#"{"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"\"a\":2}"}}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"c2ln"}}"#,
            r#"{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"é"}}"#,
            r#"{"type":"content_block_start","index":3,"content_block":{"type":"novel","z":[1.50],"content":"x"}}"#,
            r#"{"type":"content_block_delta","index":3,"delta":{"type":"novel_delta","content":"y"}}"#,
            r#"{"type":"content_block_start","index":4,"content_block":{"type":"server_tool_use","id":"s","name":"web","input":{}}}"#,
            r#"{"type":"content_block_delta","index":4,"delta":{"type":"input_json_delta","partial_json":"{\"q\":1}"}}"#,
            r#"{"type":"content_block_stop","index":0}"#,
        ],
        "tool_use",
    );
    let turn =
        check(true, &bytes, r#"Both: é | bash{"n":1.0,"a":2} | ToolUse |  | 5+2r+7w 9"#).await;
    let blocks: Vec<_> = turn.answer.blocks.iter().map(|block| block.as_json()).collect();
    assert_eq!(
        blocks,
        [
            r#"{"type":"thinking","thinking":"hm so","signature":"c2ln"}"#,
            r#"{"type":"text","text":"Both: é","citations":[{"z":1,"a":2}]}"#,
            r#"{"type":"tool_use","id":"b","name":"bash","input":{"n":1.0,"a":2}}"#,
            r#"{"type":"novel","z":[1.50],"content":"xy"}"#,
            r#"{"type":"server_tool_use","id":"s","name":"web","input":{"q":1}}"#,
        ]
    );
    assert_eq!(turn.answer.model, "m-1");
}

#[tokio::test]
async fn every_reason_to_stop_is_known() {
    let text =
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":"t"}}"#;
    let call = r#"{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"b","name":"bash","input":{}}}"#;
    let input = r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\"a\":1}"}}"#;
    for (stop, alone, with_call) in [
        ("end_turn", " | EndTurn | ", r#"bash{"a":1} | ToolUse | "#),
        ("tool_use", " | EndTurn | ", r#"bash{"a":1} | ToolUse | "#),
        ("max_tokens", " | MaxTokens | ", r#"bash{"a":1} | MaxTokens | "#),
        ("model_context_window_exceeded", " | ContextFull | ", r#"bash{"a":1} | ContextFull | "#),
        ("stop_sequence", " | StopSequence | ", r#"bash{"a":1} | ToolUse | "#),
        ("pause_turn", " | PauseTurn | ", r#"bash{"a":1} | ToolUse | "#),
        ("refusal", " | Refusal | ", r#" | Refusal | bash{"a":1}"#),
        ("tired", " | Other(\"tired\") | ", r#"bash{"a":1} | ToolUse | "#),
    ] {
        check(true, &anthropic(&[text], stop), &format!("t | {alone} | 5+2r+7w 9")).await;
        let bytes = anthropic(&[text, call, input], stop);
        check(true, &bytes, &format!("t | {with_call} | 5+2r+7w 9")).await;
    }
    // Empty arguments may be the start of some if the answer was cut.
    check(true, &anthropic(&[call], "max_tokens"), " |  | MaxTokens | bash | 5+2r+7w 9").await;
    check(true, &anthropic(&[call], "tool_use"), " | bash{} | ToolUse |  | 5+2r+7w 9").await;
}

#[tokio::test]
async fn line_ends_comments_marks_and_a_foreign_word_do_not_matter() {
    let text =
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":"t"}}"#;
    let plain = String::from_utf8(anthropic(&[text], "end_turn")).unwrap();
    let spoiled =
        plain.replacen("data: ", ": a comment\n\nevent: x\nid: 1\nretry: 5\nodd: y\ndata: ", 3);
    let with_done =
        plain.replace(&format!("data: {STOP}"), &format!("data: [DONE]\n\ndata: {STOP}"));
    for bytes in [
        plain.replace('\n', "\r\n"),
        plain.replace('\n', "\r"),
        format!("\u{feff}{plain}"),
        spoiled,
        with_done,
        format!("{plain}data: [DONE]\n\n"),
        format!("{plain}data: <html>\n\n"),
    ] {
        check(true, bytes.as_bytes(), "t |  | EndTurn |  | 5+2r+7w 9").await;
    }
}

#[tokio::test]
async fn what_is_not_an_answer_fails_with_its_reason() {
    let overloaded =
        r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;
    let orphan =
        r#"{"type":"content_block_delta","index":7,"delta":{"type":"text_delta","text":"t"}}"#;
    let nameless =
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"tool_use"}}"#;
    for (is_anthropic, last, kind, said) in [
        (true, overloaded, FailureKind::Overloaded, "Overloaded"),
        (true, r#"{"error":{"message":"slot died"}}"#, FailureKind::Server, "slot died"),
        (true, "<html>", FailureKind::Garbage, "<html>"),
        (true, "[1]", FailureKind::Garbage, "[1]"),
        (true, orphan, FailureKind::Garbage, "never started"),
        (true, nameless, FailureKind::Garbage, "without id"),
        (false, r#"{"error":{"code":503,"message":"busy"}}"#, FailureKind::Overloaded, "busy"),
        (false, "{\"choices\":", FailureKind::Garbage, "not a JSON"),
        (false, r#"{"choices":[{"delta":{"tool_calls":7}}]}"#, FailureKind::Garbage, "not objects"),
        (false, "[DONE]", FailureKind::Unfinished, "finish_reason"),
    ] {
        let first = if is_anthropic { START } else { r#"{"choices":[]}"# };
        let failure = replay(is_anthropic, pieces(&events(&[first, last]), 9)).await.1.unwrap_err();
        assert_eq!(failure.kind, kind, "{failure}");
        assert!(failure.to_string().contains(said), "{failure}");
    }
    let (_, turn) = replay(true, vec![Ok(b"data: \xff\xfe\n\n".to_vec())]).await;
    assert_eq!(turn.unwrap_err().kind, FailureKind::Garbage);
}

/// A chat stream with these deltas.
fn chat(deltas: &[&str], finish: &str) -> Vec<u8> {
    let mut lines: Vec<_> =
        deltas.iter().map(|d| format!(r#"{{"choices":[{{"index":0,"delta":{d}}}]}}"#)).collect();
    lines.push(format!(r#"{{"choices":[{{"index":0,"delta":{{}},"finish_reason":"{finish}"}}]}}"#));
    lines.push(
        r#"{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":3,"cost":0.5}}"#.into(),
    );
    lines.push("[DONE]".into());
    events(&lines.iter().map(String::as_str).collect::<Vec<_>>())
}

#[tokio::test]
async fn calls_are_told_apart_by_index_or_by_id() {
    let two = async |deltas: &[&str], finish: &str| {
        let want = r#" | a{"x":1} b{"y":2} | ToolUse |  | 9+0r+0w 3"#;
        let turn = check(false, &chat(deltas, finish), want).await;
        let ids: Vec<_> = turn.answer.calls().into_iter().map(|call| call.id).collect();
        assert_ne!(ids[0], ids[1]);
        assert_eq!(turn.cost, super::Cost::from_dollars(0.5));
        ids
    };
    // Matched by index, with interleaved pieces; a repeated name changes nothing.
    let mixed = [
        r#"{"tool_calls":[{"index":0,"id":"1","function":{"name":"a","arguments":"{\"x\""}}]}"#,
        r#"{"tool_calls":[{"index":1,"id":"2","type":"function","function":{"name":"b","arguments":"{\"y\":"}}]}"#,
        r#"{"tool_calls":[{"index":0,"function":{"arguments":":1}"}},{"index":1,"id":"","function":{"name":"b","arguments":"2}"}}]}"#,
    ];
    assert_eq!(two(&mixed, "tool_calls").await, ["1", "2"]);
    // As sent by Ollama: complete calls, all with index 0, and the finish reason `stop`.
    let whole = [
        r#"{"tool_calls":[{"index":0,"id":"1","function":{"name":"a","arguments":"{\"x\":1}"}}]}"#,
        r#"{"tool_calls":[{"index":0,"id":"2","function":{"name":"b","arguments":"{\"y\":2}"}}]}"#,
    ];
    assert_eq!(two(&whole, "stop").await, ["1", "2"]);
    // Without an index.
    let by_id = [
        r#"{"tool_calls":[{"id":"1","function":{"name":"a","arguments":"{\"x\":1}"}},{"id":"2","function":{"name":"b","arguments":"{\"y\""}}]}"#,
        r#"{"tool_calls":[{"function":{"arguments":":2}"}}]}"#,
    ];
    assert_eq!(two(&by_id, "tool_calls").await, ["1", "2"]);
    // Without an id, or twice with the same id: their results could not be told apart.
    let nameless = whole.map(|delta| {
        delta.replace(r#""index":0,"id":"1","#, "").replace(r#""index":0,"id":"2","#, "")
    });
    let ids = two(&nameless.each_ref().map(String::as_str), "tool_calls").await;
    assert!(ids.iter().all(|id| id.starts_with("call_")), "{ids:?}");
    let twins =
        [whole[0].to_owned(), whole[1].replace(r#""index":0,"id":"2""#, r#""index":1,"id":"1""#)];
    assert_eq!(two(&twins.each_ref().map(String::as_str), "tool_calls").await[0], "1");
}

#[tokio::test]
async fn what_a_server_adds_is_sent_back_and_refusals_are_none_of_it() {
    let turn = check(false, &chat(&[
        r#"{"role":"assistant","content":"","reasoning_content":"h","odd":1}"#,
        r#"{"reasoning_content":"m","reasoning_details":[{"z":1,"a":2}]}"#,
        r#"{"content":null,"reasoning_details":[{"b":1.0}]}"#,
        r#"{"tool_calls":[{"index":0,"id":"1","function":{"name":"a","arguments":""},"extra_content":{"sig":"s"}}]}"#,
    ], "tool_calls"), r#" | a{} | ToolUse |  | 9+0r+0w 3"#).await;
    assert_eq!(
        turn.answer.blocks[0].as_json(),
        r#"{"role":"assistant","content":"","reasoning_content":"hm","reasoning_details":[{"z":1,"a":2},{"b":1.0}],"tool_calls":[{"id":"1","type":"function","function":{"name":"a","arguments":"{}"},"extra_content":{"sig":"s"}}]}"#
    );
    let no = chat(&[r#"{"refusal":"I can't."}"#], "stop");
    check(false, &no, "I can't. |  | Refusal |  | 9+0r+0w 3").await;
    let filtered = chat(&[r#"{"content":"I"}"#], "content_filter");
    check(false, &filtered, "I |  | Refusal |  | 9+0r+0w 3").await;
    // A second choice is ignored.
    let other = r#"{"choices":[{"index":1,"delta":{"content":"no"}},{"index":0,"delta":{"content":"yes"},"finish_reason":"stop"}]}"#;
    check(false, &events(&[other, "[DONE]"]), "yes |  | EndTurn |  | 0+0r+0w 0").await;
    // An empty answer has no block.
    let turn = check(false, &chat(&[], "stop"), " |  | EndTurn |  | 9+0r+0w 3").await;
    assert!(turn.answer.blocks.is_empty());
    // Invalid JSON: the call is answered with an error, never run.
    let bad = chat(
        &[r#"{"tool_calls":[{"index":0,"id":"1","function":{"name":"a","arguments":"ls"}}]}"#],
        "tool_calls",
    );
    check(false, &bad, " | a!ls | ToolUse |  | 9+0r+0w 3").await;
}
