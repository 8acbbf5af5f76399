//! Which parameters each method accepts, and which field an error names.
//!
//! The server has no store, so accepted parameters result in 1005.

mod session;

use serde_json::{Value, json};

use super::*;
use crate::wire::Error;

/// The error of a method for these parameters, without a store.
async fn refusal(method: &str, params: Value) -> Error {
    let method = find(METHODS, method).expect("it is in the table");
    (method.run)(Desk::without_store(), params).await.expect_err("there is no store")
}

/// Checks a method's parameters: each value is accepted, or refused with this field.
async fn table(method: &str, cases: &[(Value, Result<(), &str>)]) {
    for (params, expect) in cases {
        let error = refusal(method, params.clone()).await;
        let data = error.data.clone().unwrap_or_default();
        let got = match error.code {
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

const ID: &str = "0123abcd";

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table")]
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
#[expect(clippy::too_many_lines, reason = "a table")]
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
        "task/signal",
        &[
            (json!({"id": ID, "signal": "SIGUSR1"}), Ok(())),
            (json!({"id": ID, "signal": "RTMIN+1", "to": "leader"}), Ok(())),
            (json!({"id": ID, "signal": 64, "to": "group"}), Ok(())),
            (json!({"id": ID}), Err("signal")),
            (json!({"signal": "HUP"}), Err("id")),
            (json!({"id": ID, "signal": "SIGFOO"}), Err("signal")),
            (json!({"id": ID, "signal": 0}), Err("signal")),
            (json!({"id": ID, "signal": 65}), Err("signal")),
            (json!({"id": ID, "signal": u64::MAX}), Err("signal")),
            (json!({"id": ID, "signal": 1.5}), Err("signal")),
            (json!({"id": ID, "signal": "HUP", "to": "all"}), Err("to")),
        ],
    )
    .await;
    table(
        "task/restart",
        &[
            (json!({"id": ID}), Ok(())),
            (json!({"id": ID, "env": {"A": "b", "C": null}, "graceMs": 0}), Ok(())),
            (json!({}), Err("id")),
            (json!({"id": ID, "env": {"A=B": "x"}}), Err("env.A=B")),
            (json!({"id": ID, "graceMs": 3_600_001}), Err("graceMs")),
        ],
    )
    .await;
    table(
        "task/resize",
        &[
            (json!({"id": ID, "rows": 1, "cols": 4_096}), Ok(())),
            (json!({"id": ID, "rows": 24}), Err("cols")),
            (json!({"rows": 24, "cols": 80}), Err("id")),
            (json!({"id": ID, "rows": 0, "cols": 80}), Err("rows")),
            (json!({"id": ID, "rows": 24, "cols": 4_097}), Err("cols")),
            (json!({"id": ID, "rows": 24, "cols": 80_000}), Err("cols")),
            (json!({"id": ID, "rows": "24", "cols": 80}), Err("rows")),
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
    for method in METHODS.iter().map(|method| method.name) {
        if !method.starts_with("task/") {
            continue;
        }
        let mut params = json!({
            "command": "x", "id": ID, "through": 1, "data": "", "signal": "HUP", "rows": 1, "cols": 1,
        });
        let known: &[&str] = match method {
            "task/spawn" => &["command"],
            "task/ack" => &["through"],
            "task/write" => &["id", "data"],
            "task/signal" => &["id", "signal"],
            "task/resize" => &["id", "rows", "cols"],
            "task/drain" | "task/wait" | "task/remove" | "task/timeline" => &[],
            _ => &["id"],
        };
        params.as_object_mut().unwrap().retain(|member, _| known.contains(&member.as_str()));
        params["surprise"] = json!(1);
        table(method, &[(params, Err("surprise"))]).await;
    }
}

/// Values of each JSON type.
fn one_of_each() -> [Value; 6] {
    [json!(null), json!(true), json!(-7), json!("nonsense"), json!([]), json!({})]
}

/// The JSON types that a schema allows; empty if it does not restrict them.
fn types(schema: &Value, root: &Value) -> Vec<String> {
    let mut found: Vec<String> = match &schema["type"] {
        Value::String(one) => vec![one.clone()],
        Value::Array(several) => several.iter().map(|it| it.as_str().unwrap().to_owned()).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => vec![],
    };
    if let Some(to) = schema["$ref"].as_str() {
        found.extend(types(root.pointer(to.trim_start_matches('#')).unwrap(), root));
    }
    for word in ["anyOf", "oneOf"] {
        for choice in schema[word].as_array().into_iter().flatten() {
            found.extend(types(choice, root));
        }
    }
    if schema.get("enum").or(schema.get("const")).is_some() {
        found.push("string".to_owned());
    }
    found
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Members that ACP ignores if it cannot parse them, for extensibility.
const LENIENT: [&str; 3] = ["_meta", "additionalDirectories", "mcpServers"];

#[tokio::test]
async fn nonsense_is_refused_by_name_whatever_the_method() {
    let mut generator = schemars::generate::SchemaSettings::draft2020_12().into_generator();
    let schemas: Vec<(&str, Value)> =
        METHODS.iter().map(|method| (method.name, (method.params)(&mut generator))).collect();
    let root = json!({"$defs": generator.take_definitions(true)});
    let mut members = 0;
    for (method, schema) in schemas {
        for params in one_of_each().into_iter().filter(|params| !params.is_object()) {
            let error = refusal(method, params.clone()).await;
            assert_eq!(error.code, -32602, "{method} {params}: {error}");
        }
        let path = schema["$ref"].as_str().expect("parameters are a type of their own");
        let schema = root.pointer(path.trim_start_matches('#')).unwrap();
        for (member, takes) in schema["properties"].as_object().into_iter().flatten() {
            let takes = types(takes, &root);
            if takes.is_empty() || LENIENT.contains(&member.as_str()) {
                continue;
            }
            members += 1;
            for value in one_of_each() {
                let fits = takes.iter().any(|of| of == type_of(&value));
                // Null is equivalent to a missing member.
                if fits || value.is_null() {
                    continue;
                }
                let error = refusal(method, json!({member: value})).await;
                assert_eq!(error.code, -32602, "{method} {member}: {value}: {error}");
                let field = error.data.unwrap()["field"].as_str().unwrap().to_owned();
                assert!(field.starts_with(member.as_str()), "{method} {member}: {value}: {field}");
            }
        }
    }
    assert!(members > 30, "only {members} members were looked at");
}
