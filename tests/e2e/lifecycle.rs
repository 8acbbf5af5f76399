//! From `initialize` to the exit code (docs/protocol.md, "Lifecycle").

use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Daemon, Lab, Transport, eventually, id_of};

/// The protocol's "within 1 s", plus half a second because other tests run at the same time.
const WITHIN_1_S: Duration = Duration::from_millis(1_500);

const METHODS: [&str; 22] = [
    "task/spawn",
    "task/check",
    "task/drain",
    "task/ack",
    "task/wait",
    "task/read",
    "task/stop",
    "task/restart",
    "task/signal",
    "task/resize",
    "task/write",
    "task/subscribe",
    "task/unsubscribe",
    "task/timeline",
    "task/remove",
    "session/new",
    "session/load",
    "session/list",
    "session/prompt",
    "session/cancel",
    "session/close",
    "session/trace",
];

const PUSHES: [&str; 13] = [
    "task/started",
    "task/began",
    "task/output",
    "task/progress",
    "task/listening",
    "task/notified",
    "task/exited",
    "tasks/changed",
    "session/update",
    "session/turn",
    "session/retrying",
    "session/traced",
    "session/timeline",
];

/// The names that `docs/protocol.md` lists under "Limits".
const LIMITS: [&str; 23] = [
    "after",
    "argumentsBytes",
    "commandBytes",
    "drain",
    "ids",
    "list",
    "matchLineBytes",
    "messageBytes",
    "nameBytes",
    "patternBytes",
    "previewBytes",
    "progressIntervalMs",
    "ptySide",
    "pushBytes",
    "pushIntervalMs",
    "readBytes",
    "runningTasks",
    "stopGraceMs",
    "timeMs",
    "waitingRequests",
    "watchLimit",
    "watches",
    "writeBytes",
];

fn holds_all(list: &Value, wanted: &[&str]) {
    let list = list.as_array().unwrap_or_else(|| panic!("no list: {list}"));
    for name in wanted {
        assert!(list.iter().any(|entry| entry == name), "{name} is missing in {list:?}");
    }
}

#[test]
fn initialize_tells_what_the_daemon_can_do() {
    let (_daemon, result) = Lab::new().start().go_and_tell();
    assert_eq!(result["serverInfo"]["name"], "meanwhile");
    assert!(result["serverInfo"]["version"].is_string());
    let capabilities = &result["capabilities"];
    let commands = ["meanwhile.spawn", "meanwhile.check", "meanwhile.drain", "meanwhile.stop"];
    holds_all(&capabilities["executeCommandProvider"]["commands"], &commands);
    let ours = &capabilities["experimental"]["meanwhile"];
    assert_eq!(ours["protocolVersion"], 1);
    holds_all(&ours["methods"], &METHODS);
    holds_all(&ours["notifications"], &PUSHES);
    let limits = ours["limits"].as_object().expect("limits are shown");
    let mut named: Vec<&str> = limits.keys().map(String::as_str).collect();
    named.sort_unstable();
    assert_eq!(named, LIMITS, "every limit is named");
    assert!(limits.values().all(|limit| limit.as_u64() > Some(0)), "{limits:?}");
    let secrets = ours["secretVariables"].as_array().expect("the variables with keys are named");
    assert!(secrets.contains(&"ANTHROPIC_API_KEY".into()), "{secrets:?}");
}

#[test]
fn requests_before_initialize_are_refused_with_32002() {
    let daemon = Lab::new().start().silent().go();
    for method in METHODS.into_iter().chain(["shutdown", "workspace/executeCommand"]) {
        daemon.refused(-32002, method, json!({ "command": "true", "id": "00000000" }));
    }
    daemon.call("initialize", json!({ "processId": null, "capabilities": {} }));
    daemon.notify("initialized", json!({}));
    assert_eq!(daemon.call("task/check", json!({}))["tasks"], json!([]), "nothing was recorded");
}

#[test]
fn a_second_initialize_is_refused_and_harmless() {
    let daemon = Lab::new().daemon();
    daemon.refused(-32600, "initialize", json!({ "processId": null, "capabilities": {} }));
    daemon.run("true");
}

#[test]
fn unknown_methods_are_refused_with_32601_and_unknown_notifications_ignored() {
    let daemon = Lab::new().daemon();
    for method in ["task/nosuch", "textDocument/hover", "", "task/spawn ", "TASK/SPAWN"] {
        daemon.refused(-32601, method, json!({}));
    }
    daemon.notify("$/nosuch", json!({}));
    daemon.notify("textDocument/didOpen", json!({ "textDocument": 1 }));
    daemon.run("true");
}

#[test]
fn after_shutdown_requests_are_refused_and_exit_gives_0() {
    let daemon = Lab::new().daemon();
    daemon.call("shutdown", Value::Null);
    daemon.refused(-32600, "task/check", json!({}));
    daemon.notify("exit", Value::Null);
    assert_eq!(daemon.ends_within(WITHIN_1_S).code(), Some(0));
}

#[test]
fn shutdown_and_exit_take_null_parameters() {
    let daemon = Lab::new().daemon();
    daemon.send_raw(&json!({ "jsonrpc": "2.0", "id": "s", "method": "shutdown", "params": null }));
    let result = daemon.find("the answer to shutdown", |entry| {
        (entry.message["id"] == "s").then(|| entry.message.clone())
    });
    assert_eq!(result.get("result"), Some(&Value::Null), "{result}");
    daemon.send_raw(&json!({ "jsonrpc": "2.0", "method": "exit", "params": null }));
    assert_eq!(daemon.ends_within(WITHIN_1_S).code(), Some(0));
}

#[test]
fn empty_parameters_are_none() {
    for empty in [json!({}), json!([])] {
        let daemon = Lab::new().daemon();
        let answer = |id: &str, method: &str, params: &Value| {
            let request = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
            daemon.send_raw(&request);
            daemon.find("the answer", |e| (e.message["id"] == id).then(|| e.message.clone()))
        };
        assert_eq!(answer("c", "task/check", &empty)["result"], json!({ "tasks": [] }));
        assert_eq!(answer("w", "task/check", &json!([1]))["error"]["code"], -32602);
        let result = answer("s", "shutdown", &empty);
        assert_eq!(result.get("result"), Some(&Value::Null), "{result}");
        let exit = json!({ "jsonrpc": "2.0", "method": "exit", "params": empty });
        daemon.send_raw(&exit);
        assert_eq!(daemon.ends_within(WITHIN_1_S).code(), Some(0));
    }
}

#[test]
fn exit_without_shutdown_gives_1() {
    for (name, daemon) in [
        ("after the handshake", Lab::new().daemon()),
        ("before the handshake", Lab::new().start().silent().go()),
    ] {
        daemon.notify("exit", Value::Null);
        assert_eq!(daemon.ends_within(WITHIN_1_S).code(), Some(1), "{name}");
    }
}

#[test]
fn the_end_of_stdin_ends_the_daemon_within_a_second() {
    for transport in [Transport::Pipes, Transport::Sockets] {
        let daemon = Lab::new().start().over(transport).go();
        daemon.close_stdin();
        assert_eq!(daemon.ends_within(WITHIN_1_S).code(), Some(1), "over {transport:?}");
    }
    let daemon = Lab::new().start().silent().go();
    daemon.close_stdin();
    assert_eq!(daemon.ends_within(WITHIN_1_S).code(), Some(1), "before the handshake");
    let daemon = Lab::new().daemon();
    daemon.call("shutdown", Value::Null);
    daemon.close_stdin();
    assert_eq!(daemon.ends_within(WITHIN_1_S).code(), Some(0), "after shutdown");
}

#[test]
fn the_end_of_stdin_ends_the_daemon_though_requests_wait() {
    let daemon = Lab::new().daemon();
    let id = daemon.sh("sleep 600");
    for _ in 0..8 {
        daemon.ask("task/wait", json!({ "ids": [id], "timeoutMs": 600_000 }));
    }
    daemon.check(&id);
    daemon.close_stdin();
    assert_eq!(daemon.ends_within(WITHIN_1_S).code(), Some(1));
    daemon.lab().daemon().stop(&id);
}

#[test]
fn exit_ends_the_daemon_though_stdin_is_open_and_requests_wait() {
    let daemon = Lab::new().daemon();
    let id = daemon.sh("sleep 600");
    daemon.ask("task/wait", json!({ "ids": [id], "timeoutMs": 600_000 }));
    daemon.check(&id);
    daemon.notify("exit", Value::Null);
    assert_eq!(daemon.ends_within(WITHIN_1_S).code(), Some(1));
    daemon.lab().daemon().stop(&id);
}

#[test]
fn the_death_of_the_client_process_ends_the_daemon_within_a_second() {
    let mut client = Command::new("sleep").arg("600").spawn().expect("sleep runs");
    let daemon = Lab::new().start().initialize("processId", json!(client.id())).go();
    daemon.run("true");
    client.kill().expect("the test is its parent");
    // The client is reaped only now: a zombie client must not keep the daemon alive.
    assert_eq!(daemon.ends_within(WITHIN_1_S).code(), Some(1));
    client.wait().expect("the test is its parent");
}

#[test]
fn a_client_process_that_is_not_visible_here_does_not_end_the_daemon() {
    let mut client = Command::new("true").spawn().expect("true runs");
    let pid = client.id();
    client.wait().expect("the test is its parent");
    let daemon = Lab::new().start().silent().go();
    daemon.call("initialize", json!({ "processId": pid, "capabilities": {} }));
    daemon.notify("initialized", json!({}));
    daemon.run("echo it lives");
    daemon.close_stdin();
    assert_eq!(daemon.ends_within(WITHIN_1_S).code(), Some(1));
}

#[test]
fn tasks_outlive_every_way_a_daemon_ends() {
    let lab = Lab::new();
    let end_of_stdin = |daemon: Daemon| {
        daemon.close_stdin();
        daemon.ends_within(WITHIN_1_S);
    };
    let sigkill = |daemon: Daemon| drop(daemon.kill9());
    let shutdown = |daemon: Daemon| daemon.shut_down();
    let ends: [(&str, &dyn Fn(Daemon)); 3] =
        [("end of stdin", &end_of_stdin), ("SIGKILL", &sigkill), ("shutdown", &shutdown)];
    let gate = lab.gate("gate");
    for (name, end) in ends {
        let daemon = lab.daemon();
        let id = daemon.sh("echo before; read go < gate; echo after; exit 3");
        daemon.wait_output(&id, "before");
        end(daemon);
        let next = lab.daemon();
        let task = next.check(&id);
        assert_eq!(task["state"], "running", "after {name}: {task}");
        gate.open();
        let notification = next.exited(&id);
        assert_eq!(notification["task"]["exit"], json!({ "code": 3, "signal": null }), "{name}");
        assert_eq!(next.output(&id), "before\nafter\n", "after {name}");
    }
}

#[test]
fn the_workspace_is_the_folder_named_or_the_working_directory() {
    let other = |lab: &Lab| {
        let path = lab.root().join("elsewhere");
        std::fs::create_dir_all(&path).expect("the test's directory is writable");
        path
    };
    let check = |name: &str, params: &dyn Fn(&str) -> Value, elsewhere: bool| {
        let lab = Lab::new();
        let path = other(&lab);
        let wanted = if elsewhere { path.clone() } else { lab.workspace() };
        let wanted = wanted.canonicalize().expect("it exists");
        let daemon = lab.start().silent().go();
        let mut all = json!({ "processId": null, "capabilities": {} });
        for (key, value) in params(&path.display().to_string()).as_object().expect("an object") {
            all[key] = value.clone();
        }
        daemon.call("initialize", all);
        daemon.notify("initialized", json!({}));
        let id = daemon.sh("pwd -P");
        let task = daemon.exited(&id)["task"].clone();
        let wanted = wanted.display().to_string();
        assert_eq!(task["workspace"], wanted, "{name}");
        assert_eq!(task["cwd"], wanted, "{name}");
        assert_eq!(daemon.output(&id).trim_end(), wanted, "{name}");
    };
    let folder = |path: &str| json!({ "workspaceFolders": [{ "uri": format!("file://{path}"), "name": "x" }] });
    check("workspaceFolders", &folder, true);
    check("rootUri", &|path| json!({ "rootUri": format!("file://{path}") }), true);
    check("nothing", &|_| json!({}), false);
    check("nulls", &|_| json!({ "workspaceFolders": null, "rootUri": null }), false);
    check("no folder", &|_| json!({ "workspaceFolders": [] }), false);
    check(
        "both",
        &|path| {
            let mut both = folder(path);
            both["rootUri"] = json!("file:///");
            both
        },
        true,
    );
}

#[test]
fn the_state_directory_follows_the_environment_and_is_private() {
    let check = |name: &str, set: &[(&str, &str)], wanted: &str| {
        let lab = Lab::new();
        let mut start = lab.start().without_env("MEANWHILE_STATE_DIR");
        for (variable, below) in set {
            start = start.env(variable, &lab.root().join(below).display().to_string());
        }
        let daemon = start.go();
        daemon.run("true");
        let directory = lab.root().join(wanted);
        let about =
            std::fs::metadata(&directory).unwrap_or_else(|e| panic!("{name}: {wanted}: {e}"));
        assert_eq!(about.permissions().mode() & 0o777, 0o700, "{name}");
    };
    let all = [("MEANWHILE_STATE_DIR", "state"), ("XDG_STATE_HOME", "xdg")];
    check("MEANWHILE_STATE_DIR", &all, "state");
    check("XDG_STATE_HOME", &all[1..], "xdg/meanwhile");
    check("HOME", &[], "home/.local/state/meanwhile");
}

#[test]
fn logs_go_to_stderr_and_never_to_stdout() {
    let daemon = Lab::new().start().env("MEANWHILE_LOG", "trace").noisy().go();
    daemon.run("echo to the log; echo to the other >&2");
    // The harness asserts that stdout has only messages.
    eventually("MEANWHILE_LOG=trace to show something", || {
        (!daemon.stderr().is_empty()).then_some(())
    });
}

#[test]
fn serve_takes_stdio() {
    let daemon = Lab::new().start().arguments(&["serve", "--stdio"]).go();
    daemon.run("true");
}

#[test]
fn the_same_session_runs_over_a_socketpair() {
    let daemon = Lab::new().start().over(Transport::Sockets).go();
    let task = daemon.spawn(json!({ "command": "echo hello" }));
    let id = id_of(&task);
    daemon.exited(&id);
    assert_eq!(daemon.output(&id), "hello\n");
    assert_eq!(daemon.drain().len(), 1);
}

#[test]
fn a_request_is_cancelled_at_once_and_answered_once() {
    let daemon = Lab::new().daemon();
    let id = daemon.sh("sleep 600");
    let wait = daemon.ask("task/wait", json!({ "ids": [id], "timeoutMs": 600_000 }));
    daemon.notify("$/cancelRequest", json!({ "id": wait }));
    let error = daemon.answer(wait).expect_err("a cancelled wait");
    assert_eq!(error.code, -32800, "{error:?}");
    assert_eq!(daemon.check(&id)["state"], "running", "cancelling a wait stops nothing");
    // Cancelling an answered or unknown request is not an error.
    daemon.notify("$/cancelRequest", json!({ "id": wait }));
    daemon.notify("$/cancelRequest", json!({ "id": 987_654 }));
    daemon.stop(&id);
}

#[test]
fn execute_command_serves_clients_that_know_lsp_only() {
    let daemon = Lab::new().daemon();
    let command = |name: &str, arguments: Value| {
        daemon.call("workspace/executeCommand", json!({ "command": name, "arguments": arguments }))
    };
    let task =
        command("meanwhile.spawn", json!([{ "command": "echo hi; exit 4" }]))["task"].clone();
    let id = id_of(&task);
    daemon.exited(&id);
    let seen = command("meanwhile.check", json!([{ "id": id }]));
    assert_eq!(seen["task"]["exit"]["code"], 4);
    let drained = command("meanwhile.drain", json!([{}]));
    assert_eq!(drained["notifications"][0]["task"]["id"], json!(id));
    assert_eq!(command("meanwhile.drain", json!([]))["notifications"], json!([]));
    let task = command("meanwhile.spawn", json!([{ "command": "sleep 600" }]))["task"].clone();
    let stopped = command("meanwhile.stop", json!([{ "id": id_of(&task) }]));
    assert_eq!(stopped["task"]["state"], "stopped");
}
