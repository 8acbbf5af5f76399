//! MCP servers that a client passes: the session can use their tools, and no process of them is left.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::client::Client;
use crate::harness::{PATIENCE, Store, until};

/// The prefix of the names of this server's tools; the checksum distinguishes it from a server `my.files`.
const FILES: &str = "mcp__my_files_90874d89";

/// The server of these tests; `None` if python3 is not installed.
fn server(mode: &str) -> Option<Value> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/mcp/server.py");
    has_python()
        .then(|| json!({"name": "my files", "command": "python3", "args": [path, mode], "env": []}))
}

#[expect(clippy::print_stderr, reason = "the reader must see that the test was skipped")]
fn has_python() -> bool {
    let found = Command::new("python3").arg("--version").output().is_ok();
    if !found {
        eprintln!("skipped: no python3 here");
    }
    found
}

/// A script that calls these tools of the server one after the other; each call is given with a text that its result
/// must contain.
fn calls(calls: &[(&str, &str)]) -> String {
    let mut script = String::new();
    let mut expected = "";
    for (tool, result) in calls {
        let name = format!("{FILES}__{tool}");
        script += &format!(
            "[[turn]]\nexpect = [{expected:?}]\n[[turn.call]]\ntool = '{name}'\ninput = {{ text = 'hi' }}\n"
        );
        expected = result;
    }
    script + &format!("[[turn]]\nexpect = [{expected:?}]\ntext = 'Done.'\n")
}

fn opened(client: &mut Client, store: &Store, servers: &[Value]) -> String {
    let params = json!({"cwd": store.workspace(), "mcpServers": servers});
    client.call("session/new", params)["sessionId"].as_str().unwrap().to_owned()
}

/// The status and the text of each finished tool call, in order.
fn ends(client: &Client) -> Vec<(String, String)> {
    let updates = client.updates("tool_call_update");
    let ends = updates.iter().filter(|it| it["status"] == "completed" || it["status"] == "failed");
    let text =
        |it: &Value| it["content"][0]["content"]["text"].as_str().unwrap_or_default().to_owned();
    ends.map(|it| (it["status"].as_str().unwrap().to_owned(), text(it))).collect()
}

fn questions(client: &Client) -> Vec<String> {
    let asked = client.heard.iter().filter(|it| it["method"] == "session/request_permission");
    asked.map(|it| it["params"]["toolCall"]["title"].as_str().unwrap().to_owned()).collect()
}

fn thoughts(client: &Client) -> String {
    let chunks = client.updates("agent_thought_chunk");
    chunks.iter().filter_map(|it| it["content"]["text"].as_str()).collect()
}

fn lives(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn the_tools_of_a_server_are_called_once_a_person_allows_it() {
    let Some(server) = server("") else { return };
    let store = Store::new();
    let script = calls(&[
        ("echo", "said hi"),
        ("fails", "it did not work"),
        ("structured", "{\"answer\":42}"),
        ("big", "of 500 000 bytes are left out and not kept; ask the tool for less"),
        ("nothing", &format!("there is no tool `{FILES}__nothing`")),
    ]);
    let mut client = Client::start(store.scripted(&script, &["acp"]));
    let told = client.call("initialize", json!({"protocolVersion": 1}));
    assert_eq!(
        told["agentCapabilities"]["mcpCapabilities"],
        json!({"http": true, "sse": false}),
        "{told}"
    );
    let session = opened(&mut client, &store, &[server]);
    assert_eq!(client.prompt(&session, "go"), "end_turn");
    assert!(client.has_said("Done."), "{:?}", client.heard);
    let asked = questions(&client);
    assert_eq!(
        asked.len(),
        4,
        "each call is asked, whatever the server says about its tools: {asked:?}"
    );
    assert_eq!(asked[0], "my files: echo {\"text\":\"hi\"}");
    let ends = ends(&client);
    let status: Vec<_> = ends.iter().map(|(status, _)| status.as_str()).collect();
    assert_eq!(status, ["completed", "failed", "completed", "completed", "failed"], "{ends:?}");
    assert!(ends[3].1.len() < 20_000, "an answer is cut: {}", ends[3].1.len());
    assert!(ends[4].1.contains(&format!("update_plan, {FILES}__big")), "{:?}", ends[4]);
}

#[test]
fn rules_name_a_server_or_one_of_its_tools() {
    let Some(server) = server("") else { return };
    let store = Store::new();
    let rules = format!("allow = ['{FILES}']\ndeny = ['{FILES}__fails']\n");
    store.write_config(&format!("[permissions]\n{rules}"));
    let script = calls(&[
        ("echo", "said hi"),
        ("fails", &format!("the rule `deny {FILES}__fails` forbids it")),
    ]);
    let mut client = Client::new(&store, &script);
    let session = opened(&mut client, &store, &[server]);
    assert_eq!(client.prompt(&session, "go"), "end_turn");
    assert!(client.has_said("Done."), "{:?}", client.heard);
    assert!(questions(&client).is_empty());
}

#[test]
fn always_holds_for_a_tool_and_a_session_that_looks_uses_none() {
    let Some(server) = server("") else { return };
    let store = Store::new();
    let script = calls(&[("echo", "said hi"), ("echo", "said hi"), ("fails", "it did not work")]);
    let script = script + &calls(&[("echo", "this session is look-only")]);
    let mut client = Client::new(&store, &script);
    client.chooses = Some("allow_always");
    let session = opened(&mut client, &store, &[server]);
    assert_eq!(client.prompt(&session, "go"), "end_turn");
    assert_eq!(questions(&client).len(), 2, "the second echo is not asked");
    client.call("session/set_mode", json!({"sessionId": session, "modeId": "look"}));
    assert_eq!(client.prompt(&session, "again"), "end_turn");
    assert_eq!(questions(&client).len(), 2);
    assert!(ends(&client).last().unwrap().1.contains("look-only"), "{:?}", ends(&client));
}

#[test]
fn a_server_has_its_environment_over_ours_without_keys() {
    let Some(mut server) = server("") else { return };
    let store = Store::new();
    server["env"] =
        json!([{"name": "GIVEN", "value": " as it is "}, {"name": "HOME", "value": "/given"}]);
    let mut command = store.scripted(&calls(&[("environment", "GIVEN= as it is ")]), &["acp"]);
    command.env("ANTHROPIC_API_KEY", "sk-secret").env("OURS", "yes");
    let mut client = Client::start(command);
    client.call("initialize", json!({"protocolVersion": 1}));
    let session = opened(&mut client, &store, &[server]);
    assert_eq!(client.prompt(&session, "go"), "end_turn");
    let (_, told) = ends(&client).remove(0);
    let place = store.workspace().canonicalize().unwrap();
    for line in ["OURS=yes", "HOME=/given", place.to_str().unwrap()] {
        assert!(told.lines().any(|it| it == line), "no {line}: {told}");
    }
    assert!(!told.contains("sk-secret") && !told.contains("ANTHROPIC"), "{told}");
}

#[test]
fn a_server_that_cannot_be_used_is_named_and_the_session_goes_on() {
    let Some(noise) = server("noise") else { return };
    let store = Store::new();
    let named = |name: &str, more: Value| {
        let mut server = json!({"name": name});
        server.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        server
    };
    let servers = [
        named("absent", json!({"command": "/no/such/program"})),
        noise,
        named("old", json!({"type": "sse", "url": "http://127.0.0.1:9/sse", "headers": []})),
        named("shut", json!({"type": "http", "url": "http://127.0.0.1:9/mcp", "headers": []})),
        named("bad", json!({"type": "http", "url": "nowhere", "headers": []})),
    ];
    let mut client = Client::new(&store, "[[turn]]\ntext = 'Hello.'\n");
    let session = opened(&mut client, &store, &servers);
    assert_eq!(client.prompt(&session, "hi"), "end_turn");
    assert!(client.has_said("Hello."));
    let told = thoughts(&client);
    for expected in [
        "`absent` is not used",
        "cannot start `/no/such/program`: No such file",
        "`my files` is not used",
        "(it wrote: wrong door)",
        "`old` is not used: HTTP with server-sent events (`sse`) is deprecated",
        "`shut` is not used: connection refused",
        "`bad` is not used: its URL is not valid",
    ] {
        assert!(told.contains(expected), "no {expected:?}: {told}");
    }
}

#[test]
fn a_server_that_is_not_understood_is_a_server_less() {
    let Some(server) = server("") else { return };
    let store = Store::new();
    let mut bare = server.clone();
    bare.as_object_mut().unwrap().remove("env");
    let servers = [
        json!({"type": "acp", "name": "newer", "serverId": "1"}),
        json!({"name": "untyped", "url": "http://127.0.0.1:9/mcp"}),
        json!({"name": "broken", "command": 5, "args": [], "env": []}),
        bare,
    ];
    let mut client = Client::new(&store, &calls(&[("echo", "said hi")]));
    let session = opened(&mut client, &store, &servers);
    assert_eq!(client.prompt(&session, "go"), "end_turn");
    assert!(client.has_said("Done."), "{:?}", client.heard);
    let told = thoughts(&client);
    for expected in [
        "`newer` is not used: its type `acp` is not known; expected a program",
        "`untyped` is not used: it has a `url` and no `type`; expected a program",
        "`broken` is not used: it cannot be read: ",
    ] {
        assert!(told.contains(expected), "no {expected:?}: {told}");
    }
    assert!(!told.contains("`my files`"), "{told}");
}

#[test]
fn an_answer_that_is_too_long_is_told_at_once_and_the_server_goes_on() {
    let Some(server) = server("") else { return };
    let store = Store::new();
    let script = calls(&[("huge", "at most 4194304 are read"), ("echo", "said hi")]);
    let mut client = Client::new(&store, &script);
    let session = opened(&mut client, &store, &[server]);
    assert_eq!(client.prompt(&session, "go"), "end_turn");
    assert!(client.has_said("Done."), "{:?}", client.heard);
    let ends = ends(&client);
    assert_eq!(ends[0].0, "failed", "{ends:?}");
    assert!(ends[0].1.contains("its answer has 5242963 bytes"), "{ends:?}");
}

#[test]
fn a_server_that_only_says_that_its_tools_have_changed_is_waited_for_once() {
    let Some(server) = server("restless") else { return };
    let store = Store::new();
    // Otherwise each call would wait until another request for the list has timed out.
    let script = calls(&[("lists", "asked"); 4]);
    let mut client = Client::new(&store, &script);
    let session = opened(&mut client, &store, &[server]);
    assert_eq!(client.prompt(&session, "go"), "end_turn");
    assert!(client.has_said("Done."), "{:?}", client.heard);
    let asked: Vec<_> = ends(&client).into_iter().map(|(_, text)| text).collect();
    assert!(["asked 2 times", "asked 3 times"].contains(&&*asked[3]), "{asked:?}");
    let told = thoughts(&client);
    assert_eq!(told.matches("did not list them within 10").count(), 1, "{told}");
}

#[test]
fn a_server_that_dies_in_a_call_is_told_to_both() {
    let Some(server) = server("") else { return };
    let store = Store::new();
    let again = "[[turn]]\nwhen = 'again'\ntext = 'Again.'\n";
    let script = calls(&[("dies", "the server is gone")]) + again;
    let mut client = Client::new(&store, &script);
    let session = opened(&mut client, &store, &[server]);
    assert_eq!(client.prompt(&session, "go"), "end_turn");
    assert!(client.has_said("Done."), "{:?}", client.heard);
    let expected = "`my files` is not used: it has ended (it wrote: a valve is open)";
    until("the person is told", || {
        client.prompt(&session, "again");
        thoughts(&client).contains(expected)
    });
    client.prompt(&session, "again");
    assert_eq!(thoughts(&client).matches("is not used").count(), 1, "once");
}

#[test]
fn tools_beyond_what_a_model_takes_are_said_to_be_left_out() {
    let Some(server) = server("many") else { return };
    let store = Store::new();
    let mut client = Client::new(&store, "[[turn]]\ntext = 'Hello.'\n");
    let session = opened(&mut client, &store, &[server]);
    client.prompt(&session, "hi");
    let thoughts = thoughts(&client);
    assert!(thoughts.contains("has more tools than can be used: at least 1"), "{thoughts}");
}

#[test]
fn a_hung_call_holds_nothing_up_and_ends_with_its_turn() {
    let Some(server) = server("") else { return };
    let store = Store::new();
    let mut client = Client::new(&store, &calls(&[("hangs", "cancelled")]));
    let session = opened(&mut client, &store, &[server]);
    let prompt = client.say(&session, "go");
    client.question(1);
    until("the call is under way", || store.workspace().join("hangs").exists());
    let listed = client.call("session/list", json!({"cwd": store.workspace()}));
    assert_eq!(listed["sessions"][0]["sessionId"], *session, "{listed}");
    client.cancel(&session);
    assert_eq!(client.ended(prompt), "cancelled");
    until("the server is told", || store.workspace().join("cancelled").exists());
}

#[test]
fn a_server_that_does_not_answer_delays_no_request_and_no_cancel() {
    let Some(server) = server("mute") else { return };
    let store = Store::new();
    let mut client = Client::new(&store, "[[turn]]\ntext = 'Hello.'\n");
    let session = opened(&mut client, &store, &[server]);
    let prompt = client.say(&session, "go");
    client.call("session/list", json!({"cwd": store.workspace()}));
    client.cancel(&session);
    assert_eq!(client.ended(prompt), "cancelled");
    client.call("session/close", json!({"sessionId": session}));
}

#[test]
fn a_tool_that_comes_later_can_be_called() {
    let Some(server) = server("") else { return };
    let store = Store::new();
    let script = calls(&[("more", "there is another one"), ("late", "late, and there")]);
    let mut client = Client::new(&store, &script);
    let session = opened(&mut client, &store, &[server]);
    assert_eq!(client.prompt(&session, "go"), "end_turn");
    assert!(client.has_said("Done."), "{:?}", client.heard);
}

#[test]
fn nothing_of_a_server_is_left_however_the_session_ends() {
    let Some(server) = server("stubborn") else { return };
    for end in ["close", "end of input", "SIGKILL"] {
        let store = Store::new();
        let mut client = Client::new(&store, &calls(&[("echo", "said hi")]));
        let mut beside = server.clone();
        beside["name"] = json!("another");
        beside["args"][1] = json!("");
        let session = opened(&mut client, &store, &[server.clone(), beside]);
        assert_eq!(client.prompt(&session, "go"), "end_turn");
        let pids = std::fs::read_to_string(store.workspace().join("pids")).unwrap();
        assert!(pids.split(' ').all(lives), "{pids}");
        match end {
            "close" => drop(client.call("session/close", json!({"sessionId": session}))),
            "end of input" => client.pipe.close(),
            _ => client.pipe.signal(Signal::SIGKILL),
        }
        until(&format!("after {end} they are gone"), || !pids.split(' ').any(lives));
    }
}

#[test]
fn a_server_ends_with_its_killed_supervisor() {
    let Some(server) = server("stubborn") else { return };
    let store = Store::new();
    let mut client = Client::new(&store, &calls(&[("echo", "said hi")]));
    let session = opened(&mut client, &store, &[server]);
    assert_eq!(client.prompt(&session, "go"), "end_turn");
    let pids = std::fs::read_to_string(store.workspace().join("pids")).unwrap();
    let (own, child) = pids.split_once(' ').unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{own}/stat")).unwrap();
    let parent = stat.rsplit(") ").next().unwrap().split(' ').nth(1).unwrap().to_owned();
    Command::new("kill").args(["-9", &parent]).status().unwrap();
    until("the server is gone", || !lives(own));
    Command::new("kill").args(["-9", child]).status().unwrap();
}

/// A server on loopback, which is killed when this is dropped.
struct Loopback(Child);

impl Drop for Loopback {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_server_is_reached_over_http_with_the_headers_of_the_client() {
    let Some(server) = server("http") else { return };
    let store = Store::new();
    let path = server["args"][0].as_str().unwrap();
    let mut command = store.program("python3");
    let child = command.args([path, "http"]).stdout(Stdio::null()).stderr(Stdio::null());
    let _server = Loopback(child.spawn().unwrap());
    let address = store.workspace().join("address");
    until("it serves", || address.exists());
    let url = std::fs::read_to_string(address).unwrap();
    let mut client =
        Client::new(&store, &calls(&[("echo", "said hi"), ("fails", "it did not work")]));
    let http = |name: &str, key: &str| {
        let headers = json!([{"name": "X-Key", "value": key}]);
        json!({"type": "http", "name": name, "url": url, "headers": headers})
    };
    let session = opened(&mut client, &store, &[http("my files", "open"), http("no key", "none")]);
    assert_eq!(client.prompt(&session, "go"), "end_turn");
    assert!(client.has_said("Done."), "{:?}", client.heard);
    let told = thoughts(&client);
    assert!(told.contains("`no key` is not used") && told.contains("401"), "{told}");
}

#[test]
fn a_connection_to_a_server_that_does_not_answer_ends_with_the_session() {
    for said in ["", "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"] {
        let store = Store::new();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/mcp", listener.local_addr().unwrap());
        let mut client = Client::new(&store, "[[turn]]\ntext = 'Hello.'\n");
        let server = json!({"type": "http", "name": "hung", "url": url, "headers": []});
        let session = opened(&mut client, &store, &[server]);
        let (mut connection, _) = listener.accept().unwrap();
        connection.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut bytes = [0; 4_096];
        assert_ne!(connection.read(&mut bytes).unwrap(), 0, "the agent sends a request");
        connection.write_all(said.as_bytes()).unwrap();
        client.call("session/close", json!({"sessionId": session}));
        loop {
            match connection.read(&mut bytes) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
                Err(error) => panic!("after {said:?} the connection stays open: {error}"),
            }
        }
    }
}

#[test]
fn a_session_that_is_loaded_has_the_servers_that_are_passed_then() {
    let Some(server) = server("") else { return };
    let store = Store::new();
    let script = calls(&[("echo", "said hi")]).repeat(3);
    let mut client = Client::new(&store, &script);
    let session = opened(&mut client, &store, std::slice::from_ref(&server));
    assert_eq!(client.prompt(&session, "go"), "end_turn");
    for method in ["session/load", "session/resume"] {
        drop(client);
        client = Client::new(&store, &script);
        let params =
            json!({"cwd": store.workspace(), "sessionId": session, "mcpServers": [server]});
        client.call(method, params);
        let before = questions(&client).len();
        assert_eq!(client.prompt(&session, "go"), "end_turn");
        assert_eq!(questions(&client).len(), before + 1, "{method}");
        assert!(client.has_said("Done."), "{method}: {:?}", client.heard);
    }
}
