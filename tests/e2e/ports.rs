//! The ports that tasks listen on.

use serde_json::{Value, json};

use crate::harness::{Daemon, Lab, eventually, id_of, skip};

/// A server that listens on a free port outside the range from which the kernel chooses, and prints the port.
const SERVER: &str = "import os, socket, sys, time\n\
    if len(sys.argv) > 1 and os.fork() == 0: os.setsid()\n\
    elif len(sys.argv) > 1: time.sleep(600)\n\
    s = socket.socket()\n\
    for port in range(20000, 30000):\n\
    \u{20}   try: s.bind(('127.0.0.1', port + os.getpid() % 2000)); break\n\
    \u{20}   except OSError: pass\n\
    s.listen()\n\
    print(s.getsockname()[1], flush=True)\n\
    time.sleep(600)\n";

fn has_python() -> bool {
    let found = std::process::Command::new("python3").arg("--version").output().is_ok();
    if !found {
        skip("no python3 here");
    }
    found
}

/// The port that the server prints.
fn port(daemon: &Daemon, id: &str) -> Value {
    let port = eventually("its port", || daemon.output(id).trim().parse::<u16>().ok());
    json!([port])
}

#[test]
fn a_server_is_known_as_one() {
    if !has_python() {
        return;
    }
    let daemon = Lab::new().daemon();
    let others = daemon.sh("sleep 600");
    // The leader listens, or a child in another session does.
    for argv in [json!(["python3", "-c", SERVER]), json!(["python3", "-c", SERVER, "child"])] {
        let id = id_of(&daemon.spawn(json!({ "command": argv, "service": true })));
        let push = daemon.push("task/listening", |push| push["id"] == *id && push["ready"] == true);
        assert_eq!(push["ports"], port(&daemon, &id), "{argv}");
        let task = daemon.check(&id);
        assert_eq!(task["ports"], push["ports"], "{task}");
        assert_eq!((&task["ready"], &task["service"]), (&json!(true), &json!(true)), "{task}");
        assert_eq!(daemon.check(&others).get("ports"), None);
        let ended = daemon.stop(&id);
        assert_eq!((ended.get("ports"), &ended["service"]), (None, &json!(true)), "{ended}");
    }
    daemon.stop(&others);
}

#[test]
fn a_server_of_a_daemon_that_was_killed_is_known_to_the_next_and_to_the_command_line() {
    if !has_python() {
        return;
    }
    let lab = Lab::new();
    let daemon = lab.daemon();
    let id = id_of(&daemon.spawn(json!({ "command": ["python3", "-c", SERVER] })));
    let port = port(&daemon, &id);
    drop(daemon.kill9());
    let listed = lab.cli(&["ps", "--json"]);
    let listed: Value = serde_json::from_slice(&listed.stdout).expect("it is JSON");
    let task = &listed["tasks"][0];
    assert_eq!((&task["ports"], &task["ready"]), (&port, &json!(true)), "{listed}");
    let daemon = lab.daemon();
    let push = daemon.push("task/listening", |push| push["id"] == *id && push["ready"] == true);
    assert_eq!(push["ports"], port);
    daemon.stop(&id);
}
