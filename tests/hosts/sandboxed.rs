//! The command line in a sandbox whose processes are killed when the agent's command exits.

use crate::harness::{Ran, Store};

/// Runs a line in a new pid namespace, as a host's sandbox does; `None` if none can be created.
fn sandboxed(store: &Store, env: &[(&str, &str)], line: &str) -> Option<Ran> {
    let unshare = ["-U", "-r", "-p", "-f", "--mount-proc", "--kill-child"];
    let probe = store.program("unshare").args(unshare).arg("true").output();
    if !probe.is_ok_and(|ran| ran.status.success()) {
        return None;
    }
    let mut command = store.program("unshare");
    command.args(unshare).args(["/bin/sh", "-c", line]).envs(env.iter().copied());
    Some(Ran::from(command.env("M", env!("CARGO_BIN_EXE_meanwhile")).output().unwrap()))
}

const CODEX: [(&str, &str); 1] = [("CODEX_THREAD_ID", "thread")];

#[test]
#[expect(clippy::print_stderr, reason = "the reader must see that the test was skipped")]
fn no_id_is_printed_where_the_task_would_end_with_the_command() {
    let store = Store::new();
    let Some(ran) = sandboxed(&store, &CODEX, "\"$M\" spawn -- touch x; true") else {
        eprintln!("skipped: no pid namespace can be created");
        return;
    };
    assert_eq!(ran.text(), "", "{}", ran.stderr);
    assert!(ran.stderr.contains("background_run"), "{}", ran.stderr);
    assert!(!store.workspace().join("x").exists());
    // In a read-only sandbox the error is the same, not advice on how to repair the store.
    let line = "MEANWHILE_STATE_DIR=/proc/none \"$M\" spawn -- true; true";
    let reads = sandboxed(&store, &CODEX, line).unwrap();
    assert_eq!(reads.stderr, ran.stderr);
    let waits = sandboxed(&store, &CODEX, "\"$M\" spawn --wait -- echo within; true").unwrap();
    assert_eq!(waits.text(), "within\n", "{}", waits.stderr);
    // A container whose pid namespace was not created by an agent counts as a normal machine.
    let plain = sandboxed(&store, &[], "\"$M\" spawn -- true; \"$M\" wait; true").unwrap();
    assert_eq!(plain.text().trim().len(), 8, "{}", plain.stderr);
    let within = "CODEX_THREAD_ID=thread sh -c '\"$M\" spawn -- true; \"$M\" wait; true'";
    let agent = sandboxed(&store, &[], within).unwrap();
    assert_eq!(agent.text().trim().len(), 8, "an agent inside a container: {}", agent.stderr);
}
