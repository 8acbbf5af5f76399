//! `meanwhile run`: one prompt, its result, and what happens to the tasks that it started.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::agent::{HELD, RULE};
use crate::harness::{Ran, Store, until};
use crate::terminal::Session;

const HELLO: &str = "[[turn]]\ntext = \"Hello!\"\n";

#[test]
fn what_the_agent_says_is_all_that_stdout_gets() {
    let store = Store::new();
    let script = r#"
[[turn]]
think = "Let me look."
text = "I look. "
[[turn.call]]
tool = "bash"
input = { command = "ls" }
[[turn]]
text = "Nothing here."
"#;
    let ran = store.agent(script, &["run", "what", "is", "here?"]);
    assert_eq!((ran.code, ran.text().as_str()), (Some(0), "I look. \nNothing here.\n"));
    assert!(ran.stderr.contains("bash  ls"), "{}", ran.stderr);
    let listed = store.json(&["sessions", "--json"]);
    assert_eq!(listed["sessions"][0]["title"], "what is here?");
    let shown = store.ok(&["sessions"]);
    assert!(shown.ends_with("what is here?\n"), "{shown}");
}

#[test]
fn the_prompt_may_come_on_standard_input() {
    let store = Store::new();
    let script = "[[turn]]\nexpect = [\"from a pipe\"]\ntext = \"Hello!\"\n";
    for args in [&["run", "-"][..], &["run"]] {
        let mut child = store.scripted(script, args).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(b"\nfrom a pipe\n").unwrap();
        let ran = Ran::from(child.wait_with_output().unwrap());
        assert_eq!((ran.code, ran.text().as_str()), (Some(0), "Hello!\n"), "{}", ran.stderr);
    }
    let ran = store.agent(HELLO, &["run", " "]);
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(ran.stderr.contains("the prompt is empty"), "{}", ran.stderr);
}

#[test]
fn without_a_model_it_says_what_to_set() {
    let store = Store::new();
    let ran = store.check(&["run", "--model", "anthropic/claude", "hi"], 1, "ANTHROPIC_API_KEY");
    assert!(ran.stderr.contains("`meanwhile demo`"), "{}", ran.stderr);
    store.check(&["run", "--model", "claude", "hi"], 1, "anthropic/NAME");
    assert!(store.ok(&["sessions"]).is_empty(), "no session was created");
}

#[test]
fn what_no_rule_allows_is_denied_with_a_reason() {
    let store = Store::new();
    let script = r#"
[[turn]]
[[turn.call]]
tool = "bash"
input = { command = "touch a" }
[[turn]]
expect = ["touch a"]
text = "So be it."
"#;
    // The run finished, and its exit code shows that a call was refused.
    let ran = store.agent(script, &["run", "go"]);
    assert_eq!((ran.code, ran.text().as_str()), (Some(3), "So be it.\n"), "{}", ran.stderr);
    assert!(!store.workspace().join("a").exists());
    let ran = store.agent(script, &["run", "--json", "go"]);
    let last = ran.text().lines().last().map(str::to_owned).unwrap_or_default();
    let last: serde_json::Value = serde_json::from_str(&last).expect("a line of JSON");
    assert_eq!(last["result"]["denied"], serde_json::json!(["bash touch a"]), "{last}");
    let ran = store.agent(script, &["run", "--allow", "bash touch", "--deny", "bash touch", "go"]);
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    assert!(!store.workspace().join("a").exists(), "deny wins");
    let ran = store.agent(
        &script.replace("expect = [\"touch a\"]\n", ""),
        &["run", "--allow", "bash touch", "go"],
    );
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(store.workspace().join("a").exists());
    let ran = store.agent(HELLO, &["run", "--allow", "no_such_tool x", "go"]);
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(ran.stderr.contains("no_such_tool"), "{}", ran.stderr);
}

/// A run in progress, whose output the test reads line by line.
struct Live {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Live {
    fn start(store: &Store, args: &[&str]) -> Self {
        Self::of(store.scripted(HELD, args).spawn().unwrap())
    }

    fn of(mut child: Child) -> Self {
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line
    }

    fn interrupt(&self) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), Signal::SIGINT).unwrap();
    }

    fn end(mut self) -> Ran {
        let mut rest = Vec::new();
        self.lines.read_to_end(&mut rest).unwrap();
        let mut ran = Ran::from(self.child.wait_with_output().unwrap());
        ran.stdout = rest;
        ran
    }
}

#[test]
fn a_run_waits_for_its_tasks_and_lets_the_agent_hear_of_them() {
    let store = Store::new();
    let mut run = Live::start(&store, &["run", "--allow", RULE, "build"]);
    assert_eq!((run.line(), run.line()), ("I start it.\n".to_owned(), "It runs.\n".to_owned()));
    store.release();
    let ran = run.end();
    assert_eq!((ran.code, ran.text().as_str()), (Some(0), "It has failed.\n"), "{}", ran.stderr);
    assert!(ran.stderr.contains("exit 3"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("unfinished"), "{}", ran.stderr);
}

#[test]
fn a_run_can_leave_its_tasks_or_stop_them() {
    let store = Store::new();
    let ran = store.agent(HELD, &["run", "--at-end", "detach", "--allow", RULE, "build"]);
    assert_eq!((ran.code, ran.text().as_str()), (Some(0), "I start it.\nIt runs.\n"));
    assert!(ran.stderr.contains("unfinished: 1 task goes on"), "{}", ran.stderr);
    let tasks = store.json(&["ps", "--json"]);
    let left = &tasks["tasks"][0];
    assert_eq!(left["state"], "running");
    assert!(ran.stderr.contains(left["id"].as_str().unwrap()), "it is named: {}", ran.stderr);
    store.release();
    // Its end waits in the session's queue.
    store.check(&["wait", left["id"].as_str().unwrap()], 3, "");
    let ran = store.agent(HELD, &["run", "--resume", "last", "and?"]);
    assert_eq!((ran.code, ran.text().as_str()), (Some(0), "It has failed.\n"), "{}", ran.stderr);

    std::fs::remove_file(store.workspace().join("go")).unwrap();
    let ran = store.agent(HELD, &["run", "--at-end", "stop", "--allow", RULE, "build"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stderr.contains("stopped"), "{}", ran.stderr);
    let tasks = store.json(&["ps", "--json"]);
    assert_eq!(tasks["tasks"][0]["state"], "stopped");
}

#[test]
fn a_reader_that_leaves_stops_what_was_to_be_stopped() {
    let store = Store::new();
    let hold = store.workspace().join("heard");
    let held = format!("hold = \"{}\"\ntext = \"It runs.\"", hold.display());
    let script = HELD.replace("text = \"It runs.\"", &held);
    let mut command = store.scripted(&script, &["run", "--at-end", "stop", "--allow", RULE, "go"]);
    let mut run = Live::of(command.spawn().unwrap());
    assert_eq!(run.line(), "I start it.\n");
    let Live { child, lines } = run;
    drop(lines);
    std::fs::write(hold, "").unwrap();
    let ran = Ran::from(child.wait_with_output().unwrap());
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let tasks = store.json(&["ps", "--all", "--json"]);
    assert_eq!(tasks["tasks"][0]["state"], "stopped", "{}", ran.stderr);
    assert!(ran.stderr.contains("stopped"), "it is told: {}", ran.stderr);
}

#[test]
fn one_interrupt_while_it_waits_leaves_the_tasks_and_names_them() {
    // The signal arrives while the run waits for the agent or for the task, or before it waits at all.
    for _ in 0..8 {
        let store = Store::new();
        let args = ["run", "--json", "--allow", RULE, "build"];
        let mut run = Live::start(&store, &args);
        // After this line there is no turn that the signal could end.
        while !run.line().contains("\"state\":\"ended\"") {}
        run.interrupt();
        until("the run has exited", || run.child.try_wait().unwrap().is_some());
        let ran = run.end();
        assert_eq!(ran.code, Some(130), "{}", ran.stderr);
        let tasks = store.json(&["ps", "--json"]);
        let left = &tasks["tasks"][0];
        assert_eq!(left["state"], "running");
        let last = ran.json_lines().pop().unwrap();
        assert_eq!(last["result"]["unfinished"][0]["id"], left["id"], "it is named: {last}");
    }
}

#[test]
fn an_interrupt_ends_the_turn_first() {
    let store = Store::new();
    let hold = store.workspace().join("never");
    let script = format!("[[turn]]\nhold = \"{}\"\ntext = \"x\"\n", hold.display());
    let mut child = store.scripted(&script, &["run", "--json", "wait"]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    lines.find(|line| line.as_ref().unwrap().contains("call_started")).unwrap().unwrap();
    kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGINT).unwrap();
    let rest: Vec<Value> =
        lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
    assert_eq!(rest.last().unwrap()["result"]["stopReason"], "cancelled");
    assert_eq!(Ran::from(child.wait_with_output().unwrap()).code, Some(130));
}

#[test]
fn the_words_of_a_model_move_no_cursor() {
    let store = Store::new();
    let script = "[[turn]]\ntext = \"\\u001b]0;owned\\u0007one\\ttwo\\r\\n\\u009b2Jthree\"\n";
    let mut session = Session::of(store.scripted(script, &["run", "hi"]), 80);
    session.until("the answer", |screen| screen.contains("three"));
    let drawn = session.drawn();
    assert_eq!(session.end().0, Some(0));
    assert!(drawn.contains("]0;owned\u{fffd}one\ttwo\r\n"), "{drawn:?}");
    assert!(!drawn.contains("\x1b]0") && !drawn.contains('\u{9b}'), "{drawn:?}");
    // In a pipe, the bytes are unchanged.
    let ran = store.agent(script, &["run", "hi"]);
    assert_eq!(ran.text(), "\x1b]0;owned\x07one\ttwo\r\n\u{9b}2Jthree\n");
}

#[test]
fn events_come_one_a_line() {
    let store = Store::new();
    let mut run = Live::start(&store, &["run", "--json", "--allow", RULE, "build"]);
    let first: Value = serde_json::from_str(&run.line()).unwrap();
    let id = first["session"]["sessionId"].as_str().unwrap().to_owned();
    // If the task were released earlier, the second call could already report its end.
    let mut lines = Vec::new();
    while !lines.last().is_some_and(|line: &String| line.contains("It runs.")) {
        lines.push(run.line());
    }
    store.release();
    let ran = run.end();
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(ran.stderr, "");
    let mut lines: Vec<Value> =
        lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    lines.extend(ran.json_lines());
    let (last, events) = lines.split_last().unwrap();
    let result = json!({"stopReason": "end_turn", "unfinished": [], "undelivered": 0});
    assert_eq!(last["result"], result);
    assert!(events.iter().all(|event| event["params"]["sessionId"] == *id), "{events:?}");
    let said: Vec<&str> = events
        .iter()
        .filter(|event| event["params"]["update"]["sessionUpdate"] == "agent_message_chunk")
        .filter_map(|event| event["params"]["update"]["content"]["text"].as_str())
        .collect();
    assert_eq!(said, ["I start it.", "It runs.", "It has failed."]);
}

#[test]
fn a_model_that_fails_is_a_failure() {
    let store = Store::new();
    let script = "[[turn]]\nfault = \"401\"\ntext = \"x\"\n";
    let ran = store.agent(script, &["run", "hi"]);
    assert_eq!((ran.code, ran.text().as_str()), (Some(1), ""), "{}", ran.stderr);
    assert!(ran.stderr.starts_with("error: "), "{}", ran.stderr);
    let script = "[[turn]]\nstop = \"refusal\"\ntext = \"No.\"\n";
    let ran = store.agent(script, &["run", "hi"]);
    assert_eq!((ran.code, ran.text().as_str()), (Some(1), "No.\n"), "{}", ran.stderr);
    // Text that was streamed before a call was retried is not in the output twice.
    let script = "[[turn]]\nfault = \"cut\"\ntext = \"once and only once\"\n";
    let ran = store.agent(script, &["run", "hi"]);
    assert_eq!((ran.code, ran.text().as_str()), (Some(0), "once and only once\n"));
    assert!(ran.stderr.contains("attempt 2"), "{}", ran.stderr);
}

#[test]
fn a_session_is_resumed_by_the_beginning_of_its_name() {
    let store = Store::new();
    let script = "[[turn]]\ntext = \"one\"\n[[turn]]\nexpect = [\"second\"]\ntext = \"two\"\n";
    store.check(&["run", "--model", "script/x", "--resume", "last", "hi"], 1, "cannot read");
    let none = store.agent(script, &["run", "--resume", "last", "hi"]);
    assert!(none.stderr.contains("no session in this workspace"), "{}", none.stderr);
    assert_eq!(store.agent(script, &["run", "first"]).text(), "one\n");
    let listed = store.json(&["sessions", "--json"]);
    let id = listed["sessions"][0]["sessionId"].as_str().unwrap();
    assert_eq!(store.agent(script, &["run", "--resume", &id[..8], "second"]).text(), "two\n");
    let none = store.agent(script, &["run", "--resume", "zzz", "hi"]);
    assert_eq!(none.code, Some(1));
    assert!(none.stderr.contains("no session `zzz`"), "{}", none.stderr);
}
