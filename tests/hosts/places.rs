//! The tool `background_run` with a place: another store on this machine, in the role of one behind ssh.

use std::fs;
use std::os::unix::fs::PermissionsExt;

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
    // Only a batch system provides resources.
    let asked = json!({"command": "true", "on": "there", "gpus": 1});
    let refused = client.refused("background_run", asked);
    assert!(refused.contains("only a batch system provides resources"), "{refused}");
}

#[test]
fn a_batch_system_is_asked_for_resources() {
    let store = Store::new();
    let root = store.state().with_file_name("cluster");
    fs::create_dir_all(root.join("shared")).unwrap();
    let refuse = format!(
        "[ \"$1\" = --version ] && exec echo slurm 22.05.8\necho \"$@\" > '{}'\necho 'sbatch: error: no such resources' >&2\nexit 1",
        root.join("asked").display()
    );
    for (name, line) in [("sbatch", &*refuse), ("squeue", "exit 0"), ("sacct", "exit 1")] {
        let file = root.join(name);
        fs::write(&file, format!("#!/bin/sh\n{line}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }
    store.write_config(&format!(
        "[places.gpu]\nkind = \"slurm\"\nshared = \"{}\"\n",
        root.join("shared").display()
    ));
    let mut command = store.command(&["mcp"]);
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{path}", root.display()));
    let mut client = Client::start(command);
    let asked = json!({
        "command": "true", "on": "gpu", "cpus": 2, "gpus": 1, "memory_mb": 3, "time_seconds": 90,
    });
    client.call("background_run", asked);
    let told = client.call("wait", json!({}));
    assert!(told.contains("no such resources"), "{told}");
    let asked = fs::read_to_string(root.join("asked")).unwrap();
    for option in ["--cpus-per-task=2", "--gres=gpu:1", "--mem=3M", "--time=0:01:30"] {
        assert!(asked.split_whitespace().any(|it| it == option), "{option}: {asked}");
    }
}
