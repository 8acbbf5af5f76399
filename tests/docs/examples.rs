//! The examples in the README.

use std::fs;
use std::process::Command;

use regex::Regex;

use crate::{Scratch, blocks, readme, root};

#[test]
fn the_readme_shows_the_example_as_it_is() {
    let example = fs::read_to_string(root().join("docs/examples/client.py")).expect("it exists");
    assert!(blocks("python").contains(&example), "README.md shows another client.py");
}

#[test]
#[expect(clippy::print_stderr, reason = "the reader must see that the test was skipped")]
fn the_client_runs_as_shown() {
    if Command::new("python3").arg("--version").output().is_err() {
        eprintln!("skipped: python3 is not installed");
        return;
    }
    let scratch = Scratch::new();
    let ran = scratch.run(scratch.command("python3").arg(root().join("docs/examples/client.py")));
    // The number of snapshots depends on timing.
    let told = |text: &str| -> Vec<String> {
        text.lines().filter(|line| *line != "tasks/changed").map(str::to_owned).collect()
    };
    let shown = blocks("text").into_iter().find(|block| block.contains("task/exited"));
    assert_eq!(told(&ran), told(&shown.expect("the README shows what the client prints")));
}

#[test]
fn the_run_is_what_the_readme_shows() {
    let shown = blocks("text").into_iter().find(|block| block.contains("build.toml"));
    let shown = shown.expect("the README shows a run");
    let (command, shown) = shown.split_once('\n').expect("a command and its output");
    let command = command.strip_prefix("$ ").expect("a command").to_owned() + " 2>&1";
    let scratch = Scratch::new();
    let mut sh = scratch.command("sh");
    sh.args(["-c", &command]).current_dir(root());
    // A new target directory, so that there is always something to build.
    let ran = scratch.run(sh.env("CARGO_TARGET_DIR", scratch.0.path().join("target")));
    let varying = Regex::new(r"\b[0-9a-f]{8}\b|after [0-9a-z. ]+:").expect("a pattern");
    assert_eq!(varying.replace_all(&ran, "X"), varying.replace_all(shown, "X"));
}

#[test]
fn the_first_command_shows_what_the_readme_says() {
    let scratch = Scratch::new();
    let mut command = scratch.command(root().join("try"));
    let ran = scratch.run(command.arg("--no-install"));
    let shown = blocks("text").into_iter().find(|block| block.contains("cargo check"));
    let shown = shown.expect("the README shows what `./try` prints");
    let steps = |text: &str| -> Vec<String> {
        text.lines().filter(|line| line.starts_with('#')).map(str::to_owned).collect()
    };
    assert_eq!(steps(&ran), steps(&shown));
    let ended = ran.lines().filter(|line| line.contains("] exited 0 after "));
    assert_eq!(ended.count(), 1, "the result is reported once:\n{ran}");
    assert!(ran.contains("running"), "the build ran while something else happened:\n{ran}");
}

#[test]
fn the_readme_names_commands_that_are_there() {
    for command in ["./try", "./test"] {
        assert!(readme().contains(command) && root().join(command).is_file(), "{command}");
    }
    let ci = fs::read_to_string(root().join(".ci/run")).expect("it exists");
    assert!(ci.contains("\n./test "), "CI runs the README's second command");
}
