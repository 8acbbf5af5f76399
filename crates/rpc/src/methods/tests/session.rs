//! Which parameters the session methods accept, and which field an error names.
//!
//! The server has no store, so accepted parameters result in 1005; no session is open.

use serde_json::{Value, json};

use super::refusal;

type Expected = std::result::Result<(), &'static str>;

async fn table(method: &str, cases: &[(Value, Expected)]) {
    for (params, expect) in cases {
        let error = refusal(method, params.clone()).await;
        let data = error.data.clone().unwrap_or_default();
        let got = match error.code {
            1005 => Ok(()),
            -32602 => Err(data["field"].as_str().unwrap_or("no field")),
            other => panic!("{method} {params}: unexpected code {other}: {error}"),
        };
        assert_eq!(got, *expect, "{method} {params}: {error}");
        for rust in ["u64", "struct", "enum", "map", "sequence", "Request", "variant index"] {
            assert!(!error.message.contains(rust), "words of Rust: {}", error.message);
        }
    }
}

fn here() -> Value {
    json!(std::env::current_dir().unwrap())
}

/// The object with one member replaced.
fn with(base: &Value, member: &str, value: Value) -> Value {
    let mut params = base.clone();
    params[member] = value;
    params
}

#[tokio::test]
async fn a_session_is_made_in_the_workspace() {
    let good = json!({"cwd": here(), "mcpServers": []});
    let server = json!({"name": "s", "command": "/bin/true", "args": [], "env": []});
    let wake = |wake: Value| with(&good, "_meta", json!({"meanwhile": {"wake": wake}}));
    table(
        "session/new",
        &[
            (good.clone(), Ok(())),
            (with(&good, "mcpServers", json!(null)), Ok(())),
            (with(&good, "additionalDirectories", json!([])), Ok(())),
            (with(&good, "theirs", json!(1)), Ok(())),
            (wake(json!("on")), Ok(())),
            (wake(json!("queue")), Ok(())),
            (with(&good, "_meta", json!({"theirs": 1})), Ok(())),
            (wake(json!("sometimes")), Err("_meta.meanwhile.wake")),
            (wake(json!(true)), Err("_meta.meanwhile.wake")),
            (json!({"mcpServers": []}), Err("cwd")),
            (json!({"cwd": here()}), Err("mcpServers")),
            (with(&good, "cwd", json!(5)), Err("cwd")),
            (with(&good, "cwd", json!("/no/such/place")), Err("cwd")),
            (with(&good, "cwd", json!("..")), Err("cwd")),
            (with(&good, "mcpServers", json!([server])), Ok(())),
            (with(&good, "mcpServers", json!(vec![server; 33])), Err("mcpServers")),
            (with(&good, "mcpServers", json!({})), Err("mcpServers")),
            (with(&good, "additionalDirectories", json!(["/x"])), Err("additionalDirectories")),
            (json!([]), Err("params")),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_session_is_loaded_by_its_name() {
    let good = json!({"cwd": here(), "mcpServers": [], "sessionId": "s"});
    table(
        "session/load",
        &[
            (good.clone(), Ok(())),
            (with(&good, "sessionId", json!(5)), Err("sessionId")),
            (json!({"cwd": here(), "mcpServers": []}), Err("sessionId")),
            (with(&good, "cwd", json!("/no/such/place")), Err("cwd")),
        ],
    )
    .await;
    table(
        "session/resume",
        &[
            (json!({"cwd": here(), "sessionId": "s"}), Ok(())),
            (with(&good, "cwd", json!("/no/such/place")), Err("cwd")),
            (json!({"cwd": here()}), Err("sessionId")),
        ],
    )
    .await;
    table("session/delete", &[(json!({"sessionId": "s"}), Ok(())), (json!({}), Err("sessionId"))])
        .await;
}

#[tokio::test]
async fn how_a_session_is_led_is_checked_before_it_is_looked_for() {
    let option =
        |id: Value, value: Value| json!({"sessionId": "s", "configId": id, "value": value});
    table(
        "session/set_config_option",
        &[
            (option(json!("wake"), json!("on")), Err("sessionId")),
            (option(json!("colour"), json!("red")), Err("configId")),
            (option(json!(5), json!("red")), Err("configId")),
            (option(json!("wake"), json!(5)), Err("value")),
            (json!({"sessionId": "s", "configId": "wake"}), Err("value")),
        ],
    )
    .await;
    let mode = |id: Value| json!({"sessionId": "s", "modeId": id});
    table(
        "session/set_mode",
        &[
            (mode(json!("ask")), Err("sessionId")),
            (mode(json!("yolo")), Err("modeId")),
            (mode(json!(5)), Err("modeId")),
            (json!({"sessionId": "s"}), Err("modeId")),
        ],
    )
    .await;
}

#[tokio::test]
async fn lists_and_traces_say_how_far() {
    table(
        "session/list",
        &[
            (json!({}), Ok(())),
            (json!({"cwd": null, "cursor": null}), Ok(())),
            (json!({"cwd": "/no/such/place", "cursor": "100"}), Ok(())),
            (json!({"cursor": "x"}), Err("cursor")),
            (json!({"cursor": 5}), Err("cursor")),
            (json!({"cwd": 5}), Err("cwd")),
        ],
    )
    .await;
    table(
        "session/trace",
        &[
            (json!({"sessionId": "s"}), Ok(())),
            (json!({"sessionId": "s", "after": 7}), Ok(())),
            (json!({"sessionId": "s", "timeline": true}), Ok(())),
            (json!({"sessionId": "s", "timeline": "yes"}), Err("timeline")),
            (json!({}), Err("sessionId")),
            (json!({"sessionId": "s", "after": -1}), Err("after")),
            (json!({"sessionId": "s", "since": 1}), Err("since")),
        ],
    )
    .await;
}

#[tokio::test]
async fn what_needs_an_open_session_says_so() {
    let text = json!([{"type": "text", "text": "hello"}]);
    let said = |prompt: Value| json!({"sessionId": "s", "prompt": prompt});
    table(
        "session/prompt",
        &[
            (said(text.clone()), Err("sessionId")),
            (json!({"prompt": text}), Err("sessionId")),
            (json!({"sessionId": "s"}), Err("prompt")),
            (said(json!("hello")), Err("prompt")),
            (said(json!([])), Err("prompt")),
            (said(json!([{"type": "text", "text": " \n"}])), Err("prompt")),
            (said(json!([{"type": "text"}])), Err("prompt[0].text")),
            (said(json!([text[0], {"type": "smell", "text": "x"}])), Err("prompt[1].type")),
            (said(json!([text[0], 5])), Err("prompt[1]")),
        ],
    )
    .await;
    for method in ["session/cancel", "session/close"] {
        table(
            method,
            &[
                (json!({"sessionId": "s"}), Err("sessionId")),
                (json!({"sessionId": null}), Err("sessionId")),
                (json!({}), Err("sessionId")),
            ],
        )
        .await;
    }
}
