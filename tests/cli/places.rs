//! The agent with a place: another store on this machine, in the role of one behind ssh.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use crate::harness::Store;

/// Configures a place called `there`.
fn set_up(store: &Store, more: &str) {
    let there = store.state().with_file_name("there");
    std::fs::create_dir_all(there.join("app")).expect("the test's directory is writable");
    let binary = env!("CARGO_BIN_EXE_meanwhile");
    let command = format!(
        r#"["env", "MEANWHILE_STATE_DIR={0}/state", "sh", "-c", "cd '{0}' && exec '{binary}' serve"]"#,
        there.display()
    );
    store.write_config(&format!(
        "[places.there]\ncommand = {command}\nworkspace = \"~/app\"\n{more}"
    ));
}

const SCRIPT: &str = r#"
[[turn]]
text = "Off it goes."
[[turn.call]]
tool = "background_run"
input = { command = "pwd > ran; cat ran", on = "there" }
[[turn]]
text = "I wait."
[[turn]]
when = "<background-results>"
expect = ["at there", "there/app"]
text = "It has run."
"#;

#[test]
fn an_agent_runs_a_command_at_a_place_that_a_rule_names_and_hears_of_it() {
    let store = Store::new();
    set_up(&store, "");
    let ran = store.state().with_file_name("there").join("app/ran");
    // A rule without a place does not allow a command at one.
    let refused = store.agent(SCRIPT, &["run", "--allow", "bash pwd", "--allow", "bash cat", "go"]);
    assert_eq!(refused.code, Some(3), "{}", refused.stderr);
    assert!(!ran.exists());
    let told = store.agent(SCRIPT, &["run", "--allow", "bash@there", "go"]);
    assert_eq!(told.code, Some(0), "{}", told.stderr);
    assert!(told.text().ends_with("It has run.\n"), "{}", told.text());
    assert!(ran.exists());
}

#[test]
fn a_courier_is_the_first_process_of_a_store() {
    let store = Store::new();
    set_up(&store, "");
    assert!(!store.state().exists());
    store.ok(&["courier", "there"]);
    let end = Instant::now() + Duration::from_secs(60);
    let bells = || std::fs::read_dir(store.state().join("bells")).map_or(0, Iterator::count);
    while bells() == 0 {
        assert!(Instant::now() < end, "the courier has no doorbell");
        std::thread::sleep(Duration::from_millis(5));
    }
    let mode = std::fs::metadata(store.state()).expect("it exists").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}
