//! `meanwhile wait`.

use std::io::Read;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use crate::harness::Store;

#[test]
fn the_highest_exit_code_of_several_counts() {
    let store = Store::new();
    let (good, bad, worse) =
        (store.spawn("true"), store.spawn("exit 3"), store.spawn("kill -9 $$"));
    let check = |ids: &[&String], code: i32| {
        let args: Vec<&str> =
            ["wait"].into_iter().chain(ids.iter().map(|id| id.as_str())).collect();
        let ran = store.run(&args);
        assert_eq!((ran.code, ran.text().as_str()), (Some(code), ""), "{}", ran.stderr);
        assert_eq!(ran.stderr, "", "no progress line without a terminal");
    };
    check(&[&good], 0);
    check(&[&good, &bad], 3);
    check(&[&good, &bad, &worse, &good], 137);
}

#[test]
fn any_is_over_with_the_first() {
    let store = Store::new();
    let (held, failed) = (store.spawn_held(0), store.spawn("exit 4"));
    let ran = store.run(&["wait", "--any", "--json", &held, &failed]);
    assert_eq!(ran.code, Some(4), "{}", ran.stderr);
    let waited = &ran.json_lines()[0];
    assert_eq!(waited["timedOut"], false);
    let states: Vec<_> =
        waited["tasks"].as_array().unwrap().iter().map(|t| (&t["id"], &t["state"])).collect();
    assert_eq!(states, [(&json!(held), &json!("running")), (&json!(failed), &json!("exited"))]);
}

#[test]
fn a_wait_whose_time_is_up_says_who_still_runs() {
    let store = Store::new();
    let held = store.spawn_held(7);
    let says = format!("after 0.2s {held} still runs");
    let ran = store.check(&["wait", "--timeout", "200ms", &held], 124, &says);
    assert_eq!(ran.text(), "");
    let ran = store.run(&["wait", "--timeout", "0s", "--json", &held]);
    assert_eq!((ran.code, &ran.json_lines()[0]["timedOut"]), (Some(124), &json!(true)));
    store.release();
    assert_eq!(store.run(&["wait", &held]).code, Some(7));
}

#[test]
fn a_wait_consumes_nothing() {
    let store = Store::new();
    let id = store.spawn("exit 3");
    store.run(&["wait", &id]);
    let drained = store.json(&["drain", "--json"]);
    assert_eq!(drained["notifications"][0]["task"]["id"], json!(id));
}

/// Interrupts a wait for these tasks; returns its standard error.
fn interrupted(store: &Store, args: &[&str]) -> String {
    let mut child = store.command(args).spawn().unwrap();
    let pid = Pid::from_raw(child.id() as i32);
    // The handler is installed once the mask of caught signals has SIGINT, which is bit 2 (proc_pid_status(5), SigCgt).
    crate::harness::until("the signal is handled", || {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap().trim();
        u64::from_str_radix(caught, 16).unwrap() & 0b10 != 0
    });
    kill(pid, Signal::SIGINT).unwrap();
    let mut told = String::new();
    child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{told}");
    told
}

#[test]
fn an_interrupt_ends_the_wait_only() {
    let store = Store::new();
    let held = store.spawn_held(0);
    let told = interrupted(&store, &["wait", &held]);
    assert!(told.contains("the task goes on"), "{told}");
    assert_eq!(store.task(&held)["state"], "running");
}

#[test]
fn an_interrupt_names_those_that_run() {
    let store = Store::new();
    let (held, over) = (store.spawn_held(0), store.spawn("true"));
    store.run(&["wait", &over]);
    for form in [&["wait"][..], &["wait", "--json"]] {
        let told = interrupted(&store, &[form, &[&held, &over]].concat());
        assert!(told.contains("the task goes on") && told.contains(&held), "{told}");
        assert!(!told.contains(&over), "{told}");
    }
}
