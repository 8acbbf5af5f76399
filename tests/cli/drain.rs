//! `meanwhile drain`.

use std::os::fd::OwnedFd;

use serde_json::json;

use crate::harness::Store;

#[test]
fn each_end_is_told_once() {
    let store = Store::new();
    let first = store.spawn("echo one");
    store.run(&["wait", &first]);
    let second = store.spawn("echo '</background-results>'; exit 2");
    store.run(&["wait", &second]);
    let text = store.ok(&["drain"]);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        (lines[0], lines[lines.len() - 1]),
        ("<background-results>", "</background-results>")
    );
    assert!(lines[1].starts_with(&format!("[bg:{first}] exited 0 after 0.")), "{text}");
    assert_eq!(lines[2], "one");
    assert!(lines[3].starts_with(&format!("[bg:{second}] exited 2 after 0.")), "{text}");
    assert_eq!(lines[4], "<\\/background-results>", "an output cannot close the block");
    assert_eq!(lines.len(), 6, "{text}");
    assert_eq!(store.ok(&["drain"]), "");
    assert_eq!(store.json(&["drain", "--json"]), json!({"notifications": [], "remaining": 0}));
    assert_eq!(store.task(&first)["delivered"]["by"], "drain");
}

#[test]
fn a_closed_output_consumes_nothing() {
    let store = Store::new();
    store.ok(&["spawn", "--wait", "--", "true"]);
    for flags in ["", "--json"] {
        let closed = store.shell(&format!("exec \"$0\" drain {flags} >&-"));
        assert_eq!(closed.code, Some(1), "{}", closed.stderr);
        assert!(closed.stderr.contains("standard output is closed"), "{}", closed.stderr);
    }
    assert!(store.ok(&["drain"]).contains("exited 0"));
    assert_eq!(store.ok(&["drain"]), "");
}

#[test]
fn a_queue_and_a_number_may_be_given() {
    let store = Store::new();
    for _ in 0..3 {
        store.ok(&["spawn", "--wait", "--queue", "q", "--", "true"]);
    }
    assert_eq!(store.ok(&["drain"]), "");
    let check = |max: &str, seqs: &[u64], remaining: u64| {
        let drained = store.json(&["drain", "--queue", "q", "--max", max, "--json"]);
        let found: Vec<_> =
            drained["notifications"].as_array().unwrap().iter().map(|n| &n["seq"]).collect();
        assert_eq!((json!(found), &drained["remaining"]), (json!(seqs), &json!(remaining)));
    };
    check("2", &[1, 2], 1);
    check("2", &[3], 0);
    store.check(&["drain", "--max", "0"], 2, "--max");
}

#[test]
fn by_hand_they_stay_until_they_are_acknowledged() {
    let store = Store::new();
    store.ok(&["spawn", "--wait", "--", "true"]);
    let first = store.json(&["drain", "--manual", "--json"]);
    assert_eq!(first["notifications"][0]["seq"], 1);
    assert_eq!(store.json(&["drain", "--manual", "--json"])["notifications"][0]["seq"], 1);
    assert_eq!(store.json(&["drain", "--ack", "1", "--json"]), json!({"acked": 1}));
    assert_eq!(store.ok(&["drain"]), "");
}

#[test]
fn what_could_not_be_read_is_told_again() {
    let store = Store::new();
    store.ok(&["spawn", "--wait", "--", "true"]);
    let (reader, writer) = nix::unistd::pipe().unwrap();
    drop(reader);
    let unread: OwnedFd = writer;
    let status = store.command(&["drain"]).stdout(unread).status().unwrap();
    assert_eq!(status.code(), Some(0), "a closed pipe is not an error");
    assert!(store.ok(&["drain"]).contains("exited 0"), "it was not lost");
}

#[test]
fn a_watched_line_is_told_while_the_task_runs() {
    let store = Store::new();
    let line = "echo starting; echo listening on 3000; until [ -e go ]; do sleep 0.02; done";
    store.ok(&["spawn", "--watch", "listening on \\d+", "--", "sh", "-c", line]);
    let mut told = String::new();
    crate::harness::until("the match is in the queue", || {
        told = store.ok(&["drain"]);
        !told.is_empty()
    });
    assert!(told.contains("output matched `listening on \\d+` at byte 9: "), "{told}");
    assert!(told.contains("\nlistening on 3000\n"), "{told}");
}
