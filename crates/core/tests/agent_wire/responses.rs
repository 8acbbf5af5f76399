//! Requests of the Responses API: nothing is stored on the server, and encrypted reasoning is sent back.

use meanwhile_core::agent::Message;
use serde_json::{Value, json};

use super::Format::Responses;
use super::model_server::{ModelServer, Reply, chunked};
use super::{ask, dialogue, prompt};

/// Two calls as items, after encrypted reasoning.
pub(super) fn items() -> Vec<u8> {
    let call = |id: &str, command: &str| {
        json!({"id": format!("fc_{id}"), "type": "function_call", "status": "completed",
            "call_id": id, "name": "background_run",
            "arguments": json!({"command": command}).to_string()})
    };
    let reasoning = json!({"id": "rs_1", "type": "reasoning", "summary": [],
        "encrypted_content": "ZW5j"});
    let items = [reasoning, call("call_1", "cargo build"), call("call_2", "cargo clippy")];
    let done = |(at, item): (usize, &Value)| json!({"type": "response.output_item.done", "output_index": at, "item": item});
    let mut events: Vec<Value> = items.iter().enumerate().map(done).collect();
    events.push(json!({"type": "response.completed", "response": {"status": "completed",
        "model": "served", "output": items, "usage": {"input_tokens": 9, "output_tokens": 7}}}));
    events.iter().map(|event| format!("data: {event}\n\n")).collect::<String>().into_bytes()
}

#[tokio::test]
async fn a_responses_request_is_as_the_vendor_wants_it() {
    let server = ModelServer::start(vec![Reply::Keep(chunked(&Responses.answer()))]).await;
    let provider = Responses.provider(&server.url).await;
    let turn = ask(&provider, &[prompt("build")]).await.1.unwrap();
    // As stored and read back by another process.
    let history: Vec<_> = dialogue(&turn)
        .iter()
        .map(|message| Message::from_json(&message.to_json()).unwrap())
        .collect();
    ask(&provider, &history).await.1.unwrap();
    let asked = server.asked();
    assert_eq!(asked[0].line, "POST /v1/responses HTTP/1.1");
    assert_eq!(asked[0].header("authorization"), Some("Bearer sk-secret"));
    let parameters = json!({"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]});
    let tool = |name: &str| {
        json!({"type": "function", "name": name, "strict": false,
            "description": format!("Runs a command ({name})."), "parameters": parameters})
    };
    let user = |text: &str| {
        json!({"type": "message", "role": "user", "status": "completed",
            "content": [{"type": "input_text", "text": text}]})
    };
    let call = |id: &str, command: &str| {
        json!({"id": format!("fc_{id}"), "type": "function_call", "status": "completed",
            "call_id": id, "name": "background_run",
            "arguments": json!({"command": command}).to_string()})
    };
    let output = |id: &str, text: &str| json!({"type": "function_call_output", "call_id": id, "output": text});
    assert_eq!(
        asked[1].body,
        json!({
            "model": "tester",
            "stream": true,
            "store": false,
            "include": ["reasoning.encrypted_content"],
            "max_output_tokens": 64,
            "instructions": "Be brief.",
            "tools": [tool("bash"), tool("background_run")],
            "input": [
                user("build"),
                {"id": "rs_1", "type": "reasoning", "summary": [], "encrypted_content": "ZW5j"},
                call("call_1", "cargo build"),
                call("call_2", "cargo clippy"),
                output("call_1", "task 0"),
                output("call_2", "error: task 1"),
                user("<background-results>\n</background-results>"),
            ],
        })
    );
}
