//! How the MCP server exits, and how it handles invalid messages.

use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use serde_json::json;

use crate::client::Client;
use crate::harness::{Store, until};

fn lives(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn the_end_of_input_and_a_signal_end_it_and_tasks_go_on() {
    let store = Store::new();
    let mut client = Client::claude(&store, "one");
    let id = client.run("until [ -e go ]; do sleep 0.02; done; echo whole");
    // A pending wait does not delay the exit.
    client.send("tools/call", json!({"name": "wait", "arguments": {}}));
    assert!(client.close().success());
    let mut client = Client::claude(&store, "one");
    client.call("list", json!({}));
    client.signal(Signal::SIGTERM);
    client.wait();
    store.release();
    let mut client = Client::claude(&store, "one");
    let told = client.call("wait", json!({"ids": [id]}));
    assert!(told.contains("exited 0") && told.contains("whole\n"), "{told}");
}

#[test]
fn killed_between_two_calls_it_loses_and_repeats_nothing() {
    let store = Store::new();
    let mut client = Client::claude(&store, "one");
    let first = client.run("echo first");
    let told = client.call("wait", json!({}));
    assert!(told.contains(&first));
    until("the first result is acknowledged", || store.task(&first)["delivered"].is_object());
    let second = client.run("until [ -e go ]; do sleep 0.02; done; echo second");
    client.kill();
    store.release();
    until("it has ended", || store.task(&second)["state"] == "exited");
    let mut client = Client::claude(&store, "one");
    let told = client.call("drain", json!({}));
    assert!(told.contains(&second) && !told.contains(&first), "{told}");
    assert!(client.call("drain", json!({})).starts_with("nothing new"));
}

#[test]
fn a_reply_that_was_not_written_is_told_again() {
    let store = Store::new();
    let mut client = Client::claude(&store, "one");
    let held = client.run("until [ -e go ]; do sleep 0.02; done; echo told");
    client.send("tools/call", json!({"name": "wait", "arguments": {}}));
    // A server that is killed during a wait does not deliver later results.
    client.kill();
    store.release();
    until("it has ended", || store.task(&held)["state"] == "exited");
    let mut client = Client::claude(&store, "one");
    assert!(client.call("drain", json!({})).contains(&held));
}

#[test]
fn a_call_that_fails_takes_no_result() {
    let store = Store::new();
    let mut client = Client::claude(&store, "one");
    let id = client.run("echo kept");
    until("it has ended", || store.task(&id)["state"] == "exited");
    client.refused("background_run", json!({"command": "true", "cwd": "no/such"}));
    client.refused("check", json!({"id": "00000000"}));
    let told = client.call("drain", json!({}));
    assert!(told.contains(&id) && told.contains("kept\n"), "{told}");
}

#[test]
fn a_wait_that_is_cancelled_takes_no_result() {
    let store = Store::new();
    let mut client = Client::claude(&store, "one");
    let held = client.run("until [ -e go ]; do sleep 0.02; done; echo kept");
    let wait = client.send("tools/call", json!({"name": "wait", "arguments": {}}));
    client.notify("notifications/cancelled", json!({"requestId": wait, "reason": "impatient"}));
    let reply = client.message();
    assert_eq!(reply["id"], wait, "{reply}");
    assert!(reply.get("result").is_none(), "{reply}");
    store.release();
    let told = client.call("wait", json!({}));
    assert!(told.contains(&held) && told.contains("kept\n"), "{told}");
}

#[test]
fn the_death_of_the_host_ends_it_though_the_pipe_is_held() {
    let store = Store::new();
    // The host starts the server with a pipe whose other end a third process also holds.
    let fifo = store.workspace().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let line =
        "sleep 600 > fifo & echo $! > holder; \"$M\" mcp < fifo > out & echo $! > server; wait";
    let mut host = store.program("/bin/sh");
    host.args(["-c", line]).env("M", env!("CARGO_BIN_EXE_meanwhile"));
    let mut host = host.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let pid = |name: &str| -> Option<u32> {
        std::fs::read_to_string(store.workspace().join(name)).ok()?.trim().parse().ok()
    };
    // The shell's child becomes the server with execve.
    let is_server = |pid: u32| {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm"));
        name.is_ok_and(|name| name.starts_with("meanwhile"))
    };
    until("the server runs", || pid("server").is_some_and(is_server));
    let (server, holder) = (pid("server").unwrap(), pid("holder").unwrap());
    // An answered request shows that the server runs and watches its parent.
    let ping = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\n";
    std::fs::write(&fifo, ping).unwrap();
    until("it answers", || {
        std::fs::read_to_string(store.workspace().join("out"))
            .is_ok_and(|out| out.contains("result"))
    });
    host.kill().unwrap();
    host.wait().unwrap();
    until("the server has ended", || !lives(server));
    assert!(lives(holder), "the pipe was held");
    Command::new("kill").arg(holder.to_string()).status().unwrap();
}

#[test]
fn standard_output_is_the_wire_however_much_is_logged() {
    let store = Store::new();
    let mut command = store.command(&["mcp"]);
    command.env("MEANWHILE_LOG", "trace").env("CLAUDE_CODE_SESSION_ID", "one");
    command.stderr(Stdio::null());
    let mut client = Client::start(command);
    // The client parses each line as JSON.
    client.result("tools/list", json!({}));
    client.run("echo said");
    assert!(client.call("wait", json!({})).contains("said"));
}

#[test]
fn nonsense_is_answered_and_what_comes_after_it_too() {
    let store = Store::new();
    let mut client = Client::claude(&store, "one");
    for (line, code) in [
        ("not json\n", -32700),
        ("[]\n", -32600),
        ("{\"jsonrpc\":\"2.0\",\"id\":1.5,\"method\":\"ping\"}\n", -32600),
        ("{\"jsonrpc\":\"2.0\",\"id\":\"a\",\"method\":\"no/such\"}\n", -32601),
        ("{\"jsonrpc\":\"2.0\",\"id\":\"a\",\"method\":\"tools/call\"}\n", -32602),
        ("{\"jsonrpc\":\"2.0\",\"id\":\"a\",\"method\":\"tools/call\",\"params\":5}\n", -32602),
        ("{\"jsonrpc\":\"2.0\",\"id\":\"a\",\"method\":\"initialize\",\"params\":{}}\n", -32602),
        (
            "{\"jsonrpc\":\"2.0\",\"id\":\"a\",\"method\":\"tools/call\",\"params\":{\"name\":\"x\"}}\n",
            -32602,
        ),
    ] {
        client.write(line.as_bytes());
        let reply = client.message();
        assert_eq!(reply["error"]["code"], code, "{line}: {reply}");
        assert!(!reply["error"]["message"].as_str().unwrap().is_empty(), "{reply}");
    }
    client.write(b"\n\xff\xfe\n");
    assert_eq!(client.message()["error"]["code"], -32700);
    // A message that is too long is refused, and the next one is read.
    client.write(&[&vec![b'x'; 17 << 20][..], b"\n"].concat());
    assert!(client.message()["error"]["code"].is_i64());
    // Lua and PHP write an empty table as a list.
    assert_eq!(client.result("ping", json!([])), json!({}));
    assert_eq!(client.result("tools/list", json!([]))["tools"].as_array().unwrap().len(), 8);
    assert!(client.call("list", json!([])).contains("0 running"));
    for (tool, arguments, says) in [
        ("background_run", json!({}), "`command`: is missing"),
        ("background_run", json!({"command": 5}), "`command`"),
        ("background_run", json!({"command": "true", "cwd": "no/such"}), "no/such"),
        ("background_run", json!({"command": "a\u{0}b"}), "NUL"),
        ("background_run", json!({"command": "true", "deadline_seconds": 0}), "deadline_seconds"),
        ("background_run", json!({"command": "true", "watch": "("}), "watch"),
        ("wait", json!({"ids": ["zz"]}), "is not a task id"),
        ("check", json!({"id": "00000000"}), "there is no task 00000000"),
        ("output", json!({"id": "00000000", "offset": -1}), "`offset`"),
    ] {
        let refused = client.refused(tool, arguments.clone());
        assert!(refused.contains(says), "{tool} {arguments}: {refused}");
    }
    assert!(client.call("list", json!({})).starts_with("0 running, 0 ended"));
}

#[test]
fn without_a_store_the_handshake_works_and_a_call_says_what_is_wrong() {
    let store = Store::new();
    let mut command = store.command(&["mcp"]);
    command.env("MEANWHILE_STATE_DIR", "relative");
    let mut client = Client::start(command);
    client.result("tools/list", json!({}));
    let refused = client.refused("list", json!({}));
    assert!(refused.contains("MEANWHILE_STATE_DIR"), "{refused}");
}
