//! Progress read from output.

use serde_json::{Value, json};

use crate::harness::{Lab, eventually, id_of};

#[test]
fn percentages_are_read_from_the_ways_tools_write_them() {
    let lab = Lab::new();
    let gate = lab.gate("gate");
    let daemon = lab.daemon();
    let check = |tool: &str, text: &str, percent: u64| {
        // No progress is sent for a task that ends at once, so each task waits at the gate.
        let command = format!("printf '{text}'; read x < gate");
        let id = id_of(&daemon.spawn(json!({ "command": command, "label": tool })));
        let push = daemon.push("task/progress", |push| push["id"] == *id);
        assert_eq!(push["percent"], percent, "{tool}: {push}");
        let task = daemon.check(&id);
        assert_eq!(task["progress"]["percent"], percent, "{tool}: {task}");
        gate.open();
        daemon.exited(&id);
    };
    check("plain", "downloading 42%%\\n", 42);
    check("decimal", "done: 99.9%%\\n", 99);
    check("count", "[12/80] compiling x\\n", 15);
    check("bare count", "12/80 files\\n", 15);
    check("pytest", "tests/test_api.py ......                   [ 45%%]\\n", 45);
    check("cargo", "    Building [====>                  ] 20/80: serde, syn\\r", 25);
    check("docker", "#8 [3/4] RUN cargo build\\n", 75);
    check("carriage returns", "10%%\\r20%%\\r30%%\\r", 30);
    check(
        "curl",
        " 55 1024k   55  563k    0     0   600k      0  0:00:01 --:--:--  600k 55%%\\r",
        55,
    );
    check("colours", "\\033[32m 64%%\\033[0m done\\n", 64);
}

#[test]
fn npm_shows_a_progress() {
    let lab = Lab::new();
    let gate = lab.gate("gate");
    let daemon = lab.daemon();
    let line = "[#########.........] / reify:lodash: timing reifyNode:node_modules/x 50%%";
    let id = daemon.sh(&format!("printf '{line}\\r'; read x < gate"));
    let push = daemon.push("task/progress", |push| push["id"] == *id);
    assert_eq!(push["percent"], 50, "{push}");
    gate.open();
    daemon.exited(&id);
}

#[test]
fn what_is_not_progress_makes_none() {
    let lab = Lab::new();
    let gate = lab.gate("gate");
    let daemon = lab.daemon();
    for text in ["see 2024/11/22 for more", "path a/b/c and 80/12", "120% of that", "http://x/1/2"]
    {
        std::fs::write(lab.file("text"), format!("{text}\n")).expect("the workspace is writable");
        let id = daemon.sh("cat text; echo seen; read x < gate");
        daemon.wait_output(&id, "seen");
        gate.open();
        let task = daemon.exited(&id)["task"].clone();
        assert!(task.get("progress").is_none(), "{text}: {task}");
    }
    assert_eq!(daemon.pushes("task/progress"), Vec::<Value>::new());
}

#[test]
fn progress_is_told_at_a_bounded_rate_and_the_last_is_right() {
    let daemon = Lab::new().daemon();
    let id =
        daemon.sh("for i in $(seq 100); do printf \"$i%%\\r\"; sleep 0.01; done; echo; sleep 0.5");
    let task = daemon.exited(&id)["task"].clone();
    let told: Vec<u64> = daemon
        .pushes("task/progress")
        .iter()
        .map(|push| push["percent"].as_u64().expect("a number"))
        .collect();
    let seconds = task["durationMs"].as_u64().expect("a number") as f64 / 1_000.0;
    assert!((told.len() as f64) <= 5.0 * seconds + 2.0, "{} in {seconds} s", told.len());
    assert!(told.is_sorted(), "{told:?}");
    assert_eq!(told.last(), Some(&100), "{told:?}");
}

#[test]
fn a_work_done_token_hears_the_percentages() {
    let lab = Lab::new();
    let gate = lab.gate("gate");
    let daemon = lab.daemon();
    let spawn = json!({ "command": "echo 42%; read x < gate", "workDoneToken": 7 });
    let id = id_of(&daemon.spawn(spawn));
    daemon.push("$/progress", |p| p["token"] == 7 && p["value"]["percentage"] == 42);
    gate.open();
    daemon.exited(&id);
    eventually("the end of the progress", || {
        let last = daemon.pushes("$/progress").last().cloned()?;
        (last["value"]["kind"] == "end").then_some(())
    });
}

#[test]
fn cancelling_a_work_done_token_stops_the_task() {
    let daemon = Lab::new().daemon();
    let task = daemon.spawn(json!({ "command": "sleep 600", "workDoneToken": "mine" }));
    daemon.push("$/progress", |p| p["token"] == "mine" && p["value"]["kind"] == "begin");
    daemon.notify("window/workDoneProgress/cancel", json!({ "token": "mine" }));
    let ended = daemon.exited(&id_of(&task))["task"].clone();
    assert_eq!((&ended["state"], &ended["cause"]["actor"]), (&json!("stopped"), &json!("client")));
}

#[test]
fn a_token_that_is_in_use_is_not_begun_again() {
    let lab = Lab::new();
    let gate = lab.gate("gate");
    let daemon = lab.daemon();
    let spawn = json!({ "command": "read x < gate", "workDoneToken": "one" });
    let ids = [(); 2].map(|()| id_of(&daemon.spawn(spawn.clone())));
    let kinds = || -> Vec<Value> {
        let of = |push: &Value| push["value"]["kind"].clone();
        daemon.pushes("$/progress").iter().map(of).collect()
    };
    gate.open_for(2);
    for id in &ids {
        daemon.exited(id);
    }
    daemon.push("$/progress", |p| p["value"]["kind"] == "end");
    daemon.run("true");
    assert_eq!(kinds(), ["begin", "end"]);
    // Once its task has ended, the token can be reused.
    let id = id_of(&daemon.spawn(spawn));
    gate.open();
    daemon.exited(&id);
    eventually("the progress of the third", || {
        (kinds() == ["begin", "end", "begin", "end"]).then_some(())
    });
}
