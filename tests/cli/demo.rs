//! `meanwhile demo`, with real commands.

use std::io::{BufRead, BufReader};
use std::process::Command;

use crate::harness::{Store, until};
use crate::terminal::Session;

/// A short script: one task that ends during the turn, one that wakes the agent.
const SCRIPT: &str = r#"
[[turn]]
text = "Both at once."
[[turn.call]]
tool = "background_run"
input = { command = "until [ -e one ]; do sleep 0.02; done; echo short done", label = "short" }
[[turn.call]]
tool = "background_run"
input = { command = "until [ -e two ]; do sleep 0.02; done; echo long done", label = "long" }

[[turn]]
[[turn.call]]
tool = "bash"
input = { command = "until [ -e busy ]; do sleep 0.02; done" }

[[turn]]
expect = ["short done"]
text = "One is in."

[[turn]]
expect = ["long done"]
text = "So is the other."
"#;

/// Creates a file for which a command waits.
fn release(store: &Store, name: &str) {
    std::fs::write(store.workspace().join(name), "").unwrap();
}

fn demo(store: &Store, script: &str) -> Command {
    let path = store.workspace().with_file_name("script.toml");
    std::fs::write(&path, script).unwrap();
    store.command(&["demo", "--script", path.to_str().unwrap()])
}

#[test]
fn without_a_terminal_the_lesson_is_lines() {
    let store = Store::new();
    let mut child = demo(&store, SCRIPT).spawn().unwrap();
    let mut text = String::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        // Each command is released after the step before it was printed.
        for (told, name) in
            [("tool     bash", "one"), ("short ends", "busy"), ("idle     1", "two")]
        {
            if line.contains(told) {
                release(&store, name);
            }
        }
        text.push_str(&line);
        text.push('\n');
    }
    assert_eq!(child.wait().unwrap().code(), Some(0), "{text}");
    let told: Vec<&str> = text.lines().map(|line| line.get(8..).unwrap_or(line)).collect();
    let expect = [
        "you      Begin.",
        "call 1",
        "agent    Both at once.",
        "task     short begins: until [ -e one ]; do sleep 0.02; done; echo short done",
        "task     long begins: until [ -e two ]; do sleep 0.02; done; echo long done",
        "call 2",
        "tool     bash  until [ -e busy ]; do sleep 0.02; done",
        "task     short ends: exit 0; into the queue",
        "call 3 <- short",
        "agent    One is in.",
        "idle     1 task runs on",
        "task     long ends: exit 0; into the queue",
        "call 4 <- long, and no prompt",
        "agent    So is the other.",
        "idle     nothing runs any more",
    ];
    assert_eq!(told[..expect.len()], expect, "{text}");
    for way in [
        "short: begun by call 1, ended between two calls, entered call 3 after ",
        "long: begun by call 1, ended while the agent was idle, woke the agent with call 4 after ",
        "No call waited, nothing was polled, and each result was told once.",
    ] {
        assert!(text.contains(way), "no `{way}`: {text}");
    }
    assert!(!text.contains('\x1b'), "{text}");
}

/// The column of a character in the row that begins with this text.
fn column(screen: &str, row: &str, wanted: char) -> Option<usize> {
    let row = screen.lines().find(|line| line.starts_with(row))?;
    row.chars().position(|c| c == wanted)
}

#[test]
fn on_a_terminal_it_is_lanes() {
    for columns in [80, 120] {
        let store = Store::new();
        let mut session = Session::of(demo(&store, SCRIPT), columns);
        session.until("the lanes run", |screen| {
            screen.contains("\nshort ")
                && screen.contains("running")
                && screen.contains("bash  until")
        });
        release(&store, "one");
        session.until("the first result waits in the queue", |screen| {
            column(screen, "queue", '●').is_some()
        });
        let screen = session.screen();
        assert_eq!(column(&screen, "queue", '▲'), None, "no call took it yet: {screen}");
        // The result left its task and entered the queue at the same time.
        assert_eq!(column(&screen, "queue", '●'), column(&screen, "short", '●'), "{screen}");
        release(&store, "busy");
        session.until("it has entered a call", |screen| {
            let (up, diamond) = (column(screen, "queue", '▲'), column(screen, "agent", '◆'));
            up.is_some() && up == diamond
        });
        session.until("the agent is idle", |screen| screen.contains("idle     1 task runs on"));
        release(&store, "two");
        let (code, screen) = session.end();
        assert_eq!(code, Some(0), "{screen}");
        assert!(screen.starts_with("meanwhile demo  scripted model"), "{screen}");
        assert!(screen.contains("woke the agent with call"), "{screen}");
        for lane in ["short", "long"] {
            let ended = |line: &str| line.starts_with(lane) && line.ends_with("● exit 0");
            assert!(screen.lines().any(ended), "{lane}: {screen}");
        }
        for line in screen.lines() {
            assert!(line.chars().count() < usize::from(columns), "{line}");
        }
    }
}

#[test]
fn the_lanes_have_colours_only_where_they_are_wanted() {
    let store = Store::new();
    let script = "[[turn]]\n[[turn.call]]\ntool = \"background_run\"\ninput = { command = \"true\" }\n\
                  [[turn]]\nwhen = \"<background-results>\"\ntext = \"x\"\n[[turn]]\ntext = \"y\"\n";
    let drawn = |no_colour: bool| {
        let mut command = demo(&store, script);
        if no_colour {
            command.env("NO_COLOR", "1");
        }
        let mut session = Session::of(command, 80);
        until("the demo has ended", || session.drawn().contains("each result was told once"));
        let drawn = session.drawn();
        assert_eq!(session.end().0, Some(0));
        drawn
    };
    // The diamond that marks a call with a result is coloured.
    assert!(drawn(false).contains("\x1b[33m◆"));
    let plain = drawn(true);
    assert!(plain.contains('◆') && !plain.contains("\x1b[33m"), "{plain:?}");
}

#[test]
fn the_script_that_is_built_in_runs_anywhere() {
    let store = Store::new();
    let text = store.ok(&["demo"]);
    for line in ["count: begun by call 1, ended ", "pack: begun by call 1, ended "] {
        assert!(text.contains(line), "no `{line}`: {text}");
    }
    // The demo keeps no tasks and no session.
    assert_eq!(store.json(&["ps", "--all", "--steps", "--json"])["tasks"], serde_json::json!([]));
    assert!(!store.ok(&["sessions"]).contains("How many files"));
}

#[test]
fn a_script_that_cannot_be_used_is_named() {
    let store = Store::new();
    store.check(&["demo", "--script", "/no/such/file"], 2, "/no/such/file");
    let ran = demo(&store, "[[turn]]\nexpect = [\"never\"]\ntext = \"x\"\n").output().unwrap();
    assert_eq!(ran.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&ran.stderr).contains("expects `never`"));
}

#[test]
fn a_script_that_fails_leaves_nothing_running() {
    let store = Store::new();
    let script = "[[turn]]\n[[turn.call]]\ntool = \"background_run\"\n\
                  input = { command = \"echo $$ > pid; until [ -e go ]; do sleep 0.02; done\" }\n\
                  [[turn]]\nexpect = [\"never\"]\ntext = \"x\"\n";
    let ran = demo(&store, script).output().unwrap();
    assert_eq!(ran.status.code(), Some(1));
    // The command wrote its pid, or was stopped before that; it does not run now.
    let pid = std::fs::read_to_string(store.workspace().join("pid")).unwrap_or_default();
    if !pid.trim().is_empty() {
        let process = format!("/proc/{}", pid.trim());
        assert!(!std::path::Path::new(&process).exists(), "{process} runs");
    }
    assert_eq!(store.json(&["ps", "--all", "--json"])["tasks"], serde_json::json!([]));
}
