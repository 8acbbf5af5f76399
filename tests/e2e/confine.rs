//! What a confined task can do, and what happens to the files that it wrote (docs/protocol.md, `task/spawn`).

use std::fs;

use serde_json::json;

use crate::harness::{Daemon, Lab, eventually, id_of, skip};

/// Runs a confined command; returns its exit code and its output. `None` if this machine cannot confine.
fn ran(daemon: &Daemon, mode: &str, line: &str) -> Option<(i64, String)> {
    if !is_here(daemon) {
        return None;
    }
    let id = id_of(&daemon.spawn(json!({ "command": line, "confine": mode })));
    let task = daemon.exited(&id)["task"].clone();
    Some((task["exit"]["code"].as_i64().unwrap_or(-1), daemon.output(&id)))
}

/// Whether the machine can confine; otherwise asserts that the error names the parameter.
pub(crate) fn is_here(daemon: &Daemon) -> bool {
    match daemon.request("task/spawn", json!({ "command": ["true"], "confine": "look" })) {
        Ok(result) => {
            daemon.exited(&id_of(&result["task"]));
            true
        }
        Err(error) => {
            assert_eq!(error.code, 1009, "{error:?}");
            assert_eq!(error.data["kind"], "cannotConfine", "{error:?}");
            skip("this kernel has no Landlock");
            false
        }
    }
}

#[test]
fn a_look_reads_the_workspace_without_its_keys_and_changes_nothing() {
    let lab = Lab::new();
    fs::write(lab.file("a.txt"), "text").expect("it can be written");
    fs::write(lab.file(".env"), "KEY=secret").expect("it can be written");
    fs::write(lab.home().join("private"), "secret").expect("it can be written");
    let daemon = lab.start().env("SOME_TOKEN", "secret").go();
    let line = "cat a.txt; cat .env ~/private; echo $SOME_TOKEN; echo x > new; rm a.txt; \
                echo x > $TMPDIR/own && cat $TMPDIR/own";
    let Some((code, output)) = ran(&daemon, "look", line) else { return };
    assert_eq!(code, 0, "{output}");
    assert!(output.starts_with("text"), "{output}");
    assert!(output.ends_with("x\n"), "{output}");
    assert!(!output.contains("secret"), "{output}");
    assert!(!lab.file("new").exists() && lab.file("a.txt").exists());
}

#[test]
fn a_work_changes_the_workspace_and_nothing_else() {
    let lab = Lab::new();
    let daemon = lab.daemon();
    let line = "echo x > new; cat new; echo x > ~/escaped";
    let Some((_, output)) = ran(&daemon, "work", line) else { return };
    assert!(output.starts_with("x\n"), "{output}");
    assert!(lab.file("new").exists());
    assert!(!lab.home().join("escaped").exists());
}

#[test]
fn a_work_has_the_network_if_it_is_asked_for() {
    let lab = Lab::new();
    let daemon = lab.daemon();
    if !is_here(&daemon) {
        return;
    }
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = listener.local_addr().expect("it is bound").port();
    let line = format!("exec 3<>/dev/tcp/127.0.0.1/{port} && echo reached");
    for (network, reached) in [(true, true), (false, false)] {
        let params =
            json!({ "command": ["bash", "-c", line], "confine": "work", "network": network });
        let id = id_of(&daemon.spawn(params));
        daemon.exited(&id);
        let output = daemon.output(&id);
        assert_eq!(output.contains("reached"), reached, "{network}: {output}");
    }
    for confine in [json!("look"), json!(null)] {
        let params = json!({ "command": ["true"], "confine": confine, "network": true });
        let error = daemon.request("task/spawn", params).expect_err("it is not for these");
        assert_eq!(error.code, -32602, "{error:?}");
    }
}

#[test]
fn what_a_confined_task_wrote_goes_with_it() {
    let lab = Lab::new();
    let daemon = lab.daemon();
    let line = "mkdir -m 0 $TMPDIR/closed; echo x > $TMPDIR/x; echo $TMPDIR";
    let Some((_, output)) = ran(&daemon, "look", line) else { return };
    let temporary = std::path::PathBuf::from(output.trim());
    assert!(temporary.starts_with(lab.state()), "{output}");
    eventually("the temporary directory is gone", || (!temporary.exists()).then_some(()));
}

#[test]
fn a_state_directory_behind_a_link_has_temporary_directories_too() {
    let lab = Lab::new();
    let real = lab.home().join("real");
    fs::create_dir(&real).expect("it can be created");
    std::os::unix::fs::symlink(&real, lab.state()).expect("the state directory is not there yet");
    let daemon = lab.daemon();
    let Some((code, output)) = ran(&daemon, "look", "echo x > $TMPDIR/own && cat $TMPDIR/own")
    else {
        return;
    };
    assert_eq!((code, output.as_str()), (0, "x\n"));
}

#[test]
fn an_argv_that_cannot_be_executed_is_1002_under_confinement_too() {
    let lab = Lab::new();
    let daemon = lab.daemon();
    if !is_here(&daemon) {
        return;
    }
    let params = json!({ "command": ["/no/such"], "confine": "look" });
    assert_eq!(daemon.refused(1002, "task/spawn", params).data["errno"], 2);
}

/// Tools that read a project work the same with and without confinement.
#[test]
fn looking_commands_do_not_notice() {
    let lab = Lab::new();
    let files = [
        (
            "rust/Cargo.toml",
            "[package]\nname = \"looked-at\"\nversion = \"0.1.0\"\nedition = \"2021\"\n",
        ),
        ("rust/src/lib.rs", "pub fn one() -> u32 {\n    1\n}\n"),
        ("node/package.json", "{\"name\": \"looked-at\", \"version\": \"1.0.0\"}"),
        ("go/go.mod", "module example.com/looked-at\n\ngo 1.20\n"),
        ("go/main.go", "package main\n\nfunc main() {}\n"),
        ("python/one.py", "VALUE = 1\n"),
        ("python/Makefile", "all:\n\techo made\n"),
        (".env", "KEY=secret\n"),
    ];
    for (name, text) in files {
        let path = lab.file(name);
        fs::create_dir_all(path.parent().expect("it is in a directory"))
            .expect("it can be created");
        fs::write(path, text).expect("it can be written");
    }
    let of_home = |name: &str| format!("{}/{name}", std::env::var("HOME").unwrap_or_default());
    let daemon = lab
        .start()
        .env("CARGO_HOME", &std::env::var("CARGO_HOME").unwrap_or_else(|_| of_home(".cargo")))
        .env("RUSTUP_HOME", &std::env::var("RUSTUP_HOME").unwrap_or_else(|_| of_home(".rustup")))
        .env("PYENV_ROOT", &std::env::var("PYENV_ROOT").unwrap_or_else(|_| of_home(".pyenv")))
        .env("NVM_DIR", &std::env::var("NVM_DIR").unwrap_or_else(|_| of_home(".nvm")))
        .env("PATH", &std::env::var("PATH").unwrap_or_default())
        .go();
    let git = "git init -q . && git add -A && git -c user.name=n -c user.email=a@b commit -qm one";
    daemon.exited(&id_of(&daemon.spawn(json!({ "command": git }))));
    for (program, line, expected) in [
        ("git", "git status --short; git log --oneline; git blame rust/src/lib.rs", "one"),
        ("git", "git show --stat; git diff; git grep one", "pub fn one"),
        ("cargo", "cd rust && cargo metadata --offline --no-deps --format-version 1", "looked-at"),
        ("find", "find . -name '*.rs'", "lib.rs"),
        ("grep", "grep -rn VALUE python", "VALUE = 1"),
        ("rg", "rg -n VALUE", "VALUE = 1"),
        ("jq", "jq -r .name node/package.json", "looked-at"),
        ("python3", "cd python && python3 -c 'import one; print(one.VALUE + 1)'", "2"),
        ("node", "node -e 'console.log(require(\"./node/package.json\").name)'", "looked-at"),
        ("npm", "cd node && npm ls", "looked-at@1.0.0"),
        ("make", "cd python && make -n", "echo made"),
        ("go", "cd go && go list ./...", "example.com/looked-at"),
    ] {
        // Checked without confinement, so that a program that confinement hides fails the test.
        let here = daemon.spawn(json!({ "command": format!("command -v {program}") }));
        if daemon.exited(&id_of(&here))["task"]["exit"]["code"] != 0 {
            skip(&format!("there is no `{program}`"));
            continue;
        }
        let Some((code, output)) = ran(&daemon, "look", line) else { return };
        assert!(output.contains(expected), "{line}: {code} {output}");
        assert!(!output.contains("secret"), "{line}: {output}");
    }
}
