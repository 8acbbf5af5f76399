//! Which finished tasks are kept, and for how long, with the settings in `config.toml`.

use std::fs;

use serde_json::json;

use crate::harness::{DEADLINE, Daemon, Lab, eventually, id_of, until};

/// A daemon with these lines in the `store` section of the settings.
fn with_settings(lab: &Lab, lines: &str) -> Daemon {
    let directory = lab.home().join(".config/meanwhile");
    fs::create_dir_all(&directory).expect("the test's directory is writable");
    let text = format!("[store]\n{lines}\n");
    fs::write(directory.join("config.toml"), text).expect("the test's directory is writable");
    lab.daemon()
}

/// Runs this many tasks at once until they have ended; returns their ids, oldest first.
fn run_many(daemon: &Daemon, count: usize, command: &str) -> Vec<String> {
    let ids: Vec<String> = (0..count).map(|_| daemon.sh(command)).collect();
    for id in &ids {
        daemon.exited(id);
    }
    ids
}

fn listed(daemon: &Daemon) -> Vec<String> {
    let tasks = daemon.call("task/check", json!({ "limit": 10_000 }))["tasks"].clone();
    tasks.as_array().expect("a list").iter().map(id_of).collect()
}

#[test]
fn the_newest_finished_tasks_are_kept_and_running_ones_do_not_count() {
    let lab = Lab::new();
    let daemon = with_settings(&lab, "keep_count = 5");
    let running = daemon.sh("sleep 600");
    let old = run_many(&daemon, 20, "true");
    assert_eq!(daemon.drain().len(), 20);
    let new: Vec<String> = (0..5).map(|_| id_of(&daemon.run("true"))).collect();
    assert_eq!(daemon.drain().len(), 5);
    daemon.shut_down();
    drop(daemon);
    // A running daemon prunes now and then; a starting one prunes at once.
    let daemon = lab.daemon();
    eventually("all but five to be pruned", || (listed(&daemon).len() <= 6).then_some(()));
    let kept = listed(&daemon);
    assert_eq!(kept[0], running);
    assert!(new.iter().all(|id| kept.contains(id)), "the newest stay: {kept:?}");
    daemon.refused(1001, "task/read", json!({ "id": old[0] }));
    daemon.stop(&running);
}

#[test]
fn tasks_are_kept_for_their_time() {
    let lab = Lab::new();
    let daemon = with_settings(&lab, "keep_for = \"1s\"");
    run_many(&daemon, 3, "true");
    assert_eq!(daemon.drain().len(), 3);
    daemon.run("sleep 1.1");
    daemon.shut_down();
    drop(daemon);
    // A daemon that runs for days prunes now and then; a starting one prunes at once.
    let daemon = lab.daemon();
    eventually("the old ones to be pruned", || (listed(&daemon).len() <= 1).then_some(()));
}

#[test]
fn a_result_that_was_not_told_is_never_pruned_away() {
    let lab = Lab::new();
    let daemon = with_settings(&lab, "keep_count = 2");
    let ids = run_many(&daemon, 12, "echo told; exit 3");
    daemon.shut_down();
    drop(daemon);
    let daemon = lab.daemon();
    let mut told = Vec::new();
    for notification in daemon.drain() {
        assert_eq!(notification["task"]["exit"]["code"], 3);
        let preview = &notification["preview"];
        let shown = [&preview["head"], &preview["tail"]].map(|end| end.as_str().expect("a string"));
        assert_eq!(shown.concat(), "told\n");
        told.push(id_of(&notification["task"]));
    }
    let (mut wanted, count) = (ids, told.len());
    wanted.sort();
    told.sort();
    assert_eq!((told, count), (wanted, 12), "each task is reported exactly once");
}

#[test]
fn the_ends_of_an_output_are_as_long_as_set() {
    let lab = Lab::new();
    let daemon = with_settings(&lab, "output_head = \"64KiB\"\noutput_tail = \"128KiB\"");
    let id = daemon.sh("echo FIRST; yes | head -c 50000000; echo LAST");
    let output = daemon.exited(&id)["task"]["output"].clone();
    let (total, dropped) = (output["total"].as_u64(), output["dropped"].as_u64());
    let kept = total.expect("a number") - dropped.expect("a number");
    // Holes consist of whole blocks, so somewhat more may be kept.
    assert!((192 << 10..=1 << 20).contains(&kept), "{kept} bytes are kept of {output}");
    let text = daemon.output(&id);
    assert!(text.starts_with("FIRST\ny\n") && text.ends_with("y\nLAST\n"));
}

#[test]
fn the_store_stays_within_its_quota() {
    let lab = Lab::new();
    let daemon = with_settings(&lab, "quota = \"8MiB\"");
    let mut refused = 0;
    for _ in 0..30 {
        match daemon.request("task/spawn", json!({ "command": "head -c 1000000 /dev/urandom" })) {
            Ok(result) => drop(daemon.exited(&id_of(&result["task"]))),
            Err(error) => {
                assert_eq!(
                    (error.code, &error.data["limit"]),
                    (1003, &json!("storeQuota")),
                    "{error:?}"
                );
                refused += 1;
            }
        }
        daemon.drain();
    }
    let bound = 11 << 20;
    let within = until(DEADLINE, || (lab.disk_usage() <= bound).then_some(()));
    assert!(within.is_some(), "the store of 8 MiB takes {} kB", lab.disk_usage() / 1024);
    assert!(refused < 30, "finished tasks give way to new ones");
}

#[test]
fn settings_that_make_no_sense_are_said_to_be_so() {
    let lab = Lab::new();
    lab.daemon();
    let directory = lab.home().join(".config/meanwhile");
    fs::create_dir_all(&directory).expect("the test's directory is writable");
    fs::write(directory.join("config.toml"), "[store]\nquota = \"2 potatoes\"\n")
        .expect("the test's directory is writable");
    let output = lab.cli(&["ps"]);
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{output:?}");
    assert!(words.contains("config.toml") && words.contains("quota"), "{words}");
}
