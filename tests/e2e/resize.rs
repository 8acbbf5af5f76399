//! `task/resize`: a terminal of another size.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use crate::harness::{Lab, eventually, id_of, parent};

#[test]
fn a_terminal_takes_the_size_and_its_task_hears_of_it() {
    let daemon = Lab::new().daemon();
    let script = "trap 'stty size' WINCH; echo ready; while :; do sleep 0.02; done";
    let id = id_of(&daemon.spawn(json!({ "command": script, "pty": { "rows": 24, "cols": 80 } })));
    daemon.wait_output(&id, "ready");
    let resize = |rows: u16, cols: u16| json!({ "id": id, "rows": rows, "cols": cols });
    assert_eq!(daemon.call("task/resize", resize(50, 132)), json!({}));
    daemon.wait_output(&id, "50 132");
    daemon.stop(&id);
    daemon.refused(1004, "task/resize", resize(1, 1));
    let none = daemon.sh("sleep 600");
    let params = json!({ "id": none, "rows": 1, "cols": 1 });
    let error = daemon.refused(-32602, "task/resize", params);
    assert!(error.message.contains("has no terminal"), "{error:?}");
    daemon.stop(&none);
    let params = json!({ "id": "ffffffff", "rows": 1, "cols": 1 });
    daemon.refused(1001, "task/resize", params);
}

#[test]
fn a_terminal_that_went_with_its_supervisor_is_refused_by_name() {
    let daemon = Lab::new().daemon();
    let script = "trap '' HUP; echo $$ > pid; while :; do sleep 0.02; done";
    let id = id_of(&daemon.spawn(json!({ "command": script, "pty": { "rows": 24, "cols": 80 } })));
    let shim = parent(daemon.lab().pid_in("pid")).expect("its shim");
    kill(Pid::from_raw(shim), Signal::SIGKILL).expect("it runs");
    let error = eventually("a refusal by the next supervisor", || {
        let params = json!({ "id": id, "rows": 1, "cols": 1 });
        let error = daemon.request("task/resize", params).err()?;
        error.message.contains("its terminal was lost").then_some(error)
    });
    assert_eq!(error.code, 1004, "{error:?}");
    daemon.stop(&id);
}
