//! `meanwhile restart` and `spawn --replace`.

use crate::harness::Store;

#[test]
fn a_task_is_started_again_from_any_directory() {
    let store = Store::new();
    let first = store.ok(&["spawn", "--label", "job", "--env", "A=b", "--wait", "echo $A; pwd"]);
    let other = store.workspace().join("sub");
    std::fs::create_dir(&other).unwrap();
    let other = other.to_str().unwrap();
    let again = store.ok(&["--workspace", other, "restart", "job"]);
    let again = again.trim();
    store.ok(&["wait", again]);
    assert_eq!(store.ok(&["logs", again]), first);
    let json = store.json(&["restart", "--json", "--env", "A=c", again]);
    let third = json["task"]["id"].as_str().unwrap();
    store.ok(&["wait", third]);
    assert!(store.ok(&["logs", third]).starts_with("c\n"));
}

#[test]
fn what_runs_under_a_label_is_replaced() {
    let store = Store::new();
    let spawn = |line: &str| store.ok(&["spawn", "--replace", "web", line]).trim().to_owned();
    let first = spawn("sleep 600");
    let other = store.ok(&["spawn", "--label", "db", "sleep 600"]);
    let second = spawn("sleep 601");
    let task = store.task(&first);
    assert_eq!((&task["state"], &task["label"]), (&"stopped".into(), &"web".into()));
    assert_eq!(store.task(&second)["state"], "running");
    assert_eq!(store.task(other.trim())["state"], "running");
    store.ok(&["stop", "web", "db"]);
    assert_eq!(store.task(&second)["state"], "stopped");
    store.check(&["spawn", "--replace", "web", "--label", "x", "true"], 2, "cannot be used with");
}
