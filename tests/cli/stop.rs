//! `meanwhile stop`.

use serde_json::json;

use crate::harness::{Store, until};

#[test]
fn a_stop_takes_the_whole_tree_and_leaves_its_cause() {
    let store = Store::new();
    // The task ignores the signal, and has a child in another session.
    let id =
        store.spawn("trap '' TERM; setsid sleep 600 & echo $! > child; sleep 600 & wait; wait");
    let child = store.workspace().join("child");
    until("the child is started", || {
        std::fs::read_to_string(&child).is_ok_and(|text| text.ends_with('\n'))
    });
    let text = store.ok(&["stop", "--grace", "100ms", &id]);
    assert!(text.starts_with(&format!("{id}  stopped by client (SIG")), "{text}");
    let pid = std::fs::read_to_string(&child).unwrap();
    assert!(!std::path::Path::new("/proc").join(pid.trim()).exists(), "the child lives");
    let task = store.task(&id);
    assert_eq!((&task["state"], &task["cause"]["actor"]), (&json!("stopped"), &json!("client")));
}

#[test]
fn the_signal_may_be_chosen() {
    let store = Store::new();
    let id = store.spawn("trap 'exit 9' USR1; touch ready; while :; do sleep 0.02; done");
    until("the trap is set", || store.workspace().join("ready").exists());
    let listed = store.json(&["stop", "--signal", "usr1", "--json", &id]);
    assert_eq!(listed["tasks"][0]["exit"], json!({"code": 9, "signal": null}));
    assert_eq!(listed["tasks"][0]["state"], "stopped");
}

#[test]
fn all_of_them_at_once() {
    let store = Store::new();
    let ids = [store.spawn_held(0), store.spawn_held(0), store.spawn_held(0)];
    let text = store.ok(&["stop", "--all"]);
    for id in &ids {
        assert!(text.contains(id), "{text}");
    }
    assert_eq!(store.json(&["ps", "--state", "running", "--json"]), json!({"tasks": []}));
    assert_eq!(store.ok(&["stop", "--all"]), "", "nothing is left");
}

#[test]
fn what_does_not_run_cannot_be_stopped() {
    let store = Store::new();
    let (ended, held) = (store.spawn("true"), store.spawn_held(0));
    store.run(&["wait", &ended]);
    let ran = store.check(&["stop", &ended, &held], 1, &format!("task `{ended}` is not running"));
    assert!(ran.text().contains(&held), "the other task is stopped nevertheless: {}", ran.text());
    store.check(&["stop"], 2, "required");
    store.check(&["stop", "--all", &held], 2, "cannot be used with");
}

#[test]
fn what_an_ended_task_left_running_is_seen_and_ended() {
    let store = Store::new();
    for stop in [None, Some("--all")] {
        let id = store.spawn("sleep 600 & exit 3");
        store.run(&["wait", &id]);
        assert!(store.ok(&["ps"]).contains("exit 3 +1 alive"), "{}", store.ok(&["ps"]));
        let ran = store.run(&["stop", stop.unwrap_or(&id)]);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "the survivor is ended");
        assert!(store.task(&id).get("survivors").is_none(), "{}", store.task(&id));
        assert!(!store.ok(&["ps"]).contains("alive"));
    }
}
