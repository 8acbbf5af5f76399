//! Tests the loop over an in-memory connection. The server has no store: requests that need one return 1005.

use std::time::Duration;

use meanwhile_core::limits::WAITING_REQUESTS_MAX;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::JoinHandle;

use super::*;
use crate::peer::frame::Decoder;
use crate::peer::{BUSY_MAX, Handling, serve};

/// A client that is connected to the loop.
struct Client {
    /// `None` once the client has closed its output.
    to: Option<DuplexStream>,
    from: DuplexStream,
    decoder: Decoder,
    server: JoinHandle<bool>,
}

impl Client {
    fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server with other handlers for some methods.
    fn start_with(others: &[(&str, Handler)]) -> Self {
        let mut methods = METHODS.to_vec();
        for (name, handler) in others {
            let method = methods.iter_mut().find(|method| method.name == *name);
            method.expect("it is in the table").run = *handler;
        }
        let methods: &'static [Method] = methods.leak();
        let (to, input) = tokio::io::duplex(1 << 20);
        let (output, from) = tokio::io::duplex(1 << 20);
        let open = move |outbox, jobs| Lsp::new(methods, Options::without_store(), outbox, jobs);
        let server = tokio::spawn(serve(open, input, output));
        let decoder = Decoder::new(Framing::ContentLength);
        Self { to: Some(to), from, decoder, server }
    }

    async fn ready() -> Self {
        Self::start().initialized().await
    }

    async fn initialized(self) -> Self {
        let mut client = self;
        let reply = client.ask("initialize", json!({"capabilities": {}})).await;
        assert!(reply.get("result").is_some(), "{reply}");
        client.notify("initialized", json!({})).await;
        client
    }

    async fn write(&mut self, bytes: &[u8]) {
        self.to.as_mut().expect("the client has not ended").write_all(bytes).await.unwrap();
    }

    async fn send(&mut self, body: impl AsRef<[u8]>) {
        let mut bytes = Vec::new();
        Framing::ContentLength.append(&mut bytes, body.as_ref());
        self.write(&bytes).await;
    }

    async fn notify(&mut self, method: &str, params: Value) {
        let body = json!({"jsonrpc": "2.0", "method": method, "params": params});
        self.send(body.to_string()).await;
    }

    async fn request(&mut self, id: impl Into<Value>, method: &str, params: Value) {
        let id = id.into();
        let body = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        self.send(body.to_string()).await;
    }

    async fn ask(&mut self, method: &str, params: Value) -> Value {
        self.request(method, method, params).await;
        let reply = self.read().await.expect("a reply");
        assert_eq!(reply["id"], method, "{reply}");
        reply
    }

    /// The next message; `None` at the end.
    async fn read(&mut self) -> Option<Value> {
        let read = async {
            loop {
                if let Some(item) = self.decoder.next() {
                    return Some(serde_json::from_slice(item.unwrap()).unwrap());
                }
                let read = self.from.read_buf(self.decoder.space()).await.unwrap();
                if read == 0 {
                    return None;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(10), read).await.expect("a message or the end")
    }

    /// Waits until the loop ends, and returns whether the end was clean. Fails if a message was not read.
    async fn end(mut self) -> bool {
        assert_eq!(self.read().await, None, "a message went unread");
        self.server.await.unwrap()
    }
}

#[track_caller]
fn is_error(reply: &Value, id: Value, code: i64) {
    assert_eq!((&reply["id"], &reply["error"]["code"]), (&id, &json!(code)), "{reply}");
    let message = reply["error"]["message"].as_str().unwrap();
    assert!(message.len() > 15, "says too little: {message}");
    assert!(!message.ends_with('.'), "ends with a full stop: {message}");
}

#[tokio::test]
async fn the_handshake_is_that_of_the_protocol() {
    let mut client = Client::start();
    is_error(&client.ask("task/check", json!({})).await, json!("task/check"), -32002);
    let reply = client.ask("initialize", json!({"capabilities": {}})).await;
    let result = &reply["result"];
    assert_eq!(result["serverInfo"]["name"], "meanwhile");
    let capabilities = &result["capabilities"];
    assert_eq!(
        capabilities["executeCommandProvider"]["commands"],
        json!(["meanwhile.spawn", "meanwhile.check", "meanwhile.drain", "meanwhile.stop"])
    );
    let ours = &capabilities["experimental"]["meanwhile"];
    assert_eq!(ours["protocolVersion"], 1);
    assert_eq!(ours["methods"].as_array().unwrap().len(), 30);
    assert_eq!(ours["notifications"].as_array().unwrap().len(), 15);
    assert_eq!(ours["limits"]["messageBytes"], 16 << 20);
    assert_eq!(ours["limits"]["waitingRequests"], 1_024);
    is_error(&client.ask("initialize", json!({})).await, json!("initialize"), -32600);
    is_error(&client.ask("no/such", json!({})).await, json!("no/such"), -32601);
    is_error(&client.ask("$/such", json!({})).await, json!("$/such"), -32601);
    is_error(
        &client.ask("textDocument/hover", json!({})).await,
        json!("textDocument/hover"),
        -32601,
    );
    client.notify("no/such", json!({})).await;
    client.request(1, "shutdown", Value::Null).await;
    assert_eq!(client.read().await.unwrap(), json!({"jsonrpc": "2.0", "id": 1, "result": null}));
    is_error(&client.ask("task/check", json!({})).await, json!("task/check"), -32600);
    client.notify("exit", Value::Null).await;
    assert!(client.end().await, "the end is not clean");
}

#[tokio::test]
async fn a_handshake_without_care_is_taken() {
    let mut client = Client::start();
    client.send(r#"{"jsonrpc":"2.0","id":1,"method":"initialize"}"#).await;
    assert!(client.read().await.unwrap().get("result").is_some());
    client.send(r#"{"jsonrpc":"2.0","method":"initialized"}"#).await;
    client.send(r#"{"jsonrpc":"2.0","id":2,"method":"task/check"}"#).await;
    is_error(&client.read().await.unwrap(), json!(2), 1005);
}

#[tokio::test]
async fn a_handshake_that_fails_may_be_tried_again() {
    let mut client = Client::start();
    let bad = json!({"initializationOptions": {"lingerMs": -1}});
    let reply = client.ask("initialize", bad).await;
    is_error(&reply, json!("initialize"), -32602);
    assert_eq!(reply["error"]["data"]["field"], "initializationOptions.lingerMs");
    assert!(client.ask("initialize", json!({})).await.get("result").is_some());
}

#[tokio::test]
async fn what_is_malformed_is_answered_and_the_next_message_too() {
    let mut client = Client::ready().await;
    let deep = "[".repeat(200);
    for (body, id, code) in [
        (&b"{"[..], Value::Null, -32700),
        (b"\"\xff\"", Value::Null, -32700),
        (deep.as_bytes(), Value::Null, -32700),
        (b"{}", Value::Null, -32600),
        (b"[]", Value::Null, -32600),
        (br#"{"jsonrpc":"2.0","id":1.5,"method":"task/check"}"#, Value::Null, -32600),
        (br#"{"jsonrpc":"1.0","id":7,"method":"task/check"}"#, Value::Null, -32600),
        (br#"{"jsonrpc":"2.0","id":8,"method":"task/check","params":[1]}"#, json!(8), -32602),
    ] {
        client.send(body).await;
        is_error(&client.read().await.unwrap(), id, code);
        is_error(&client.ask("task/check", json!({})).await, json!("task/check"), 1005);
    }
    // Neither a response without a request nor an error about the server's messages is answered.
    client.send(r#"{"jsonrpc":"2.0","id":99,"result":1}"#).await;
    client.send(r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700}}"#).await;
    is_error(&client.ask("task/check", json!({})).await, json!("task/check"), 1005);
}

#[tokio::test]
async fn a_message_that_is_too_long_is_skipped() {
    let mut client = Client::ready().await;
    let length = (16 << 20) + 1;
    client.write(format!("Content-Length: {length}\r\n\r\n").as_bytes()).await;
    let reply = client.read().await.unwrap();
    is_error(&reply, Value::Null, -32600);
    assert!(reply["error"]["message"].as_str().unwrap().contains("16777216"), "{reply}");
    client.write(&vec![b' '; length]).await;
    is_error(&client.ask("task/check", json!({})).await, json!("task/check"), 1005);
}

#[tokio::test]
async fn lost_framing_is_answered_and_ends() {
    for (bytes, code) in [
        ("Content-Length: x\r\n\r\n", -32700),
        ("Content-Type: x\r\n\r\n{}", -32700),
        ("Content-Length: 1000000000000000\r\n\r\n", -32600),
    ] {
        let mut client = Client::ready().await;
        client.write(bytes.as_bytes()).await;
        is_error(&client.read().await.unwrap(), Value::Null, code);
        assert!(!client.end().await, "an end without `shutdown` is not clean");
    }
}

#[tokio::test]
async fn ids_come_back_as_they_were() {
    let mut client = Client::ready().await;
    for id in [json!(0), json!(-5), json!(u64::MAX), json!(""), json!("é")] {
        client.request(id.clone(), "task/check", json!({})).await;
        is_error(&client.read().await.unwrap(), id, 1005);
    }
}

#[tokio::test(start_paused = true)]
async fn every_end_ends() {
    // The input ends.
    let mut client = Client::ready().await;
    client.to = None;
    assert!(!client.end().await);
    // `exit` arrives before the handshake, and the input stays open.
    let mut client = Client::ready().await;
    client.notify("exit", json!({})).await;
    assert!(!client.end().await);
    let mut client = Client::start();
    client.notify("exit", json!({})).await;
    assert!(!client.end().await);
    // The client closes the server's output.
    let Client { to, from, server, .. } = Client::ready().await;
    drop(from);
    let mut to = to.expect("the client has not ended");
    let mut bytes = Vec::new();
    Framing::ContentLength.append(&mut bytes, b"{}");
    // The loop may end before the second write, so its failure is ignored.
    to.write_all(&bytes).await.unwrap();
    assert!(!server.await.unwrap());
}

#[tokio::test]
async fn the_death_of_the_client_is_the_end() {
    let mut child =
        std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
    let mut client = Client::start();
    client.ask("initialize", json!({"processId": child.id()})).await;
    is_error(&client.ask("task/check", json!({})).await, json!("task/check"), 1005);
    drop(child.stdin.take());
    assert!(!client.end().await);
    child.wait().unwrap();
}

type Handler = fn(Desk, Value) -> Handling;

fn hang(_: Desk, _: Value) -> Handling {
    Box::pin(std::future::pending())
}

fn panic(_: Desk, _: Value) -> Handling {
    Box::pin(async { panic!("this handler panics, as the test asks") })
}

fn a_megabyte(_: Desk, _: Value) -> Handling {
    Box::pin(async { Ok(Value::from("x".repeat(1 << 20)).into()) })
}

fn too_much(_: Desk, _: Value) -> Handling {
    Box::pin(async { Ok(Value::from("x".repeat(17 << 20)).into()) })
}

/// Answers after the requests that arrived with it have been dispatched.
fn patient(_: Desk, _: Value) -> Handling {
    Box::pin(async {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        Ok(Value::from("done").into())
    })
}

fn after_20_ms(_: Desk, _: Value) -> Handling {
    Box::pin(async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        Ok(Value::from("spawned").into())
    })
}

#[tokio::test]
async fn no_number_of_waiting_requests_holds_up_another() {
    let client = Client::start_with(&[("task/wait", hang)]);
    let mut client = client.initialized().await;
    for id in 0..WAITING_REQUESTS_MAX {
        client.request(id, "task/wait", json!({})).await;
    }
    let one_more = client.ask("task/wait", json!({})).await;
    is_error(&one_more, json!("task/wait"), -32000);
    let data = json!({"kind": "serverOverloaded", "limit": "waitingRequests", "retryable": true});
    assert_eq!(one_more["error"]["data"], data);
    is_error(&client.ask("task/check", json!({})).await, json!("task/check"), 1005);

    client.notify("$/cancelRequest", json!({"id": 7})).await;
    is_error(&client.read().await.unwrap(), json!(7), -32800);
    // Neither request is running, so neither is answered.
    client.notify("$/cancelRequest", json!({"id": 7})).await;
    client.notify("$/cancelRequest", json!({"id": {}})).await;
    is_error(&client.ask("task/check", json!({})).await, json!("task/check"), 1005);
    // The released permit can be used again, with the same id.
    client.request(7, "task/wait", json!({})).await;
    client.request(7, "task/wait", json!({})).await;
    is_error(&client.read().await.unwrap(), json!(7), -32600);

    assert_eq!(client.ask("shutdown", Value::Null).await["result"], Value::Null);
    client.notify("exit", Value::Null).await;
    assert!(client.end().await);
}

#[tokio::test]
async fn any_id_can_be_cancelled() {
    let client = Client::start_with(&[("task/wait", hang)]);
    let mut client = client.initialized().await;
    for id in [json!("a"), json!(-1), json!(1u64 << 40), json!(u64::MAX)] {
        client.request(id.clone(), "task/wait", json!({})).await;
        client.notify("$/cancelRequest", json!({ "id": id.clone() })).await;
        is_error(&client.read().await.unwrap(), id, -32800);
    }
}

#[tokio::test]
async fn a_change_is_carried_out_although_it_is_cancelled() {
    let client = Client::start_with(&[("task/drain", patient)]);
    let mut client = client.initialized().await;
    client.request(1, "task/drain", json!({})).await;
    client.notify("$/cancelRequest", json!({"id": 1})).await;
    assert_eq!(client.read().await.unwrap()["result"], "done");
}

#[tokio::test]
async fn a_panic_fails_one_request() {
    let client = Client::start_with(&[("task/wait", hang), ("task/read", panic)]);
    let mut client = client.initialized().await;
    client.request(1, "task/wait", json!({})).await;
    for _ in 0..2 {
        is_error(&client.ask("task/read", json!({})).await, json!("task/read"), -32603);
    }
    is_error(&client.ask("task/check", json!({})).await, json!("task/check"), 1005);
    client.notify("$/cancelRequest", json!({"id": 1})).await;
    is_error(&client.read().await.unwrap(), json!(1), -32800);
}

#[tokio::test]
async fn a_panic_harms_no_other_request() {
    let client = Client::start_with(&[("task/read", panic), ("task/ack", patient)]);
    let mut client = client.initialized().await;
    for id in 0..10 {
        client.request(id, ["task/ack", "task/read"][id % 2], json!({})).await;
    }
    let mut replies = Vec::new();
    for _ in 0..10 {
        replies.push(client.read().await.unwrap());
    }
    for reply in &replies[..5] {
        is_error(reply, reply["id"].clone(), -32603);
    }
    replies.sort_by_key(|reply| reply["id"].as_u64());
    for (id, reply) in replies.iter().enumerate() {
        match id % 2 {
            0 => assert_eq!((&reply["id"], &reply["result"]), (&json!(id), &json!("done"))),
            _ => is_error(reply, json!(id), -32603),
        }
    }
    // Their ids and permits can be used again.
    for id in 0..10 {
        client.request(id, "task/check", json!({})).await;
        is_error(&client.read().await.unwrap(), json!(id), 1005);
    }
    client.request(1, "shutdown", Value::Null).await;
    assert_eq!(client.read().await.unwrap()["result"], Value::Null);
    client.notify("exit", Value::Null).await;
    assert!(client.end().await, "the end is not clean");
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_input_waits_for_no_request_for_long() {
    let client = Client::start_with(&[("task/wait", hang)]);
    let mut client = client.initialized().await;
    client.request(1, "task/wait", json!({})).await;
    client.request(2, "task/check", json!({})).await;
    let began = tokio::time::Instant::now();
    client.to = None;
    is_error(&client.read().await.unwrap(), json!(2), 1005);
    assert!(!client.end().await);
    assert!(began.elapsed() < Duration::from_millis(500), "took {:?}", began.elapsed());
}

#[tokio::test]
async fn a_client_that_reads_late_gets_every_reply() {
    let client = Client::start_with(&[("task/read", a_megabyte)]);
    let mut client = client.initialized().await;
    for id in 0..80 {
        client.request(id, "task/read", json!({})).await;
    }
    let mut ids: Vec<u64> = Vec::new();
    for _ in 0..80 {
        ids.push(client.read().await.unwrap()["id"].as_u64().unwrap());
    }
    ids.sort_unstable();
    assert!(ids.into_iter().eq(0..80));
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_input_is_seen_although_the_replies_are_not_read() {
    let client = Client::start_with(&[("task/read", a_megabyte)]);
    let mut client = client.initialized().await;
    for id in 0..40 {
        client.request(id, "task/read", json!({})).await;
    }
    client.to = None;
    let ended = tokio::time::timeout(Duration::from_millis(500), client.server).await;
    assert!(!ended.expect("it ends in time").unwrap());
}

#[tokio::test]
async fn a_reply_that_is_too_long_becomes_an_error() {
    let client = Client::start_with(&[("task/read", too_much)]);
    let mut client = client.initialized().await;
    let reply = client.ask("task/read", json!({})).await;
    is_error(&reply, json!("task/read"), 1003);
    assert_eq!(reply["error"]["data"], json!({"kind": "limitReached", "limit": "messageBytes"}));
}

#[tokio::test]
async fn more_requests_than_run_at_once_are_all_answered() {
    let client = Client::start_with(&[("task/ack", patient)]);
    let mut client = client.initialized().await;
    for id in 0..BUSY_MAX + 500 {
        client.request(id, "task/ack", json!({})).await;
    }
    for _ in 0..BUSY_MAX + 500 {
        assert_eq!(client.read().await.unwrap()["result"], "done");
    }
}

#[tokio::test(start_paused = true)]
async fn changes_are_carried_out_although_the_end_is_right_behind_them() {
    for end in ["exit", "the end of the input"] {
        let client = Client::start_with(&[("task/wait", hang), ("task/spawn", after_20_ms)]);
        let mut client = client.initialized().await;
        client.request(1, "task/wait", json!({})).await;
        client.request(2, "task/spawn", json!({"command": "true"})).await;
        client.request(3, "task/spawn", json!({"command": ["true"]})).await;
        client.request(4, "shutdown", Value::Null).await;
        client.request(5, "shutdown", Value::Null).await;
        match end {
            "exit" => client.notify("exit", Value::Null).await,
            _ => client.to = None,
        }
        let mut replies = Vec::new();
        for _ in 0..4 {
            replies.push(client.read().await.unwrap());
        }
        replies.sort_by_key(|reply| reply["id"].as_u64());
        assert_eq!(replies[0]["result"], "spawned", "{end}");
        assert_eq!(replies[1]["result"], "spawned", "{end}");
        assert_eq!(replies[2]["result"], Value::Null, "{end}");
        is_error(&replies[3], json!(5), -32600);
        assert!(client.end().await, "{end}");
    }
}
