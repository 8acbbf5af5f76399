//! `meanwhile sessions --watch`: shows a session that another process has open, while it runs.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::agent::{HELD, RULE};
use crate::harness::{Ran, Store, until};

/// Starts a run, and waits until its session exists.
fn running(store: &Store) -> Child {
    let args = ["run", "--json", "--allow", RULE, "go"];
    let child = store.scripted(HELD, &args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let child = child.expect("the run starts");
    until("the session is there", || {
        let listed = store.json(&["sessions", "--json"]);
        listed["sessions"][0]["title"] == "go"
    });
    child
}

/// Reads lines until one contains this text; returns them.
fn read_until(lines: &mut impl BufRead, text: &str) -> Vec<String> {
    let mut read = Vec::new();
    loop {
        let mut line = String::new();
        assert_ne!(lines.read_line(&mut line).expect("a line"), 0, "no `{text}` in {read:#?}");
        read.push(line);
        if read[read.len() - 1].contains(text) {
            return read;
        }
    }
}

#[test]
fn a_run_is_watched_until_it_has_ended() {
    let store = Store::new();
    let run = running(&store);
    let mut watch = store
        .command(&["sessions", "--watch", "last"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap());
    let before = read_until(&mut lines, "background_run");
    assert_eq!(before[0], "› go\n", "{before:?}");
    store.release();
    let ran = Ran::from(run.wait_with_output().unwrap());
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let mut rest = String::new();
    lines.read_to_string(&mut rest).unwrap();
    let ended = watch.wait_with_output().unwrap();
    let told = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(0), "{told}");
    assert!(told.contains("open in process"), "{told}");
    // The same text as in the output of the run.
    let last = ran.json_lines();
    let said = |it: &serde_json::Value| {
        let update = &it["params"]["update"];
        let is_said = update["sessionUpdate"] == "agent_message_chunk";
        is_said.then(|| update["content"]["text"].as_str().unwrap().to_owned())
    };
    let text: Vec<_> = last.iter().filter_map(said).collect();
    let shown = before.concat() + &rest;
    let last = text.last().expect("the agent wrote a message");
    assert_eq!(shown.matches(last.trim()).count(), 1, "{last} in {shown}");
    // Later it shows the same and exits at once.
    let again = store.run(&["sessions", "--watch", "last"]);
    assert_eq!(again.code, Some(0), "{}", again.stderr);
    assert!(again.text().starts_with("› go\n") && again.text().contains(last.trim()));
    assert!(again.stderr.contains("no process has it open"), "{}", again.stderr);
}

#[test]
fn the_death_of_the_process_that_is_watched_is_told() {
    let store = Store::new();
    let mut run = running(&store);
    let mut watch = store
        .command(&["sessions", "--watch", "last", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap());
    let before = read_until(&mut lines, "session/watched");
    let stands: serde_json::Value = serde_json::from_str(before.last().unwrap()).unwrap();
    assert_eq!(stands["params"]["holder"], "open", "{stands}");
    assert_eq!(stands["params"]["pid"], run.id(), "{stands}");
    kill(Pid::from_raw(run.id() as i32), Signal::SIGKILL).unwrap();
    run.wait().unwrap();
    let rest = read_until(&mut lines, "\"gone\"");
    let ended = watch.wait_with_output().unwrap();
    let told = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{told} {rest:?}");
    assert!(told.contains("ended without closing") && told.contains("chat --resume"), "{told}");
    store.release();
}

#[test]
fn who_cannot_open_a_session_is_told_how_to_watch_it() {
    let store = Store::new();
    let none = store.check(&["sessions", "--watch", "last"], 1, "no session in this workspace");
    assert_eq!(none.text(), "");
    store.check(&["sessions", "--watch", "zzz"], 1, "no session `zzz`");
    let mut run = running(&store);
    let ran = store.agent(HELD, &["run", "--resume", "last", "more"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("meanwhile sessions --watch"), "{}", ran.stderr);
    store.release();
    assert!(run.wait().unwrap().success());
}
