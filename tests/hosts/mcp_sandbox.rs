//! A host's sandbox also applies to its tasks.

use serde_json::{Value, json};

use crate::client::{Client, id_in};
use crate::harness::Store;

fn codex(store: &Store, state: Value) -> Client {
    let mut client = Client::anonymous(store);
    client.meta.insert("threadId".to_owned(), json!("thread"));
    if !state.is_null() {
        client.meta.insert("codex/sandbox-state-meta".to_owned(), state);
    }
    client
}

/// Whether a command could write in the workspace, and in the home directory.
fn writes(store: &Store, state: Value) -> (bool, bool) {
    let mut client = codex(store, state);
    client.run("echo x > here; echo x > ~/there; ls > /dev/null");
    client.call("wait", json!({}));
    let take = |path: std::path::PathBuf| std::fs::remove_file(path).is_ok();
    let home = store.workspace().parent().unwrap().to_owned();
    (take(store.workspace().join("here")), take(home.join("there")))
}

#[test]
#[expect(clippy::print_stderr, reason = "a test that does not run says so")]
fn a_task_may_do_no_more_than_its_session() {
    let store = Store::new();
    let policy = |name: &str| json!({"sandboxPolicy": {"type": name}});
    assert_eq!(writes(&store, policy("danger-full-access")), (true, true));
    if store.run(&["spawn", "--wait", "--confine", "look", "--", "true"]).code != Some(0) {
        eprintln!("skipped: this machine cannot confine");
        return;
    }
    assert_eq!(writes(&store, policy("workspace-write")), (true, false));
    assert_eq!(writes(&store, policy("read-only")), (false, false));
}

#[test]
#[expect(clippy::print_stderr, reason = "a test that does not run says so")]
fn a_session_that_may_do_less_than_before_writes_into_no_shell_that_may_do_more() {
    let store = Store::new();
    if store.run(&["spawn", "--wait", "--confine", "look", "--", "true"]).code != Some(0) {
        eprintln!("skipped: this machine cannot confine");
        return;
    }
    let policy = |name: &str, network: bool| json!({"sandboxPolicy": {"type": name, "network_access": network}});
    let full = policy("danger-full-access", true);
    let (wide, work) = (policy("workspace-write", true), policy("workspace-write", false));
    let look = policy("read-only", false);
    for (then, now, may) in [
        (&full, &full, true),
        (&full, &wide, false),
        (&full, &look, false),
        (&wide, &work, false),
        (&work, &wide, true),
        (&work, &look, false),
        (&look, &work, true),
    ] {
        let mut client = codex(&store, then.clone());
        let run = json!({"command": "cat", "stdin": true});
        let id = id_in(&client.call("background_run", run));
        client.meta.insert("codex/sandbox-state-meta".to_owned(), now.clone());
        let (said, refused) = client.called("write", json!({"id": id, "text": "x\n"}));
        assert_eq!(refused, !may, "{then} {now}: {said}");
        assert_eq!(said.contains("might do more than now"), refused, "{said}");
        client.call("stop", json!({"id": id}));
    }
}

/// Codex's own sandbox forbids writing these, because they contain hooks that run later.
#[test]
#[expect(clippy::print_stderr, reason = "a test that does not run says so")]
fn a_task_writes_no_settings_that_its_session_may_not_write() {
    let store = Store::new();
    let at = |path: &str| store.workspace().join(path);
    for folder in [".git/hooks", ".codex", "src"] {
        std::fs::create_dir_all(at(folder)).unwrap();
    }
    std::fs::write(at(".git/config"), "as it was").unwrap();
    // A part of the workspace with a `.git` file that names the directory of its repository.
    for folder in ["part/bare/refs", "part/bare/objects"] {
        std::fs::create_dir_all(at(folder)).unwrap();
    }
    std::fs::write(at("part/.git"), "gitdir: ./bare\n").unwrap();
    std::fs::write(at("part/bare/HEAD"), "ref: refs/heads/main\n").unwrap();
    if store.run(&["spawn", "--wait", "--confine", "work", "--", "true"]).code != Some(0) {
        eprintln!("skipped: this machine cannot confine");
        return;
    }
    let mut client = codex(&store, json!({"sandboxPolicy": {"type": "workspace-write"}}));
    let line = "cat .git/config; echo x > .git/hooks/pre-commit; echo x > .git/config; \
                mv .git moved; rm -rf .codex; touch .codex/hooks.json; umount .git; \
                unshare -rm umount .git; echo x > src/here; echo x > there";
    let (said, refused) = client.called("background_run", json!({ "command": line }));
    if refused {
        assert!(said.contains("mount namespace"), "{said}");
        eprintln!("skipped: {said}");
        return;
    }
    let told = client.call("wait", json!({}));
    assert!(told.contains("as it was"), "{told}");
    assert!(at("src/here").exists() && at("there").exists(), "{told}");
    assert_eq!(std::fs::read_to_string(at(".git/config")).unwrap(), "as it was");
    for path in [".git/hooks/pre-commit", ".codex/hooks.json", "moved"] {
        assert!(!at(path).exists(), "{path}: {told}");
    }
    assert!(at(".codex").exists(), "{told}");
    drop(client);
    let mut command = store.command(&["mcp"]);
    command.current_dir(at("part"));
    let mut client = Client::start(command);
    client.meta.insert("threadId".to_owned(), json!("another"));
    let state = json!({"sandboxPolicy": {"type": "workspace-write"}});
    client.meta.insert("codex/sandbox-state-meta".to_owned(), state);
    client.run("echo x > bare/config; echo x > .git; echo x > there");
    client.call("wait", json!({}));
    assert!(at("part/there").exists() && !at("part/bare/config").exists());
    assert_eq!(std::fs::read_to_string(at("part/.git")).unwrap(), "gitdir: ./bare\n");
}

#[test]
fn in_a_sandbox_that_is_not_known_nothing_is_started() {
    let store = Store::new();
    for state in [Value::Null, json!({}), json!({"sandboxPolicy": {"type": "external-sandbox"}})] {
        let mut client = codex(&store, state.clone());
        let refused = client.refused("background_run", json!({"command": "touch x"}));
        assert!(
            refused.contains("sandbox") && refused.contains("own shell tool"),
            "{state}: {refused}"
        );
        assert!(client.call("list", json!({})).starts_with("0 running, 0 ended"));
    }
    // The session's tasks belong to the workspace, and this thread may write only a part of it.
    let part = store.workspace().join("part");
    std::fs::create_dir(&part).unwrap();
    let elsewhere = json!({"sandboxPolicy": {"type": "workspace-write"}, "sandboxCwd": part});
    let mut client = codex(&store, json!({"sandboxPolicy": {"type": "danger-full-access"}}));
    client.run("true");
    client.call("wait", json!({}));
    drop(client);
    let mut client = codex(&store, elsewhere);
    let refused = client.refused("background_run", json!({"command": "touch x"}));
    assert!(refused.contains("outside of its sandbox"), "{refused}");
    assert!(!store.workspace().join("x").exists());
}
