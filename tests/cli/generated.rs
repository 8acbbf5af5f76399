//! What the binary generates from its command line definition: completions, manual pages and the schema.

use std::process::Command;

use crate::harness::Store;

#[test]
fn completions_are_made_for_every_shell() {
    let store = Store::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = store.ok(&["completions", shell]);
        assert!(script.contains("deadline"), "{shell}: {script}");
    }
    store.check(&["completions", "cmd"], 2, "possible values");
}

/// The completions that bash offers for the last word of a line.
fn completed(store: &Store, words: &[&str]) -> Vec<String> {
    let script = store.workspace().join("completions.bash");
    std::fs::write(&script, store.ok(&["completions", "bash"])).unwrap();
    let checked = Command::new("bash").arg("-n").arg(&script).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    let run = "source \"$0\"; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); \
               _meanwhile \"$1\" \"${!#}\" \"${@:$#-1:1}\"; printf '%s\\n' \"${COMPREPLY[@]}\"";
    let output = Command::new("bash").args(["-c", run]).arg(&script).args(words).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text.lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_options_and_values() {
    let store = Store::new();
    let check = |words: &[&str], expected: &[&str]| {
        assert_eq!(completed(&store, words), expected, "{words:?}");
    };
    check(&["meanwhile", "sp"], &["spawn"]);
    check(&["meanwhile", "wait", "--ti"], &["--timeout"]);
    check(&["meanwhile", "ps", "--state", "ti"], &["timed-out"]);
    check(&["meanwhile", "completions", "z"], &["zsh"]);
    check(&["meanwhile", "run", "--at-end", "d"], &["detach"]);
}

#[test]
fn every_command_has_its_manual_page() {
    let store = Store::new();
    let program = store.ok(&["man"]);
    assert!(program.contains(".TH meanwhile 1"), "{program}");
    for command in [
        "spawn", "ps", "logs", "wait", "stop", "drain", "serve", "run", "chat", "sessions", "demo",
        "learn", "schema", "doctor",
    ] {
        let page = store.ok(&["man", command]);
        assert!(page.contains(&format!(".TH meanwhile-{command} 1")), "{page}");
        assert!(program.contains(&format!("meanwhile\\-{command}(1)")), "{command} is not listed");
    }
    let page = store.ok(&["man", "spawn"]);
    assert!(page.contains("/bin/sh \\-c"), "the page explains a single argument: {page}");
    store.check(&["man", "spwan"], 2, "hint: the commands are spawn, ps");
}

#[test]
fn the_schema_is_json() {
    let store = Store::new();
    let schema = store.json(&["schema"]);
    assert_eq!(schema["protocolVersion"], 1);
    assert!(schema["methods"]["task/spawn"].is_object(), "{schema:#}");
}
