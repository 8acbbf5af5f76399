//! `task/restart`: starts a task again with its original parameters.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::harness::{Daemon, Lab, eventually, gone, id_of};

fn restart(daemon: &Daemon, id: &str) -> Value {
    daemon.call("task/restart", json!({ "id": id }))["task"].clone()
}

#[test]
fn an_ended_task_starts_again_as_it_was_started() {
    let lab = Lab::new();
    let daemon = lab.start().env("KEPT", "of the first").env("GONE", "x").env("PWD", "/").go();
    fs::create_dir(lab.file("sub")).expect("the workspace is writable");
    let command = "echo \"$KEPT|${GONE-none}|$SET|${LATER-none}|$PWD|$MEANWHILE_TASK_ID\"; exit 3";
    let spawn = json!({
        "command": command, "cwd": "sub", "env": { "SET": "a=b\nc", "GONE": null }, "label": "web",
        "queue": "q", "service": true,
    });
    let first = id_of(&daemon.spawn(spawn));
    daemon.exited(&first);
    drop(daemon.kill9());
    let daemon = lab.start().env("KEPT", "of the second").env("LATER", "x").go();
    let expected = |id: &str| {
        let sub = lab.file("sub");
        format!("of the first|none|a=b\nc|none|{}|{id}\n", sub.display())
    };
    assert_eq!(daemon.output(&first), expected(&first));
    let mut last = first.clone();
    for _ in 0..2 {
        let task = restart(&daemon, &last);
        let id = id_of(&task);
        assert_ne!(id, last);
        for (member, value) in
            [("label", json!("web")), ("queue", json!("q")), ("service", json!(true))]
        {
            assert_eq!(task[member], value, "{task}");
        }
        let ended = &daemon.exited(&id)["task"];
        assert_eq!((&ended["exit"]["code"], &ended["command"]), (&json!(3), &json!(command)));
        assert_eq!(daemon.output(&id), expected(&id));
        last = id;
    }
    let params = json!({ "id": first, "env": { "SET": null, "KEPT": "given" } });
    let id = id_of(&daemon.call("task/restart", params)["task"]);
    daemon.exited(&id);
    assert!(daemon.output(&id).starts_with("given|none||none|"), "{}", daemon.output(&id));
}

#[test]
fn a_task_that_runs_is_stopped_first() {
    let daemon = Lab::new().daemon();
    let first = daemon.sh("echo $$ > pid; exec sleep 600");
    let leader = daemon.lab().pid_in("pid");
    let second = id_of(&restart(&daemon, &first));
    assert!(gone(leader));
    let ended = daemon.exited(&first)["task"].clone();
    let cause = json!({ "actor": "client", "message": "restarted by the client" });
    assert_eq!((&ended["state"], &ended["cause"]), (&json!("stopped"), &cause));
    assert_eq!(daemon.check(&second)["state"], "running");
    daemon.stop(&second);
    daemon.refused(1001, "task/restart", json!({ "id": "ffffffff" }));
}

#[test]
fn a_key_that_was_named_is_not_kept_and_goes_on_only_if_it_is_given_again() {
    let lab = Lab::new();
    let daemon = lab.daemon();
    let env = json!({ "ANTHROPIC_API_KEY": "very-secret", "PLAIN": "kept" });
    let spawn = json!({ "command": "echo $PLAIN ${ANTHROPIC_API_KEY-none}", "env": env });
    let id = id_of(&daemon.spawn(spawn));
    daemon.exited(&id);
    let kept = lab.state().join("done").join(format!("{id}.spec"));
    let text = eventually("what it was started with", || fs::read(&kept).ok());
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(text.contains("PLAIN=kept") && !text.contains("very-secret"), "{text}");
    let mode = fs::metadata(&kept).expect("it exists").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let error = daemon.refused(-32602, "task/restart", json!({ "id": id }));
    assert_eq!(error.data["field"], "env", "{error:?}");
    assert!(error.message.contains("`ANTHROPIC_API_KEY`"), "{error:?}");
    for (value, said) in [(json!("other"), "kept other\n"), (Value::Null, "kept none\n")] {
        let params = json!({ "id": id, "env": { "ANTHROPIC_API_KEY": value } });
        let again = id_of(&daemon.call("task/restart", params)["task"]);
        daemon.exited(&again);
        assert_eq!(daemon.output(&again), said);
    }
    daemon.call("task/remove", json!({ "ids": [id] }));
    eventually("it to be gone", || (!kept.exists()).then_some(()));
}
