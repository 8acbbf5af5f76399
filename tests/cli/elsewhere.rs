//! Tasks of a directory other than the one in which a command runs.

use crate::harness::Store;

/// Another workspace of the store.
fn elsewhere(store: &Store) -> String {
    let dir = store.workspace().join("sub");
    std::fs::create_dir(&dir).unwrap();
    dir.to_str().unwrap().to_owned()
}

#[test]
fn a_task_is_found_from_any_directory() {
    let store = Store::new();
    let other = elsewhere(&store);
    let from = |args: &[&str]| store.run(&[&["--workspace", &other], args].concat());
    let ended = store.spawn("echo out; exit 3");
    let web = store.ok(&["spawn", "--label", "web", "sleep 600"]);
    let web = web.trim();
    assert_eq!(from(&["wait", &ended]).code, Some(3));
    assert_eq!(from(&["logs", &ended[..6]]).text(), "out\n");
    assert_eq!(from(&["signal", "web", "CONT"]).code, Some(0));
    // Of a task of this workspace and one of another, the higher exit code counts.
    let here = from(&["spawn", "exit 2"]).text();
    assert_eq!(from(&["wait", here.trim(), &ended]).code, Some(3));
    assert_eq!(from(&["wait", "--any", web, here.trim()]).code, Some(2));
    assert_eq!(from(&["wait", "--timeout", "0s", web, here.trim()]).code, Some(124));
    let stopped = from(&["stop", "web"]);
    assert_eq!(stopped.code, Some(0), "{}", stopped.stderr);
    assert_eq!(store.task(web)["state"], "stopped");
    store.check(&["--workspace", &other, "logs", "00000000"], 1, "no task has an id like");
}

#[test]
fn the_tasks_of_this_directory_come_first_and_an_ambiguous_label_is_refused() {
    let store = Store::new();
    let other = elsewhere(&store);
    store.ok(&["spawn", "--label", "job", "--wait", "echo here"]);
    store.ok(&["--workspace", &other, "spawn", "--label", "job", "--wait", "echo there"]);
    assert_eq!(store.ok(&["logs", "job"]), "here\n");
    assert_eq!(store.ok(&["--workspace", &other, "logs", "job"]), "there\n");
    store.ok(&["--workspace", &other, "spawn", "--label", "job", "--wait", "echo twice"]);
    let ran = store.check(&["--workspace", &other, "logs", "job"], 2, "could be any of 2 tasks");
    assert!(ran.stderr.contains("echo there") && ran.stderr.contains("echo twice"));
    store.ok(&["--workspace", &other, "spawn", "--label", "job", "echo again; sleep 600"]);
    store.ok(&["--workspace", &other, "stop", "job"]);
}

#[test]
fn every_workspace_is_listed() {
    let store = Store::new();
    let other = elsewhere(&store);
    let here = store.spawn("sleep 600");
    let there = store.ok(&["--workspace", &other, "spawn", "exit 4"]);
    store.run(&["wait", there.trim()]);
    let listed = store.ok(&["ps", "--everywhere"]);
    let row = |id: &str| listed.lines().find(|line| line.starts_with(id)).unwrap_or_default();
    assert!(row(&here).contains("running"), "{listed}");
    assert!(row(there.trim()).contains("exit 4") && row(there.trim()).contains(&other), "{listed}");
    let json = store.json(&["ps", "--everywhere", "--state", "exited", "--json"]);
    assert_eq!(json["tasks"].as_array().unwrap().len(), 1, "{json}");
    assert_eq!(json["tasks"][0]["workspace"], other.as_str());
    assert!(!store.ok(&["ps"]).contains(there.trim()));
}

#[test]
fn a_drain_that_finds_nothing_says_where_results_wait() {
    let store = Store::new();
    let other = elsewhere(&store);
    let id = store.ok(&["spawn", "--queue", "a b", "true"]);
    store.run(&["wait", id.trim()]);
    let place = store.workspace().canonicalize().unwrap();
    let way = format!(
        "1 result waits elsewhere: `meanwhile drain --workspace {} --queue 'a b'`",
        place.display()
    );
    let ran = store.check(&["--workspace", &other, "drain"], 0, &way);
    assert_eq!(ran.text(), "");
    store.check(&["drain", "--json"], 0, "elsewhere: `meanwhile drain --queue 'a b'`");
    assert!(!store.ok(&["drain", "--queue", "a b"]).is_empty());
    assert_eq!(store.run(&["--workspace", &other, "drain"]).stderr, "");
    let ran = store.check(&["drain", "--queue", "other"], 0, "");
    assert_eq!(ran.stderr, "", "nothing waits anywhere");
    // The end is only in the task's files: no command has read that workspace since.
    store.spawn("true");
    until_told(&store, &other);
}

#[track_caller]
fn until_told(store: &Store, other: &str) {
    let start = std::time::Instant::now();
    while !store.run(&["--workspace", other, "drain"]).stderr.contains("elsewhere") {
        assert!(start.elapsed() < crate::harness::PATIENCE, "the drain does not mention the end");
    }
}

#[test]
fn a_wait_without_ids_waits_for_the_queue() {
    let store = Store::new();
    assert_eq!(store.run(&["wait"]).code, Some(0), "there is nothing to wait for");
    store.spawn("exit 3");
    store.ok(&["spawn", "--queue", "other", "sleep 600"]);
    assert_eq!(store.run(&["wait"]).code, Some(3));
    assert_eq!(store.run(&["wait"]).code, Some(3), "its end waits in the queue");
    assert_eq!(store.run(&["wait", "--queue", "other", "--timeout", "0s"]).code, Some(124));
    store.ok(&["drain"]);
    assert_eq!(store.run(&["wait"]).code, Some(0));
}
