//! Providers against a server on loopback: what they send, and how they handle each fault of a server.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

mod model_server;
#[path = "agent_wire/responses.rs"]
mod responses;

use std::time::Duration;

use meanwhile_core::agent::retry::Patience;
use meanwhile_core::agent::{
    Delta, Failure, FailureKind, Message, ModelChoice, Provider, Request, StopReason, Tool,
    ToolResult, Turn,
};
use model_server::{ModelServer, Reply, chunked, recorded, status, stream};
use serde_json::{Value, json, value::RawValue};

/// The timeouts for tests: the same rules, a hundred times faster.
fn patience() -> Patience {
    Patience {
        backoff: Duration::from_millis(5),
        backoff_max: Duration::from_millis(40),
        first_byte: Duration::from_millis(400),
        stall: Duration::from_millis(150),
        ..Patience::default()
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Format {
    Anthropic,
    OpenAi,
    Responses,
}
use Format::{Anthropic, OpenAi, Responses};

const ALL: [Format; 3] = [Anthropic, OpenAi, Responses];

/// The model chosen in an environment with these variables.
fn choice(set: &[(&str, &str)]) -> ModelChoice {
    ModelChoice::from_env(|name| set.iter().find(|it| it.0 == name).map(|it| it.1.to_owned()))
}

impl Format {
    async fn provider(self, url: &str) -> Provider {
        let settings = match self {
            Anthropic => choice(&[
                ("MEANWHILE_MODEL", "anthropic/tester"),
                ("ANTHROPIC_BASE_URL", url),
                ("ANTHROPIC_API_KEY", "sk-secret\n"),
            ]),
            OpenAi => choice(&[
                ("MEANWHILE_MODEL", "openai/tester"),
                ("OPENAI_BASE_URL", &format!("{url}/v1/")),
                ("OPENAI_API_KEY", "sk-secret"),
            ]),
            Responses => choice(&[
                ("MEANWHILE_MODEL", "openai-responses/tester"),
                ("OPENAI_BASE_URL", &format!("{url}/v1/")),
                ("OPENAI_API_KEY", "sk-secret"),
            ]),
        };
        settings.provider(patience(), &[]).await.unwrap()
    }

    /// An answer with two calls.
    fn answer(self) -> Vec<u8> {
        match self {
            Anthropic => recorded("a10s-parallel-stream.body"),
            OpenAi => recorded("o10s-parallel-stream.body"),
            Responses => responses::items(),
        }
    }
}

fn prompt(text: &str) -> Message {
    Message::prompt(text)
}

fn tools() -> Vec<Tool> {
    let schema =
        r#"{"type":"object","properties":{"command":{"type":"string"}},"required":["command"]}"#;
    ["bash", "background_run"]
        .map(|name| Tool {
            name: name.into(),
            description: format!("Runs a command ({name})."),
            input_schema: RawValue::from_string(schema.into()).unwrap(),
        })
        .into()
}

async fn ask(provider: &Provider, history: &[Message]) -> (Vec<Delta>, Result<Turn, Failure>) {
    let tools = tools();
    let request = Request {
        system: "Be brief.",
        tools: &tools,
        history,
        max_tokens: Some(64),
        answer_tokens: None,
        images: false,
    };
    let mut call = provider.stream(&request);
    let mut deltas = Vec::new();
    while let Some(delta) = call.next().await {
        deltas.push(delta);
    }
    (deltas, call.finish().await)
}

/// A dialogue with everything that a history can contain, including the server's last answer.
fn dialogue(turn: &Turn) -> Vec<Message> {
    let results = turn.answer.calls().into_iter().enumerate().map(|(i, call)| ToolResult {
        call_id: call.id,
        content: format!("task {i}"),
        is_error: i == 1,
    });
    vec![
        prompt("build"),
        Message::Assistant(turn.answer.clone()),
        Message::ToolResults { results: results.collect() },
        Message::Background { text: "<background-results>\n</background-results>".into() },
    ]
}

#[tokio::test]
async fn an_anthropic_request_is_as_the_vendor_wants_it() {
    let server = ModelServer::start(vec![Reply::Keep(chunked(&Anthropic.answer()))]).await;
    let provider = Anthropic.provider(&server.url).await;
    let turn = ask(&provider, &[prompt("build")]).await.1.unwrap();
    ask(&provider, &dialogue(&turn)).await.1.unwrap();
    let asked = server.asked();
    assert_eq!(server.connections(), 2, "a kept connection to a local server is not trusted");
    assert_eq!(asked[0].line, "POST /v1/messages HTTP/1.1");
    assert_eq!(asked[0].header("x-api-key"), Some("sk-secret"));
    assert_eq!(asked[0].header("anthropic-version"), Some("2023-06-01"));
    assert_eq!(asked[0].header("authorization"), None);
    let cache = json!({"type": "ephemeral"});
    let schema = json!({"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]});
    let calls = turn.answer.calls();
    assert_eq!(
        asked[1].body,
        json!({
            "model": "tester",
            "max_tokens": 64,
            "stream": true,
            "system": [{"type": "text", "text": "Be brief.", "cache_control": cache}],
            "tools": [
                {"name": "bash", "description": "Runs a command (bash).", "input_schema": schema},
                {"name": "background_run", "description": "Runs a command (background_run).",
                 "input_schema": schema, "cache_control": cache},
            ],
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "build"}]},
                {"role": "assistant", "content": [
                    {"type": "tool_use", "id": calls[0].id, "name": "background_run", "input": {"command": "cargo build"}},
                    {"type": "tool_use", "id": calls[1].id, "name": "background_run", "input": {"command": "cargo clippy"}},
                ]},
                {"role": "user", "content": [
                    {"type": "tool_result", "tool_use_id": calls[0].id, "content": "task 0"},
                    {"type": "tool_result", "tool_use_id": calls[1].id, "content": "task 1", "is_error": true},
                ]},
                {"role": "user", "content": [{"type": "text",
                    "text": "<background-results>\n</background-results>", "cache_control": cache}]},
            ],
        })
    );
}

#[tokio::test]
async fn an_openai_request_is_as_every_server_takes_it() {
    let server = ModelServer::start(vec![Reply::Keep(chunked(&OpenAi.answer()))]).await;
    let provider = OpenAi.provider(&server.url).await;
    let turn = ask(&provider, &[prompt("build")]).await.1.unwrap();
    ask(&provider, &dialogue(&turn)).await.1.unwrap();
    let asked = server.asked();
    assert_eq!(server.connections(), 2, "a kept connection to a local server is not trusted");
    assert_eq!(asked[0].line, "POST /v1/chat/completions HTTP/1.1");
    assert_eq!(asked[0].header("authorization"), Some("Bearer sk-secret"));
    assert_eq!(asked[0].header("x-api-key"), None);
    let parameters = json!({"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]});
    let tool = |name: &str| {
        json!({"type": "function", "function": {"name": name,
            "description": format!("Runs a command ({name})."), "parameters": parameters}})
    };
    let call = |i: usize, command: &str| {
        json!({"id": turn.answer.calls()[i].id, "type": "function", "function":
            {"name": "background_run", "arguments": format!("{{\"command\": \"{command}\"}}")}})
    };
    assert_eq!(
        asked[1].body,
        json!({
            "model": "tester",
            "stream": true,
            "stream_options": {"include_usage": true},
            "max_tokens": 64,
            "tools": [tool("bash"), tool("background_run")],
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "build"},
                {"role": "assistant", "content": "",
                 "tool_calls": [call(0, "cargo build"), call(1, "cargo clippy")]},
                {"role": "tool", "tool_call_id": turn.answer.calls()[0].id, "content": "task 0"},
                {"role": "tool", "tool_call_id": turn.answer.calls()[1].id, "content": "error: task 1"},
                {"role": "user", "content": "<background-results>\n</background-results>"},
            ],
        })
    );
}

/// The messages of a request without the cache marks, which move on.
fn without_marks(body: &Value) -> Vec<Value> {
    let messages = body.get("messages").or(body.get("input"));
    let mut messages = messages.unwrap().as_array().unwrap().clone();
    for message in &mut messages {
        for block in message["content"].as_array_mut().into_iter().flatten() {
            block.as_object_mut().unwrap().remove("cache_control");
        }
    }
    messages
}

#[tokio::test]
async fn a_session_may_change_its_vendor_and_each_request_extends_the_last() {
    for (first, second) in [
        (Anthropic, OpenAi),
        (OpenAi, Anthropic),
        (Anthropic, Responses),
        (Responses, OpenAi),
        (OpenAi, Responses),
    ] {
        let one = ModelServer::start(vec![Reply::Bytes(stream(&first.answer()))]).await;
        let two = ModelServer::start(vec![Reply::Bytes(stream(&second.answer()))]).await;
        let turn = ask(&first.provider(&one.url).await, &[prompt("build")]).await.1.unwrap();
        let mut history = dialogue(&turn);
        // Each server gets every request, stored and read back.
        let other = second.provider(&two.url).await;
        for _ in 0..3 {
            let turn = ask(&other, &history).await.1.unwrap();
            history.extend(dialogue(&turn).into_iter().skip(1));
            history = history.iter().map(|m| Message::from_json(&m.to_json()).unwrap()).collect();
        }
        ask(&first.provider(&one.url).await, &history).await.1.unwrap();
        for server in [&one, &two] {
            let asked = server.asked();
            for pair in asked.windows(2) {
                let (old, new) = (without_marks(&pair[0].body), without_marks(&pair[1].body));
                assert_eq!(old, new[..old.len()], "{first:?}: history is append-only");
            }
        }
        // 2 calls in each of 4 answers, translated or not.
        let last = one.asked().last().unwrap().body.to_string();
        assert_eq!(last.matches("cargo clippy").count(), 4, "{last}");
    }
}

/// Checks the result of a sequence of replies: the number of attempts, and the kind and text of the failure.
async fn check(
    format: Format,
    replies: Vec<Reply>,
    attempts: usize,
    want: Result<(), (FailureKind, &[&str])>,
) {
    let server = ModelServer::start(replies.clone()).await;
    let provider = format.provider(&server.url).await;
    let (deltas, turn) = ask(&provider, &[prompt("build")]).await;
    let asked = server.asked();
    assert_eq!(asked.len(), attempts, "{format:?} {replies:?}: {turn:?}");
    let retries = deltas.iter().filter(|delta| matches!(delta, Delta::Retrying { .. })).count();
    assert_eq!(retries, attempts - 1, "each retry is told");
    assert!(asked.iter().all(|again| again.body == asked[0].body), "a retry sends the same");
    match (turn, want) {
        (Ok(turn), Ok(())) => {
            assert_eq!((turn.stop.clone(), turn.answer.calls().len()), (StopReason::ToolUse, 2));
        }
        (Err(failure), Err((kind, words))) => {
            assert_eq!((failure.kind, failure.attempts as usize), (kind, attempts), "{failure}");
            let text = failure.to_string();
            for word in words.iter().chain([&server.url.as_str()]) {
                assert!(text.contains(word), "`{word}` should be in: {text}");
            }
            assert!(!text.contains("sk-secret") && !text.ends_with('.'), "{text}");
        }
        (turn, want) => panic!("{format:?} {replies:?}: wanted {want:?}, got {turn:?}"),
    }
}

#[tokio::test]
async fn a_passing_fault_is_tried_again() {
    let overloaded =
        r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;
    for format in ALL {
        let answer = format.answer();
        let half = &answer[..answer.len() / 2];
        let error = |body: &str| [half, format!("\n\ndata: {body}\n\n").as_bytes()].concat();
        for fault in [
            status(429, "retry-after: 0\r\n", "{}"),
            status(429, "retry-after-ms: 3\r\n", "{}"),
            status(500, "", overloaded),
            status(503, "", "Loading"),
            status(529, "", overloaded),
            status(408, "", ""),
            status(409, "", ""),
            status(400, "x-should-retry: true\r\n", ""),
            recorded("loading-503.raw"),
            stream(half),
            stream(b""),
            b"HTTP/1.1 200 OK\r\ncontent-length: 999\r\ncontent-type: text/event-stream\r\n\r\nda"
                .to_vec(),
            b"HTTP/1.1 2".to_vec(),
            Vec::new(),
            stream(&[half, b"\n\ndata: <html>\n\n"].concat()),
            b"\x16\x03\x01garbage\r\n\r\n".to_vec(),
        ] {
            let twice = vec![
                Reply::Bytes(fault.clone()),
                Reply::Bytes(fault),
                Reply::Bytes(stream(&answer)),
            ];
            check(format, twice, 3, Ok(())).await;
        }
        if format == Anthropic {
            let once =
                vec![Reply::Bytes(stream(&error(overloaded))), Reply::Bytes(stream(&answer))];
            check(format, once, 2, Ok(())).await;
        }
        // Silence in the middle, and a server that sends only the head.
        for silence in [stream(half), stream(b"")] {
            let replies = vec![Reply::Hang(silence), Reply::Bytes(stream(&answer))];
            check(format, replies, 2, Ok(())).await;
        }
    }
}

#[tokio::test]
async fn a_lasting_fault_ends_with_words_that_help() {
    use FailureKind as K;
    let html = b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 9\r\n\r\n<p>Hello!"
        .to_vec();
    for format in ALL {
        let (key, url, vendor) = match format {
            Anthropic => ("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "anthropic"),
            OpenAi | Responses => ("OPENAI_API_KEY", "OPENAI_BASE_URL", "openai"),
        };
        let raw = |name: &str| {
            [recorded(&format!("{name}.headers")), recorded(&format!("{name}.body"))].concat()
        };
        let once: [(Vec<u8>, K, &[&str]); 10] = [
            (
                recorded(&format!("auth-401-{vendor}.raw")),
                K::Unauthorized,
                &["401", "Invalid API Key", key],
            ),
            (status(403, "", "{}"), K::Unauthorized, &["403", "`tester`", key]),
            (status(402, "", "{}"), K::RateLimited, &["credit"]),
            (raw("oe7-not-found"), K::NotFound, &["404", "`tester`", "MEANWHILE_MODEL", url]),
            (raw("ae1-malformed-json"), K::BadRequest, &["400", "parse error"]),
            (status(422, "", r#"{"detail":"no tools"}"#), K::BadRequest, &["422", "no tools"]),
            (status(529, "x-should-retry: false\r\n", ""), K::Overloaded, &["529"]),
            (status(429, "retry-after: 300\r\n", "{}"), K::RateLimited, &["429", "300 s"]),
            (status(307, "location: http://evil.test/\r\n", ""), K::NotFound, &["evil.test", url]),
            (status(418, "", "teapot"), K::BadRequest, &["teapot"]),
        ];
        for (reply, kind, words) in once {
            check(format, vec![Reply::Bytes(reply)], 1, Err((kind, words))).await;
        }
        let thrice: [(Vec<u8>, K, &[&str]); 6] = [
            (raw("ae3-no-messages"), K::Server, &["500", "'messages' is required", "3 times"]),
            (status(429, "retry-after: 0\r\n", ""), K::RateLimited, &["429", "3 times"]),
            (stream(b": nothing\n\n"), K::Unfinished, &["was cut"]),
            (stream(b"data: <html>\n\n"), K::Garbage, &["<html>", url]),
            (html.clone(), K::Garbage, &["text/html", "Hello!", url]),
            // A recorded answer that contains only pings, and then ends.
            (
                [&b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"[..],
                 &recorded(&format!("ping-{vendor}.raw"))].concat(),
                K::Cut,
                &["was cut"],
            ),
        ];
        for (reply, kind, words) in thrice {
            check(format, vec![Reply::Bytes(reply)], 3, Err((kind, words))).await;
        }
        // The first byte may take longer than later ones.
        let answer = format.answer();
        for (said, limit) in [(&answer[..0], "400ms"), (&answer[..300], "150ms")] {
            let silence = vec![Reply::Hang(stream(said))];
            check(format, silence, 3, Err((K::Stalled, &["sent nothing for", limit]))).await;
        }
        // It has already waited the full time for a first byte: one attempt is enough.
        check(format, vec![Reply::Hang(Vec::new())], 1, Err((K::Stalled, &["400ms"]))).await;
    }
}

#[tokio::test]
async fn a_full_context_is_its_own_kind_of_failure() {
    for (format, name) in
        [(Anthropic, "ae4s-context-overflow-stream"), (OpenAi, "oe4s-context-overflow-stream")]
    {
        let raw =
            [recorded(&format!("{name}.headers")), recorded(&format!("{name}.body"))].concat();
        let server = ModelServer::start(vec![Reply::Bytes(raw)]).await;
        let provider = format.provider(&server.url).await;
        let failure = ask(&provider, &[prompt("build")]).await.1.unwrap_err();
        assert_eq!((failure.kind, failure.attempts), (FailureKind::ContextOverflow, 1));
        assert!(failure.to_string().contains("9030 tokens"), "{failure}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_asked_about() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    for (format, variable) in [(Anthropic, "ANTHROPIC_BASE_URL"), (OpenAi, "OPENAI_BASE_URL")] {
        let failure = ask(&format.provider(&url).await, &[prompt("x")]).await.1.unwrap_err();
        assert_eq!((failure.kind, failure.attempts), (FailureKind::Unreachable, 3));
        let text = failure.to_string();
        for word in ["connection refused", "is the server running?", variable, &url] {
            assert!(text.contains(word), "{text}");
        }
    }
}

#[tokio::test]
async fn the_server_says_how_long_to_wait() {
    let wait = Duration::from_millis(1_000);
    let replies = vec![
        Reply::Bytes(status(429, "retry-after: 1\r\n", "{}")),
        Reply::Bytes(stream(&Anthropic.answer())),
    ];
    let server = ModelServer::start(replies).await;
    let (deltas, turn) = ask(&Anthropic.provider(&server.url).await, &[prompt("x")]).await;
    turn.unwrap();
    let Some(Delta::Retrying { attempt, delay, why }) = deltas.first() else {
        panic!("{deltas:?}")
    };
    assert_eq!((*attempt, *delay), (2, wait));
    assert!(why.contains("429"), "{why}");
    let asked = server.asked();
    assert!(asked[1].at - asked[0].at >= wait, "{:?}", asked[1].at - asked[0].at);
}

#[tokio::test]
async fn dropping_a_call_closes_its_connection_at_once() {
    for format in ALL {
        let answer = format.answer();
        let half = stream(&answer[..answer.len() / 2]);
        for (reply, streams) in [(Reply::Hang(half), true), (Reply::Hang(Vec::new()), false)] {
            let server = ModelServer::start(vec![reply]).await;
            let provider = format.provider(&server.url).await;
            let history = [prompt("x")];
            let request = Request { history: &history, ..Request::default() };
            let mut call = provider.stream(&request);
            if streams {
                assert!(call.next().await.is_some());
            } else {
                tokio::select! {
                    delta = call.next() => panic!("nothing was said: {delta:?}"),
                    () = server.has_asked(1) => {}
                }
            }
            drop(call);
            server.closed_by_client().await;
        }
    }
}

#[tokio::test]
async fn nothing_is_sent_before_a_call_is_polled_and_pings_are_not_silence() {
    let pings = Reply::Drip(stream(b""), b": ping\n\n".to_vec());
    let server = ModelServer::start(vec![pings]).await;
    let provider = Anthropic.provider(&server.url).await;
    let history = [prompt("x")];
    let request = Request { history: &history, ..Request::default() };
    let mut call = provider.stream(&request);
    tokio::task::yield_now().await;
    assert_eq!(server.connections(), 0);
    // Three times the allowed silence.
    let next = tokio::time::timeout(patience().stall * 3, call.next()).await;
    assert!(next.is_err(), "a server that pings is alive: {next:?}");
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn a_local_server_is_found_by_itself_and_a_choice_is_left_to_the_user() {
    let list = |models: &str| Reply::Bytes(status(200, "", models));
    let server = ModelServer::start(vec![Reply::Bytes(
        [&b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n"[..], &recorded("m01-models.body")]
            .concat(),
    )])
    .await;
    let local = format!("{}/v1", server.url);
    let found =
        ModelChoice::default().provider(patience(), &["http://127.0.0.1:1/v1", &local]).await;
    let found = found.unwrap();
    assert_eq!(found.setting(), "openai/qwen2.5-coder-0.5b");
    assert_eq!((found.context_window(), found.ask_context_window().await), (None, Some(8_192)));
    assert_eq!(server.asked()[0].line, "GET /v1/models HTTP/1.1");

    let one = ModelServer::start(vec![list(r#"{"data":[{"id":"only"}]}"#)]).await;
    let two = ModelServer::start(vec![list(r#"{"data":[{"id":"a"},{"id":"b"}]}"#)]).await;
    for vendor in ["openai", "anthropic"] {
        let at = |url: &str| match vendor {
            "openai" => choice(&[("OPENAI_BASE_URL", url)]),
            _ => choice(&[("ANTHROPIC_BASE_URL", url)]),
        };
        let found = at(&one.url).provider(patience(), &[]).await.unwrap();
        assert_eq!(found.setting(), format!("{vendor}/only"));
        let error = at(&two.url).provider(patience(), &[]).await.unwrap_err().to_string();
        assert!(error.contains(&format!("`{vendor}/a`, `{vendor}/b`")), "{error}");
    }
}

/// Any success status and any content type with a valid answer is accepted.
#[tokio::test]
async fn an_answer_is_known_by_what_it_says() {
    for (code, kind) in
        [(201, "application/x-ndjson"), (206, "text/plain"), (200, "text/event-stream")]
    {
        let server =
            ModelServer::start(vec![Reply::Judge(std::sync::Arc::new(move |_: &Value| {
                let body =
                    r#"{"choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":"stop"}]}"#;
                let head = format!(
                    "HTTP/1.1 {code} x\r\ncontent-type: {kind}\r\nconnection: close\r\n\r\n"
                );
                format!("{head}{body}\n").into_bytes()
            }))])
            .await;
        let (_, turn) = ask(&OpenAi.provider(&server.url).await, &[prompt("x")]).await;
        assert_eq!(turn.unwrap().answer.text(), "hi", "{code} {kind}");
    }
}
