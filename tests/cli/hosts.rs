//! Which session gets a result if agents run the command line in their shells.

use std::fs;

use crate::harness::{Ran, Store};

const CLAUDE: &str = "CLAUDE_CODE_SESSION_ID";
const CODEX: &str = "CODEX_THREAD_ID";

/// Runs a line with sh(1) and these variables, like an agent's shell; `$M` is the binary.
fn shell(store: &Store, env: &[(&str, &str)], line: &str) -> Ran {
    let mut command = store.program("/bin/sh");
    command.args(["-c", line]).env("M", env!("CARGO_BIN_EXE_meanwhile")).envs(env.iter().copied());
    Ran::from(command.output().unwrap())
}

#[track_caller]
fn ok(store: &Store, env: &[(&str, &str)], line: &str) -> String {
    let ran = shell(store, env, line);
    assert_eq!(ran.code, Some(0), "{line}: {}{}", ran.text(), ran.stderr);
    ran.text()
}

/// The labels of the tasks that a drain with these variables returns.
#[track_caller]
fn drained(store: &Store, env: &[(&str, &str)], line: &str) -> Vec<String> {
    let text = ok(store, env, line);
    let told: serde_json::Value = serde_json::from_str(&text).unwrap();
    let notifications = told["notifications"].as_array().unwrap();
    let label = |n: &serde_json::Value| n["task"]["label"].as_str().unwrap().to_owned();
    notifications.iter().map(label).collect()
}

const DRAIN: &str = "\"$M\" drain --json";

#[test]
fn two_agents_in_one_directory_are_each_told_their_own() {
    let store = Store::new();
    let (one, two) = ([(CLAUDE, "session-one")], [(CLAUDE, "session-two")]);
    ok(&store, &one, "\"$M\" spawn --wait --label first -- true");
    ok(&store, &two, "\"$M\" spawn --wait --label second -- true");
    assert_eq!(drained(&store, &[], DRAIN), [""; 0], "a person's queue has neither");
    let other = shell(&store, &[(CLAUDE, "session-three")], "\"$M\" drain");
    assert!(!other.stderr.contains("elsewhere"), "no hint at other queues: {}", other.stderr);
    assert_eq!(drained(&store, &two, DRAIN), ["second"]);
    assert_eq!(drained(&store, &one, DRAIN), ["first"]);
    assert_eq!(drained(&store, &one, DRAIN), [""; 0]);
}

#[test]
fn an_agent_in_the_shell_of_another_owns_what_it_spawns() {
    let store = Store::new();
    let claude = [(CLAUDE, "outer")];
    let inner = "CODEX_THREAD_ID=inner sh -c '\"$M\" spawn --wait --label codex -- true; \
                 \"$M\" drain --json'";
    ok(&store, &claude, "\"$M\" spawn --wait --label claude -- true");
    assert_eq!(drained(&store, &claude, inner), ["codex"]);
    assert_eq!(drained(&store, &claude, DRAIN), ["claude"]);
    // With the agents swapped, the order of the table alone would select the wrong one.
    let inner = "CLAUDE_CODE_SESSION_ID=deep sh -c '\"$M\" spawn --wait --label deep -- true; \
                 \"$M\" drain --json'";
    assert_eq!(drained(&store, &[(CODEX, "thread")], inner), ["deep"]);
    assert_eq!(drained(&store, &[(CODEX, "thread")], DRAIN), [""; 0]);
}

#[test]
fn a_task_of_the_inner_agent_belongs_to_it_where_the_agents_cannot_be_seen() {
    let store = Store::new();
    // The task's ancestors are only its shim and the keeper; the shells of both agents have exited.
    let inner = "CLAUDE_CODE_SESSION_ID=inner sh -c '\"$M\" spawn --wait --label first -- \
                 sh -c \"\\\"\\$M\\\" spawn --wait --label second -- true\"'";
    ok(&store, &[(CODEX, "outer")], inner);
    assert_eq!(drained(&store, &[(CODEX, "outer")], DRAIN), [""; 0]);
    let mut told = drained(&store, &[(CLAUDE, "inner")], DRAIN);
    told.sort();
    assert_eq!(told, ["first", "second"]);
}

#[test]
fn an_agent_that_is_a_task_owns_what_it_spawns() {
    let store = Store::new();
    let agent = "\"$M\" spawn --wait --label agent -- sh -c 'CLAUDE_CODE_SESSION_ID=claude sh -c \
                 \"\\\"\\$M\\\" spawn --wait --label build -- true\"'";
    let own = [("MEANWHILE_SESSION_ID", "sess")];
    ok(&store, &own, agent);
    assert_eq!(drained(&store, &own, DRAIN), ["agent"]);
    assert_eq!(drained(&store, &[(CLAUDE, "claude")], DRAIN), ["build"]);
}

#[test]
fn a_session_keeps_its_tasks_wherever_its_shell_goes() {
    let store = Store::new();
    let agent = [(CLAUDE, "wanderer")];
    fs::create_dir(store.workspace().join("sub")).unwrap();
    ok(&store, &agent, "\"$M\" spawn --wait --label top -- true");
    let pwd = ok(&store, &agent, "cd sub && \"$M\" spawn --wait --label sub -- pwd");
    assert!(pwd.ends_with("/project/sub\n"), "a task runs where it was spawned: {pwd}");
    let listed = ok(&store, &agent, "cd / && \"$M\" ps --all");
    assert!(listed.contains("top") && listed.contains("sub"), "{listed}");
    assert_eq!(drained(&store, &agent, "cd / && \"$M\" drain --json"), ["top", "sub"]);
    // An explicit `--workspace` wins.
    let named = "mkdir other && \"$M\" --workspace other spawn --wait --label named -- pwd";
    assert!(ok(&store, &agent, named).ends_with("/project/other\n"));
    // The session's own workspace does not change.
    ok(&store, &agent, "\"$M\" spawn --wait --label home -- true");
    assert_eq!(drained(&store, &agent, DRAIN), ["home"]);
    assert_eq!(drained(&store, &agent, "\"$M\" --workspace other drain --json"), ["named"]);
}

#[test]
fn a_running_task_is_found_before_anything_of_its_session_has_ended() {
    let store = Store::new();
    let agent = [(CLAUDE, "early")];
    let id = ok(
        &store,
        &agent,
        "\"$M\" spawn --label held -- sh -c 'until [ -e go ]; do sleep 0.02; done'",
    );
    let listed = ok(&store, &agent, "cd / && \"$M\" ps");
    assert!(listed.contains("held"), "{listed}");
    store.release();
    ok(&store, &agent, &format!("cd / && \"$M\" wait {id}"));
    assert_eq!(drained(&store, &agent, "cd / && \"$M\" drain --json"), ["held"]);
}

#[test]
fn a_queue_that_is_named_counts_before_a_session() {
    let store = Store::new();
    let both = [(CLAUDE, "session"), ("MEANWHILE_QUEUE", "ci")];
    ok(&store, &both, "\"$M\" spawn --wait --label by-variable -- true");
    ok(&store, &both, "\"$M\" spawn --wait --queue flag --label by-flag -- true");
    assert_eq!(drained(&store, &both, DRAIN), ["by-variable"]);
    assert_eq!(drained(&store, &both, "\"$M\" drain --queue flag --json"), ["by-flag"]);
    assert_eq!(drained(&store, &[(CLAUDE, "session")], DRAIN), [""; 0]);
}

#[test]
fn a_session_id_that_cannot_name_a_queue_is_refused_and_nothing_runs() {
    let store = Store::new();
    let long = "x".repeat(300);
    let ran = shell(&store, &[(CODEX, &long)], "\"$M\" spawn -- touch ran");
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(ran.stderr.contains("`CODEX_THREAD_ID` is 300 bytes long"), "{}", ran.stderr);
    ok(&store, &[(CODEX, "")], "\"$M\" spawn --wait -- true");
    assert!(!store.workspace().join("ran").exists());
}
