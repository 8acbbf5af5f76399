//! The tool `background_run` with a place: another store on this machine, in the role of one behind ssh.

use serde_json::json;

use crate::client::{Client, id_in};
use crate::harness::Store;

#[test]
fn a_task_at_a_place_is_listed_run_and_told() {
    let store = Store::new();
    let argument = |client: &mut Client| {
        let tools = client.result("tools/list", json!({}))["tools"].clone();
        let run = tools.as_array().unwrap().iter().find(|tool| tool["name"] == "background_run");
        run.unwrap()["inputSchema"]["properties"]["on"].clone()
    };
    assert!(argument(&mut Client::claude(&store, "none")).is_null(), "no place is set up");
    let there = store.state().with_file_name("there");
    std::fs::create_dir_all(there.join("app")).unwrap();
    let binary = env!("CARGO_BIN_EXE_meanwhile");
    let command = format!(
        r#"["env", "MEANWHILE_STATE_DIR={0}/state", "sh", "-c", "cd '{0}' && exec '{binary}' serve"]"#,
        there.display()
    );
    store.write_config(&format!(
        "[places.there]\ncommand = {command}\nworkspace = \"~/app\"\n[permissions]\ndeny = [\"bash rm\"]\n"
    ));
    let mut client = Client::claude(&store, "one");
    assert_eq!(argument(&mut client)["enum"], json!(["there"]));
    let said = client.call("background_run", json!({"command": "pwd; exit 3", "on": "there"}));
    let id = id_in(&said);
    let told = client.call("wait", json!({}));
    assert!(told.contains(&format!("[bg:{id}] exited 3 after")), "{told}");
    assert!(told.contains(" at there") && told.contains("there/app"), "{told}");
    // Rules deny commands at a place, too; the error for an unknown place names it.
    let refused = client.refused("background_run", json!({"command": "rm x", "on": "there"}));
    assert!(refused.contains("bash rm"), "{refused}");
    let refused = client.refused("background_run", json!({"command": "true", "on": "moon"}));
    assert!(refused.contains("unknown place `moon`"), "{refused}");
}
