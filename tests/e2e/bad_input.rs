//! Calls every method with invalid parameters: the error names the parameter, nothing is recorded, and the
//! daemon keeps working.

use serde_json::{Value, json};

use crate::harness::{Daemon, Lab};

/// An object with one member replaced.
fn with(base: &Value, field: &str, value: Value) -> Value {
    let mut params = base.clone();
    params[field] = value;
    params
}

/// An object with one member taken out.
fn without(base: &Value, field: &str) -> Value {
    let mut params = base.clone();
    params.as_object_mut().expect("parameters are an object").remove(field);
    params
}

/// What a field of a method takes.
#[derive(Clone, Copy)]
enum Takes {
    /// A text of 8 hex digits.
    Id,
    /// A text that may not be empty or huge.
    Name,
    /// A text without restrictions.
    Text,
    /// An integer from 0.
    Count,
    /// A time span in milliseconds.
    Span,
    /// One of a fixed set of words.
    Word,
    /// A list of ids.
    Ids,
    /// A point in time.
    Time,
}

impl Takes {
    /// Values it must refuse.
    fn bad(self) -> Vec<Value> {
        let huge_text = "x".repeat(2_000_000);
        let wrong_type = |right: Value| -> Vec<Value> {
            [json!(true), json!(7), json!("7"), json!([]), json!({})]
                .into_iter()
                .filter(|value| std::mem::discriminant(value) != std::mem::discriminant(&right))
                .collect()
        };
        let mut values = match self {
            Self::Id | Self::Name | Self::Text | Self::Word | Self::Time => wrong_type(json!("")),
            Self::Count | Self::Span => wrong_type(json!(1)),
            Self::Ids => wrong_type(json!([])),
        };
        values.extend(match self {
            Self::Id => vec![
                json!(""),
                json!("b3f9c2a"),
                json!("B3F9C2A1"),
                json!("b3f9c2a11"),
                json!("../../.."),
                json!("ééé12"),
                json!("b3f9c2a\u{0}"),
                json!(huge_text),
            ],
            Self::Name => vec![json!(""), json!(huge_text)],
            Self::Text => vec![],
            Self::Word => vec![json!(""), json!("nosuch"), json!("NULL "), json!(huge_text)],
            Self::Count => vec![json!(-1), json!(1.5), json!(1e30)],
            Self::Span => {
                vec![json!(-1), json!(1.5), json!(1e30), json!(1_000_000_000_000_000_000_u64)]
            }
            Self::Ids => vec![
                json!(["nosuch"]),
                json!([1]),
                json!([null]),
                json!(["b3f9c2a1", ""]),
                json!(vec!["b3f9c2a1"; 100_000]),
            ],
            Self::Time => vec![json!(""), json!("yesterday"), json!("2026-13-45T00:00:00.000Z")],
        });
        values
    }
}

/// A method, valid parameters, the required fields, and what each field takes.
type Row = (&'static str, Value, Vec<&'static str>, Vec<(&'static str, Takes)>);

/// The matrix: a row for each method.
fn matrix(id: &str) -> Vec<Row> {
    use Takes::{Count, Id, Ids, Name, Span, Text, Time, Word};
    let one = json!({ "id": id });
    vec![
        (
            "task/spawn",
            json!({ "command": "echo must not run >> ran" }),
            vec!["command"],
            vec![
                ("cwd", Name),
                ("label", Name),
                ("queue", Name),
                ("deadlineMs", Span),
                ("stdin", Word),
                ("clientToken", Name),
                ("confine", Word),
            ],
        ),
        (
            "task/check",
            json!({}),
            vec![],
            vec![("id", Id), ("tailBytes", Count), ("state", Word), ("limit", Count)],
        ),
        ("task/drain", json!({}), vec![], vec![("queue", Name), ("max", Count), ("ack", Word)]),
        (
            "task/ack",
            json!({ "through": 0 }),
            vec!["through"],
            vec![("queue", Name), ("through", Count)],
        ),
        (
            "task/wait",
            json!({ "timeoutMs": 1 }),
            vec![],
            vec![("ids", Ids), ("queue", Name), ("mode", Word), ("timeoutMs", Span)],
        ),
        (
            "task/read",
            one.clone(),
            vec!["id"],
            vec![("id", Id), ("offset", Count), ("limit", Count), ("encoding", Word)],
        ),
        (
            "task/stop",
            one.clone(),
            vec!["id"],
            vec![("id", Id), ("signal", Word), ("graceMs", Span)],
        ),
        (
            "task/signal",
            json!({ "id": id, "signal": "CONT" }),
            vec!["id", "signal"],
            vec![("id", Id), ("to", Word)],
        ),
        ("task/restart", json!({ "id": id }), vec!["id"], vec![("id", Id), ("graceMs", Span)]),
        (
            "task/resize",
            json!({ "id": id, "rows": 24, "cols": 80 }),
            vec!["id", "rows", "cols"],
            vec![("id", Id)],
        ),
        (
            "task/write",
            json!({ "id": id, "data": "x" }),
            vec!["id", "data"],
            vec![("id", Id), ("data", Text), ("encoding", Word), ("eof", Word)],
        ),
        ("task/subscribe", one.clone(), vec!["id"], vec![("id", Id), ("offset", Count)]),
        ("task/unsubscribe", one, vec!["id"], vec![("id", Id)]),
        ("task/remove", json!({}), vec![], vec![("ids", Ids), ("endedBefore", Time)]),
    ]
}

/// A daemon with one running task, which no bad request may change.
fn fixture() -> (Daemon, String) {
    let daemon = Lab::new().daemon();
    let id = daemon.sh("sleep 600");
    (daemon, id)
}

/// Asserts that nothing was recorded, the task still runs, and the daemon works.
fn expect_untouched(daemon: &Daemon, id: &str) {
    let tasks = daemon.call("task/check", json!({}))["tasks"].clone();
    let list = tasks.as_array().expect("a list");
    assert_eq!(list.len(), 1, "a refused request recorded something: {tasks}");
    assert_eq!((&list[0]["id"], &list[0]["state"]), (&json!(id), &json!("running")));
    assert_eq!(daemon.drain(), Vec::<Value>::new());
    assert_eq!(daemon.lab().text("ran"), "", "a refused command ran");
    daemon.run("true");
    assert_eq!(daemon.drain().len(), 1);
    daemon.stop(id);
}

/// Collects all requests that were not refused correctly, so that one run shows all of them.
struct Findings<'a> {
    daemon: &'a Daemon,
    wrong: Vec<String>,
}

impl Findings<'_> {
    fn expect_refused(&mut self, method: &str, params: Value, field: &str) {
        let shown: String = params.to_string().chars().take(160).collect();
        match self.daemon.request(method, params) {
            Ok(result) => {
                let result: String = result.to_string().chars().take(100).collect();
                self.wrong.push(format!("{method} {shown}: accepted: {result}"));
            }
            Err(error) if error.code == -32602 && error.message.contains(field) => {
                if error.message.len() > 2_000 {
                    let length = error.message.len();
                    self.wrong.push(format!("{method} {shown}: a message of {length} bytes"));
                }
            }
            Err(error) => {
                let message: String = error.message.chars().take(200).collect();
                let code = error.code;
                self.wrong
                    .push(format!("{method} {shown}: not naming `{field}`: {code} {message}"));
            }
        }
    }

    fn report(self) {
        assert!(self.wrong.is_empty(), "{} cases: {:#?}", self.wrong.len(), self.wrong);
    }
}

#[test]
fn mistyped_empty_huge_and_negative_fields_are_refused_by_name() {
    let (daemon, id) = fixture();
    let mut findings = Findings { daemon: &daemon, wrong: Vec::new() };
    for (method, base, _, fields) in matrix(&id) {
        for (field, takes) in fields {
            for value in takes.bad() {
                // `true` is a valid value of `eof`.
                if field == "eof" && value == json!(true) {
                    continue;
                }
                findings.expect_refused(method, with(&base, field, value), field);
            }
        }
    }
    findings.report();
    expect_untouched(&daemon, &id);
}

#[test]
fn missing_and_unknown_fields_are_refused_by_name() {
    let (daemon, id) = fixture();
    let mut findings = Findings { daemon: &daemon, wrong: Vec::new() };
    for (method, base, needed, _) in matrix(&id) {
        for field in needed {
            findings.expect_refused(method, without(&base, field), field);
        }
        findings.expect_refused(method, with(&base, "nosuchField", json!(1)), "nosuchField");
        findings.expect_refused(method, with(&base, "Id", json!("x")), "Id");
    }
    findings.report();
    expect_untouched(&daemon, &id);
}

#[test]
fn parameters_that_are_not_an_object_are_refused() {
    let (daemon, id) = fixture();
    for (method, _, _, _) in matrix(&id) {
        for params in [json!("text"), json!(1), json!([1, 2]), json!(true)] {
            let answer = daemon.request(method, params.clone());
            let error = answer.expect_err("no object");
            // JSON-RPC allows only objects and arrays here, so -32600 is as good.
            assert!([-32602, -32600].contains(&error.code), "{method} {params}: {error:?}");
        }
    }
    expect_untouched(&daemon, &id);
}

#[test]
fn methods_without_params_are_accepted_where_nothing_is_needed() {
    let (daemon, id) = fixture();
    for method in ["task/check", "task/drain"] {
        daemon.call(method, Value::Null);
    }
    for (method, _, needed, _) in matrix(&id) {
        if let Some(field) = needed.first() {
            let error = daemon.refused(-32602, method, Value::Null);
            assert!(error.message.contains(field), "{method}: {error:?}");
        }
    }
    expect_untouched(&daemon, &id);
}

#[test]
fn spawns_that_make_no_sense_are_refused_by_name() {
    let (daemon, id) = fixture();
    let mut findings = Findings { daemon: &daemon, wrong: Vec::new() };
    let long = "x".repeat(200_000);
    for (value, field) in [
        (json!({ "command": "" }), "command"),
        (json!({ "command": [] }), "command"),
        (json!({ "command": [""] }), "command"),
        (json!({ "command": ["true", 1] }), "command"),
        (json!({ "command": [["true"]] }), "command"),
        (json!({ "command": 7 }), "command"),
        (json!({ "command": null }), "command"),
        (json!({ "command": { "shell": "true" } }), "command"),
        (json!({ "command": "echo a\u{0}b" }), "command"),
        (json!({ "command": ["echo", "a\u{0}b"] }), "command"),
        (json!({ "command": long }), "command"),
        (json!({ "command": ["echo", long] }), "command"),
        (json!({ "command": vec!["x".repeat(100_000); 40] }), "command"),
        (json!({ "command": "true", "cwd": "a\u{0}b" }), "cwd"),
        (json!({ "command": "true", "cwd": "x/".repeat(100_000) }), "cwd"),
        (json!({ "command": "true", "label": long }), "label"),
        (json!({ "command": "true", "env": [] }), "env"),
        (json!({ "command": "true", "env": "A=b" }), "env"),
        (json!({ "command": "true", "env": { "A": 1 } }), "env"),
        (json!({ "command": "true", "env": { "A": {} } }), "env"),
        (json!({ "command": "true", "env": { "": "x" } }), "env"),
        (json!({ "command": "true", "env": { "A=B": "x" } }), "env"),
        (json!({ "command": "true", "env": { "A\u{0}": "x" } }), "env"),
        (json!({ "command": "true", "env": { "A": "x\u{0}" } }), "env"),
        (json!({ "command": "true", "env": { "A": "x".repeat(4_000_000) } }), "env"),
        (json!({ "command": "true", "pty": true }), "pty"),
        (json!({ "command": "true", "pty": {} }), "pty"),
        (json!({ "command": "true", "pty": { "rows": 24 } }), "cols"),
        (json!({ "command": "true", "pty": { "rows": 0, "cols": 80 } }), "rows"),
        (json!({ "command": "true", "pty": { "rows": 24, "cols": -1 } }), "cols"),
        (json!({ "command": "true", "pty": { "rows": 24, "cols": 70_000 } }), "cols"),
        (json!({ "command": "true", "pty": { "rows": 24, "cols": 80, "depth": 1 } }), "depth"),
        (json!({ "command": "true", "stdin": "pipe", "pty": { "rows": 24, "cols": 80 } }), "stdin"),
        (json!({ "command": "true", "watch": {} }), "watch"),
        (json!({ "command": "true", "watch": ["x"] }), "watch"),
        (json!({ "command": "true", "watch": [{}] }), "pattern"),
        (json!({ "command": "true", "watch": [{ "pattern": 1 }] }), "pattern"),
        (json!({ "command": "true", "watch": [{ "pattern": "(" }] }), "pattern"),
        (json!({ "command": "true", "watch": [{ "pattern": "x".repeat(100_000) }] }), "pattern"),
        (json!({ "command": "true", "watch": [{ "pattern": "x", "limit": -1 }] }), "limit"),
        (json!({ "command": "true", "watch": [{ "pattern": "x", "limit": 1e12 }] }), "limit"),
        (json!({ "command": "true", "watch": [{ "pattern": "x", "id": 1 }] }), "id"),
        (json!({ "command": "true", "watch": [{ "pattern": "x", "nosuch": 1 }] }), "nosuch"),
        (json!({ "command": "true", "watch": vec![json!({ "pattern": "x" }); 1_000] }), "watch"),
        (json!({ "command": "true", "workDoneToken": {} }), "workDoneToken"),
    ] {
        findings.expect_refused("task/spawn", value, field);
    }
    findings.report();
    expect_untouched(&daemon, &id);
}

#[test]
fn contradictions_are_refused_by_name() {
    let (daemon, id) = fixture();
    let mut findings = Findings { daemon: &daemon, wrong: Vec::new() };
    for (method, params, field) in [
        ("task/wait", json!({ "ids": [id], "queue": "default", "timeoutMs": 1 }), "queue"),
        ("task/remove", json!({}), "ids"),
        ("task/write", json!({ "id": id, "data": "no base64!", "encoding": "base64" }), "data"),
        ("task/write", json!({ "id": id, "data": "x" }), "stdin"),
        ("task/resize", json!({ "id": id, "rows": 24, "cols": 80 }), "id"),
        ("task/spawn", json!({ "command": ["true"], "shell": "bash" }), "shell"),
        ("task/spawn", json!({ "command": "true", "shell": "" }), "shell"),
        ("task/spawn", json!({ "command": "true", "shell": "a\u{0}b" }), "shell"),
        ("task/stop", json!({ "id": id, "signal": "SIGNOPE" }), "signal"),
        ("task/stop", json!({ "id": id, "signal": "9" }), "signal"),
    ] {
        findings.expect_refused(method, params, field);
    }
    findings.report();
    expect_untouched(&daemon, &id);
}

#[test]
fn ids_that_name_nothing_get_1001() {
    let (daemon, id) = fixture();
    for method in
        ["task/check", "task/read", "task/stop", "task/write", "task/subscribe", "task/unsubscribe"]
    {
        let error = daemon.refused(
            1001,
            method,
            match method {
                "task/write" => json!({ "id": "00000000", "data": "x" }),
                _ => json!({ "id": "00000000" }),
            },
        );
        assert_eq!(error.data["kind"], "unknownTask", "{method}");
        assert!(error.message.contains("00000000"), "{method}: {error:?}");
    }
    daemon.refused(1001, "task/wait", json!({ "ids": [id, "00000000"], "timeoutMs": 1 }));
    expect_untouched(&daemon, &id);
}

#[test]
fn bad_options_of_initialize_are_refused_by_name() {
    for (options, field) in [
        (json!({ "queue": 1 }), "queue"),
        (json!({ "queue": "" }), "queue"),
        (json!({ "lingerMs": -1 }), "lingerMs"),
        (json!({ "lingerMs": "1" }), "lingerMs"),
        (json!({ "lingerMs": 1e30 }), "lingerMs"),
    ] {
        let daemon = Lab::new().start().silent().go();
        let params = json!({
            "processId": null, "capabilities": {}, "initializationOptions": options,
        });
        let error = daemon.refused(-32602, "initialize", params);
        assert!(error.message.contains(field), "{options}: {error:?}");
        // The client may try again.
        daemon.call("initialize", json!({ "processId": null, "capabilities": {} }));
        daemon.notify("initialized", json!({}));
        daemon.run("true");
    }
}

#[test]
fn bad_commands_of_execute_command_are_refused() {
    let (daemon, id) = fixture();
    for params in [
        json!({}),
        json!({ "command": 1 }),
        json!({ "command": "meanwhile.nosuch", "arguments": [] }),
        json!({ "command": "meanwhile.spawn" }),
        json!({ "command": "meanwhile.spawn", "arguments": [] }),
        json!({ "command": "meanwhile.spawn", "arguments": ["true"] }),
        json!({ "command": "meanwhile.spawn", "arguments": [{ "nosuch": 1 }] }),
        json!({ "command": "meanwhile.stop", "arguments": [{}] }),
        json!({ "command": "meanwhile.stop", "arguments": [{ "id": id }, { "id": id }] }),
    ] {
        daemon.refused(-32602, "workspace/executeCommand", params);
    }
    expect_untouched(&daemon, &id);
}
