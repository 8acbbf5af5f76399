//! Variables that are kept out of a task's environment: keys, and those that would mislead its commands.

use std::collections::BTreeMap;
use std::process::Command;

use meanwhile_core::agent::tools::Progress;
use meanwhile_core::agent::vendor::secret_variables;
use meanwhile_core::background::{self, Spawn, Stdin};

use crate::lab::{alone, lab};

/// The variable that marks a process with keys in its environment.
const MARK: &str = "MEANWHILE_TEST_HAS_KEYS";

/// A variable of another agent.
fn foreign(name: &str) -> (&str, &str) {
    (name, "another's")
}

/// No key of the environment reaches a task unless its spawn names it (docs/settings.md). The test runs itself
/// in a child process with keys, because a process cannot safely change its own environment.
#[test]
fn keys_reach_a_task_only_by_name() {
    if std::env::var_os(MARK).is_none() {
        let done = alone(|| {
            Command::new(std::env::current_exe().unwrap())
                .args(["keys::keys_reach_a_task_only_by_name", "--exact"])
                .env(MARK, "1")
                .env("CDPATH", "other")
                .envs(["CLAUDE_CODE_SESSION_ID", "CODEX_THREAD_ID", "MEANWHILE_QUEUE"].map(foreign))
                .envs(secret_variables().map(|name| (name, format!("secret of {name}"))))
                .output()
                .unwrap()
        });
        let told = String::from_utf8_lossy(&done.stdout);
        assert!(done.status.success() && told.contains("1 passed"), "{done:?}");
        return;
    }
    lab(async |lab| {
        // Permissions judge where `cd` leads, so `CDPATH` must not change that.
        lab.write("src/a", "");
        std::fs::create_dir_all(lab.workspace.join("other/src")).unwrap();
        for tool in ["bash", "background_run"] {
            let command = serde_json::json!({ "command": "cd src && ls" });
            let (outcome, progress) = lab.run_by(&lab.toolbox, tool, command).await;
            let [Progress::Spawned(task)] = &progress[..] else { panic!("{outcome:?}") };
            lab.end(task.id).await;
            let chunk = lab.background.read(task.id, 0, 1 << 20).await.unwrap();
            assert_eq!(String::from_utf8_lossy(&chunk.data), "a\n", "{tool}");
        }
        // Its spawns belong to its session, not to that of an agent in whose shell this process runs.
        let ids = "env | grep -E 'SESSION_ID|THREAD_ID|MEANWHILE_QUEUE'";
        let said = lab.ok("bash", serde_json::json!({ "command": ids })).await;
        assert!(said.ends_with("\nMEANWHILE_SESSION_ID=mine"), "{said}");
        let show = "env";
        let shown = lab.ok("bash", serde_json::json!({ "command": show })).await;
        assert!(shown.contains(MARK), "the environment is shown: {shown}");
        assert!(!shown.contains("secret of"), "{shown}");
        for name in secret_variables() {
            let spawned = lab.background.spawn(Spawn {
                command: background::Command::Shell(show.to_owned()),
                cwd: None,
                env: BTreeMap::from([(name.to_owned(), Some("named".to_owned()))]),
                label: None,
                queue: "other".to_owned(),
                deadline: None,
                linger: None,
                stdin: Stdin::Null,
                watches: Vec::new(),
                client_token: None,
                service: false,
                confine: None,
                is_step: false,
                on: None,
                resources: Default::default(),
                line: Default::default(),
            });
            let id = spawned.await.unwrap().task.id;
            lab.end(id).await;
            let chunk = lab.background.read(id, 0, 1 << 20).await.unwrap();
            let shown = String::from_utf8_lossy(&chunk.data);
            assert!(shown.contains(&format!("{name}=named\n")), "{shown}");
            assert!(!shown.contains("secret of"), "{shown}");
        }
    });
}
