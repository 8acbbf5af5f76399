//! What the scripts that run tests with tools of other languages print if a tool is missing.

use std::os::unix::fs::symlink;

use crate::{Scratch, root};

/// Runs `tests/NAME/run` without npm and python3 on the PATH; returns its exit code and last line.
fn without_tools(name: &str, ci: Option<&str>) -> (Option<i32>, String) {
    let scratch = Scratch::new();
    let bin = scratch.0.path().join("bin");
    std::fs::create_dir(&bin).expect("the test owns it");
    symlink("/usr/bin/dirname", bin.join("dirname")).expect("it does not exist yet");
    let mut command = scratch.command("/bin/sh");
    command.arg(root().join("tests").join(name).join("run")).env("PATH", &bin);
    command.env("MEANWHILE_BIN", env!("CARGO_BIN_EXE_meanwhile"));
    match ci {
        Some(ci) => command.env("CI", ci),
        None => command.env_remove("CI"),
    };
    let output = command.output().expect("there is a shell");
    let text = String::from_utf8(output.stdout).expect("text");
    (output.status.code(), text.lines().last().unwrap_or_default().to_owned())
}

#[test]
fn what_is_skipped_is_counted_and_a_failure_where_it_counts() {
    for (name, tests) in [("peers", 2), ("llm", 3)] {
        let skipped = format!("0 passed, 0 failed, {tests} skipped");
        assert_eq!(without_tools(name, None), (Some(0), skipped), "{name}");
        let failed = format!("0 passed, {tests} failed, 0 skipped");
        assert_eq!(without_tools(name, Some("true")), (Some(1), failed), "{name}");
    }
}
