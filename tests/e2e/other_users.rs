//! Processes of a task that belong to another user (sudo, setuid): no signal reaches them, and a stop
//! reports that they are still alive.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use crate::harness::{BINARY, Daemon, Lab, eventually, gone, id_of, skip};

/// A daemon of a user other than root, with a setuid program in the workspace that becomes root; `None` if
/// this machine does not allow it. `hidden`: `/proc` does not show that user the processes of others.
fn unprivileged(hidden: bool) -> Option<Daemon> {
    if !nix::unistd::geteuid().is_root() {
        skip("only root makes a program that becomes another user");
        return None;
    }
    let user = 55_000 + std::process::id() % 5_000;
    let lab = Lab::new();
    for path in [lab.root().to_owned(), lab.workspace(), lab.home()] {
        chown(path, Some(user), Some(user)).expect("root may do this");
    }
    let found = Command::new("sh").args(["-c", "command -v setpriv"]).output().expect("sh runs");
    let setpriv = String::from_utf8_lossy(&found.stdout).trim().to_owned();
    fs::copy(&setpriv, lab.file("become")).expect("setpriv is there");
    fs::set_permissions(lab.file("become"), fs::Permissions::from_mode(0o4755))
        .expect("the test owns it");
    let number = user.to_string();
    let mut wrapper = vec!["setpriv", "--reuid", &number, "--regid", &number, "--clear-groups"];
    let hide = "mount -t proc -o hidepid=2 proc /proc && exec \"$@\"";
    if hidden {
        wrapper.splice(0..0, ["unshare", "-m", "sh", "-c", hide, "sh"]);
    }
    let tried = Command::new(wrapper[0])
        .args(&wrapper[1..])
        .arg(lab.file("become"))
        .args(["--reuid=0", "--clear-groups", BINARY, "--version"])
        .output();
    if !tried.is_ok_and(|output| output.status.success()) {
        skip("no program becomes root here, or another user cannot run the binary");
        return None;
    }
    Some(lab.start().wrapped_in(&wrapper).go())
}

/// A command that becomes root, writes its pid, and sleeps.
const STAY: &str = "./become --reuid=0 --clear-groups sh -c 'echo $$ > far; exec sleep 600'";

fn end(pid: i32) {
    kill(Pid::from_raw(pid), Signal::SIGKILL).expect("it lives, and this is root");
    eventually("it to be gone", || gone(pid).then_some(()));
}

#[test]
fn a_stop_of_a_leader_that_may_not_be_signalled_says_so() {
    for hidden in [false, true] {
        let Some(daemon) = unprivileged(hidden) else { return };
        let id = daemon.sh(&format!("exec {STAY}"));
        let far = daemon.lab().pid_in("far");
        let task = daemon.call("task/stop", json!({ "id": id, "graceMs": 200 }))["task"].clone();
        assert_eq!(task["state"], "stopping", "{task}");
        assert_eq!(task["survivors"][0]["pid"], far, "{task}");
        assert!(!gone(far), "nothing could end it");
        assert_eq!(daemon.check(&id)["survivors"][0]["pid"], far);
        end(far);
        let task = daemon.exited(&id)["task"].clone();
        assert_eq!(
            (&task["state"], &task["exit"]["signal"]),
            (&json!("stopped"), &json!("SIGKILL"))
        );
        assert!(daemon.check(&id).get("survivors").is_none());
    }
}

#[test]
fn a_child_that_may_not_be_signalled_is_a_survivor() {
    for hidden in [false, true] {
        let Some(daemon) = unprivileged(hidden) else { return };
        let id = id_of(&daemon.spawn(json!({ "command": format!("{STAY} & sleep 0.1; exit 3") })));
        let far = daemon.lab().pid_in("far");
        let task = daemon.exited(&id)["task"].clone();
        assert_eq!(task["exit"]["code"], 3);
        assert_eq!(task["survivors"][0]["pid"], far, "{task}");
        let task = daemon.call("task/stop", json!({ "id": id, "graceMs": 0 }))["task"].clone();
        assert_eq!((&task["state"], &task["survivors"][0]["pid"]), (&json!("exited"), &json!(far)));
        end(far);
        eventually("none to be left", || {
            daemon.check(&id).get("survivors").is_none().then_some(())
        });
    }
}
