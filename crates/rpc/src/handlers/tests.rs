//! Which parameters each method takes, and which field a refusal names.
//!
//! The server has no store, so parameters that are taken show as 1005.

use serde_json::{Value, json};
use tokio::sync::mpsc;
use tower_lsp::LanguageServer as _;
use tower_lsp::jsonrpc::Error;
use tower_lsp::ls_types::{ExecuteCommandParams, InitializeParams};

use super::*;
use crate::methods::METHODS;
use crate::session::{Server, Start};

async fn server() -> Server {
    let (events, _) = mpsc::unbounded_channel();
    let start = Start {
        state_dir: Err("there is none in this test".to_owned()),
        settings: meanwhile_core::background::Settings::default(),
        agent: crate::agent::Setup::default(),
    };
    let server = Server::new(start, events);
    server.initialize(InitializeParams::default()).await.expect("the handshake needs no store");
    server
}

async fn refusal(server: &Server, method: &str, params: Value) -> Error {
    match method {
        "task/spawn" => spawn::run(server, params).await.map(drop),
        "task/check" => check::run(server, params).await.map(drop),
        "task/drain" => drain::run(server, params).await.map(drop),
        "task/ack" => ack::run(server, params).await.map(drop),
        "task/wait" => wait::run(server, params).await.map(drop),
        "task/read" => read::run(server, params).await.map(drop),
        "task/stop" => stop::run(server, params).await.map(drop),
        "task/write" => write::run(server, params).await.map(drop),
        "task/subscribe" => subscribe::run(server, params).await.map(drop),
        "task/unsubscribe" => unsubscribe::run(server, params).await.map(drop),
        "task/remove" => remove::run(server, params).await.map(drop),
        other => panic!("`{other}` is no method"),
    }
    .expect_err("there is no store")
}

/// Checks a method's parameters: each is taken, or refused for this field.
async fn table(method: &str, cases: &[(Value, Result<(), &str>)]) {
    let server = server().await;
    for (params, expect) in cases {
        let error = refusal(&server, method, params.clone()).await;
        let data = error.data.clone().unwrap_or_default();
        let got = match error.code.code() {
            1005 => Ok(()),
            -32602 => Err(data["field"].as_str().unwrap_or("no field")),
            other => panic!("{method} {params}: unexpected code {other}: {error}"),
        };
        let shown: String = params.to_string().chars().take(200).collect();
        assert_eq!(got.map_err(str::to_owned), expect.map_err(str::to_owned), "{method} {shown}");
        if let Err(field) = got {
            assert_eq!(data["kind"], "invalidParams", "{method} {shown}");
            assert!(error.message.starts_with(&format!("`{field}`: ")), "{}", error.message);
            for rust in ["u64", "u32", "u16", "struct", "enum", "map", "sequence", "Params"] {
                assert!(!error.message.contains(rust), "words of Rust: {}", error.message);
            }
        }
    }
}

/// The trait's own result, where this module's has its error fixed.
type Result<T, E> = std::result::Result<T, E>;

const ID: &str = "0123abcd";

#[tokio::test]
async fn spawn_takes_what_the_contract_says() {
    let long = "x".repeat(200_000);
    let name = "x".repeat(257);
    let with = |member: &str, value: Value| {
        let mut params = json!({"command": "true"});
        params[member] = value;
        params
    };
    let watch = |watch: Value| with("watch", json!([watch]));
    let everything = json!({
        "command": ["ls", "-l", ""], "cwd": "sub/dir", "env": {"A": "1", "B": null}, "label": "l",
        "queue": "q", "deadlineMs": 1, "stdin": "pipe", "clientToken": "t", "workDoneToken": 5,
        "watch": [{"pattern": "a"}, {"id": "x", "pattern": "b", "limit": 1000}],
    });
    table(
        "task/spawn",
        &[
            (json!({"command": "true"}), Ok(())),
            (everything, Ok(())),
            (with("stdin", json!("null")), Ok(())),
            (with("stdin", json!(null)), Ok(())),
            (with("pty", json!({"rows": 24, "cols": 80})), Ok(())),
            (with("workDoneToken", json!("t")), Ok(())),
            (json!({}), Err("command")),
            (json!([]), Err("params")),
            (json!("true"), Err("params")),
            (json!({"command": ""}), Err("command")),
            (json!({"command": " \n"}), Err("command")),
            (json!({"command": 5}), Err("command")),
            (json!({"command": null}), Err("command")),
            (json!({"command": []}), Err("command")),
            (json!({"command": [""]}), Err("command[0]")),
            (json!({"command": ["a", 5]}), Err("command[1]")),
            (json!({"command": ["a", "b\u{0}"]}), Err("command[1]")),
            (json!({"command": "a\u{0}b"}), Err("command")),
            (json!({"command": long}), Err("command")),
            (json!({"command": ["a", long]}), Err("command[1]")),
            (json!({"command": vec![&long[..100_000]; 11]}), Err("command")),
            (with("comand", json!("x")), Err("comand")),
            (with("cwd", json!("")), Err("cwd")),
            (with("cwd", json!("a\u{0}")), Err("cwd")),
            (with("cwd", json!(5)), Err("cwd")),
            (with("env", json!({"A=B": "1"})), Err("env.A=B")),
            (with("env", json!({"": "1"})), Err("env")),
            (with("env", json!({"A": "a\u{0}"})), Err("env.A")),
            (with("env", json!({"A": 5})), Err("env.A")),
            (with("env", json!({"A": long})), Err("env.A")),
            (with("env", json!([])), Err("env")),
            (with("label", json!("")), Err("label")),
            (with("queue", json!(name)), Err("queue")),
            (with("clientToken", json!("")), Err("clientToken")),
            (with("deadlineMs", json!(0)), Err("deadlineMs")),
            (with("deadlineMs", json!(-1)), Err("deadlineMs")),
            (with("deadlineMs", json!(1.5)), Err("deadlineMs")),
            (with("deadlineMs", json!(1e300)), Err("deadlineMs")),
            (with("deadlineMs", json!(u64::MAX)), Err("deadlineMs")),
            (with("deadlineMs", json!("1")), Err("deadlineMs")),
            (with("stdin", json!("file")), Err("stdin")),
            (with("pty", json!({"rows": 0, "cols": 80})), Err("pty.rows")),
            (with("pty", json!({"rows": 24, "cols": 70_000})), Err("pty.cols")),
            (with("pty", json!({"rows": 24})), Err("pty.cols")),
            (with("pty", json!({"rows": 24, "cols": 80, "x": 1})), Err("pty.x")),
            (with("pty", json!(5)), Err("pty")),
            (watch(json!({"pattern": ""})), Err("watch[0].pattern")),
            (watch(json!({})), Err("watch[0].pattern")),
            (watch(json!({"pattern": "a", "limit": 0})), Err("watch[0].limit")),
            (watch(json!({"pattern": "a", "limit": 1001})), Err("watch[0].limit")),
            (watch(json!({"pattern": "a", "limit": -1})), Err("watch[0].limit")),
            (watch(json!({"pattern": "x".repeat(1025)})), Err("watch[0].pattern")),
            (watch(json!({"pattern": "a", "id": ""})), Err("watch[0].id")),
            (watch(json!("a")), Err("watch[0]")),
            (
                with("watch", json!([{"pattern": "a", "id": "1"}, {"pattern": "b"}])),
                Err("watch[1].id"),
            ),
            (with("watch", json!(vec![json!({"pattern": "a"}); 17])), Err("watch")),
            (with("watch", json!({})), Err("watch")),
            (with("workDoneToken", json!(1.5)), Err("workDoneToken")),
        ],
    )
    .await;
    let both = json!({"command": "true", "stdin": "pipe", "pty": {"rows": 24, "cols": 80}});
    table("task/spawn", &[(both, Err("stdin"))]).await;
}

#[tokio::test]
async fn reading_methods_take_what_the_contract_says() {
    table(
        "task/check",
        &[
            (json!({}), Ok(())),
            (json!({"id": ID, "tailBytes": 0}), Ok(())),
            (json!({"id": ID, "tailBytes": 1u64 << 50}), Ok(())),
            (json!({"state": "timedOut", "limit": 10_000}), Ok(())),
            (json!({"id": "nope"}), Err("id")),
            (json!({"id": "0123ABCD"}), Err("id")),
            (json!({"id": 5}), Err("id")),
            (json!({"state": "done"}), Err("state")),
            (json!({"limit": 0}), Err("limit")),
            (json!({"limit": 10_001}), Err("limit")),
            (json!({"tailBytes": -1}), Err("tailBytes")),
        ],
    )
    .await;
    table(
        "task/read",
        &[
            (json!({"id": ID}), Ok(())),
            (json!({"id": ID, "offset": 5, "limit": 1u64 << 50, "encoding": "base64"}), Ok(())),
            (json!({}), Err("id")),
            (json!({"id": ID, "offset": -1}), Err("offset")),
            (json!({"id": ID, "offset": 1u64 << 60}), Err("offset")),
            (json!({"id": ID, "limit": 0}), Err("limit")),
            (json!({"id": ID, "encoding": "latin1"}), Err("encoding")),
        ],
    )
    .await;
    table(
        "task/wait",
        &[
            (json!({}), Ok(())),
            (json!({"ids": [ID, ID], "mode": "all", "timeoutMs": 0}), Ok(())),
            (json!({"queue": "q", "mode": "any"}), Ok(())),
            (json!({"ids": [ID], "queue": "q"}), Err("queue")),
            (json!({"ids": []}), Err("ids")),
            (json!({"ids": [ID, "x"]}), Err("ids[1]")),
            (json!({"ids": vec![ID; 10_001]}), Err("ids")),
            (json!({"ids": ID}), Err("ids")),
            (json!({"queue": ""}), Err("queue")),
            (json!({"mode": "some"}), Err("mode")),
            (json!({"timeoutMs": -1}), Err("timeoutMs")),
            (json!({"timeoutMs": u64::MAX}), Err("timeoutMs")),
        ],
    )
    .await;
}

#[tokio::test]
async fn the_queue_methods_take_what_the_contract_says() {
    table(
        "task/drain",
        &[
            (json!({}), Ok(())),
            (json!({"queue": "q", "max": 1000, "ack": "manual"}), Ok(())),
            (json!({"max": 0}), Err("max")),
            (json!({"max": 1001}), Err("max")),
            (json!({"ack": true}), Err("ack")),
            (json!({"queue": "a\u{0}"}), Err("queue")),
        ],
    )
    .await;
    table(
        "task/ack",
        &[
            (json!({"through": 5}), Ok(())),
            (json!({"queue": "q", "through": 0}), Ok(())),
            (json!({}), Err("through")),
            (json!({"through": -1}), Err("through")),
            (json!({"through": u64::MAX}), Err("through")),
        ],
    )
    .await;
}

#[tokio::test]
async fn acting_methods_take_what_the_contract_says() {
    table(
        "task/stop",
        &[
            (json!({"id": ID}), Ok(())),
            (json!({"id": ID, "signal": "SIGINT", "graceMs": 0}), Ok(())),
            (json!({}), Err("id")),
            (json!({"id": ID, "signal": "SIGFOO"}), Err("signal")),
            (json!({"id": ID, "signal": 9}), Err("signal")),
            (json!({"id": ID, "graceMs": 3_600_001}), Err("graceMs")),
            (json!({"id": ID, "graceMs": -1}), Err("graceMs")),
        ],
    )
    .await;
    table(
        "task/write",
        &[
            (json!({"id": ID, "data": "x"}), Ok(())),
            (json!({"id": ID, "data": "", "eof": true}), Ok(())),
            (json!({"id": ID, "data": "eA==", "encoding": "base64"}), Ok(())),
            (json!({"id": ID}), Err("data")),
            (json!({"id": ID, "data": "?", "encoding": "base64"}), Err("data")),
            (json!({"id": ID, "data": "x".repeat((8 << 20) + 1)}), Err("data")),
            (json!({"id": ID, "data": "x", "eof": "yes"}), Err("eof")),
        ],
    )
    .await;
    table(
        "task/subscribe",
        &[
            (json!({"id": ID}), Ok(())),
            (json!({"id": ID, "offset": 0}), Ok(())),
            (json!({"id": ID, "offset": -5}), Err("offset")),
            (json!({"id": ""}), Err("id")),
        ],
    )
    .await;
    table("task/unsubscribe", &[(json!({"id": ID}), Ok(())), (json!({}), Err("id"))]).await;
    table(
        "task/remove",
        &[
            (json!({"ids": [ID]}), Ok(())),
            (json!({"endedBefore": "2026-11-22T09:30:00.000Z"}), Ok(())),
            (json!({"ids": [ID], "endedBefore": "2026-11-22T09:30:00Z"}), Ok(())),
            (json!({}), Err("ids")),
            (json!({"ids": []}), Err("ids")),
            (json!({"endedBefore": "yesterday"}), Err("endedBefore")),
            (json!({"endedBefore": 5}), Err("endedBefore")),
        ],
    )
    .await;
}

#[tokio::test]
async fn every_method_refuses_what_it_does_not_know() {
    for method in METHODS.into_iter().filter(|method| method.starts_with("task/")) {
        let mut params = json!({"command": "x", "id": ID, "through": 1, "data": ""});
        let known: &[&str] = match method {
            "task/spawn" => &["command"],
            "task/ack" => &["through"],
            "task/write" => &["id", "data"],
            "task/drain" | "task/wait" | "task/remove" => &[],
            _ => &["id"],
        };
        params.as_object_mut().unwrap().retain(|member, _| known.contains(&member.as_str()));
        params["surprise"] = json!(1);
        table(method, &[(params, Err("surprise"))]).await;
    }
}

#[tokio::test]
async fn commands_take_the_parameters_of_their_method() {
    let server = server().await;
    for (command, arguments, expect) in [
        ("meanwhile.spawn", json!([{"command": "true"}]), Ok(())),
        ("meanwhile.check", json!([]), Ok(())),
        ("meanwhile.drain", json!([null]), Ok(())),
        ("meanwhile.stop", json!([{"id": ID}]), Ok(())),
        ("meanwhile.stop", json!([]), Err("id")),
        ("meanwhile.check", json!([{}, {}]), Err("arguments")),
        ("meanwhile.check", json!(["x"]), Err("params")),
        ("meanwhile.dance", json!([]), Err("command")),
    ] {
        let params = json!({"command": command, "arguments": arguments});
        let params: ExecuteCommandParams = serde_json::from_value(params).unwrap();
        let error = execute_command::run(&server, params).await.unwrap_err();
        let got = match error.code.code() {
            1005 => Ok(()),
            _ => Err(error.data.unwrap()["field"].as_str().unwrap().to_owned()),
        };
        assert_eq!(got, expect.map_err(str::to_owned), "{command} {arguments}");
    }
}

#[tokio::test]
async fn initialization_options_are_checked() {
    for (options, expect) in [
        (json!(null), Ok(())),
        (json!({"queue": "q", "lingerMs": null, "theirs": 1}), Ok(())),
        (json!({"lingerMs": 0}), Ok(())),
        (json!({"lingerMs": -1}), Err("initializationOptions.lingerMs")),
        (json!({"lingerMs": "x"}), Err("initializationOptions.lingerMs")),
        (json!({"lingerMs": u64::MAX}), Err("initializationOptions.lingerMs")),
        (json!({"queue": ""}), Err("initializationOptions.queue")),
        (json!({"queue": 5}), Err("initializationOptions.queue")),
        (json!([]), Err("initializationOptions")),
    ] {
        let (events, _) = mpsc::unbounded_channel();
        let start = Start {
            state_dir: Err(String::new()),
            settings: Default::default(),
            agent: Default::default(),
        };
        let params = InitializeParams {
            initialization_options: Some(options.clone()),
            ..InitializeParams::default()
        };
        let got = Server::new(start, events).initialize(params).await.map(drop);
        let got = got.map_err(|error| error.data.unwrap()["field"].as_str().unwrap().to_owned());
        assert_eq!(got, expect.map_err(str::to_owned), "{options}");
    }
}
