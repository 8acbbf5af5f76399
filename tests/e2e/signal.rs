//! `task/signal`: which processes get the signal, and the cause of an end by it.

use serde_json::{Value, json};

use crate::harness::{Daemon, Lab, eventually};

/// A leader and a child in its process group; each writes its name when it gets SIGUSR1.
const BOTH: &str = "(trap 'echo child' USR1; echo $$ > child; while :; do sleep 0.02; done) & \
                    trap 'echo leader' USR1; echo $$ > leader; while :; do wait; done";

fn signal(daemon: &Daemon, id: &str, signal: &Value, to: Option<&str>) {
    let mut params = json!({ "id": id, "signal": signal });
    if let Some(to) = to {
        params["to"] = to.into();
    }
    assert_eq!(daemon.call("task/signal", params), json!({}));
}

/// Waits until the output has this many lines with a name.
fn heard(daemon: &Daemon, id: &str, name: &str, count: usize) {
    eventually(&format!("{count} times `{name}`"), || {
        let output = daemon.output(id);
        // The shell may say that the signal ended its `sleep`.
        (output.lines().filter(|line| *line == name).count() == count).then_some(())
    });
}

#[test]
fn a_group_hears_it_or_the_leader_alone() {
    let daemon = Lab::new().daemon();
    let id = daemon.sh(BOTH);
    daemon.lab().pid_in("child");
    daemon.lab().pid_in("leader");
    signal(&daemon, &id, &json!("SIGUSR1"), Some("leader"));
    heard(&daemon, &id, "leader", 1);
    signal(&daemon, &id, &json!("USR1"), Some("group"));
    heard(&daemon, &id, "leader", 2);
    heard(&daemon, &id, "child", 1);
    signal(&daemon, &id, &json!(libc::SIGUSR1), None);
    heard(&daemon, &id, "leader", 3);
    // If the child had got the first signal too, it would have written three lines.
    heard(&daemon, &id, "child", 2);
    assert_eq!(daemon.check(&id)["state"], "running");
    daemon.call("task/stop", json!({ "id": id, "signal": "SIGKILL" }));
}

#[test]
fn an_end_by_it_says_who_sent_it() {
    for to in ["group", "leader"] {
        let daemon = Lab::new().daemon();
        let id = daemon.sh("echo $$ > pid; exec sleep 600");
        daemon.lab().pid_in("pid");
        signal(&daemon, &id, &json!("SIGUSR2"), Some(to));
        let pushed = daemon.exited(&id);
        let task = &pushed["task"];
        assert_eq!(task["state"], "exited", "{task}");
        assert_eq!(task["exit"], json!({ "code": null, "signal": "SIGUSR2" }));
        let cause = json!({ "actor": "client", "message": "SIGUSR2 sent by the client" });
        assert_eq!(task["cause"], cause);
        assert_eq!(
            daemon.drain()[0]["task"]["cause"],
            cause,
            "the notification in the queue has the same cause"
        );
        assert_eq!(daemon.check(&id)["cause"], cause);
    }
}

#[test]
fn an_end_of_its_own_has_no_cause() {
    let daemon = Lab::new().daemon();
    for (line, exit) in [
        ("trap 'exit 7' USR1; echo $$ > pid; ", json!({ "code": 7, "signal": null })),
        ("trap 'kill -9 $$' USR1; echo $$ > pid; ", json!({ "code": null, "signal": "SIGKILL" })),
    ] {
        let id = daemon.sh(&format!("{line} while :; do sleep 0.02; done"));
        daemon.lab().pid_in("pid");
        signal(&daemon, &id, &json!("SIGUSR1"), Some("leader"));
        let pushed = daemon.exited(&id);
        let task = &pushed["task"];
        assert_eq!((&task["exit"], task.get("cause")), (&exit, None), "{task}");
        std::fs::remove_file(daemon.lab().workspace().join("pid")).expect("it was written");
    }
}

#[test]
fn what_does_not_run_gets_none() {
    let daemon = Lab::new().daemon();
    let id = daemon.sh("true");
    daemon.exited(&id);
    daemon.refused(1004, "task/signal", json!({ "id": id, "signal": "HUP" }));
    daemon.refused(1001, "task/signal", json!({ "id": "ffffffff", "signal": "HUP" }));
    for signal in [json!("NOPE"), json!(""), json!(0), json!(-9), json!(65), json!(1e9), json!([])]
    {
        let error = daemon.refused(-32602, "task/signal", json!({ "id": id, "signal": signal }));
        assert_eq!(error.data["field"], "signal", "{signal}: {error:?}");
    }
}
