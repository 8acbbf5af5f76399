//! `meanwhile logs`.

use std::io::{BufRead, BufReader, Read};

use serde_json::json;

use crate::harness::Store;

#[test]
fn output_is_shown_byte_for_byte() {
    let store = Store::new();
    let id = store.spawn("printf '\\377\\000\\033[31mx\\r\\n'");
    store.run(&["wait", &id]);
    assert_eq!(store.run(&["logs", &id]).stdout, b"\xff\0\x1b[31mx\r\n");
    assert_eq!(store.run(&["logs", "-f", &id]).stdout, b"\xff\0\x1b[31mx\r\n");
    let lines = store.run(&["logs", "--json", &id]).json_lines();
    assert_eq!(
        json!(lines),
        json!([{"id": id, "offset": 0, "data": "/wAbWzMxbXgNCg==", "encoding": "base64"}])
    );
}

#[test]
fn the_last_lines_are_counted_from_the_end() {
    let store = Store::new();
    let id = store.spawn("seq 1 100000; printf last");
    store.run(&["wait", &id]);
    assert_eq!(store.ok(&["logs", "--tail", "1", &id]), "last");
    assert_eq!(store.ok(&["logs", "-n", "3", &id]), "99999\n100000\nlast");
    assert_eq!(store.ok(&["logs", "-n", "0", &id]), "");
    assert_eq!(store.ok(&["logs", "-n", "100000", &id]).lines().next(), Some("2"));
    let whole = store.ok(&["logs", &id]);
    assert_eq!(store.ok(&["logs", "-n", "999999", &id]), whole);
    assert_eq!(whole.lines().count(), 100_001);
}

#[test]
fn following_ends_with_the_task() {
    let store = Store::new();
    let id = store.spawn("echo one; until [ -e go ]; do sleep 0.02; done; echo two");
    let mut child = store.command(&["logs", "-f", &id]).spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    assert_eq!(line, "one\n");
    store.release();
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "two\n");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn without_following_it_shows_what_there_is() {
    let store = Store::new();
    let id = store.spawn("echo one; touch there; until [ -e go ]; do sleep 0.02; done; echo two");
    crate::harness::until("the task writes", || store.ok(&["logs", &id]) == "one\n");
}

#[test]
fn a_reader_that_leaves_is_not_an_error() {
    let store = Store::new();
    let id = store.spawn("yes | head -c 2000000");
    store.run(&["wait", &id]);
    for args in [&["logs", &id][..], &["logs", "-f", &id], &["logs", "--json", &id]] {
        let mut child = store.command(args).spawn().unwrap();
        let mut some = [0; 1];
        child.stdout.take().unwrap().read_exact(&mut some).unwrap();
        let mut told = String::new();
        child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
        assert_eq!((child.wait().unwrap().code(), told.as_str()), (Some(0), ""), "{args:?}");
    }
}
