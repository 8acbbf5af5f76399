//! Slots: a limited number of tasks at once, in the order of their spawns, whichever processes are killed.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::harness::{BINARY, Daemon, Lab, eventually, gone, id_of, parent};

/// A lab in whose settings the slot `build` has this limit.
fn lab(limit: u32) -> Lab {
    let lab = Lab::new();
    set_limit(&lab, limit);
    lab
}

fn set_limit(lab: &Lab, limit: u32) {
    settings(lab, &format!("[slots.build]\nlimit = {limit}\n"));
}

fn settings(lab: &Lab, text: &str) {
    let folder = lab.home().join(".config/meanwhile");
    fs::create_dir_all(&folder).expect("the home is writable");
    fs::write(folder.join("config.toml"), text).expect("the home is writable");
}

/// A daemon whose client knows the state `queued`.
fn knowing(lab: &Lab) -> Daemon {
    lab.start().options(json!({ "states": ["queued", "of a version to come"] })).go()
}

fn spawn(daemon: &Daemon, command: &str) -> Value {
    daemon.spawn(json!({ "command": command, "slot": "build" }))
}

/// A task that holds the slot until the gate opens.
fn hold(lab: &Lab, daemon: &Daemon, name: &str) -> (String, i32) {
    let id = id_of(&spawn(daemon, &format!("echo $$ > {name}; read x < gate")));
    (id, lab.pid_in(name))
}

fn sigkill(pid: i32) {
    kill(Pid::from_raw(pid), Signal::SIGKILL).expect("the process lives");
    eventually("the killed process to be gone", || gone(pid).then_some(()));
}

/// Waits until this many shims wait for their turn; returns their pids.
fn waiting_shims(lab: &Lab, count: usize) -> Vec<i32> {
    eventually("the shims that wait", || {
        let live = fs::read_dir(lab.state().join("live")).ok()?;
        let is_task = |name: &str| !name.starts_with('.');
        let lines = live.flatten().filter(|entry| {
            is_task(&entry.file_name().to_string_lossy()) && entry.path().join("line").exists()
        });
        let folders: Vec<_> = lines.map(|entry| entry.path()).collect();
        let works_in = |pid: i32| fs::read_link(format!("/proc/{pid}/cwd")).ok();
        let shims = lab.shims().into_iter().map(|shim| shim.pid);
        // A shim that has just started its leader may still have its FIFO open.
        let parents: Vec<i32> =
            lab.processes().iter().filter_map(|process| parent(process.pid)).collect();
        let waiting: Vec<i32> = shims
            .filter(|pid| works_in(*pid).is_some_and(|at| folders.contains(&at)))
            .filter(|pid| !parents.contains(pid))
            .collect();
        (waiting.len() == count).then_some(waiting)
    })
}

fn started(lab: &Lab, name: &str) -> bool {
    lab.file(name).exists()
}

#[test]
fn a_second_task_waits_for_the_end_of_the_first_and_is_shown_so() {
    let lab = lab(1);
    let gate = lab.gate("gate");
    let (daemon, old) = (knowing(&lab), lab.daemon());
    let (first, _) = hold(&lab, &daemon, "first");
    let second = spawn(&daemon, "echo $$ > second");
    let id = id_of(&second);
    let third = id_of(&spawn(&old, "echo $$ > third"));
    let runs = "echo $$ > first; read x < gate";
    for (task, position, behind, title) in
        [(&id, 1, &first, runs), (&third, 2, &id, "echo $$ > second")]
    {
        let shown = daemon.check(task);
        assert_eq!(shown["state"], "queued", "{shown}");
        let reason = json!({ "slot": "build", "behind": behind, "title": title });
        assert_eq!(
            (&shown["queued"]["position"], &shown["queued"]["reason"]),
            (&json!(position), &reason)
        );
        assert_eq!(shown["queued"]["since"], shown["createdAt"]);
        assert_eq!(shown.get("pid"), None, "{shown}");
    }
    assert_eq!(second["state"], "queued", "the reply has the same state: {second}");
    let shown = old.check(&id);
    assert_eq!((&shown["state"], &shown["queued"]["position"]), (&json!("running"), &json!(1)));
    let listed = |daemon: &Daemon, state: &str| {
        let tasks = daemon.call("task/check", json!({ "state": state }))["tasks"].clone();
        tasks.as_array().expect("a list").len()
    };
    assert_eq!((listed(&daemon, "queued"), listed(&daemon, "running")), (2, 1));
    assert_eq!(listed(&old, "running"), 3);
    daemon.push("tasks/changed", |push| push["running"] == json!([first, id, third]));
    let waited = daemon.call("task/wait", json!({ "ids": [id], "timeoutMs": 0 }));
    assert_eq!(
        (&waited["timedOut"], &waited["tasks"][0]["state"]),
        (&json!(true), &json!("queued"))
    );
    assert!(!started(&lab, "second") && !started(&lab, "third"));
    gate.open();
    for task in [&first, &id, &third] {
        let task = daemon.exited(task)["task"].clone();
        assert_eq!((&task["state"], &task["exit"]["code"]), (&json!("exited"), &json!(0)));
        assert_eq!(task.get("queued"), None, "{task}");
    }
    assert_eq!(daemon.drain().len(), 3);
}

#[test]
fn a_client_that_asks_for_it_is_told_that_a_turn_has_come_and_no_other_is() {
    let lab = lab(1);
    let gate = lab.gate("gate");
    let notify = ["began", "of a version to come"];
    let asks = lab.start().options(json!({ "notify": notify, "states": ["queued"] })).go();
    let other = lab.daemon();
    other.call("task/check", json!({}));
    let (first, _) = hold(&lab, &asks, "first");
    let own = id_of(&spawn(&asks, "true"));
    let far = id_of(&spawn(&other, "true"));
    // A client that did not know that a task waited is not told that its turn has come.
    eventually("the task of the other daemon to be seen waiting", || {
        let listed = asks.call("task/check", json!({}))["tasks"].clone();
        let is_it = |task: &Value| task["id"] == *far && task["state"] == "queued";
        listed.as_array()?.iter().any(is_it).then_some(())
    });
    gate.open();
    for id in [&own, &far] {
        asks.push("task/started", |push| push["task"]["id"] == **id);
        let push = asks.push("task/began", |push| push["task"]["id"] == **id);
        assert!(push["waitedMs"].is_u64() && push["task"]["pid"].is_u64(), "{push}");
        asks.exited(id);
        other.exited(id);
    }
    asks.exited(&first);
    // A task that got the slot at once did not wait, so there is no `task/began` for it.
    let begun = asks.pushes("task/began").len() + other.pushes("task/began").len();
    assert_eq!(begun, 2);
    assert!(asks.drain().iter().all(|told| told["kind"] == "exited"));
}

#[test]
fn a_slot_is_one_over_all_workspaces_and_has_room_for_as_many_as_it_says() {
    let lab = lab(2);
    let gate = lab.gate("gate");
    let other = lab.root().join("other");
    fs::create_dir(&other).expect("the directory is writable");
    let here = knowing(&lab);
    let root = json!([{ "uri": format!("file://{}", other.display()), "name": "other" }]);
    let there = lab.start().initialize("workspaceFolders", root).go();
    let (first, _) = hold(&lab, &here, "first");
    let (second, _) = hold(&lab, &here, "second");
    let far = id_of(&there.spawn(json!({ "command": "echo far", "slot": "build" })));
    let shown = there.check(&far);
    let title = "echo $$ > second; read x < gate";
    let reason = json!({ "slot": "build", "behind": second, "title": title });
    assert_eq!(shown["queued"]["reason"], reason, "{shown}");
    gate.open();
    assert_eq!(there.exited(&far)["task"]["state"], "exited");
    gate.open();
    here.exited(&first);
    here.exited(&second);
}

#[test]
fn a_task_that_is_stopped_while_it_waits_never_runs_and_is_told_once() {
    let lab = lab(1);
    let gate = lab.gate("gate");
    let daemon = knowing(&lab);
    let (first, _) = hold(&lab, &daemon, "first");
    let id = id_of(&spawn(&daemon, "echo $$ > second"));
    let third = id_of(&spawn(&daemon, "echo $$ > third"));
    let task = daemon.stop(&id);
    assert_eq!((&task["state"], &task["cause"]["actor"]), (&json!("stopped"), &json!("client")));
    assert_eq!((task.get("exit"), task.get("pid")), (None, None), "{task}");
    assert_eq!(daemon.exited(&id)["task"], task);
    assert_eq!(daemon.check(&third)["queued"]["position"], 1);
    gate.open();
    daemon.exited(&first);
    daemon.exited(&third);
    assert!(!started(&lab, "second"), "it ran");
    assert_eq!(daemon.drain().len(), 3);
}

#[test]
fn the_deadline_counts_from_the_start_and_waiting_has_its_own() {
    let lab = lab(1);
    let gate = lab.gate("gate");
    let daemon = knowing(&lab);
    let (first, _) = hold(&lab, &daemon, "first");
    let brief = json!({ "command": "echo $$ > brief", "slot": "build", "queueDeadlineMs": 100 });
    let brief = id_of(&daemon.spawn(brief));
    let long = json!({ "command": "echo ran", "slot": "build", "deadlineMs": 20_000 });
    let long = id_of(&daemon.spawn(long));
    let short = json!({ "command": "sleep 600", "slot": "build", "deadlineMs": 50 });
    let short = id_of(&daemon.spawn(short));
    let task = daemon.exited(&brief)["task"].clone();
    assert_eq!((&task["state"], &task["cause"]["actor"]), (&json!("timedOut"), &json!("deadline")));
    assert_eq!((task.get("exit"), started(&lab, "brief")), (None, false), "{task}");
    // By now this task has waited for longer than its deadline allows it to run.
    assert_eq!(daemon.check(&short)["state"], "queued");
    gate.open();
    daemon.exited(&first);
    assert_eq!(daemon.exited(&long)["task"]["state"], "exited");
    let task = daemon.exited(&short)["task"].clone();
    assert_eq!((&task["state"], task["pid"].is_u64()), (&json!("timedOut"), true), "{task}");
}

#[test]
fn a_slot_is_held_until_the_leaders_end_when_shim_and_keeper_are_killed() {
    let lab = lab(1);
    let gate = lab.gate("gate");
    let daemon = knowing(&lab);
    let (first, leader) = hold(&lab, &daemon, "first");
    let second = id_of(&spawn(&daemon, "echo $$ > second"));
    waiting_shims(&lab, 1);
    for keeper in lab.keepers() {
        sigkill(keeper.pid);
    }
    sigkill(parent(leader).expect("the leader lives"));
    eventually("another shim for the first task", || {
        daemon.check(&first);
        (lab.shims().len() >= 2).then_some(())
    });
    assert!(!gone(leader) && !started(&lab, "second"));
    assert_eq!(daemon.check(&second)["state"], "queued");
    gate.open();
    daemon.exited(&first);
    assert_eq!(daemon.exited(&second)["task"]["state"], "exited");
}

/// A task that the holder spawns does not wait for the slot, because then the holder would wait for itself.
#[test]
fn a_holder_does_not_wait_for_the_slot_that_it_holds() {
    let lab = lab(1);
    let daemon = knowing(&lab);
    let id =
        id_of(&spawn(&daemon, &format!("'{BINARY}' spawn --wait --slot build -- echo within")));
    let task = daemon.exited(&id)["task"].clone();
    assert_eq!(task["exit"]["code"], 0, "{task}: {}", daemon.output(&id));
    assert!(daemon.output(&id).contains("within"));
}

#[test]
fn a_signal_to_a_task_that_waits_is_refused_and_not_forgotten() {
    let lab = lab(1);
    let gate = lab.gate("gate");
    let daemon = knowing(&lab);
    let (first, _) = hold(&lab, &daemon, "first");
    let second = id_of(&spawn(&daemon, "echo second"));
    let error = daemon.refused(1004, "task/signal", json!({ "id": second, "signal": "HUP" }));
    assert!(error.message.contains("it is queued"), "{error:?}");
    gate.open();
    daemon.exited(&first);
    assert_eq!(daemon.exited(&second)["task"]["exit"]["code"], 0);
}

#[test]
fn a_task_keeps_its_place_when_its_shim_is_killed() {
    let lab = lab(1);
    let gate = lab.gate("gate");
    let daemon = knowing(&lab);
    let (first, _) = hold(&lab, &daemon, "first");
    let second = id_of(&spawn(&daemon, "echo second >> order"));
    let [shim] = waiting_shims(&lab, 1)[..] else { panic!("one waits") };
    let third = id_of(&spawn(&daemon, "echo third >> order"));
    waiting_shims(&lab, 2);
    sigkill(shim);
    waiting_shims(&lab, 2);
    assert_eq!(daemon.check(&second)["queued"]["position"], 1);
    gate.open();
    for id in [&first, &second, &third] {
        assert_eq!(daemon.exited(id)["task"]["state"], "exited");
    }
    assert_eq!(lab.text("order"), "second\nthird\n");
}

#[test]
fn a_daemon_hears_of_a_task_that_a_command_queued_and_looks_after_it() {
    let lab = lab(1);
    let gate = lab.gate("gate");
    let daemon = knowing(&lab);
    let (first, _) = hold(&lab, &daemon, "first");
    let spawned = lab.cli(&["spawn", "--slot", "build", "echo $$ > second"]);
    let second = String::from_utf8_lossy(&spawned.stdout).trim().to_owned();
    daemon.push("tasks/changed", |push| push["running"] == json!([first, second]));
    let [shim] = waiting_shims(&lab, 1)[..] else { panic!("one waits") };
    // Its command has exited, and its shim and keeper, which knew its status, are killed.
    let keeper = parent(shim).expect("its keeper lives");
    sigkill(keeper);
    sigkill(shim);
    eventually("another shim that waits", || (waiting_shims(&lab, 1) != [shim]).then_some(()));
    gate.open();
    daemon.exited(&first);
    assert_eq!(daemon.exited(&second)["task"]["state"], "exited");
}

#[test]
fn waiting_goes_on_without_any_daemon() {
    let lab = lab(1);
    let gate = lab.gate("gate");
    let daemon = knowing(&lab);
    hold(&lab, &daemon, "first");
    for name in ["second", "third"] {
        spawn(&daemon, &format!("echo $$ > {name}; echo {name} >> order"));
    }
    daemon.kill9();
    gate.open();
    lab.pid_in("second");
    lab.pid_in("third");
    assert_eq!(lab.text("order"), "second\nthird\n");
    let daemon = lab.daemon();
    eventually("all ends", || {
        let tasks = daemon.call("task/check", json!({ "state": "exited" }))["tasks"].clone();
        (tasks.as_array()?.len() == 3).then_some(())
    });
    assert_eq!(daemon.drain().len(), 3);
}

#[test]
fn what_lives_on_after_the_leader_holds_no_slot() {
    let lab = lab(1);
    let gate = lab.gate("gate");
    let daemon = knowing(&lab);
    let first = id_of(&spawn(&daemon, "sleep 600 & echo $! > child; read x < gate"));
    let child = lab.pid_in("child");
    let second = id_of(&spawn(&daemon, "echo $$ > second"));
    gate.open();
    assert_eq!(daemon.exited(&second)["task"]["state"], "exited");
    assert!(!gone(child), "the child still runs");
    assert_eq!(daemon.exited(&first)["task"]["survivors"][0]["pid"], child);
    sigkill(child);
}

#[test]
fn a_limit_that_is_raised_holds_from_the_next_task_on() {
    let lab = lab(1);
    let gate = lab.gate("gate");
    let daemon = knowing(&lab);
    let (first, _) = hold(&lab, &daemon, "first");
    let second = id_of(&spawn(&daemon, "echo $$ > second; read x < gate"));
    waiting_shims(&lab, 1);
    set_limit(&lab, 2);
    let later = knowing(&lab);
    let third = id_of(&spawn(&later, "true"));
    lab.pid_in("second");
    assert_eq!(later.check(&third)["queued"]["position"], 1);
    gate.open_for(2);
    for id in [&first, &second, &third] {
        daemon.exited(id);
    }
}

#[test]
fn a_shim_that_waits_sleeps() {
    let lab = lab(1);
    let gate = lab.gate("gate");
    let daemon = lab.start().options(json!({ "lingerMs": null })).go();
    let (first, _) = hold(&lab, &daemon, "first");
    let second = id_of(&spawn(&daemon, "true"));
    let [shim] = waiting_shims(&lab, 1)[..] else { panic!("one waits") };
    let switches = || -> u64 {
        let status = fs::read_to_string(format!("/proc/{shim}/status")).expect("it lives");
        let counts = status.lines().filter(|line| line.contains("ctxt_switches"));
        counts.filter_map(|line| line.split_whitespace().last()?.parse::<u64>().ok()).sum()
    };
    // The shim may not be asleep at the first check. With a shim that polls, the counter would always change.
    eventually("a second without a wake", || {
        let before = switches();
        std::thread::sleep(std::time::Duration::from_secs(1));
        (switches() == before).then_some(())
    });
    gate.open();
    daemon.exited(&first);
    daemon.exited(&second);
}

#[test]
fn without_a_slot_nothing_of_slots_is_there() {
    let lab = lab(1);
    let daemon = lab.daemon();
    daemon.run("true");
    assert!(!lab.state().join("slots").exists());
}

#[test]
fn what_cannot_be_a_slot_is_refused_by_name() {
    let lab = lab(1);
    let daemon = lab.daemon();
    let wish = json!({ "command": "true", "slot": "tests" });
    let error = daemon.refused(-32602, "task/spawn", wish);
    assert!(error.message.contains("no slot `tests`: expected `build`"), "{error:?}");
    assert_eq!(error.data["field"], "slot", "{error:?}");
    set_limit(&lab, 0);
    let refused = lab.cli(&["spawn", "--slot", "build", "--", "true"]);
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success(), "{text}");
    assert!(text.contains("`slots.build.limit`: expected a whole number from 1"), "{text}");
}

#[test]
fn a_task_follows_others_and_is_skipped_where_one_fails() {
    let lab = Lab::new();
    let gate = lab.gate("gate");
    let daemon = knowing(&lab);
    let after = |command: &str, ids: &[&String], on_failure: &str| {
        let wish = json!({ "command": command, "after": ids, "onFailure": on_failure });
        id_of(&daemon.spawn(wish))
    };
    let good = daemon.sh("read x < gate");
    let bad = daemon.sh("read x < gate; exit 3");
    let next = after("echo $$ > next", &[&good], "skip");
    let skipped = after("echo $$ > skipped", &[&good, &bad], "skip");
    let chained = after("echo $$ > chained", &[&skipped], "skip");
    let ran = after("echo $$ > ran", &[&bad, &skipped], "run");
    let shown = daemon.check(&skipped);
    assert_eq!(shown["state"], "queued", "{shown}");
    assert_eq!(shown["queued"]["reason"], json!({ "after": [good, bad] }), "{shown}");
    assert_eq!(shown["queued"].get("position"), None, "{shown}");
    gate.open_for(2);
    for id in [&next, &ran] {
        let task = daemon.exited(id)["task"].clone();
        assert_eq!((&task["state"], &task["exit"]["code"]), (&json!("exited"), &json!(0)));
    }
    for (id, says) in [
        (&skipped, format!("task `{bad}`, which it waited for, exited with code 3")),
        (&chained, format!("task `{skipped}`, which it waited for, was stopped")),
    ] {
        let task = daemon.exited(id)["task"].clone();
        let cause = json!({ "actor": "dependency", "message": says });
        assert_eq!((&task["state"], &task["cause"]), (&json!("stopped"), &cause), "{task}");
        assert_eq!(task.get("exit"), None, "{task}");
    }
    assert!(!started(&lab, "skipped") && !started(&lab, "chained"));
    // The same applies to tasks that had ended before the spawn.
    let late = after("true", &[&good, &bad], "skip");
    let task = daemon.exited(&late)["task"].clone();
    assert_eq!(task["cause"]["actor"], "dependency", "{task}");
    let told = daemon.drain();
    assert_eq!(told.len(), 7);
    let actors = told.iter().filter(|it| it["task"]["cause"]["actor"] == "dependency").count();
    assert_eq!(actors, 3, "the notifications in the queue have the same cause: {told:#?}");
}

#[test]
fn a_task_that_follows_one_that_waits_for_a_slot_goes_on_in_time() {
    let lab = lab(1);
    let gate = lab.gate("gate");
    let daemon = knowing(&lab);
    let (first, _) = hold(&lab, &daemon, "first");
    // It leaves a process running, which must not delay the tasks behind it.
    let second = id_of(&spawn(&daemon, "sleep 600 & echo $! > child; echo second >> order"));
    let wish = json!({ "command": "echo third >> order", "slot": "build", "after": [second] });
    let third = id_of(&daemon.spawn(wish));
    assert_eq!(daemon.check(&third)["queued"]["reason"], json!({ "after": [second] }));
    let fourth = id_of(&spawn(&daemon, "echo fourth >> order"));
    gate.open();
    for id in [&first, &second, &third, &fourth] {
        assert_eq!(daemon.exited(id)["task"]["state"], "exited");
    }
    // It draws its ticket only when the task that it waits for has ended, and delays no other task before that.
    assert_eq!(lab.text("order"), "second\nfourth\nthird\n");
    sigkill(lab.pid_in("child"));
}

#[test]
fn what_cannot_be_followed_is_refused_by_name() {
    let lab = Lab::new();
    let daemon = lab.daemon();
    let error =
        daemon.refused(-32602, "task/spawn", json!({ "command": "true", "after": ["00000000"] }));
    assert_eq!(error.data["field"], "after[0]", "{error:?}");
    assert!(error.message.contains("no task `00000000` in this workspace"), "{error:?}");
    let many = vec!["00000000"; 65];
    let error = daemon.refused(-32602, "task/spawn", json!({ "command": "true", "after": many }));
    assert_eq!(error.data["field"], "after", "{error:?}");
    assert_eq!(daemon.call("task/check", json!({}))["tasks"], json!([]));
}

#[test]
fn a_command_takes_the_slot_that_its_words_match() {
    let lab = Lab::new();
    let gate = lab.gate("gate");
    settings(&lab, "[slots.build]\nlimit = 1\nmatch = [\"make\", \"npm run build\"]\n");
    let daemon = knowing(&lab);
    let (first, _) = hold(&lab, &daemon, "first");
    let state = |wish: Value| {
        let id = id_of(&daemon.spawn(wish));
        let task = daemon.check(&id);
        daemon.stop(&id);
        task["queued"]["reason"]["slot"] == "build"
    };
    for line in ["cd . && make -j4; true", "sh -c 'npm run build'", "if true; then make; fi"] {
        assert!(state(json!({ "command": line })), "{line}");
    }
    assert!(state(json!({ "command": ["make", "all"] })), "an argv");
    for line in ["sleep 600 # make", "echo make; sleep 600", "sleep 600; npm run test"] {
        assert!(!state(json!({ "command": line })), "{line}");
    }
    gate.open();
    daemon.exited(&first);
}

#[test]
fn a_task_that_waited_when_the_machine_was_started_again_is_lost_and_never_runs() {
    let lab = lab(1);
    let gate = lab.gate("gate");
    let daemon = knowing(&lab);
    let (first, _) = hold(&lab, &daemon, "first");
    let second = id_of(&spawn(&daemon, "echo $$ > second"));
    let [shim] = waiting_shims(&lab, 1)[..] else { panic!("one waits") };
    daemon.kill9();
    for keeper in lab.keepers() {
        sigkill(keeper.pid);
    }
    // The state after a loss of power: no shim, and a record from another boot.
    sigkill(shim);
    let record = lab.state().join("live").join(&second).join("record");
    let file = fs::OpenOptions::new().write(true).open(record).expect("its record");
    std::os::unix::fs::FileExt::write_all_at(&file, &[7; 16], 32).expect("the boot id");
    let daemon = lab.daemon();
    let ended = eventually("the end of the task of another boot", || {
        let task = daemon.check(&second);
        (task["state"] != "running").then_some(task)
    });
    assert_eq!(ended["state"], "lost", "{ended}");
    assert!(!started(&lab, "second"));
    let third = id_of(&spawn(&daemon, "true"));
    gate.open();
    eventually("the end of the first", || {
        (daemon.check(&first)["state"] != "running").then_some(())
    });
    assert_eq!(daemon.exited(&third)["task"]["state"], "exited");
}
