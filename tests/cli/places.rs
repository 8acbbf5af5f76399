//! The agent with a place: another store on this machine, in the role of one behind ssh.

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
