//! `meanwhile hook`: payloads from hosts, and the replies to them.

use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::process::{Child, Command, Stdio};

use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::client::{Client, id_in};
use crate::harness::{Ran, Store, until};

/// A payload with the members that every host sends.
fn payload(session: &str, event: &str) -> Value {
    json!({"session_id": session, "hook_event_name": event, "cwd": "/", "transcript_path": "/t.jsonl"})
}

fn start(mut command: Command, payload: &str) -> Child {
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(payload.as_bytes()).unwrap();
    child
}

/// Runs the hook of a host with this payload, in an interactive session.
fn hook(store: &Store, args: &[&str], payload: &Value) -> Ran {
    let command = store.command(&[&["hook"], args].concat());
    Ran::from(start(command, &payload.to_string()).wait_with_output().unwrap())
}

/// Starts the hook of a session of `claude -p`.
fn unattended(store: &Store, payload: &Value) -> Child {
    let mut command = store.command(&["hook", "claude"]);
    command.env("CLAUDE_CODE_SESSION_ATTENDED", "0");
    start(command, &payload.to_string())
}

/// Spawns in the shell of a session of Claude Code, and returns the id.
#[track_caller]
fn spawn(store: &Store, session: &str, args: &[&str], line: &str) -> String {
    let args = [&["spawn"], args, &["--", "/bin/sh", "-c", line]].concat();
    let ran =
        Ran::from(store.command(&args).env("CLAUDE_CODE_SESSION_ID", session).output().unwrap());
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    ran.text().trim().to_owned()
}

const HELD: &str = "until [ -e go ]; do sleep 0.02; done; echo over";

#[track_caller]
fn ended(store: &Store, id: &str) {
    until("the task has ended", || store.task(id)["state"] == "exited");
}

#[test]
fn with_nothing_to_say_each_host_hears_it_its_own_way() {
    let store = Store::new();
    for (host, events, nothing) in [
        (
            "claude",
            &["SessionStart", "UserPromptSubmit", "PostToolUse", "Stop", "SessionEnd"][..],
            "",
        ),
        ("codex", &["SessionStart", "UserPromptSubmit", "PostToolUse", "Stop"], "{}\n"),
        (
            "gemini",
            &["SessionStart", "BeforeAgent", "AfterTool", "AfterAgent", "SessionEnd"],
            "{}\n",
        ),
        ("opencode", &["chat.message", "tool.execute.after", "session.idle", "dispose"], ""),
    ] {
        // Without a store, with one, and with a task of another session.
        for round in 0..3 {
            for event in events {
                let ran = hook(&store, &[host], &payload("mine", event));
                let said = (ran.code, ran.text(), ran.stderr);
                let expect = (Some(0), nothing.to_owned(), String::new());
                assert_eq!(said, expect, "{host} {event}, round {round}");
            }
            if round == 1 {
                let other = spawn(&store, "other", &[], "true");
                ended(&store, &other);
            }
        }
    }
}

#[test]
fn a_result_enters_the_next_call_once() {
    let store = Store::new();
    for (host, event) in
        [("claude", "PostToolUse"), ("codex", "PostToolUse"), ("gemini", "AfterTool")]
    {
        let id = spawn(&store, "mine", &[], "echo said; exit 3; # <tag>");
        ended(&store, &id);
        let ran = hook(&store, &[host], &payload("mine", event));
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        let reply: Value = serde_json::from_slice(&ran.stdout).unwrap();
        let output = &reply["hookSpecificOutput"];
        assert_eq!(output["hookEventName"], event);
        let text = output["additionalContext"].as_str().unwrap();
        assert!(text.contains(&format!("[bg:{id}] exited 3")) && text.contains("said\n"), "{text}");
        assert_eq!(text.contains("<background-results>"), host != "gemini", "{text}");
        let again = hook(&store, &[host], &payload("mine", event)).text();
        assert!(!again.contains("said"), "{again}");
        assert!(store.task(&id)["delivered"].is_object());
    }
}

#[test]
fn the_end_of_a_headless_turn_waits_and_tells_everything_at_once() {
    let store = Store::new();
    let first = spawn(&store, "mine", &[], HELD);
    let second = spawn(&store, "mine", &[], &format!("{HELD}; exit 4"));
    let server = spawn(&store, "mine", &["--service"], "sleep 600");
    let other = spawn(&store, "other", &[], "sleep 600");
    let hook = unattended(&store, &payload("mine", "Stop"));
    store.release();
    let ran = Ran::from(hook.wait_with_output().unwrap());
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let reply: Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!(reply["decision"], "block", "{reply}");
    let reason = reply["reason"].as_str().unwrap();
    assert!(
        reason.contains(&first) && reason.contains(&format!("[bg:{second}] exited 4")),
        "{reason}"
    );
    assert!(!reason.contains(&server) && !reason.contains(&other), "{reason}");
    // The model has answered, and only the server still runs.
    let mut active = payload("mine", "Stop");
    active["stop_hook_active"] = json!(true);
    let ran = Ran::from(unattended(&store, &active).wait_with_output().unwrap());
    assert_eq!((ran.code, ran.text()), (Some(0), String::new()));
}

#[test]
fn a_second_hook_at_the_same_stop_says_nothing() {
    let store = Store::new();
    let id = spawn(&store, "mine", &[], HELD);
    let waits = || start(store.command(&["hook", "codex"]), &payload("mine", "Stop").to_string());
    let mut both = [waits(), waits()];
    until("one of them has ended", || both.iter_mut().any(|it| it.try_wait().unwrap().is_some()));
    store.release();
    ended(&store, &id);
    let texts = both.map(|hook| Ran::from(hook.wait_with_output().unwrap()).text());
    let (nothing, told): (Vec<String>, Vec<String>) =
        texts.into_iter().partition(|it| it == "{}\n");
    assert_eq!((nothing.len(), told.len()), (1, 1), "{told:?}");
    assert!(told[0].contains("exited 0") && told[0].contains("\"block\""), "{told:?}");
    assert!(!told[0].contains("<background-results>"), "Codex would escape the tags: {told:?}");
    let again = Ran::from(waits().wait_with_output().unwrap()).text();
    assert_eq!(again, "{}\n");
}

#[test]
fn a_hook_whose_host_is_gone_ends_and_takes_nothing() {
    let store = Store::new();
    let id = spawn(&store, "mine", &[], HELD);
    fs::write(store.workspace().join("payload"), payload("mine", "Stop").to_string()).unwrap();
    // The host is not a shell; it leaves `out`, the other end of the pipe, open.
    let mut host = store.program("/usr/bin/env");
    let code = "import os,subprocess; hook = subprocess.Popen([os.environ['M'], 'hook', 'codex'], \
                stdin=open('payload'), stdout=open('out', 'w')); \
                open('pid', 'w').write(f'{hook.pid}\\n'); hook.wait()";
    let mut host = host
        .args(["python3", "-c", code])
        .env("M", env!("CARGO_BIN_EXE_meanwhile"))
        .spawn()
        .unwrap();
    let pid = || fs::read_to_string(store.workspace().join("pid")).unwrap_or_default();
    until("it runs", || pid().ends_with('\n'));
    let is_lock = |name: OsString| name.to_string_lossy().ends_with(".wait");
    until("it waits", || {
        let notes = fs::read_dir(store.state().join("hosts"));
        notes.is_ok_and(|mut notes| notes.any(|note| note.is_ok_and(|it| is_lock(it.file_name()))))
    });
    host.kill().unwrap();
    host.wait().unwrap();
    let stat = format!("/proc/{}/stat", pid().trim());
    until("the hook has ended", || {
        fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z "))
    });
    store.release();
    ended(&store, &id);
    assert!(!fs::read_to_string(store.workspace().join("out")).unwrap().contains("block"));
    let text = hook(&store, &["codex"], &payload("mine", "PostToolUse")).text();
    assert!(text.contains("exited 0"), "{text}");
}

#[test]
fn an_attended_turn_ends_at_once_and_is_woken() {
    let store = Store::new();
    let id = spawn(&store, "mine", &[], HELD);
    let ran = hook(&store, &["claude"], &payload("mine", "Stop"));
    assert_eq!(
        (ran.code, ran.text()),
        (Some(0), String::new()),
        "an interactive session is not blocked"
    );
    let wake = || {
        start(
            store.command(&["hook", "claude", "--rewake"]),
            &payload("mine", "PostToolUse").to_string(),
        )
    };
    let first = wake();
    until("it waits", || store.state().join("hosts/mine.wait").exists());
    store.release();
    let ran = Ran::from(first.wait_with_output().unwrap());
    assert_eq!((ran.code, ran.text()), (Some(2), String::new()), "{}", ran.stderr);
    assert!(ran.stderr.contains(&format!("[bg:{id}] exited 0")), "{}", ran.stderr);
    // If no task runs, the hook does not wait.
    let ran = Ran::from(wake().wait_with_output().unwrap());
    assert_eq!((ran.code, ran.stderr), (Some(0), String::new()));
    let ran = hook(&store, &["claude"], &payload("mine", "PostToolUse"));
    assert_eq!(ran.text(), "", "it was told");
}

#[test]
fn one_process_waits_for_a_session() {
    let store = Store::new();
    spawn(&store, "mine", &[], HELD);
    let wake = |session: &str| {
        let payload = payload(session, "PostToolUse").to_string();
        start(store.command(&["hook", "claude", "--rewake"]), &payload)
    };
    let children: Vec<Child> = (0..5).map(|_| wake("mine")).collect();
    store.release();
    let codes = children.into_iter().map(|it| Ran::from(it.wait_with_output().unwrap()));
    let told: Vec<Ran> = codes.filter(|ran| ran.code == Some(2)).collect();
    assert_eq!(told.len(), 1, "told once");
}

#[test]
fn at_the_start_of_a_session_it_hears_what_still_runs() {
    let store = Store::new();
    let runs = spawn(&store, "mine", &[], HELD);
    for source in ["startup", "resume", "compact"] {
        let mut payload = payload("mine", "SessionStart");
        payload["source"] = json!(source);
        let text = hook(&store, &["claude"], &payload).text();
        let reply: Value = serde_json::from_str(&text).unwrap();
        let text = reply["hookSpecificOutput"]["additionalContext"].as_str().unwrap();
        assert!(text.contains(&format!("[bg:{runs}] running for")), "{text}");
    }
    store.release();
    ended(&store, &runs);
    let text = hook(&store, &["claude"], &payload("mine", "SessionStart")).text();
    assert!(text.contains("exited 0") && !text.contains("that run"), "{text}");
}

#[test]
fn hooks_and_tools_together_tell_once() {
    let store = Store::new();
    let mut client = Client::claude(&store, "mine");
    let first = client.run("echo first");
    ended(&store, &first);
    assert!(hook(&store, &["claude"], &payload("mine", "PostToolUse")).text().contains("first"));
    assert!(client.call("drain", json!({})).starts_with("nothing new"));
    // From here on the tools say that results arrive without a call.
    let said = client.call("background_run", json!({"command": "echo second"}));
    assert!(said.contains("comes by itself"), "{said}");
    let second = id_in(&said);
    assert!(client.call("wait", json!({})).contains(&second));
    assert_eq!(hook(&store, &["claude"], &payload("mine", "PostToolUse")).text(), "");
}

#[test]
fn a_session_that_hooks_tell_is_not_woken_by_a_task_besides() {
    let store = Store::new();
    let mut client = Client::claude(&store, "mine").modern();
    hook(&store, &["claude"], &payload("mine", "SessionStart"));
    let result = client
        .result("tools/call", json!({"name": "background_run", "arguments": {"command": "true"}}));
    assert_eq!(result["resultType"], "complete", "{result}");
    let said = result["content"][0]["text"].as_str().unwrap();
    assert!(said.contains("comes by itself"), "{said}");
    ended(&store, &id_in(said));
    let told = hook(&store, &["claude"], &payload("mine", "PostToolUse")).text();
    assert!(told.contains("exited 0"), "{told}");
}

#[test]
fn a_hook_that_is_killed_before_it_has_told_loses_nothing() {
    let store = Store::new();
    let mut client = Client::claude(&store, "mine");
    let id = client.run(HELD);
    let mut killed = unattended(&store, &payload("mine", "Stop"));
    until("it waits", || store.state().join("hosts").is_dir());
    killed.kill().unwrap();
    killed.wait().unwrap();
    store.release();
    ended(&store, &id);
    // A hook whose reader is gone has not delivered the result either.
    let broken = "exec 1>&-; \"$M\" hook claude <payload";
    fs::write(store.workspace().join("payload"), payload("mine", "PostToolUse").to_string())
        .unwrap();
    let mut shell = store.program("/bin/sh");
    shell.args(["-c", broken]).env("M", env!("CARGO_BIN_EXE_meanwhile")).status().unwrap();
    assert!(client.call("drain", json!({})).contains(&id));
    assert_eq!(hook(&store, &["claude"], &payload("mine", "PostToolUse")).text(), "");
}

#[test]
fn a_session_that_has_ended_keeps_its_tasks_for_a_while() {
    let store = Store::new();
    let id = spawn(&store, "mine", &[], HELD);
    let ran = hook(&store, &["claude"], &payload("mine", "SessionEnd"));
    assert_eq!((ran.code, ran.text(), ran.stderr.as_str()), (Some(0), String::new(), ""));
    assert_eq!(store.task(&id)["state"], "running");
    // The process that waits for the hour is in its own session once the hook has exited.
    let waits = lingering(store.state().to_str().unwrap()).expect("a process waits");
    assert_eq!(nix::unistd::getsid(Some(waits)), Ok(waits));
    store.release();
    ended(&store, &id);
    let text = hook(&store, &["claude"], &payload("mine", "SessionStart")).text();
    assert!(text.contains("exited 0"), "reported when the session is resumed: {text}");
}

/// The process that waits for the end of a session's hour; it is found by the state directory in its environment.
fn lingering(state: &str) -> Option<Pid> {
    let with = format!("MEANWHILE_STATE_DIR={state}\0");
    fs::read_dir("/proc").unwrap().flatten().find_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let line = fs::read_to_string(entry.path().join("cmdline")).ok()?;
        let environment = fs::read(entry.path().join("environ")).ok()?;
        let is_here = String::from_utf8_lossy(&environment).contains(&with);
        (line.contains("\0--linger\0") && is_here).then_some(Pid::from_raw(pid))
    })
}

#[test]
fn a_hook_that_cannot_tell_a_result_promises_none() {
    let store = Store::new();
    let mut client = Client::claude(&store, "mine");
    hook(&store, &["claude"], &payload("mine", "SessionEnd"));
    let said = client.call("background_run", json!({"command": "true"}));
    assert!(said.contains("call wait"), "{said}");
    client.call("wait", json!({}));
}

#[test]
fn opencode_is_told_with_the_next_prompt_where_its_program_ended_with_the_turn() {
    let store = Store::new();
    let mut client = Client::anonymous(&store);
    let mut leaves = payload("mine", "tool.execute.after");
    leaves["ends_with_turn"] = json!(true);
    hook(&store, &["opencode"], &leaves);
    let run = json!({"command": "echo said", "_session": "mine"});
    let said = client.call("background_run", run);
    assert!(said.contains("call wait"), "without a hook the model has to wait: {said}");
    ended(&store, &id_in(&said));
    let text = hook(&store, &["opencode"], &payload("mine", "chat.message")).text();
    let reply: Value = serde_json::from_str(&text).unwrap();
    assert!(reply["text"].as_str().unwrap().contains("said\n"), "{text}");
    // The same session in a program that does not exit after a turn.
    let said = client.call("background_run", json!({"command": "true", "_session": "mine"}));
    assert!(said.contains("comes by itself"), "{said}");
    client.call("wait", json!({"_session": "mine"}));
    // When the program exits, the session ends, and its tasks may run for another hour.
    let held = json!({"command": HELD, "_session": "mine"});
    let held = id_in(&client.call("background_run", held));
    assert_eq!(hook(&store, &["opencode"], &payload("mine", "dispose")).code, Some(0));
    lingering(store.state().to_str().unwrap()).expect("a process waits");
    store.release();
    ended(&store, &held);
}

#[test]
fn gemini_names_no_session_and_its_hook_does() {
    let store = Store::new();
    let line = "\"$M\" spawn --wait -- echo early; \
                \"$M\" hook gemini < start > /dev/null; \
                \"$M\" spawn --wait -- echo late > /dev/null; \
                (cd / && \"$M\" drain --json); \
                \"$M\" hook gemini < tool";
    for (name, event) in [("start", "SessionStart"), ("tool", "AfterTool")] {
        fs::write(store.workspace().join(name), payload("gem", event).to_string()).unwrap();
    }
    // The host is not a shell, and runs commands and hooks with one.
    let mut host = store.program("/usr/bin/env");
    host.args([
        "python3",
        "-c",
        "import subprocess,sys; subprocess.run(['/bin/sh','-c',sys.argv[1]])",
    ]);
    let ran = Ran::from(host.arg(line).env("M", env!("CARGO_BIN_EXE_meanwhile")).output().unwrap());
    let text = ran.text();
    assert!(text.contains("\"queue\":\"gem\"") && text.contains("late"), "{text}{}", ran.stderr);
    assert!(text.trim_end().ends_with("{}"), "the drain has delivered it: {text}");
}

#[test]
fn what_is_not_a_payload_breaks_no_turn() {
    let store = Store::new();
    for (text, says) in [
        ("", "not JSON"),
        ("nonsense", "not JSON"),
        ("[]", "hook_event_name"),
        ("{\"hook_event_name\":\"Stop\"}", "session_id"),
    ] {
        for (host, nothing) in [("claude", ""), ("codex", "{}\n")] {
            let command = store.command(&["hook", host]);
            let ran = Ran::from(start(command, text).wait_with_output().unwrap());
            assert_eq!((ran.code, ran.text().as_str()), (Some(0), nothing), "{text}");
            assert!(ran.stderr.contains(says), "{text}: {}", ran.stderr);
        }
    }
    let mut command = store.command(&["hook", "codex"]);
    command.env("MEANWHILE_STATE_DIR", "relative");
    let ran =
        Ran::from(start(command, &payload("s", "Stop").to_string()).wait_with_output().unwrap());
    assert_eq!((ran.code, ran.text().as_str()), (Some(0), "{}\n"));
    assert!(ran.stderr.contains("MEANWHILE_STATE_DIR"), "{}", ran.stderr);
    // Exit code 2 would block the end of the turn.
    store.check(&["hook", "emacs"], 1, "emacs");
    store.check(&["hook", "claude", "--new"], 1, "--new");
}
