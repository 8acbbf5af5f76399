//! Invalid messages, and the answer to each kind.

use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Daemon, Lab, eventually, frame, id_of};

/// A body with its header.
fn framed(body: &[u8]) -> Vec<u8> {
    [format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
}

/// All errors without an id so far.
fn nameless(daemon: &Daemon) -> Vec<Value> {
    let is_nameless = |message: &Value| message.get("error").is_some() && message["id"].is_null();
    daemon.entries().into_iter().map(|entry| entry.message).filter(is_nameless).collect()
}

/// Sends each of these, and asserts an error with this code for each and a daemon that keeps working.
fn expect_faults(code: i64, faults: &[(&str, Vec<u8>)]) {
    let daemon = Lab::new().daemon();
    for (count, (name, bytes)) in faults.iter().enumerate() {
        daemon.send_bytes(bytes);
        eventually(&format!("an answer to {name}"), || {
            (nameless(&daemon).len() > count).then_some(())
        });
        let error = nameless(&daemon)[count]["error"].clone();
        assert_eq!(error["code"], code, "{name}: {error}");
        assert!(error["message"].as_str().is_some_and(|text| !text.is_empty()), "{name}");
        daemon.call("task/check", json!({}));
    }
    daemon.run("true");
    assert_eq!(nameless(&daemon).len(), faults.len(), "one answer for each fault");
}

#[test]
fn what_is_not_json_gets_32700_and_the_daemon_goes_on() {
    let deep = |depth: usize| {
        let (open, close) = ("[".repeat(depth), "]".repeat(depth));
        format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"task/check\",\"params\":{open}{close}}}"
        )
    };
    expect_faults(
        -32700,
        &[
            ("text", framed(b"hello")),
            ("half an object", framed(b"{\"jsonrpc\":\"2.0\",\"id\":1")),
            ("an empty body", framed(b"")),
            ("two values", framed(b"{} {}")),
            ("invalid UTF-8", framed(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xff\xfe\"}")),
            ("a NUL", framed(b"\0")),
            ("nested 200 deep", framed(deep(200).as_bytes())),
            ("nested 100 000 deep", framed(deep(100_000).as_bytes())),
            ("a lone surrogate", framed(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\\ud800\"}")),
        ],
    );
}

#[test]
fn what_is_not_a_request_gets_32600_and_the_daemon_goes_on() {
    let call = json!({ "jsonrpc": "2.0", "id": 77, "method": "task/check" });
    expect_faults(
        -32600,
        &[
            ("an empty object", framed(b"{}")),
            ("a batch", framed(json!([call, call]).to_string().as_bytes())),
            ("an empty batch", framed(b"[]")),
            ("a number", framed(b"1")),
            ("null", framed(b"null")),
            ("a float id", framed(b"{\"jsonrpc\":\"2.0\",\"id\":1.5,\"method\":\"task/check\"}")),
            ("an object id", framed(b"{\"jsonrpc\":\"2.0\",\"id\":{},\"method\":\"task/check\"}")),
        ],
    );
}

#[test]
fn another_version_gets_32600() {
    let daemon = Lab::new().daemon();
    let errors = || -> Vec<Value> {
        let all = daemon.entries().into_iter().map(|entry| entry.message);
        all.filter(|message| message.get("error").is_some()).collect()
    };
    for (count, message) in [
        json!({ "jsonrpc": "1.0", "id": "v0", "method": "task/check" }),
        json!({ "id": "v1", "method": "task/check" }),
        json!({ "jsonrpc": "2.0", "id": "v2", "method": 5 }),
    ]
    .into_iter()
    .enumerate()
    {
        daemon.send_bytes(&frame(&message));
        eventually("an error", || (errors().len() > count).then_some(()));
        let error = errors()[count].clone();
        assert_eq!(error["error"]["code"], -32600, "{message}: {error}");
        // The id of a message that is not a valid request is not used.
        assert_eq!(error["id"], Value::Null, "{message}: {error}");
    }
}

#[test]
fn answers_to_nothing_are_ignored() {
    let daemon = Lab::new().daemon();
    daemon.send_raw(&json!({ "jsonrpc": "2.0", "id": 999, "result": null }));
    daemon.send_raw(&json!({ "jsonrpc": "2.0", "id": "x", "error": { "code": 1, "message": "" } }));
    daemon.run("true");
}

#[test]
fn headers_may_be_written_in_every_allowed_way() {
    let daemon = Lab::new().daemon();
    let utf8 = "Content-Type: application/vscode-jsonrpc; charset=utf-8";
    for (n, header) in [
        "content-length: #".to_owned(),
        "CONTENT-LENGTH: #".to_owned(),
        "Content-Length:#".to_owned(),
        "Content-Length:   #  ".to_owned(),
        format!("{utf8}\r\nContent-Length: #"),
        format!("Content-Length: #\r\n{}", utf8.replace("utf-8", "utf8")),
        "Content-Length: #\r\nContent-Type: application/vscode-jsonrpc".to_owned(),
        "X-Other: 1\r\nContent-Length: #\r\nX-More: a: b".to_owned(),
    ]
    .into_iter()
    .enumerate()
    {
        let id = format!("h{n}");
        let message = json!({ "jsonrpc": "2.0", "id": id, "method": "task/check" });
        daemon.announce(&message);
        let body = message.to_string();
        let head = header.replace("#", &body.len().to_string());
        daemon.send_bytes(format!("{head}\r\n\r\n{body}").as_bytes());
        daemon.find(&format!("an answer after `{header}`"), |entry| {
            (entry.message["id"] == id).then(|| assert!(entry.message.get("result").is_some()))
        });
    }
}

#[test]
fn messages_come_in_any_pieces() {
    let daemon = Lab::new().daemon();
    let message = |id: &str| {
        let message = json!({ "jsonrpc": "2.0", "id": id, "method": "task/check" });
        daemon.announce(&message);
        frame(&message)
    };
    let answered = |id: &str| {
        daemon
            .find(&format!("an answer to {id}"), |entry| (entry.message["id"] == id).then_some(()));
    };
    for byte in message("bytes") {
        daemon.send_bytes(&[byte]);
    }
    answered("bytes");
    let many: Vec<u8> = (0..50).flat_map(|n| message(&format!("m{n}"))).collect();
    let (one, two) = many.split_at(many.len() / 2 + 7);
    daemon.send_bytes(one);
    daemon.send_bytes(two);
    for n in 0..50 {
        answered(&format!("m{n}"));
    }
}

#[test]
fn ids_may_be_any_string_or_whole_number() {
    let daemon = Lab::new().daemon();
    for id in
        [json!("text"), json!(""), json!(0), json!(-5), json!(4_294_967_296_u64), json!("ü\n")]
    {
        daemon.send_raw(&json!({ "jsonrpc": "2.0", "id": id, "method": "task/check" }));
        daemon.find(&format!("an answer to {id}"), |entry| {
            (entry.message["id"] == id && entry.message.get("result").is_some()).then_some(())
        });
    }
}

/// Sends bytes after which the daemon cannot continue: it answers without an id, and exits with 1.
fn expect_end(name: &str, code: i64, bytes: &[u8]) {
    let daemon = Lab::new().start().noisy().go();
    let id = daemon.sh("sleep 600");
    daemon.send_bytes(bytes);
    let status = daemon.ends_within(Duration::from_secs(3));
    assert_eq!(status.code(), Some(1), "{name}");
    let lab = daemon.lab().clone();
    let errors = {
        // All of its output has been read once the threads are joined.
        eventually("the last answer", || (!nameless(&daemon).is_empty()).then_some(()));
        nameless(&daemon)
    };
    drop(daemon);
    assert_eq!(errors[0]["error"]["code"], code, "{name}: {errors:?}");
    assert_eq!(lab.daemon().stop(&id)["state"], "stopped", "{name}: the task lives on");
}

#[test]
fn lost_framing_gets_32700_and_ends_the_daemon() {
    expect_end("no length", -32700, b"X-Other: 1\r\n\r\n{}");
    expect_end("no number", -32700, b"Content-Length: ten\r\n\r\n{}");
    expect_end("a negative length", -32700, b"Content-Length: -1\r\n\r\n{}");
    expect_end("no header at all", -32700, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
}

#[test]
fn a_length_of_ten_to_the_fifteenth_ends_the_daemon() {
    expect_end("10^15", -32600, b"Content-Length: 1000000000000000\r\n\r\n{}");
    expect_end("10^30", -32600, b"Content-Length: 1000000000000000000000000000000\r\n\r\n{}");
}

#[test]
fn a_header_without_end_ends_the_daemon_in_bounded_memory() {
    let daemon = Lab::new().start().noisy().go();
    let before = daemon.memory("VmRSS");
    let line = vec![b'a'; 1 << 16];
    let mut sent = 0;
    // The daemon may exit at any point of this, but its memory must not grow with the input.
    while sent < 64 << 20 && daemon.send_perhaps(&line) {
        sent += line.len();
        if let Some(now) = daemon.memory_perhaps("VmRSS") {
            assert!(now.saturating_sub(before) < 24 << 20, "it holds {} MiB", now >> 20);
        }
    }
    daemon.close_stdin();
    assert_eq!(daemon.ends_within(Duration::from_secs(3)).code(), Some(1));
}

#[test]
fn a_message_above_the_limit_is_skipped_and_answered() {
    let daemon = Lab::new().daemon();
    let body = json!({
        "jsonrpc": "2.0", "id": "big", "method": "task/spawn",
        "params": { "command": "true", "label": "x".repeat(17 << 20) },
    });
    let before = daemon.memory("VmRSS");
    daemon.send_bytes(&frame(&body));
    let answer = daemon.find("an answer", |entry| {
        entry.message.get("error").is_some().then(|| entry.message.clone())
    });
    assert_eq!(answer["error"]["code"], -32600, "{answer}");
    let text = answer["error"]["message"].as_str().expect("a message");
    assert!(text.contains("16"), "the message names the limit: {text}");
    assert!(
        daemon.memory("VmRSS").saturating_sub(before) < 8 << 20,
        "the body was skipped, not stored"
    );
    daemon.run("true");
}

#[test]
fn a_message_just_below_the_limit_is_read() {
    let daemon = Lab::new().daemon();
    let label = "x".repeat(15 << 20);
    let error = daemon.refused(-32602, "task/spawn", json!({ "command": "true", "label": label }));
    assert!(error.message.contains("label") && error.message.len() < 2_000);
}

#[test]
fn the_end_in_the_middle_of_a_message_ends_the_daemon() {
    for bytes in
        [&b"Content-Le"[..], b"Content-Length: 10\r\n", b"Content-Length: 100\r\n\r\n{\"jso"]
    {
        let daemon = Lab::new().start().noisy().go();
        daemon.send_bytes(bytes);
        daemon.close_stdin();
        assert_eq!(daemon.ends_within(Duration::from_millis(1_500)).code(), Some(1));
    }
}

#[test]
fn a_client_that_closes_stdout_ends_the_daemon_at_its_next_word() {
    let lab = Lab::new();
    let mut command = lab.command(&["serve"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().expect("the binary starts");
    let mut stdin = child.stdin.take().expect("stdin is piped");
    drop(child.stdout.take());
    let params = json!({ "processId": null, "capabilities": {} });
    let first = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params });
    // It may have exited before the second message.
    let _sent = stdin.write_all(&frame(&first));
    let status =
        eventually("the daemon to end", || child.try_wait().expect("the test is its parent"));
    assert_eq!(status.code(), Some(1), "an end without shutdown, not a signal");
}

#[test]
fn a_closed_stdout_harms_no_task() {
    let lab = Lab::new();
    let gate = lab.gate("gate");
    let first = lab.daemon();
    let id = first.sh("read x < gate; echo fine; exit 4");
    let mut child = lab
        .command(&["serve"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary starts");
    gate.open();
    assert_eq!(first.exited(&id)["task"]["exit"]["code"], 4);
    drop(child.stdin.take());
    child.wait().expect("the test is its parent");
    assert_eq!(id_of(&first.drain()[0]["task"]), id);
}
