//! Two daemons and six command lines on one store at once: each spawn is answered with its actual outcome.

use std::collections::BTreeSet;
use std::process::Output;
use std::thread;

use serde_json::Value;

use crate::harness::{Daemon, Lab};

const COMMAND_LINES: usize = 6;

/// Spawns `count` tasks through parallel command lines; `argv` returns the arguments of the n-th.
fn spawn_all(lab: &Lab, count: usize, argv: impl Fn(usize) -> Vec<String> + Sync) -> Vec<Output> {
    let spawn = |n: usize| {
        let argv = argv(n);
        let words = ["spawn", "--"].into_iter().chain(argv.iter().map(String::as_str));
        lab.cli(&words.collect::<Vec<_>>())
    };
    let run = |line: usize| (line..count).step_by(COMMAND_LINES).map(spawn).collect::<Vec<_>>();
    thread::scope(|scope| {
        let lines: Vec<_> = (0..COMMAND_LINES).map(|line| scope.spawn(move || run(line))).collect();
        lines.into_iter().flat_map(|line| line.join().expect("it does not panic")).collect()
    })
}

/// Every notification of the workspace.
fn drained(daemon: &Daemon) -> Vec<Value> {
    let mut all = Vec::new();
    loop {
        let some = daemon.drain();
        if some.is_empty() {
            return all;
        }
        all.extend(some);
    }
}

#[test]
fn of_two_thousand_short_tasks_none_is_refused_and_none_runs_twice() {
    const TASKS: usize = 2_000;
    let lab = Lab::new();
    let (one, two) = lab.daemons();
    std::fs::create_dir(lab.file("ran")).expect("the workspace is there");
    // If a task ran twice, its second run would fail.
    let spawned = spawn_all(&lab, TASKS, |n| vec!["mkdir".to_owned(), format!("ran/{n}")]);
    let refused: Vec<_> = spawned.iter().filter(|output| !output.status.success()).collect();
    assert!(refused.is_empty(), "{} refused: {:?}", refused.len(), refused.first());
    let ids: BTreeSet<String> = spawned
        .iter()
        .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        .collect();
    assert_eq!(ids.len(), TASKS, "each has an id of its own");
    for id in &ids {
        assert_eq!(one.exited(id)["task"]["exit"]["code"], 0);
    }
    let told = drained(&two);
    let heard: BTreeSet<String> =
        told.iter().filter_map(|it| Some(it["task"]["id"].as_str()?.to_owned())).collect();
    assert_eq!((told.len(), heard), (TASKS, ids), "each is told once");
    let ran = std::fs::read_dir(lab.file("ran")).expect("it exists").count();
    assert_eq!(ran, TASKS);
}

#[test]
fn a_program_that_is_not_there_is_refused_whichever_process_sees_it_first() {
    const SPAWNS: usize = 120;
    let lab = Lab::new();
    let (one, two) = lab.daemons();
    let spawned = spawn_all(&lab, SPAWNS, |n| vec![format!("/no/such/program/{n}")]);
    let accepted: Vec<_> = spawned.iter().filter(|output| output.status.success()).collect();
    assert!(accepted.is_empty(), "{} accepted: {:?}", accepted.len(), accepted.first());
    let listed = lab.cli(&["ps", "--all", "--json"]);
    let listed: Value = serde_json::from_slice(&listed.stdout).expect("JSON");
    assert_eq!(listed["tasks"], serde_json::json!([]), "a refused one was never a task");
    assert_eq!((drained(&one), drained(&two)), (Vec::new(), Vec::new()));
}
