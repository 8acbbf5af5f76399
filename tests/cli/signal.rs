//! `meanwhile signal`.

use serde_json::json;

use crate::harness::{Store, until};

#[test]
fn a_signal_by_name_or_number_reaches_the_task() {
    let store = Store::new();
    let id = store.spawn("trap 'touch heard' USR1; touch ready; while :; do sleep 0.02; done");
    until("the trap is set", || store.workspace().join("ready").exists());
    let heard = store.workspace().join("heard");
    for signal in ["usr1", &libc::SIGUSR1.to_string()] {
        assert_eq!(store.ok(&["signal", "--leader", &id[..4], signal]), "");
        until("the task has got the signal", || heard.exists());
        std::fs::remove_file(&heard).unwrap();
    }
    assert_eq!(store.task(&id)["state"], "running");
    store.ok(&["signal", &id]);
    until("the task has ended", || store.task(&id)["state"] == "exited");
    let task = store.task(&id);
    assert_eq!(task["exit"], json!({"code": null, "signal": "SIGTERM"}));
    let cause = json!({"actor": "client", "message": "SIGTERM sent from the command line"});
    assert_eq!(task["cause"], cause);
}

#[test]
fn what_has_ended_gets_none() {
    let store = Store::new();
    let id = store.spawn("true");
    store.ok(&["wait", &id]);
    let ran = store.run(&["signal", &id]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains(&id), "{}", ran.stderr);
    assert_eq!(store.run(&["signal", &id, "SIGNOPE"]).code, Some(2));
}
