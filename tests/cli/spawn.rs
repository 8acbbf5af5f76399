//! `meanwhile spawn`, with and without `--wait`.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use crate::harness::{Ran, Store};

#[test]
fn the_exit_code_follows_the_commands() {
    let store = Store::new();
    let check = |args: &[&str], code: i32, stdout: &str| {
        let ran = store.run(&[&["spawn", "--wait"], args].concat());
        assert_eq!(ran.code, Some(code), "{args:?}: {}", ran.stderr);
        assert_eq!(ran.text(), stdout, "{args:?}");
        assert_eq!(ran.stderr, "", "{args:?}");
    };
    check(&["--", "true"], 0, "");
    check(&["--", "sh", "-c", "exit 3"], 3, "");
    check(&["exit 255"], 255, "");
    check(&["kill -9 $$"], 137, "");
    check(&["echo one; echo two >&2; exit 1"], 1, "one\ntwo\n");
    check(&["--", "printf", "%s", "a && b"], 0, "a && b");
    check(&["--", "printf", "no newline"], 0, "no newline");
}

#[test]
fn the_id_is_all_that_is_printed_without_waiting() {
    let store = Store::new();
    let id = store.spawn("echo out");
    assert_eq!(store.run(&["wait", &id]).code, Some(0));
    let task = store.task(&id);
    assert_eq!(task["state"], "exited");
    assert_eq!(task["exit"], json!({"code": 0, "signal": null}));
    assert_eq!(task["queue"], "default");
}

#[test]
fn what_cannot_be_started_is_an_error() {
    let store = Store::new();
    store.check(
        &["spawn", "--", "no-such-program-here"],
        1,
        "error: cannot start `no-such-program",
    );
    store.check(&["spawn", "--cwd", "nowhere", "--", "true"], 1, "error: ");
    store.check(&["spawn", "--watch", "(", "--", "true"], 2, "error: ");
    let listed = store.json(&["ps", "--all", "--json"]);
    assert_eq!(listed, json!({"tasks": []}));
}

#[test]
fn a_wrong_command_line_is_a_usage_error() {
    let store = Store::new();
    store.check(&["spawn"], 2, "required");
    store.check(&["spwan", "--", "true"], 2, "spawn");
    store.check(&["spawn", "--deadline", "10", "--", "true"], 2, "time unit needed");
    store.check(&["stop", "--signal", "NOPE", "--all"], 2, "is not a signal");
    store.check(&["--workspace", "nowhere", "ps"], 2, "cannot use `nowhere` as the workspace");
}

#[test]
fn directory_environment_and_label_are_the_tasks_own() {
    let store = Store::new();
    std::fs::create_dir(store.workspace().join("sub")).unwrap();
    let line = "pwd; echo \"$A-${HOME-none}\"";
    let args = ["spawn", "--wait", "--cwd", "sub", "--env", "A=1", "--env", "HOME", "--", line];
    let sub = store.workspace().canonicalize().unwrap().join("sub");
    assert_eq!(store.ok(&args), format!("{}\n1-none\n", sub.display()));

    let args = ["spawn", "--json", "--label", "web", "--queue", "q", "--deadline", "1h", "true"];
    let task = &store.json(&args)["task"];
    assert_eq!((&task["label"], &task["queue"]), (&json!("web"), &json!("q")));
    assert_eq!(task["deadlineMs"], 3_600_000);
}

#[test]
fn input_is_passed_on_to_its_end() {
    let store = Store::new();
    let text = "line\n".repeat(50_000);
    let ran = store.run_with_input(&["spawn", "--wait", "--stdin", "--", "cat"], text.as_bytes());
    assert_eq!((ran.code, ran.text().len()), (Some(0), text.len()), "{}", ran.stderr);
    // A command that does not read its input ends nevertheless.
    let ran = store.run_with_input(&["spawn", "--wait", "--stdin", "--", "true"], b"");
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let ran = store.run(&["spawn", "--wait", "--", "cat"]);
    assert_eq!(
        (ran.code, ran.text().as_str()),
        (Some(0), ""),
        "without --stdin the input is empty"
    );
}

#[test]
fn a_terminal_is_one() {
    let store = Store::new();
    assert_eq!(store.run(&["spawn", "--wait", "--", "test", "-t", "1"]).code, Some(1));
    assert_eq!(store.run(&["spawn", "--wait", "--pty", "--", "test", "-t", "1"]).code, Some(0));
}

#[test]
fn a_deadline_ends_the_task_and_says_so() {
    let store = Store::new();
    let ran = store.check(
        &["spawn", "--wait", "--deadline", "300ms", "echo begun; sleep 600"],
        143,
        "timed out after 0.3s (SIGTERM)",
    );
    assert_eq!(ran.text(), "begun\n");
}

#[test]
fn json_lines_are_the_task_its_output_and_its_end() {
    let store = Store::new();
    let ran =
        store.run(&["spawn", "--wait", "--json", "printf 'one\\n'; printf 'tw\\303'; exit 5"]);
    assert_eq!(ran.code, Some(5), "{}", ran.stderr);
    let lines = ran.json_lines();
    let (first, rest) = lines.split_first().expect("a first line");
    let (last, output) = rest.split_last().expect("a last line");
    assert_eq!(first["task"]["command"], "printf 'one\\n'; printf 'tw\\303'; exit 5");
    assert_eq!(last["task"]["exit"], json!({"code": 5, "signal": null}));
    assert_eq!(last["task"]["output"]["total"], 7);
    let mut offset = 0;
    for line in output {
        assert_eq!((&line["id"], &line["offset"]), (&first["task"]["id"], &json!(offset)));
        offset += match line["encoding"].as_str() {
            Some("utf8") => line["data"].as_str().unwrap().len(),
            // The lone byte at the very end is not text.
            Some("base64") => {
                assert_eq!(line["data"], "ww==", "{line}");
                1
            }
            other => panic!("{other:?}"),
        };
    }
    assert_eq!(offset, 7);
}

#[test]
fn an_interrupt_ends_the_wait_and_not_the_task() {
    let store = Store::new();
    let mut child = store.command(&["spawn", "--wait", "echo ready; sleep 600"]).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
    let mut told = String::new();
    child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(told.contains("the task goes on"), "{told}");
    let listed = store.json(&["ps", "--state", "running", "--json"]);
    let id = listed["tasks"][0]["id"].as_str().expect("the task runs");
    assert!(told.contains(&format!("meanwhile stop {id}")), "{told}");
}

#[test]
fn a_reader_that_leaves_ends_the_wait_and_not_the_task() {
    let store = Store::new();
    let mut child = store.command(&["spawn", "--wait", "--", "yes"]).spawn().unwrap();
    let mut some = [0; 4];
    child.stdout.take().unwrap().read_exact(&mut some).unwrap();
    assert_eq!(&some, b"y\ny\n");
    let mut told = String::new();
    child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(141), "{told}");
    assert!(told.contains("the task goes on"), "{told}");
    let listed = store.json(&["ps", "--state", "running", "--json"]);
    assert_eq!(listed["tasks"].as_array().map(Vec::len), Some(1));
}

#[test]
fn a_script_without_an_interpreter_s_line_runs_by_sh() {
    let store = Store::new();
    let script = |name: &str, bytes: &[u8]| {
        let path = store.workspace().join(name);
        std::fs::write(&path, bytes).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    };
    script("plain", b"echo \"$0 $1\"; exit 3\n");
    let ran = store.run(&["spawn", "--wait", "--", "./plain", "a b"]);
    assert_eq!((ran.code, ran.text().as_str()), (Some(3), "./plain a b\n"), "{}", ran.stderr);
    let mut found = store.command(&["spawn", "--wait", "--", "plain", "x"]);
    let ran = Ran::from(found.env("PATH", store.workspace()).output().unwrap());
    assert_eq!(ran.code, Some(3), "found in PATH: {}", ran.stderr);
    // The header of a program for another architecture.
    script("alien", b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\xff\xff");
    store.check(&["spawn", "--", "./alien"], 1, "exec format error");
    script("empty", b"");
    assert_eq!(store.run(&["spawn", "--wait", "--", "./empty"]).code, Some(0));
}

#[test]
fn an_argument_need_not_be_utf8() {
    let store = Store::new();
    let mut command = store.command(&["spawn", "--wait", "--", "printf", "%s"]);
    let ran = Ran::from(command.arg(OsStr::from_bytes(b"a\xffb")).output().unwrap());
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(ran.stdout, b"a\xffb");
    assert!(store.ok(&["ps"]).contains("printf %s 'a\u{fffd}b'"), "{}", store.ok(&["ps"]));
}

#[test]
fn a_line_may_be_for_another_shell() {
    let store = Store::new();
    let line = "set -o pipefail; [[ a == a ]] && false | true";
    let ran = store.run(&["spawn", "--wait", "--shell", "bash", "--", line]);
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert!(store.ok(&["ps"]).contains(line));
    // A single word is a shell line, too.
    store.ok(&["spawn", "--wait", "--shell", "/bin/sh", "true"]);
    store.check(&["spawn", "--shell", "sh", "--", "echo", "a"], 2, "quote them as one");
    store.check(&["spawn", "--shell", "./no-shell", "true"], 1, "no such file");
    let listed = store.json(&["ps", "--json"]);
    assert_eq!(listed["tasks"].as_array().map(Vec::len), Some(2), "none was recorded: {listed}");
}
