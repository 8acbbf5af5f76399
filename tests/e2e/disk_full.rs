//! A full disk: new tasks are refused with 1005, running tasks are not affected, and everything works again
//! once there is space.

use std::fs::{self, File};
use std::io::Write;
use std::process::Command;

use serde_json::json;

use crate::harness::{Daemon, Lab, eventually, id_of, skip};

/// A small disk for the store. Must be dropped after the daemons that use it.
struct Disk {
    lab: Lab,
}

impl Disk {
    /// Mounts one; `None` if this machine does not allow that.
    fn new(megabytes: u32) -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            skip("a small disk can be mounted by root only");
            return None;
        }
        let lab = Lab::new();
        fs::create_dir(lab.state()).expect("the test's directory is writable");
        let size = format!("size={megabytes}m,mode=0700");
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(lab.state())
            .output()
            .expect("root can run mount");
        if !mount.status.success() {
            skip(&format!("no tmpfs here: {}", String::from_utf8_lossy(&mount.stderr)));
            return None;
        }
        Some(Self { lab })
    }

    /// Fills the disk.
    fn fill(&self) {
        let mut filler = File::create(self.lab.state().join("filler")).expect("an inode is left");
        let block = [1; 4_096];
        while filler.write_all(&block).is_ok() {}
    }

    /// Frees the space again.
    fn free(&self) {
        fs::remove_file(self.lab.state().join("filler")).expect("the filler is there");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily, because a process of a failed test may still have a file open on it.
        let unmount = Command::new("umount").arg("-l").arg(self.lab.state()).status();
        assert!(unmount.is_ok_and(|status| status.success()), "the disk cannot be unmounted");
    }
}

/// Spawns until a task is refused because the disk is full. Returns the tasks that were accepted before,
/// for which space had been allocated; they are reported like any others.
fn refused(daemon: &Daemon) -> Vec<String> {
    let mut accepted = Vec::new();
    loop {
        match daemon.request("task/spawn", json!({ "command": "exit 5" })) {
            Ok(result) => accepted.push(id_of(&result["task"])),
            Err(error) => {
                assert_eq!(error.code, 1005, "{error:?}");
                assert_eq!(error.data["kind"], "storeUnavailable", "{error:?}");
                return accepted;
            }
        }
        assert!(accepted.len() < 200, "tasks are accepted without end on a full disk");
    }
}

/// Asserts that the tasks which were accepted on the full disk are reported.
fn expect_reported(daemon: &Daemon, accepted: &[String]) {
    for id in accepted {
        assert_eq!(daemon.exited(id)["task"]["exit"]["code"], 5);
    }
}

/// Waits until the daemon accepts tasks again, and runs one.
fn expect_recovery(daemon: &Daemon) {
    let task = eventually("a spawn to be accepted again", || {
        daemon.request("task/spawn", json!({ "command": "echo back; exit 2" })).ok()
    });
    let id = id_of(&task["task"]);
    assert_eq!(daemon.exited(&id)["task"]["exit"]["code"], 2);
    assert_eq!(daemon.output(&id), "back\n");
}

#[test]
fn new_tasks_are_refused_and_running_ones_reported_when_there_is_room() {
    let Some(disk) = Disk::new(24) else { return };
    let gate = disk.lab.gate("gate");
    let daemon = disk.lab.start().noisy().go();
    let id = daemon.sh("echo early; read x < gate; exit 6");
    daemon.wait_output(&id, "early");
    disk.fill();
    let mut accepted = refused(&daemon);
    assert_eq!(daemon.check(&id)["state"], "running", "reading goes on");
    gate.open();
    // The task ends while nothing can be written, and its end must not be lost.
    accepted.extend(refused(&daemon));
    disk.free();
    let task = daemon.exited(&id)["task"].clone();
    assert_eq!((&task["state"], &task["exit"]["code"]), (&json!("exited"), &json!(6)));
    expect_reported(&daemon, &accepted);
    expect_recovery(&daemon);
    assert_eq!(daemon.drain().len(), accepted.len() + 2, "each once");
}

#[test]
fn an_end_on_a_full_disk_outlives_the_daemon_too() {
    let Some(disk) = Disk::new(24) else { return };
    let gate = disk.lab.gate("gate");
    let daemon = disk.lab.start().noisy().go();
    let id = daemon.sh("echo $$ > pid; echo early; read x < gate; exit 9");
    let leader = disk.lab.pid_in("pid");
    daemon.wait_output(&id, "early");
    disk.fill();
    drop(daemon.kill9());
    gate.open();
    eventually("the task to end", || crate::harness::state_of(leader).is_none().then_some(()));
    disk.free();
    let daemon = disk.lab.daemon();
    let task = daemon.exited(&id)["task"].clone();
    assert_eq!((&task["state"], &task["exit"]["code"]), (&json!("exited"), &json!(9)), "not lost");
    assert_eq!(daemon.drain().len(), 1);
}

#[test]
fn a_task_that_writes_on_a_full_disk_is_not_harmed() {
    let Some(disk) = Disk::new(24) else { return };
    let gate = disk.lab.gate("gate");
    let daemon = disk.lab.start().noisy().go();
    let script = "echo early; read x < gate; seq 1 200000; echo $? > status; exit 4";
    let id = daemon.sh(script);
    daemon.wait_output(&id, "early");
    disk.fill();
    gate.open();
    let status = disk.lab.line_in("status");
    disk.free();
    let task = daemon.exited(&id)["task"].clone();
    assert_eq!((&task["state"], &task["exit"]["code"]), (&json!("exited"), &json!(4)), "{task}");
    assert_eq!(status, "0\n", "the task's writes fail although only its log is full");
    expect_recovery(&daemon);
}

#[test]
fn output_larger_than_the_disk_harms_neither_task_nor_store() {
    let Some(disk) = Disk::new(40) else { return };
    let daemon = disk.lab.start().noisy().go();
    let id = daemon.sh("head -c 300000000 /dev/zero | tr '\\0' x; echo LAST; exit 3");
    let other = daemon.sh("sleep 0.2; exit 5");
    let task = daemon.exited(&id)["task"].clone();
    assert_eq!((&task["state"], &task["exit"]["code"]), (&json!("exited"), &json!(3)), "{task}");
    assert_eq!(daemon.exited(&other)["task"]["exit"]["code"], 5);
    assert_eq!(task["output"]["total"], 300_000_005);
    expect_recovery(&daemon);
}

#[test]
fn a_daemon_starts_on_a_full_disk_and_recovers() {
    let Some(disk) = Disk::new(24) else { return };
    let gate = disk.lab.gate("gate");
    let daemon = disk.lab.daemon();
    let id = daemon.sh("echo early; read x < gate; exit 8");
    daemon.wait_output(&id, "early");
    daemon.shut_down();
    drop(daemon);
    disk.fill();
    let daemon = disk.lab.start().noisy().go();
    // Without space for its WAL index, not even the ledger can be opened.
    match daemon.request("task/check", json!({ "id": id })) {
        Ok(result) => assert_eq!(result["task"]["state"], "running"),
        Err(error) => assert_eq!(error.code, 1005, "{error:?}"),
    }
    let accepted = refused(&daemon);
    gate.open();
    disk.free();
    eventually("the ledger to be opened", || daemon.request("task/check", json!({})).ok());
    assert_eq!(daemon.exited(&id)["task"]["exit"]["code"], 8);
    expect_reported(&daemon, &accepted);
    expect_recovery(&daemon);
}

#[test]
fn a_brand_new_store_on_a_full_disk_says_so() {
    let Some(disk) = Disk::new(1) else { return };
    disk.fill();
    let daemon = disk.lab.start().silent().noisy().go();
    let params = json!({ "processId": null, "capabilities": {} });
    // Both are correct: refuse to initialize, or initialize and refuse tasks.
    match daemon.request("initialize", params) {
        Ok(_) => {
            daemon.notify("initialized", json!({}));
            assert_eq!(refused(&daemon), Vec::<String>::new());
        }
        Err(error) => assert_eq!(error.code, 1005, "{error:?}"),
    }
}

#[test]
fn a_read_only_state_directory_says_so() {
    let Some(disk) = Disk::new(24) else { return };
    disk.lab.daemon().run("true");
    // A process with a file open for writing would prevent the remount.
    disk.lab.expect_no_process();
    let remount = |how: &str| {
        let status = Command::new("mount")
            .args(["-o", &format!("remount,{how}")])
            .arg(disk.lab.state())
            .status()
            .expect("mount is there");
        assert!(status.success());
    };
    remount("ro");
    let daemon = disk.lab.start().silent().noisy().go();
    match daemon.request("initialize", json!({ "processId": null, "capabilities": {} })) {
        Ok(_) => {
            daemon.notify("initialized", json!({}));
            assert_eq!(refused(&daemon), Vec::<String>::new());
        }
        Err(error) => assert_eq!(error.code, 1005, "{error:?}"),
    }
    drop(daemon);
    remount("rw");
    expect_recovery(&disk.lab.daemon());
}
