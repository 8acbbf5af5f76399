//! The agent exits in several ways, and tasks keep running.

use std::io::Write;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use serde_json::json;

use crate::client::Client;
use crate::harness::{Store, until};

const HELD: &str = "
[[turn]]
[[turn.call]]
tool = 'background_run'
input = { command = 'until [ -e go ]; do sleep 0.02; done; echo whole' }

[[turn]]
text = 'It runs.'

[[turn]]
expect = ['whole']
text = 'It is whole.'
";

#[test]
fn the_end_of_input_and_a_signal_end_it_and_tasks_go_on() {
    for signal in [None, Some(Signal::SIGTERM)] {
        let store = Store::new();
        let mut client = Client::new(&store, HELD);
        let session = client.session(&store.workspace());
        client.say(&session, "run it");
        client.says("It runs.");
        match signal {
            None => client.pipe.close(),
            Some(signal) => client.pipe.signal(signal),
        }
        let status = client.pipe.wait();
        assert!(signal.is_some() || status.success(), "{status}");
        let running = store.json(&["ps", "--json"]);
        assert_eq!(running["tasks"][0]["state"], "running", "{running}");
        let id = running["tasks"][0]["id"].as_str().unwrap().to_owned();
        store.release();
        until("the task has ended", || store.task(&id)["state"] == "exited");
        // The task's result is delivered when the session is opened again.
        let mut client = Client::new(&store, HELD);
        let params = json!({"cwd": store.workspace(), "sessionId": session, "mcpServers": []});
        client.call("session/load", params);
        client.says("It is whole.");
    }
}

fn lives(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn the_death_of_the_client_ends_it_though_the_pipe_is_held_and_tasks_go_on() {
    let store = Store::new();
    // The client starts the agent with a pipe whose other end a third process also holds.
    let fifo = store.workspace().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let script = store.scripted(HELD, &["acp"]);
    let model = script.get_envs().find(|(name, _)| *name == "MEANWHILE_MODEL").unwrap().1.unwrap();
    let line =
        "sleep 600 > fifo & echo $! > holder; \"$M\" acp < fifo > out & echo $! > agent; wait";
    let mut editor = store.program("/bin/sh");
    editor.args(["-c", line]).env("M", env!("CARGO_BIN_EXE_meanwhile"));
    editor.env("MEANWHILE_MODEL", model);
    let mut editor = editor.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let text = |name: &str| std::fs::read_to_string(store.workspace().join(name));
    let pid = |name: &str| -> Option<u32> { text(name).ok()?.trim().parse().ok() };
    // The shell's child becomes the agent with execve.
    let is_agent = |pid: u32| {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm"));
        name.is_ok_and(|name| name.starts_with("meanwhile"))
    };
    until("the agent runs", || pid("agent").is_some_and(is_agent));
    let (agent, holder) = (pid("agent").unwrap(), pid("holder").unwrap());
    let mut pipe = std::fs::OpenOptions::new().write(true).open(&fifo).unwrap();
    let mut say = |id: u32, method: &str, params: serde_json::Value| {
        let message = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        writeln!(pipe, "{message}").unwrap();
    };
    say(1, "initialize", json!({"protocolVersion": 1}));
    say(2, "session/new", json!({"cwd": store.workspace(), "mcpServers": []}));
    let made = || -> Option<String> {
        let lines = text("out").ok()?;
        let replies = lines.lines().filter_map(|it| serde_json::from_str(it).ok());
        let mut named = replies.filter_map(|it: serde_json::Value| {
            it["result"]["sessionId"].as_str().map(str::to_owned)
        });
        named.next()
    };
    until("there is a session", || made().is_some());
    say(3, "session/prompt", crate::client::said(&made().unwrap(), "run it"));
    until("the agent says that the task runs", || {
        text("out").is_ok_and(|out| out.contains("It runs."))
    });
    editor.kill().unwrap();
    editor.wait().unwrap();
    until("the agent has ended", || !lives(agent));
    assert!(lives(holder), "the pipe was held");
    Command::new("kill").arg(holder.to_string()).status().unwrap();
    let running = store.json(&["ps", "--json"]);
    assert_eq!(running["tasks"][0]["state"], "running", "{running}");
    store.release();
}
