//! Streams as real servers send them, in deviation from their documentation: users of some server have reported
//! each case. Only content, calls and the end of the answer matter.

use super::replay::{events, pieces, replay};

const DONE: &str = "[DONE]";
const BASH: &str = r#""name":"bash","arguments":"{\"command\":\"ls\"}""#;

fn chunk(delta: &str) -> String {
    format!(r#"{{"choices":[{{"index":0,"delta":{delta},"finish_reason":null}}]}}"#)
}

fn stop(reason: &str) -> String {
    format!(r#"{{"choices":[{{"index":0,"delta":{{}},"finish_reason":"{reason}"}}]}}"#)
}

/// Returns the text, the reasoning and the calls of an answer.
async fn read(is_anthropic: bool, bytes: Vec<u8>) -> (String, String, Vec<String>) {
    let (_, turn) = replay(is_anthropic, pieces(&bytes, 7)).await;
    let answer =
        turn.unwrap_or_else(|why| panic!("{why}: {}", String::from_utf8_lossy(&bytes))).answer;
    let calls = answer.calls().into_iter();
    let calls = calls.map(|call| format!("{} {}", call.name, call.input.to_raw().get()));
    (answer.text(), answer.thinking(), calls.collect())
}

async fn chat(lines: &[&str], text: &str, thinking: &str, calls: &[&str]) {
    let got = read(false, events(lines)).await;
    let calls: Vec<String> = calls.iter().map(|call| (*call).to_owned()).collect();
    assert_eq!(got, (text.to_owned(), thinking.to_owned(), calls), "{lines:?}");
}

#[tokio::test]
async fn content_comes_in_many_forms() {
    let end = stop("stop");
    let parts = r#"{"content":[{"type":"thinking","thinking":[{"type":"text","text":"hm"}]}]}"#;
    let part = r#"{"content":[{"type":"text","text":"42"}]}"#;
    chat(&[&chunk(parts), &chunk(part), &end, DONE], "42", "hm", &[]).await;
    let (first, second) = (r#"{"content":"a \ud83d"}"#, r#"{"content":"\ude00 b"}"#);
    chat(&[&chunk(first), &chunk(second), &end], "a \u{1f600} b", "", &[]).await;
    let twice = r#"{"content":"x","reasoning":"t","reasoning_content":"t"}"#;
    chat(&[&chunk(twice), &end], "x", "t", &[]).await;
    // A final `[DONE]` without a finish reason; blank events; null instead of a list.
    chat(&[&chunk(r#"{"content":"x"}"#), DONE], "x", "", &[]).await;
    chat(&["", &chunk(r#"{"content":"x","tool_calls":null}"#), " ", &end], "x", "", &[]).await;
    // Token counts as floats, and unused members.
    let usage =
        r#"{"created":1.0,"choices":[],"usage":{"prompt_tokens":10.0,"completion_tokens":null}}"#;
    chat(&[&chunk(r#"{"content":"x"}"#), &end, usage, DONE], "x", "", &[]).await;
    // A complete message as one event.
    let whole = r#"{"choices":[{"index":0,"message":{"role":"assistant","content":"x"}}]}"#;
    chat(&[whole], "x", "", &[]).await;
}

#[tokio::test]
async fn calls_come_in_many_forms() {
    let end = stop("tool_calls");
    let one = r#"bash {"command":"ls"}"#;
    let call = |function: &str| {
        chunk(&format!(r#"{{"tool_calls":[{{"index":0,"id":"c","function":{{{function}}}}}]}}"#))
    };
    chat(&[&call(BASH), &end], "", "", &[one]).await;
    chat(&[&call(r#""name":"bash","arguments":{"command":"ls"}"#), &end], "", "", &[one]).await;
    let twice = r#""name":"bash","arguments":"\"{\\\"command\\\":\\\"ls\\\"}\"""#;
    chat(&[&call(twice), &end], "", "", &[one]).await;
    let breaks = r#""name":"bash","arguments":"{\"command\":\"a\nb\"}""#;
    chat(&[&call(breaks), &end], "", "", &[r#"bash {"command":"a\nb"}"#]).await;
    // The name arrives later, or is empty at first.
    let later = [
        r#"{"tool_calls":[{"index":0,"id":"c","function":{"arguments":"{\"command\":"}}]}"#,
        r#"{"tool_calls":[{"index":0,"function":{"name":"bash"}}]}"#,
        r#"{"tool_calls":[{"index":0,"function":{"arguments":"\"ls\"}"}}]}"#,
    ]
    .map(chunk);
    chat(&[&later[0], &later[1], &later[2], &end], "", "", &[one]).await;
    chat(&[&call(r#""name":"","arguments":"""#), &call(BASH), &end], "", "", &[one]).await;
    // Several calls with index 0 and no id, or with the same id; a call without an index; a call that is repeated.
    let nameless = |id: &str| {
        chunk(&format!(r#"{{"tool_calls":[{{"index":0.0,"id":{id},"function":{{{BASH}}}}}]}}"#))
    };
    chat(&[&nameless("\"\""), &nameless("\"\""), &end], "", "", &[one, one]).await;
    chat(&[&nameless("null"), &nameless("null"), &end], "", "", &[one, one]).await;
    chat(&[&call(BASH), &call(BASH), &end], "", "", &[one]).await;
    let bare = chunk(&format!(r#"{{"tool_calls":[{{"id":"c",{BASH}}}]}}"#));
    chat(&[&bare, &end], "", "", &[one]).await;
    let old = chunk(&format!(r#"{{"function_call":{{{BASH}}}}}"#));
    chat(&[&old, &stop("function_call")], "", "", &[one]).await;
}

#[tokio::test]
async fn an_answer_need_not_be_a_stream() {
    let whole = r#"{"object":"chat.completion","choices":[{"index":0,"finish_reason":"stop",
        "message":{"role":"assistant","content":"all done"}}]}"#;
    let lines = format!("{}\n{}\n", chunk(r#"{"content":"all done"}"#), stop("stop"));
    for body in [whole, &format!("\n\u{feff}[{whole}]"), &lines] {
        let (text, ..) = read(false, body.trim_start_matches('\n').as_bytes().to_vec()).await;
        assert_eq!(text, "all done", "{body}");
    }
    let message = r#"{"type":"message","model":"m","stop_reason":"tool_use","content":[
        {"type":"text","text":"I look"},
        {"type":"tool_use","id":"","name":"bash","input":{"command":"ls"}}]}"#;
    let (text, _, calls) = read(true, message.as_bytes().to_vec()).await;
    assert_eq!((text.as_str(), calls), ("I look", vec![r#"bash {"command":"ls"}"#.to_owned()]));
    let cut = &whole.as_bytes()[..whole.len() - 4];
    assert!(replay(false, pieces(cut, 7)).await.1.is_err(), "half an object is not an answer");
    let page = replay(false, pieces(b"<!doctype html><p>Sign in", 7)).await.1.unwrap_err();
    assert!(page.to_string().contains("a page"), "{page}");
}
