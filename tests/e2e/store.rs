//! If the state directory cannot be used, requests fail with 1005, and the daemon does not use another one.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use crate::harness::{Lab, eventually, gone, id_of};

/// Starts a daemon with an unusable store; asserts that it initializes, refuses tasks, and keeps running.
fn expect_unavailable(lab: &Lab) {
    let daemon = lab.start().noisy().go();
    for _ in 0..2 {
        let error = daemon.refused(1005, "task/spawn", json!({ "command": "echo no >> ran" }));
        assert_eq!(error.data["kind"], "storeUnavailable");
    }
    assert_eq!(lab.text("ran"), "");
}

/// The SQLite files of a store.
fn ledgers(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("the store is there");
    entries
        .map(|entry| entry.expect("the store is readable").path())
        .filter(|path| fs::read(path).is_ok_and(|bytes| bytes.starts_with(b"SQLite format 3\0")))
        .collect()
}

#[test]
fn a_state_directory_that_is_a_file_is_refused() {
    let lab = Lab::new();
    fs::write(lab.state(), "a file").expect("the test's directory is writable");
    expect_unavailable(&lab);
    assert_eq!(fs::read_to_string(lab.state()).expect("it still exists"), "a file");
}

#[test]
fn a_ledger_of_garbage_is_refused_and_left_as_it_is() {
    let lab = Lab::new();
    lab.daemon().run("true");
    let found = ledgers(&lab.state());
    assert!(!found.is_empty(), "the ledger is an SQLite file in the state directory");
    let garbage = vec![0x5a; 16_384];
    for path in &found {
        fs::write(path, &garbage).expect("the store is writable");
        for suffix in ["-wal", "-shm"] {
            let mut beside = path.as_os_str().to_owned();
            beside.push(suffix);
            // The file may not exist.
            let _gone = fs::remove_file(beside);
        }
    }
    expect_unavailable(&lab);
    for path in &found {
        assert_eq!(
            fs::read(path).expect("it still exists"),
            garbage,
            "the file is unchanged, so that a person can repair it"
        );
    }
}

#[test]
fn special_files_hold_nothing_up() {
    let lab = Lab::new();
    let daemon = lab.daemon();
    let kept = daemon.sh("echo kept");
    daemon.exited(&kept);
    let mode = nix::sys::stat::Mode::S_IRWXU;
    let fifo = |path: &str| {
        let path = lab.state().join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("the test owns it");
        nix::unistd::mkfifo(&path, mode).expect("it does not exist yet");
        path
    };
    let paths = ["live/00000001/record", "live/00000002/spec", "done/00000003"].map(fifo);
    drop(daemon.kill9());
    let daemon = lab.daemon();
    assert_eq!(daemon.output(&kept), "kept\n");
    assert_eq!(daemon.run("true")["state"], "exited");
    nix::unistd::mkfifo(&lab.file("script"), mode).expect("it does not exist yet");
    daemon.refused(1002, "task/spawn", json!({ "command": ["./script"] }));
    for path in paths {
        let _ = fs::remove_file(&path);
        let _ = fs::remove_dir(path.parent().expect("a folder"));
    }
}

#[test]
fn a_workspace_that_is_gone_refuses_spawns_with_1002() {
    let lab = Lab::new();
    let workspace = lab.root().join("short-lived");
    fs::create_dir(&workspace).expect("the test's directory is writable");
    let folder = json!([{ "uri": format!("file://{}", workspace.display()), "name": "x" }]);
    let daemon = lab.start().initialize("workspaceFolders", folder).go();
    fs::remove_dir(&workspace).expect("it is empty");
    let error = daemon.refused(1002, "task/spawn", json!({ "command": "true" }));
    assert_eq!(error.data["errno"], nix::libc::ENOENT, "{error:?}");
    assert!(error.message.contains("short-lived"), "{error:?}");
    fs::create_dir(&workspace).expect("the test's directory is writable");
    daemon.run("true");
}

#[test]
fn a_store_taken_away_is_noticed_and_harms_no_task() {
    let lab = Lab::new();
    let daemon = lab.start().noisy().go();
    let id = daemon.sh("echo $$ > pid; exec sleep 600");
    let pid = lab.pid_in("pid");
    let aside = lab.root().join("aside");
    fs::rename(lab.state(), &aside).expect("the test's directory is writable");
    match daemon.request("task/spawn", json!({ "command": "exit 3" })) {
        // The store was created again, or is unavailable; both are correct, but an accepted task must be reported.
        Ok(result) => {
            let other = id_of(&result["task"]);
            assert_eq!(daemon.exited(&other)["task"]["exit"]["code"], 3);
        }
        Err(error) => assert_eq!(error.code, 1005, "{error:?}"),
    }
    assert!(!gone(pid), "the running task still runs");
    // Replace the store that was created meanwhile by the old one; the daemon may be creating it right now.
    eventually("what was there to be back", || {
        let _none = fs::remove_dir_all(lab.state());
        fs::rename(&aside, lab.state()).ok()
    });
    drop(daemon.kill9());
    let daemon = lab.daemon();
    assert_eq!(daemon.check(&id)["state"], "running");
    daemon.stop(&id);
    eventually("it to be gone", || gone(pid).then_some(()));
}

/// Its exit status cannot be known; the daemon reports it as lost, once.
#[test]
fn a_task_whose_files_were_taken_away_is_reported_lost() {
    let lab = Lab::new();
    let gate = lab.gate("gate");
    let daemon = lab.daemon();
    let id = daemon.sh("echo $$ > pid; read x < gate");
    let leader = lab.pid_in("pid");
    fs::remove_dir_all(lab.state().join("live").join(&id)).expect("the task's folder is there");
    let task = daemon.exited(&id)["task"].clone();
    assert_eq!((&task["state"], &task["cause"]["actor"]), (&json!("lost"), &json!("daemon")));
    gate.open();
    eventually("the command to end", || gone(leader).then_some(()));
    assert_eq!(daemon.drain().len(), 1);
    assert_eq!(daemon.drain().len(), 0);
}

#[test]
fn a_state_directory_deleted_under_a_daemon_is_made_again() {
    for what in ["", "live", "bells", "done", "attached"] {
        let lab = Lab::new();
        let daemon = lab.daemon();
        daemon.call("task/check", json!({}));
        // Without the ledger the numbers of a queue start again, and a client ignores numbers that it has seen.
        if !what.is_empty() {
            daemon.run("true");
        }
        let place = lab.state().join(what);
        // Shims that are just starting may write into it meanwhile.
        eventually("it to be gone", || {
            let _again = fs::remove_dir_all(&place);
            (!place.exists()).then_some(())
        });
        // Idle shims are gone too, and the next command opens the same store as this daemon.
        let id = daemon.sh("echo again; exit 3");
        assert_eq!(daemon.exited(&id)["task"]["exit"]["code"], 3, "`{what}` was deleted");
        assert_eq!(daemon.output(&id), "again\n");
        let listed = lab.cli(&["ps", "--json"]);
        assert!(String::from_utf8_lossy(&listed.stdout).contains(&id), "{listed:?}");
        let other = lab.cli(&["spawn", "--", "true"]);
        assert!(other.status.success(), "{other:?}");
        let other = String::from_utf8_lossy(&other.stdout).trim().to_owned();
        daemon.exited(&other);
    }
}

/// Replaces a program that may be running.
fn replace(program: &Path, bytes: &[u8]) {
    fs::remove_file(program).expect("the test owns it");
    fs::write(program, bytes).expect("the store is writable");
    fs::set_permissions(program, fs::Permissions::from_mode(0o700)).expect("the test owns it");
}

#[test]
fn a_damaged_supervisor_of_the_right_length_is_replaced() {
    let lab = Lab::new();
    lab.daemon().run("true");
    let program = || {
        let mut entries = fs::read_dir(lab.state().join("bin")).expect("the store is there");
        entries.next().expect("one supervisor").expect("it is readable").path()
    };
    let whole = fs::read(program()).expect("it is readable");
    let mut script = b"#!/bin/sh\nexit 0\n".to_vec();
    script.resize(whole.len(), 0);
    for damaged in [vec![0; whole.len()], script] {
        replace(&program(), &damaged);
        let ran = lab.cli(&["spawn", "--wait", "--", "echo", "hi"]);
        assert_eq!(String::from_utf8_lossy(&ran.stdout), "hi\n", "{ran:?}");
        assert!(fs::read(program()).expect("it is readable") == whole, "the program was restored");
    }
    // This also works while a daemon runs.
    let daemon = lab.daemon();
    daemon.run("true");
    replace(&program(), &vec![0; whole.len()]);
    for keeper in lab.keepers() {
        kill(Pid::from_raw(keeper.pid), Signal::SIGKILL).expect("it lives");
    }
    for _ in 0..12 {
        daemon.run("true");
    }
}

#[test]
fn a_store_of_another_user_is_refused_and_nothing_is_made_in_it() {
    if !nix::unistd::geteuid().is_root() {
        crate::harness::skip("only root gives a directory away");
        return;
    }
    let lab = Lab::new();
    fs::create_dir(lab.state()).expect("the test's directory is writable");
    std::os::unix::fs::chown(lab.state(), Some(65_534), None).expect("root may do this");
    expect_unavailable(&lab);
    let ran = lab.cli(&["spawn", "--", "true"]);
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(said.contains("belongs to user 65534, and this process runs as user 0"), "{said}");
    assert_eq!(fs::read_dir(lab.state()).expect("root reads it").count(), 0);
}
