//! Replays streams of the Responses API, whole and in pieces, and checks the requests built from them.

use super::super::super::failure::{FailureKind, Peer};
use super::super::super::message::{Image, Message, ToolResult};
use super::super::form::Form;
use super::super::replay::{check_by, events, pieces, recorded, replay_items as replay};
use super::super::{Request, Turn};
use super::{body, input};

fn peer() -> Peer {
    Peer {
        url: "http://127.0.0.1:8080".into(),
        model: "asked".into(),
        key_setting: "KEY",
        url_setting: "URL",
        has_key: false,
    }
}

async fn check(bytes: &[u8], want: &str) -> Turn {
    check_by(replay, bytes, want).await
}

fn done(item: &str) -> String {
    format!(r#"{{"type":"response.output_item.done","item":{item}}}"#)
}

fn end(status: &str, more: &str) -> String {
    format!(
        r#"{{"type":"response.{status}","response":{{"model":"m-1","status":"{status}",
        "usage":{{"input_tokens":9,"output_tokens":3,"input_tokens_details":{{"cached_tokens":4}}}}{more}}}}}"#
    )
    .replace('\n', "")
}

const REASONING: &str = r#"{"id":"rs_1","type":"reasoning","summary":[{"type":"summary_text","text":"hm"}],"encrypted_content":"ZW5j","status":null}"#;
const MESSAGE: &str = r#"{"id":"msg_1","type":"message","status":"completed","role":"assistant","content":[{"type":"output_text","text":"Both: é","annotations":[],"logprobs":[]}],"phase":"commentary"}"#;
const CALL: &str = r#"{"id":"fc_1","type":"function_call","status":"completed","call_id":"call_1","name":"bash","arguments":"{\"n\":1.0}"}"#;

#[tokio::test]
async fn recorded_answers_are_read_streamed_and_whole() {
    let want = r#" | background_run{"command": "cargo test"} | ToolUse |  | 1+323r+0w 22"#;
    for name in ["r01-responses-stream", "r02-responses"] {
        let turn = check(&recorded(name), want).await;
        assert_eq!(turn.answer.model, "qwen2.5-coder-0.5b");
    }
    // The answer is not complete before the last event.
    let bytes = recorded("r01-responses-stream");
    let text = String::from_utf8(bytes.clone()).unwrap();
    for length in 0..text.find("event: response.completed").unwrap() {
        let (_, turn) = replay(pieces(&bytes[..length], 4_096)).await;
        assert_eq!(turn.unwrap_err().kind, FailureKind::Unfinished, "{length} bytes");
    }
}

#[tokio::test]
async fn items_are_kept_as_they_came() {
    let added = r#"{"type":"response.output_item.added","output_index":2,"item":{"id":"fc_1","type":"function_call","status":"in_progress","call_id":"call_1","name":"bash","arguments":""}}"#;
    let novel = r#"{"id":"ws_1","type":"web_search_call","z":1.0,"action":{"b":1,"a":2}}"#;
    let lines = [
        r#"{"type":"response.created","response":{"status":"in_progress"}}"#.to_owned(),
        r#"{"type":"response.output_item.added","output_index":0,"item":{"id":"rs_1","type":"reasoning","summary":[]}}"#.to_owned(),
        r#"{"type":"response.reasoning_summary_text.delta","item_id":"rs_1","output_index":0,"summary_index":0,"delta":"h"}"#.to_owned(),
        added.to_owned(),
        r#"{"type":"response.function_call_arguments.delta","output_index":2,"delta":"{\"n\":"}"#.to_owned(),
        r#"{"type":"response.reasoning_summary_text.delta","item_id":"rs_1","output_index":0,"summary_index":0,"delta":"m"}"#.to_owned(),
        done(REASONING),
        r#"{"type":"response.output_item.added","output_index":1,"item":{"id":"msg_1","type":"message","role":"assistant","content":[]}}"#.to_owned(),
        r#"{"type":"response.output_text.delta","item_id":"msg_1","output_index":1,"content_index":0,"delta":"Both: "}"#.to_owned(),
        r#"{"type":"response.function_call_arguments.delta","item_id":"fc_1","delta":"1.0}"}"#.to_owned(),
        r#"{"type":"response.output_text.delta","item_id":"msg_1","output_index":1,"content_index":0,"delta":"é"}"#.to_owned(),
        done(MESSAGE),
        done(CALL),
        done(novel),
        r#"{"type":"something.new","output_index":1}"#.to_owned(),
        end("completed", ""),
    ];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let turn = check(&events(&lines), r#"Both: é | bash{"n":1.0} | ToolUse |  | 5+4r+0w 3"#).await;
    let blocks: Vec<_> = turn.answer.blocks.iter().map(|block| block.as_json()).collect();
    assert_eq!(blocks, [REASONING, CALL, MESSAGE, novel]);
    assert_eq!(turn.answer.thinking(), "hm");

    // The request keeps the order of the answer; reasoning that the server did not store is sent back whole.
    let history = [
        Message::prompt("go"),
        Message::Assistant(turn.answer),
        Message::ToolResults {
            results: vec![ToolResult {
                call_id: "call_1".into(),
                content: "no".into(),
                is_error: true,
            }],
        },
    ];
    let request = Request { system: "Be brief.", history: &history, ..Request::default() };
    let sent = |form: &Form, peer: &Peer| {
        let body = body(peer, &request, form, Some(7));
        serde_json::from_slice::<serde_json::Value>(&body).unwrap()
    };
    let own = sent(&Form::default(), &peer());
    let mut reasoning: serde_json::Value = serde_json::from_str(REASONING).unwrap();
    reasoning.as_object_mut().unwrap().remove("status");
    let item = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    let user = serde_json::json!({"type": "message", "role": "user", "status": "completed",
        "content": [{"type": "input_text", "text": "go"}]});
    let output = serde_json::json!(
        {"type": "function_call_output", "call_id": "call_1", "output": "error: no"});
    assert_eq!(
        own,
        serde_json::json!({"model": "asked", "stream": true, "store": false,
            "include": ["reasoning.encrypted_content"], "max_output_tokens": 16,
            "instructions": "Be brief.",
            "input": [user, reasoning, item(CALL), item(MESSAGE), item(novel), output]})
    );
    // Another model cannot read it, and a server that refuses it does not receive it.
    let plain = |body: serde_json::Value| {
        let input = body["input"].as_array().unwrap().clone();
        let kinds: Vec<_> =
            input.iter().map(|it| it["type"].as_str().unwrap().to_owned()).collect();
        assert_eq!(kinds, ["message", "message", "function_call", "function_call_output"]);
        assert!(input.iter().all(|it| it.get("id").is_none()), "{input:?}");
        body
    };
    plain(sent(&Form::default(), &Peer { model: "other".into(), ..peer() }));
    assert!(plain(sent(&Form::default().plainest(), &peer())).get("include").is_none());
}

#[tokio::test]
async fn reasoning_that_is_not_encrypted_stays_behind() {
    let open = r#"{"id":"rs_1","type":"reasoning","summary":[],"content":[{"type":"reasoning_text","text":"hm"}],"encrypted_content":""}"#;
    let lines = [done(open), done(CALL), end("completed", "")];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let turn = check(&events(&lines), r#" | bash{"n":1.0} | ToolUse |  | 5+4r+0w 3"#).await;
    assert_eq!(turn.answer.thinking(), "hm");
    let history = [Message::Assistant(turn.answer)];
    let request = Request { history: &history, ..Request::default() };
    // The server would use the id of what followed to look it up.
    let text = String::from_utf8(body(&peer(), &request, &Form::default(), None)).unwrap();
    assert!(text.contains(r#""input":[{"type":"function_call","status":"completed","call_id":"call_1","name":"bash""#), "{text}");
}

#[tokio::test]
async fn every_end_is_known() {
    let incomplete =
        |why: &str| end("incomplete", &format!(r#","incomplete_details":{{"reason":"{why}"}}"#));
    let half = r#"{"id":"fc_1","type":"function_call","status":"incomplete","call_id":"call_1","name":"bash","arguments":"{\"n\":"}"#;
    let no = r#"{"id":"msg_1","type":"message","role":"assistant","content":[{"type":"refusal","refusal":"I can't."}]}"#;
    for (items, end, want) in [
        (&[done(MESSAGE)][..], end("completed", ""), "Both: é |  | EndTurn |  | 5+4r+0w 3"),
        (&[done(CALL)], end("completed", ""), r#" | bash{"n":1.0} | ToolUse |  | 5+4r+0w 3"#),
        (
            &[done(half)],
            incomplete("max_output_tokens"),
            r#" |  | MaxTokens | bash{"n": | 5+4r+0w 3"#,
        ),
        (&[done(MESSAGE)], incomplete("content_filter"), "Both: é |  | Refusal |  | 5+4r+0w 3"),
        (&[done(MESSAGE)], incomplete("tired"), "Both: é |  | Other(\"tired\") |  | 5+4r+0w 3"),
        (&[done(no)], end("completed", ""), "I can't. |  | Refusal |  | 5+4r+0w 3"),
        // All content in the final event, or the end marker of another dialect.
        (
            &[],
            end("completed", &format!(r#","output":[{CALL}]"#)),
            r#" | bash{"n":1.0} | ToolUse |  | 5+4r+0w 3"#,
        ),
        (&[done(CALL)], "[DONE]".to_owned(), r#" | bash{"n":1.0} | ToolUse |  | 0+0r+0w 0"#),
    ] {
        let lines: Vec<&str> = items.iter().chain([&end]).map(String::as_str).collect();
        check(&events(&lines), want).await;
    }
    for (last, kind, said) in [
        (
            r#"{"type":"error","code":"rate_limit_exceeded","message":"slow down"}"#,
            FailureKind::RateLimited,
            "slow down",
        ),
        (
            r#"{"type":"error","error":{"type":"server_error","message":"oh"}}"#,
            FailureKind::Server,
            "oh",
        ),
        (
            r#"{"type":"response.failed","response":{"error":{"code":"server_error","message":"oh"}}}"#,
            FailureKind::Server,
            "oh",
        ),
        (
            r#"{"type":"response.failed","response":{"error":{"code":"context_length_exceeded","message":"x"}}}"#,
            FailureKind::ContextOverflow,
            "x",
        ),
        (
            r#"{"type":"response.failed","response":{"error":{"code":"invalid_prompt","message":"x"}}}"#,
            FailureKind::BadRequest,
            "x",
        ),
        ("<html>", FailureKind::Garbage, "<html>"),
        ("[DONE]", FailureKind::Unfinished, "response.completed"),
    ] {
        let failure = replay(pieces(&events(&[last]), 9)).await.1.unwrap_err();
        assert_eq!(failure.kind, kind, "{failure}");
        assert!(failure.to_string().contains(said), "{failure}");
    }
}

#[test]
fn images_stand_behind_the_words_where_the_model_takes_them() {
    let image = Image { kind: "image/png".into(), data: "AAAA".into() };
    let history = [Message::Prompt { text: "see".into(), images: vec![image] }];
    let sent = |images| {
        let request = Request { history: &history, images, ..Request::default() };
        serde_json::to_value(input(&request, &Form::default(), "")).unwrap()
    };
    let parts = serde_json::json!([
        {"type": "input_text", "text": "see"},
        {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "auto"},
    ]);
    assert_eq!(sent(true)[0]["content"], parts);
    let unseen = sent(false).to_string();
    assert!(unseen.contains("left out") && !unseen.contains("AAAA"), "{unseen}");
}
