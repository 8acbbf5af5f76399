//! The parameters of `task/spawn`, and the task that it returns (docs/protocol.md, "Objects" and "Methods").

use std::fs;

use serde_json::{Value, json};

use crate::harness::{Daemon, Lab, id_of};

/// Spawns a task and waits until it ends; returns the task and its output.
fn ran(daemon: &Daemon, params: Value) -> (Value, String) {
    let id = id_of(&daemon.spawn(params));
    let task = daemon.exited(&id)["task"].clone();
    let output = daemon.output(&id);
    (task, output)
}

#[test]
fn a_task_has_the_fields_of_the_protocol() {
    let lab = Lab::new();
    let daemon = lab.daemon();
    let gate = lab.gate("gate");
    let task = daemon.spawn(json!({ "command": "read x < gate", "label": "a name" }));
    let id = id_of(&task);
    assert!(id.len() == 8 && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')), "{id}");
    let workspace = lab.workspace().display().to_string();
    assert_eq!(task["workspace"], workspace);
    assert_eq!(task["cwd"], workspace);
    assert_eq!(task["queue"], "default");
    assert_eq!(task["label"], "a name");
    assert_eq!(task["command"], "read x < gate");
    assert_eq!(task["state"], "running");
    assert_eq!(task["output"], json!({ "total": 0, "dropped": 0 }));
    for absent in ["exit", "cause", "endedAt", "deadlineMs", "survivors", "delivered", "progress"] {
        assert!(task.get(absent).is_none(), "`{absent}` is left out of {task}");
    }
    time(&task["createdAt"]);

    let started = daemon.push("task/started", |params| params["task"]["id"] == *id);
    let pid = started["task"]["pid"].as_i64().expect("task/started tells the pid");
    let pid = i32::try_from(pid).expect("a pid fits a pid_t");
    let group = nix::unistd::getpgid(Some(nix::unistd::Pid::from_raw(pid))).expect("it runs");
    assert_eq!(group.as_raw(), pid, "the leader is its process group");

    gate.open();
    daemon.exited(&id);
    let ended = daemon.check(&id);
    assert!(time(&ended["endedAt"]) >= time(&ended["createdAt"]));
    assert!(ended["durationMs"].is_u64(), "{ended}");
    assert_eq!(ended["state"], "exited");
    assert!(ended.get("cause").is_none(), "a normal end has no cause: {ended}");
}

/// Asserts that a time is RFC 3339, UTC, with milliseconds; such texts sort by time.
fn time(value: &Value) -> String {
    let text = value.as_str().unwrap_or_else(|| panic!("no time: {value}"));
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(shape, "0000-00-00T00:00:00.000Z", "{text}");
    text.to_owned()
}

#[test]
fn a_string_is_run_by_the_shell_and_an_argv_as_it_is() {
    let daemon = Lab::new().daemon();
    let (_, output) = ran(&daemon, json!({ "command": "echo $((1 + 1)) | cat; echo '*'" }));
    assert_eq!(output, "2\n*\n");
    let (task, output) = ran(&daemon, json!({ "command": ["echo", "$HOME  *", "it's", ""] }));
    assert_eq!(output, "$HOME  * it's \n");
    let shown = task["command"].as_str().expect("the command is shown");
    let (_, again) = ran(&daemon, json!({ "command": shown }));
    assert_eq!(again, output, "the command shown is quoted for the shell: {shown}");
}

#[test]
fn exit_codes_and_signals_are_the_kernels_word() {
    let daemon = Lab::new().daemon();
    for (command, code, signal) in [
        ("true", json!(0), Value::Null),
        ("exit 1", json!(1), Value::Null),
        ("exit 255", json!(255), Value::Null),
        ("no-such-command-anywhere", json!(127), Value::Null),
        ("kill -KILL $$", Value::Null, json!("SIGKILL")),
        ("kill -TERM $$", Value::Null, json!("SIGTERM")),
        ("kill -SEGV $$", Value::Null, json!("SIGSEGV")),
    ] {
        let task = daemon.run(command);
        assert_eq!(task["exit"], json!({ "code": code, "signal": signal }), "{command}");
        assert_eq!(task["state"], "exited", "{command}");
    }
}

#[test]
fn an_argv_that_cannot_execute_is_refused_with_1002() {
    let lab = Lab::new();
    let daemon = lab.daemon();
    fs::write(lab.file("plain"), "text").expect("the workspace is writable");
    for (argv, errno) in [
        (json!(["no-such-command-anywhere"]), nix::libc::ENOENT),
        (json!(["/no/such/path"]), nix::libc::ENOENT),
        (json!(["./plain"]), nix::libc::EACCES),
        (json!(["./plain/below"]), nix::libc::ENOTDIR),
        (json!(["."]), nix::libc::EACCES),
    ] {
        let error = daemon.refused(1002, "task/spawn", json!({ "command": argv }));
        assert_eq!(error.data["kind"], "spawnFailed", "{argv}: {error:?}");
        assert_eq!(error.data["errno"], errno, "{argv}: {error:?}");
        let program = argv[0].as_str().expect("a string");
        assert!(error.message.contains(program), "the message names {program}: {error:?}");
    }
    assert_eq!(daemon.call("task/check", json!({}))["tasks"], json!([]), "nothing is recorded");
    assert_eq!(daemon.drain(), Vec::<Value>::new());
}

#[test]
fn an_interpreter_that_is_missing_is_named() {
    let lab = Lab::new();
    let daemon = lab.daemon();
    for (text, named) in [
        ("#!/no/such/shell -e\n", "`/no/such/shell` cannot be executed"),
        ("#!/bin/sh\r\necho\r\n", "`/bin/sh\\r` cannot be executed; the line that names it ends"),
        ("#!plain\n", "`plain`"),
    ] {
        fs::write(lab.file("script"), text).expect("the workspace is writable");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(lab.file("script"), mode).expect("the test owns it");
        let params = json!({ "command": ["./script"] });
        let error = daemon.refused(1002, "task/spawn", params);
        assert!(error.message.contains(named), "{text:?}: {error:?}");
    }
}

#[test]
fn a_line_is_read_by_the_shell_that_is_named() {
    let lab = Lab::new();
    let daemon = lab.daemon();
    fs::write(lab.file("shell"), "#!/bin/sh\necho \"$# $1 $2\"\n").expect("it is writable");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(lab.file("shell"), mode).expect("the test owns it");
    let spawn = json!({ "command": "a | b", "shell": "./shell" });
    let (task, output) = ran(&daemon, spawn);
    assert_eq!((task["command"].as_str(), output.as_str()), (Some("a | b"), "2 -c a | b\n"));
    let spawn = json!({ "command": "a | b", "shell": "no-such-shell" });
    let error = daemon.refused(1002, "task/spawn", spawn);
    assert!(error.message.contains("`no-such-shell`"), "{error:?}");
}

#[test]
fn the_variable_of_the_working_directory_names_it() {
    let lab = Lab::new();
    let daemon = lab.start().env("PWD", "/elsewhere").go();
    fs::create_dir(lab.file("sub")).expect("the workspace is writable");
    let below = lab.file("sub").display().to_string();
    let root = lab.workspace().display().to_string();
    for (cwd, env, wanted) in [
        ("sub", json!({}), below.as_str()),
        (".", json!({}), &root),
        ("sub/../sub/.", json!({}), &below),
        ("/", json!({}), "/"),
        ("sub", json!({ "PWD": "/as/given" }), "/as/given"),
        ("sub", json!({ "PWD": null }), ""),
    ] {
        let command = json!(["printenv", "PWD"]);
        let (_, output) = ran(&daemon, json!({ "command": command, "cwd": cwd, "env": env }));
        assert_eq!(output.trim_end(), wanted, "{cwd} {env}");
    }
}

#[test]
fn a_working_directory_is_relative_to_the_workspace() {
    let lab = Lab::new();
    let daemon = lab.daemon();
    fs::create_dir(lab.file("sub dir")).expect("the workspace is writable");
    let below = lab.file("sub dir").display().to_string();
    for (cwd, wanted) in [("sub dir", below.as_str()), (below.as_str(), below.as_str()), ("/", "/")]
    {
        let (task, output) = ran(&daemon, json!({ "command": "pwd -P", "cwd": cwd }));
        assert_eq!(output.trim_end(), wanted);
        assert_eq!(task["cwd"], wanted);
    }
    fs::write(lab.file("plain"), "").expect("the workspace is writable");
    for cwd in ["nowhere", "plain"] {
        let params = json!({ "command": "true", "cwd": cwd });
        let error = daemon.refused(1002, "task/spawn", params);
        assert!(error.message.contains(cwd), "{error:?}");
    }
    assert_eq!(daemon.call("task/check", json!({}))["tasks"].as_array().map(Vec::len), Some(3));
}

#[test]
fn the_environment_is_the_daemons_with_names_set_and_taken_out() {
    let lab = Lab::new();
    let daemon = lab.start().env("KEPT", "kept").env("GONE", "gone").go();
    let env = json!({ "SET": "a b\nc=d", "GONE": null, "NEVER": null, "EMPTY": "" });
    let command = "echo \"${KEPT-unset}|${GONE-unset}|${SET-unset}|${EMPTY-unset}|${NEVER-unset}\"";
    let (_, output) = ran(&daemon, json!({ "command": command, "env": env }));
    assert_eq!(output, "kept|unset|a b\nc=d||unset\n");
    // As in a shell, the program of an argv is searched for in the changed PATH.
    fs::create_dir(lab.file("bin")).expect("the workspace is writable");
    std::os::unix::fs::symlink("/bin/echo", lab.file("bin/my-echo"))
        .expect("it does not exist yet");
    let path = format!("{}:/usr/bin:/bin", lab.file("bin").display());
    let (_, output) = ran(&daemon, json!({ "command": ["my-echo", "x"], "env": { "PATH": path } }));
    assert_eq!(output, "x\n");
}

#[test]
fn a_task_knows_its_id() {
    let daemon = Lab::new().daemon();
    let (task, output) = ran(&daemon, json!({ "command": "echo $MEANWHILE_TASK_ID" }));
    assert_eq!(task["id"], output.trim_end());
}

#[test]
fn keys_are_not_passed_unless_named() {
    let daemon = Lab::new()
        .start()
        .env("ANTHROPIC_API_KEY", "secret-one")
        .env("OPENAI_API_KEY", "secret-two")
        .env("ANTHROPIC_AUTH_TOKEN", "secret-three")
        .go();
    let command = "tr '\\0' '\\n' < /proc/self/environ";
    let (_, output) = ran(&daemon, json!({ "command": command }));
    assert!(output.contains("MEANWHILE_TASK_ID"), "the environment is shown: {output}");
    assert!(!output.contains("secret"), "a key reached a task: {output}");
    let env = json!({ "OPENAI_API_KEY": "named" });
    let (_, output) = ran(&daemon, json!({ "command": "echo $OPENAI_API_KEY", "env": env }));
    assert_eq!(output, "named\n");
}

#[test]
fn a_token_makes_a_spawn_idempotent() {
    let lab = Lab::new();
    let daemon = lab.daemon();
    let params = json!({ "command": "echo ran >> runs", "clientToken": "t-1" });
    let ids: Vec<i64> = (0..10).map(|_| daemon.ask("task/spawn", params.clone())).collect();
    let answers: Vec<String> = ids
        .into_iter()
        .map(|id| id_of(&daemon.answer(id).expect("each gets the task")["task"]))
        .collect();
    assert!(answers.iter().all(|id| *id == answers[0]), "{answers:?}");
    daemon.exited(&answers[0]);
    assert_eq!(id_of(&daemon.spawn(params.clone())), answers[0], "also after its end");
    drop(daemon.kill9());
    let daemon = lab.daemon();
    assert_eq!(id_of(&daemon.spawn(params.clone())), answers[0], "also after a restart");
    assert_eq!(lab.text("runs"), "ran\n", "it ran once");

    let elsewhere = lab.root().join("elsewhere");
    fs::create_dir(&elsewhere).expect("the test's directory is writable");
    let folder = json!([{ "uri": format!("file://{}", elsewhere.display()), "name": "x" }]);
    let other = lab.start().initialize("workspaceFolders", folder).go();
    let task = other.spawn(params);
    assert_ne!(id_of(&task), answers[0], "a token belongs to its workspace");
    other.exited(&id_of(&task));
}

#[test]
fn a_queue_is_named_by_the_spawn_or_by_the_connection() {
    let lab = Lab::new();
    let daemon = lab.start().options(json!({ "queue": "mine" })).go();
    let own = daemon.run("true");
    assert_eq!(own["queue"], "mine");
    let (other, _) = ran(&daemon, json!({ "command": "true", "queue": "other" }));
    assert_eq!(other["queue"], "other");
    let ids = |params: Value| -> Vec<Value> {
        let drained = daemon.call("task/drain", params);
        let list = drained["notifications"].as_array().expect("a list").clone();
        list.into_iter().map(|notification| notification["task"]["id"].clone()).collect()
    };
    assert_eq!(ids(json!({ "queue": "default" })), Vec::<Value>::new());
    assert_eq!(ids(json!({})), [own["id"].clone()]);
    assert_eq!(ids(json!({ "queue": "other" })), [other["id"].clone()]);
}

#[test]
fn names_may_be_any_text() {
    let daemon = Lab::new().daemon();
    for name in ["ünïcödé 🦀", "a\nb\t\"c\"", "../../etc", "'; drop table tasks; --", "\u{7f}"]
    {
        let params =
            json!({ "command": "true", "label": name, "queue": name, "clientToken": name });
        let (task, _) = ran(&daemon, params);
        assert_eq!(task["label"], name);
        assert_eq!(task["queue"], name);
        let drained = daemon.call("task/drain", json!({ "queue": name }));
        assert_eq!(drained["notifications"].as_array().map(Vec::len), Some(1), "{name}");
    }
}

#[test]
fn a_task_starts_with_a_clean_slate() {
    // Only the three standard descriptors, no blocked or ignored signal, a new session.
    let daemon = Lab::new().daemon();
    let script = "ls -1 /proc/self/fd | wc -l; grep -E '^(SigBlk|SigIgn)' /proc/self/status; \
                  set -- $(sed 's/.*) //' /proc/$$/stat); echo \"$3 $4 $$\"; umask";
    let (_, output) = ran(&daemon, json!({ "command": script }));
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(
        lines[0].trim(),
        "4",
        "three descriptors, and the directory that `ls` has open: {output}"
    );
    assert!(lines[1].ends_with("\t0000000000000000"), "{output}");
    // glibc uses the signals 32 and 33 itself, and its posix_spawn(3) ignores them in every child.
    assert!(lines[2].ends_with("\t0000000180000000"), "{output}");
    let numbers: Vec<&str> = lines[3].split(' ').collect();
    assert!(numbers.iter().all(|number| *number == numbers[2]), "group, session, pid: {output}");
}
