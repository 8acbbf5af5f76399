//! `meanwhile doctor`, and the settings it reads.

use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::harness::Store;

fn status<'a>(report: &'a Value, name: &str) -> &'a str {
    let checks = report["checks"].as_array().expect("a list of checks");
    let check = checks.iter().find(|check| check["name"] == name).expect("it is checked");
    check["status"].as_str().expect("a string")
}

#[test]
fn this_machine_can_run_tasks() {
    let store = Store::new();
    let report = store.json(&["doctor", "--json"]);
    assert_eq!(report["ok"], true, "{report:#}");
    for name in ["state directory", "store", "locks", "programs run there", "shell", "subreaper"] {
        assert_eq!(status(&report, name), "ok", "{report:#}");
    }
    for check in report["checks"].as_array().unwrap() {
        let advised = check.get("cost").is_some() && check.get("remedy").is_some();
        assert_eq!(advised, check["status"] != "ok", "{check}");
    }
    let text = store.ok(&["doctor"]);
    assert!(text.lines().any(|line| line.starts_with("ok    store")), "{text}");
    let left: Vec<_> = std::fs::read_dir(store.state())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with(".doctor"))
        .collect();
    assert_eq!(left, [""; 0], "it cleans up");
}

#[test]
fn an_open_directory_is_a_warning() {
    let store = Store::new();
    store.ok(&["ps"]);
    std::fs::set_permissions(store.state(), PermissionsExt::from_mode(0o755)).unwrap();
    let ran = store.run(&["doctor", "--json"]);
    let report = &ran.json_lines()[0];
    // Opening the store may correct the mode.
    let mode = std::fs::metadata(store.state()).unwrap().permissions().mode() & 0o777;
    let expected = if mode == 0o700 { "ok" } else { "warn" };
    assert_eq!(status(report, "state directory"), expected, "{report:#}");
}

#[test]
fn a_state_directory_that_cannot_be_is_a_failure() {
    let store = Store::new();
    std::fs::write(store.state(), "in the way").unwrap();
    let ran = store.run(&["doctor", "--json"]);
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    let report = &ran.json_lines()[0];
    assert_eq!(report["ok"], false);
    assert_eq!(status(report, "state directory"), "fail");
    assert_eq!(status(report, "store"), "fail");
    let ran = store.run(&["doctor"]);
    assert!(ran.text().contains("is not a directory"), "{}", ran.text());
    store.check(&["ps"], 1, "hint: `meanwhile doctor`");
    std::fs::remove_file(store.state()).unwrap();
}

#[test]
fn a_wrong_setting_is_named_by_file_line_and_key() {
    let store = Store::new();
    store.write_config("[store]\nkeep_for = 7\n");
    let says = format!("{}:2: `store.keep_for`: expected a time", store.config().display());
    let ran = store.check(&["ps"], 1, &says);
    assert!(ran.stderr.starts_with("error: "), "{}", ran.stderr);
    let ran = store.run(&["doctor", "--json"]);
    assert_eq!(ran.code, Some(1));
    assert_eq!(status(&ran.json_lines()[0], "settings"), "fail");
    store.write_config("[store]\nkeep_for = \"1d\"\n");
    store.ok(&["ps"]);
}
