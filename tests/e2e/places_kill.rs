//! SIGKILL of every process between a client and a place: each task runs once, each end is reported once.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use crate::harness::{eventually, id_of, until};
use crate::places::Place;

/// The number of tasks, and the number of kills.
const TASKS: usize = 60;
const KILLS: usize = 24;

#[test]
fn each_task_at_a_place_runs_once_and_is_reported_once() {
    let place = Place::new();
    let ran = place.there().join("app/ran");
    fs::create_dir(&ran).expect("the test's directory is writable");
    let mut told: BTreeMap<String, u32> = BTreeMap::new();
    let mut spawned: BTreeMap<String, usize> = BTreeMap::new();
    let mut daemon = place.lab.daemon();
    let mut number = 0;
    for round in 0..KILLS {
        for _ in 0..TASKS / KILLS + 1 {
            if number < TASKS {
                // Each run of a task appends a line to its file.
                let command =
                    format!("echo $$ >> ran/{number}; sleep 0.{}; exit {}", number % 4, number % 7);
                let task = daemon.spawn(json!({"command": command, "on": "build"}));
                spawned.insert(id_of(&task), number);
                number += 1;
            }
        }
        // This does not wait for a condition: the kills must come at varying moments.
        std::thread::sleep(Duration::from_millis((round as u64 * 37) % 90));
        match round % 4 {
            0 | 2 => place.cut(),
            1 => {
                for courier in place.couriers() {
                    let _gone = kill(Pid::from_raw(courier.pid), Signal::SIGKILL);
                }
            }
            _ => {
                daemon.kill9();
                daemon = place.lab.daemon();
            }
        }
        for notification in daemon.drain() {
            *told
                .entry(notification["task"]["id"].as_str().unwrap_or_default().to_owned())
                .or_default() += 1;
        }
    }
    until(Duration::from_secs(60), || {
        for notification in daemon.drain() {
            *told
                .entry(notification["task"]["id"].as_str().unwrap_or_default().to_owned())
                .or_default() += 1;
        }
        (told.len() == TASKS).then_some(())
    });
    let missing: Vec<_> = spawned.keys().filter(|id| !told.contains_key(*id)).collect();
    let standing: Vec<_> = missing.iter().map(|id| daemon.check(id)).collect();
    assert!(missing.is_empty(), "never told: {standing:#?}");
    assert!(told.values().all(|times| *times == 1), "told twice: {told:?}");
    for (id, number) in &spawned {
        let marks = fs::read_to_string(ran.join(number.to_string())).unwrap_or_default();
        assert_eq!(marks.lines().count(), 1, "task {number} ran more than once");
        let task = daemon.check(id);
        assert_eq!(task["exit"]["code"], json!(number % 7), "{task}");
    }
    eventually("nothing is left", || place.ways().len().le(&1).then_some(()));
}
