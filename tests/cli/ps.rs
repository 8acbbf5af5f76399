//! `meanwhile ps`, and the abbreviations of ids.

use serde_json::json;

use crate::harness::Store;

#[test]
fn a_listing_shows_states_with_their_causes() {
    let store = Store::new();
    let failed = store.spawn("exit 3");
    store.run(&["wait", &failed]);
    let stopped = store.spawn_held(0);
    store.ok(&["stop", &stopped]);
    let running = store.spawn_held(0);

    let text = store.ok(&["ps"]);
    assert!(!text.contains('\x1b'), "no colours in a pipe: {text:?}");
    let line = |id: &str| text.lines().find(|line| line.starts_with(id)).expect("it is listed");
    assert!(line(&failed).contains("exit 3"), "{text}");
    assert!(line(&stopped).contains("stopped by client"), "{text}");
    assert!(line(&running).contains("running"), "{text}");
    assert!(text.starts_with("ID "), "{text}");
    let place = |id: &str| text.find(id).expect("it is listed");
    assert!(place(&running) < place(&stopped), "what runs comes first: {text}");
    assert!(place(&stopped) < place(&failed), "then the newest: {text}");

    let check = |state: &str, ids: &[&String]| {
        let listed = store.json(&["ps", "--state", state, "--json"]);
        let found: Vec<_> = listed["tasks"].as_array().unwrap().iter().map(|t| &t["id"]).collect();
        assert_eq!(json!(found), json!(ids), "{state}");
    };
    check("running", &[&running]);
    check("stopped", &[&stopped]);
    check("exited", &[&failed]);
    check("timed-out", &[]);
    check("lost", &[]);
}

#[test]
fn an_empty_workspace_prints_nothing() {
    let store = Store::new();
    assert_eq!(store.ok(&["ps"]), "");
    assert_eq!(store.json(&["ps", "--json"]), json!({"tasks": []}));
}

#[test]
fn a_command_shows_on_one_line_and_moves_no_cursor() {
    let store = Store::new();
    let id = store.spawn("true \x1b[2J\n: second");
    store.run(&["wait", &id]);
    let text = store.ok(&["ps"]);
    assert_eq!(text.lines().count(), 2, "{text:?}");
    assert!(!text.contains('\x1b'), "{text:?}");
}

#[test]
fn tasks_of_another_workspace_are_not_shown() {
    let store = Store::new();
    store.spawn_held(0);
    let other = store.workspace().join("other");
    std::fs::create_dir(&other).unwrap();
    let other = other.to_str().unwrap();
    assert_eq!(store.ok(&["--workspace", other, "ps"]), "");
    assert_eq!(store.ok(&["ps", "--workspace", other]), "");
}

#[test]
fn an_id_may_be_cut_to_what_is_unique() {
    let store = Store::new();
    let id = store.spawn("echo found");
    store.run(&["wait", &id]);
    assert_eq!(store.ok(&["logs", &id[..2]]), "found\n");
    assert_eq!(store.ok(&["logs", &id.to_uppercase()]), "found\n");
    store.check(&["logs", &id[..1]], 2, "is not a task id");
    store.check(&["logs", "zz"], 2, "is not a task id");
    let other = if id.starts_with("00") { "11" } else { "00" };
    let ran = store.check(&["logs", other], 1, "no task has an id like");
    assert!(ran.stderr.contains(&format!("hint: {id}  exit 0")), "{}", ran.stderr);
    store.check(&["logs", &format!("{other}000000")], 1, "no task");
}

#[test]
fn an_ambiguous_id_names_the_candidates() {
    let store = Store::new();
    // With 257 tasks two must share their first two digits.
    let mut ids: Vec<String> = Vec::new();
    let pair = loop {
        let id = store.spawn("true");
        if let Some(other) = ids.iter().find(|other| other[..2] == id[..2]) {
            break (id, other.clone());
        }
        ids.push(id);
    };
    let ran = store.check(&["logs", &pair.0[..2]], 2, "could be any of 2 tasks");
    for id in [&pair.0, &pair.1] {
        assert!(ran.stderr.contains(&format!("hint: {id}")), "{}", ran.stderr);
    }
}
