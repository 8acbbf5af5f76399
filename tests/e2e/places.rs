//! Tasks at a place: another store on this machine, reached through a command, like one behind ssh.

use std::fs;
use std::path::PathBuf;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::harness::{BINARY, DEADLINE, Daemon, Gate, Lab, Process, eventually, id_of};

/// What the command of an unreachable place prints.
const DOWN: &str = "ssh: connect to host build port 22: No route to host";

/// A place called `build`, whose home directory is `there` in the test's directory.
pub(crate) struct Place {
    pub(crate) lab: Lab,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self::with("")
    }

    /// Configures a place with more lines in its section of the settings.
    pub(crate) fn with(lines: &str) -> Self {
        let lab = Lab::new();
        let place = Self { lab };
        let there = place.there();
        fs::create_dir_all(there.join("app/sub")).expect("the test's directory is writable");
        fs::create_dir(place.lab.file("sub")).expect("the workspace is writable");
        // `serve` is a child: like ssh, a killed connection leaves the process that it has started.
        let script = format!(
            "test -e '{down}' && {{ echo '{DOWN}' >&2; exit 255; }}; cd '{there}'; exec '{BINARY}' serve",
            down = place.gate().display(),
            there = there.display(),
        );
        let section = format!(
            "[places.build]\ncommand = [\"env\", \"HOME={there}\", \"MEANWHILE_STATE_DIR={there}/state\", \
             \"sh\", \"-c\", \"{script}\"]\nworkspace = \"~/app\"\n{lines}\n",
            there = there.display(),
        );
        place.settings(&section);
        place
    }

    pub(crate) fn settings(&self, text: &str) {
        let folder = self.lab.home().join(".config/meanwhile");
        fs::create_dir_all(&folder).expect("the home is writable");
        fs::write(folder.join("config.toml"), text).expect("the home is writable");
    }

    /// The place's home directory.
    pub(crate) fn there(&self) -> PathBuf {
        self.lab.root().join("there")
    }

    fn gate(&self) -> PathBuf {
        self.lab.root().join("down")
    }

    /// Sets whether it can be reached from now on.
    pub(crate) fn reachable(&self, is: bool) {
        if is {
            let _there = fs::remove_file(self.gate());
        } else {
            fs::write(self.gate(), "").expect("the test's directory is writable");
            self.cut();
        }
    }

    /// Kills the open connection.
    pub(crate) fn cut(&self) {
        for process in self.ways() {
            let _gone = kill(Pid::from_raw(process.pid), Signal::SIGKILL);
        }
    }

    /// The processes of the connections to the place.
    pub(crate) fn ways(&self) -> Vec<Process> {
        let couriers: Vec<i32> = self.couriers().iter().map(|it| it.pid).collect();
        let parent = |it: &Process| crate::harness::parent(it.pid);
        let all = self.lab.processes().into_iter();
        all.filter(|it| parent(it).is_some_and(|parent| couriers.contains(&parent))).collect()
    }

    pub(crate) fn couriers(&self) -> Vec<Process> {
        let is_one = |it: &Process| {
            let line = fs::read(format!("/proc/{}/cmdline", it.pid)).unwrap_or_default();
            line.split(|byte| *byte == 0).nth(1) == Some(b"courier")
                && line.split(|byte| *byte == 0).nth(3) == Some(b"--stay")
        };
        self.lab.processes().into_iter().filter(is_one).collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for courier in self.couriers() {
            let _gone = kill(Pid::from_raw(courier.pid), Signal::SIGTERM);
        }
    }
}

fn spawn(daemon: &Daemon, command: &str) -> String {
    id_of(&daemon.spawn(json!({"command": command, "on": "build"})))
}

#[test]
fn a_task_at_a_place_is_reported_like_a_local_one() {
    let place = Place::new();
    let daemon = place.lab.daemon();
    let params = json!({
        "command": "echo \"in $PWD, $SET, ${MEANWHILE_TEST-nothing}\"; read x < gate; echo more; exit 3",
        "cwd": "sub", "env": {"SET": "set"}, "label": "there", "on": "build",
    });
    let there = place.there();
    let gate = Gate::new(&there.join("app/sub/gate"));
    let id = id_of(&daemon.spawn(params));
    let started = daemon.push("task/started", |push| push["task"]["id"] == *id);
    assert_eq!(started["task"]["on"], "build");
    assert!(started["task"]["pid"].is_u64(), "{started}");
    let first = format!("in {}, set, nothing\n", there.join("app/sub").display());
    daemon.wait_output(&id, &first);
    daemon.call("task/subscribe", json!({"id": id}));
    gate.open();
    daemon.push("task/output", |push| push["id"] == *id && push["data"] == "more\n");
    let told = daemon.exited(&id);
    assert_eq!(told["task"]["exit"]["code"], 3);
    assert_eq!(told["task"]["cwd"], "~/app/sub");
    assert_eq!(told["preview"]["head"], json!(first.clone() + "more\n"));
    assert_eq!(daemon.output(&id), first + "more\n");
    let drained = daemon.drain();
    assert_eq!(drained.len(), 1);
    assert_eq!(drained[0], told);
    assert!(daemon.check(&id).get("contact").is_none());
}

#[test]
fn a_task_waits_while_its_place_is_out_of_reach_and_a_note_says_so() {
    let place = Place::new();
    place.reachable(false);
    let options = json!({"states": ["queued"], "notify": ["state"]});
    let daemon = place.lab.start().options(options).go();
    let id = spawn(&daemon, "echo here at last");
    let task = eventually("the place is known to be away", || {
        Some(daemon.check(&id)).filter(|task| task["contact"].is_object())
    });
    assert_eq!(task["state"], "queued");
    assert_eq!(task["queued"]["reason"], json!({"place": "build"}));
    assert_eq!(task["contact"]["reason"], DOWN);
    // A task on this machine is not affected.
    daemon.run("true");
    place.reachable(true);
    assert_eq!(daemon.exited(&id)["task"]["exit"]["code"], 0);
    // The connection is lost while a task runs: there is a note again, and the end arrives once it is back.
    let gate = Gate::new(&place.there().join("app/gate"));
    let id = spawn(&daemon, "read x < gate; exit 4");
    daemon.push("task/started", |push| push["task"]["id"] == *id);
    place.reachable(false);
    let of_it = |push: &Value| push["task"]["id"] == *id;
    let lost = daemon.push("task/state", |it| of_it(it) && it["task"]["contact"].is_object());
    assert_eq!(lost["task"]["state"], "running");
    assert_eq!(lost["task"]["shown"]["stands"], "running, build out of reach");
    place.reachable(true);
    daemon.whole("the client is told that the place is reached", |log| {
        let mut states = log.iter().filter_map(|entry| entry.push("task/state"));
        let last = states.rfind(|push| of_it(push))?;
        last["task"].get("contact").is_none().then_some(())
    });
    gate.open();
    assert_eq!(daemon.exited(&id)["task"]["exit"]["code"], 4);
}

#[test]
fn a_stop_works_before_the_spawn_at_the_place_and_while_it_is_out_of_reach() {
    let place = Place::new();
    let daemon = place.lab.daemon();
    let runs = spawn(&daemon, "sleep 1000");
    daemon.push("task/started", |push| push["task"]["id"] == *runs);
    let task = daemon.stop(&runs);
    assert_eq!((&task["state"], &task["exit"]["signal"]), (&json!("stopped"), &json!("SIGTERM")));
    assert_eq!(task["cause"]["actor"], "client");
    // A stop that is ordered while the place cannot be reached is carried out once it can.
    let runs = spawn(&daemon, "sleep 1000");
    daemon.push("task/started", |push| push["task"]["id"] == *runs);
    place.reachable(false);
    eventually("the place is known to be away", || daemon.check(&runs).get("contact").cloned());
    let stopped = daemon.call("task/stop", json!({"id": runs}));
    assert_eq!(stopped["task"]["state"], "stopping", "the stop is answered soon");
    // A task that is stopped before it was sent never runs.
    let waits = spawn(&daemon, "touch ran");
    let task = daemon.stop(&waits);
    assert_eq!(task["state"], "stopped");
    assert!(task.get("exit").is_none(), "{task}");
    place.reachable(true);
    assert_eq!(daemon.exited(&runs)["task"]["state"], "stopped");
    assert!(!place.there().join("app/ran").exists());
}

#[test]
fn input_signals_and_a_terminal_reach_a_task_at_its_place() {
    let place = Place::new();
    let daemon = place.lab.daemon();
    let id =
        id_of(&daemon.spawn(json!({"command": "cat; echo end", "stdin": "pipe", "on": "build"})));
    daemon.call("task/write", json!({"id": id, "data": "one\n"}));
    let large = "x".repeat(300_000);
    daemon.call("task/write", json!({"id": id, "data": large, "eof": true}));
    daemon.exited(&id);
    assert_eq!(daemon.output(&id), format!("one\n{large}end\n"));
    let id =
        spawn(&daemon, "trap 'echo got it; exit 5' USR1; echo ready; while :; do sleep 0.05; done");
    daemon.wait_output(&id, "ready\n");
    daemon.call("task/signal", json!({"id": id, "signal": "USR1", "to": "leader"}));
    assert_eq!(daemon.exited(&id)["task"]["exit"]["code"], 5);
    let params = json!({"command": "stty size; read x; stty size", "pty": {"rows": 10, "cols": 40}, "on": "build"});
    let id = id_of(&daemon.spawn(params));
    daemon.wait_output(&id, "10 40");
    daemon.call("task/resize", json!({"id": id, "rows": 20, "cols": 50}));
    daemon.call("task/write", json!({"id": id, "data": "\n"}));
    daemon.exited(&id);
    assert!(daemon.output(&id).contains("20 50"), "{}", daemon.output(&id));
}

#[test]
fn the_output_of_an_ended_task_is_fetched_completely() {
    let place = Place::new();
    let daemon = place.lab.daemon();
    let id = spawn(&daemon, "seq 1 100000");
    let told = daemon.exited(&id);
    assert_eq!(told["task"]["output"], json!({"total": 588_895, "dropped": 0}));
    assert!(
        told["preview"]["tail"].as_str().is_some_and(|tail| tail.ends_with("\n100000\n")),
        "{told}"
    );
    let expected: String = (1..=100_000).map(|n| format!("{n}\n")).collect();
    assert_eq!(daemon.output(&id), expected);
    // Watches are matched in the complete output.
    let params =
        json!({"command": "seq 1 100000", "watch": [{"pattern": "^77777$"}], "on": "build"});
    let id = id_of(&daemon.spawn(params));
    let matched = daemon.push("task/notified", |push| push["notification"]["task"]["id"] == *id);
    assert_eq!(matched["notification"]["match"]["line"], "77777");
    daemon.exited(&id);
}

#[test]
fn unsupported_parameters_are_refused_with_a_reason() {
    let place = Place::with(
        "before = [\"sh\", \"-c\", \"test ! -e broken || { echo no space left; exit 9; }\"]",
    );
    let daemon = place.lab.daemon();
    let refused = |params: Value, part: &str| {
        let error = daemon.refused(-32602, "task/spawn", params);
        assert!(error.message.contains(part), "{error:?}");
    };
    refused(json!({"command": "true", "on": "moon"}), "unknown place `moon`: there are `build`");
    refused(json!({"command": "true", "on": "build", "confine": "look"}), "`confine`");
    refused(json!({"command": "true", "on": "build", "cwd": "/"}), "outside of the workspace");
    fs::write(place.lab.file("broken"), "").expect("the workspace is writable");
    refused(json!({"command": "true", "on": "build"}), "no space left");
    fs::remove_file(place.lab.file("broken")).expect("it exists");
    // If the place refuses a task, its end reports that.
    let id = id_of(&daemon.spawn(json!({"command": ["/no/such/program"], "on": "build"})));
    let told = daemon.exited(&id);
    let cause = told["task"]["cause"]["message"].as_str().unwrap_or_default();
    assert!(cause.contains("/no/such/program"), "{told}");
}

#[test]
fn an_unusable_command_is_reported_with_its_reason() {
    for (command, part) in [
        (r#"["sh", "-c", "echo Welcome to build; sleep 1000"]"#, "`Welcome to build`"),
        (r#"["/no/such/ssh", "build"]"#, "cannot be started"),
        (r#"["sh", "-c", "echo 'sh: 1: meanwhile: not found' >&2; exit 127"]"#, "not found"),
    ] {
        let place = Place::new();
        place.settings(&format!("[places.build]\ncommand = {command}\n"));
        let daemon = place.lab.daemon();
        let id = spawn(&daemon, "true");
        let contact = eventually("the reason", || daemon.check(&id).get("contact").cloned());
        let why = contact["reason"].as_str().unwrap_or_default();
        assert!(why.contains(part), "{command}: {why}");
        daemon.stop(&id);
    }
}

#[test]
fn the_command_line_alone_sends_a_task_and_gets_its_end() {
    let place = Place::new();
    let run = |arguments: &[&str]| {
        let out = place.lab.cli(arguments);
        (out.status.code(), String::from_utf8_lossy(&out.stdout).into_owned())
    };
    let (code, out) =
        run(&["spawn", "--on", "build", "--wait", "--", "sh", "-c", "echo hello; exit 7"]);
    assert_eq!((code, out.as_str()), (Some(7), "hello\n"));
    let (_, out) = run(&["spawn", "--on", "build", "--", "true"]);
    let id = out.trim().to_owned();
    let (code, _) = run(&["wait", &id]);
    assert_eq!(code, Some(0));
    let (_, out) = run(&["restart", &id]);
    let again = out.trim().to_owned();
    let (code, _) = run(&["wait", &again]);
    assert_eq!(code, Some(0));
    let (_, out) = run(&["drain", "--json"]);
    assert!(out.contains(&id) && out.contains(&again), "{out}");
}

#[test]
fn a_different_store_that_answers_loses_no_task() {
    let place = Place::new();
    let daemon = place.lab.daemon();
    let id = spawn(&daemon, "sleep 1000");
    daemon.push("task/started", |push| push["task"]["id"] == *id);
    let (state, away) = (place.there().join("state"), place.there().join("away"));
    place.reachable(false);
    fs::rename(&state, &away).expect("the test owns it");
    place.reachable(true);
    let contact = eventually("another store is seen", || {
        let contact = daemon.check(&id).get("contact").cloned()?;
        contact["reason"].as_str()?.contains("a different store").then_some(contact)
    });
    assert_eq!(daemon.check(&id)["state"], "running", "{contact}");
    place.reachable(false);
    fs::remove_dir_all(&state).expect("the test owns it");
    fs::rename(&away, &state).expect("the test owns it");
    place.reachable(true);
    eventually("the place is reached", || daemon.check(&id).get("contact").is_none().then_some(()));
    assert_eq!(daemon.stop(&id)["state"], "stopped");
}

#[test]
fn a_place_is_tested_before_it_is_added_to_the_settings() {
    let place = Place::new();
    let config = place.lab.home().join(".config/meanwhile/config.toml");
    let before = fs::read_to_string(&config).expect("the test wrote it");
    let there = place.there();
    let serve = format!("cd '{}'; exec '{BINARY}' serve", there.display());
    let state = format!("MEANWHILE_STATE_DIR={}/state", there.display());
    let run = |arguments: &[&str]| {
        let out = place.lab.cli(arguments);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (out.status.code(), text(&out.stdout), text(&out.stderr))
    };
    // A place that does not work is not added to the settings.
    let (code, _, why) =
        run(&["place", "add", "moon", "--", "sh", "-c", "echo no route >&2; exit 255"]);
    assert_eq!(code, Some(1), "{why}");
    assert!(why.contains("no route"), "{why}");
    assert_eq!(fs::read_to_string(&config).expect("it exists"), before);
    let (code, out, why) = run(&[
        "place",
        "add",
        "two",
        "--directory",
        "~/app",
        "--check",
        "git",
        "--",
        "env",
        &state,
        "sh",
        "-c",
        &serve,
    ]);
    assert_eq!(code, Some(0), "{why}");
    assert!(out.starts_with("two: answered in ") && out.contains("Linux"), "{out}");
    let after = fs::read_to_string(&config).expect("it exists");
    assert!(after.starts_with(&before) && after.contains("[places.two]"), "{after}");
    assert!(after.contains("check = \"git\""), "{after}");
    let (code, _, why) = run(&["spawn", "--on", "two", "--", "pwd"]);
    assert!(code != Some(0) && why.contains("not a git repository"), "{why}");
    fs::write(&config, after.replace("\"git\"", "\"hg\"")).expect("writable");
    let (code, _, why) = run(&["spawn", "--on", "two", "--", "pwd"]);
    assert!(
        code != Some(0) && why.contains("`places.two.check`: expected \"git\", found `\"hg\"`"),
        "{why}"
    );
    fs::write(&config, after.replace("check = \"git\"\n", "")).expect("writable");
    let (_, out, _) = run(&["spawn", "--on", "two", "--wait", "--", "pwd"]);
    assert_eq!(out.trim(), there.join("app").to_str().expect("it is UTF-8"));
    let (_, out, _) = run(&["places", "--json"]);
    let places: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(places["places"][1]["name"], "two");
    assert_eq!(places["places"][1]["version"], env!("CARGO_PKG_VERSION"));
    let (code, out, _) = run(&["doctor", "--on", "two"]);
    assert_eq!(code, Some(0), "{out}");
    place.reachable(false);
    let (code, out, _) = run(&["doctor", "--on", "build"]);
    assert_eq!(code, Some(1));
    assert!(out.contains(DOWN), "{out}");
    let (code, _, why) = run(&["doctor", "--on", "mars"]);
    assert!(code != Some(0) && why.contains("unknown place `mars`"), "{why}");
    let (code, ..) = run(&["place", "remove", "two"]);
    assert_eq!(code, Some(0));
    assert_eq!(fs::read_to_string(&config).expect("it exists").trim_end(), before.trim_end());
    let daemon = place.lab.daemon();
    let listed = daemon.call("place/list", json!({}));
    assert_eq!(listed["places"][0]["name"], "build");
}

#[test]
fn a_server_exits_when_its_client_is_silent_or_connects_again() {
    let lab = Lab::new();
    let silent = lab.start().options(json!({"heartbeatMs": 1_000})).go();
    let status = silent.ends_within(DEADLINE);
    assert_eq!(status.code(), Some(1), "the daemon got no `exit`");
    let first = lab.start().options(json!({"client": "laptop"})).noisy().go();
    let other = lab.start().options(json!({"client": "desk"})).go();
    let second = lab.start().options(json!({"client": "laptop"})).go();
    first.ends_within(DEADLINE);
    for lives in [&other, &second] {
        lives.call("task/check", json!({}));
    }
    // The next process removes the bell of the one that was killed.
    assert!(lab.cli(&["ps"]).status.success());
}
