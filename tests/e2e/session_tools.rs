//! The agent's tools in the real binary: a script calls each tool and checks its result, and the test checks
//! the files on disk.

use serde_json::{Value, json};

use crate::agent_timing::settings;
use crate::harness::Lab;
use crate::session::Chat;

/// A turn that calls every tool, each in a separate answer. `expect` is about the previous call.
const EVERY_TOOL: &str = r#"
[[turn]]
[[turn.call]]
tool = "update_plan"
input = { plan = [{ step = "listen", status = "in_progress" }] }

[[turn]]
expect = ["the plan is noted"]
[[turn.call]]
tool = "background_run"
input = { command = "cat > heard; echo it is over", stdin = true, label = "ear" }
save = { ear = "task ([0-9a-f]{8})" }

[[turn]]
expect = ["started in the background as task {{ear}}"]
[[turn.call]]
tool = "write_background"
input = { task_id = "{{ear}}", text = "one\n" }

[[turn]]
expect = ["wrote 4 bytes to task {{ear}}"]
[[turn.call]]
tool = "write_background"
input = { task_id = "{{ear}}", text = "two\n", eof = true }

[[turn]]
expect = ["wrote 4 bytes to task {{ear}}, and closed its input"]
[[turn.call]]
tool = "check_background"
input = { task_id = "{{ear}}", wait_seconds = 60 }

[[turn]]
expect = ["exited 0"]
[[turn.call]]
tool = "task_output"
input = { task_id = "{{ear}}", tail = 1 }

[[turn]]
expect = ["it is over"]
[[turn.call]]
tool = "background_run"
input = { command = "exec sleep 1000" }
save = { sleeper = "task ([0-9a-f]{8})" }

[[turn]]
[[turn.call]]
tool = "stop_background"
input = { task_id = "{{sleeper}}" }

[[turn]]
expect = ["stopped by"]
[[turn.call]]
tool = "write_file"
input = { path = "src/note.txt", content = "alpha\nbeta\nalpha\n" }

[[turn]]
expect = ["created", "src/note.txt", "17 bytes, 3 lines"]
[[turn.call]]
tool = "edit_file"
input = { path = "src/note.txt", old_string = "beta", new_string = "gamma" }

[[turn]]
expect = ["1 place changed, line 2"]
[[turn.call]]
tool = "edit_file"
input = { path = "src/note.txt", old_string = "alpha", new_string = "delta" }

[[turn]]
expect = ["was not changed", "2 times, in lines 1, 3"]
[[turn.call]]
tool = "edit_file"
input = { path = "src/note.txt", old_string = "alpha", new_string = "delta", replace_all = true }

[[turn]]
expect = ["2 places changed, lines 1, 3"]
[[turn.call]]
tool = "read_file"
input = { path = "src/note.txt" }

[[turn]]
expect = ["1\tdelta\n", "2\tgamma\n", "3\tdelta\n"]
[[turn.call]]
tool = "glob"
input = { pattern = "*.txt" }

[[turn]]
expect = ["src/note.txt"]
[[turn.call]]
tool = "grep"
input = { pattern = "g.mma" }

[[turn]]
expect = ["src/note.txt:2:gamma"]
[[turn.call]]
tool = "bash"
input = { command = "cat heard src/note.txt | wc -l" }

[[turn]]
expect = ["exited 0", "5"]
text = "all done"
"#;

#[test]
fn every_tool_is_carried_out() {
    let lab = Lab::new();
    let chat = Chat::new(&lab, EVERY_TOOL);
    assert_eq!(chat.prompt("go"), "end_turn");
    chat.says("all done");
    assert_eq!(lab.text("heard"), "one\ntwo\n");
    assert_eq!(lab.text("src/note.txt"), "delta\ngamma\ndelta\n");
    let states: Vec<_> = ["cat > heard; echo it is over", "exec sleep 1000"]
        .map(|command| chat.daemon.check(&chat.task(command))["state"].clone())
        .into();
    assert_eq!(states, ["exited", "stopped"]);
}

#[test]
fn a_denied_command_is_denied_in_the_background_too() {
    let lab = Lab::new();
    settings(&lab, "[permissions]\nallow = [\"bash\"]\ndeny = [\"bash touch\"]\n");
    let script = r#"
[[turn]]
[[turn.call]]
tool = "bash"
input = { command = "touch a" }
[[turn.call]]
tool = "bash"
input = { command = "touch b", run_in_background = true }
[[turn.call]]
tool = "background_run"
input = { command = "touch c" }
[[turn.call]]
tool = "bash"
input = { command = "touch d; mkdir e", run_in_background = true }

[[turn]]
expect = [
    "not allowed: the rule `deny bash touch` forbids `touch a`",
    "not allowed: the rule `deny bash touch` forbids `touch b`",
    "not allowed: the rule `deny bash touch` forbids `touch c`",
    "not allowed: the rule `deny bash touch` forbids `touch d`",
]
[[turn.call]]
tool = "bash"
input = { command = "mkdir f" }

[[turn]]
expect = ["exited 0"]
text = "that was it"
"#;
    let chat = Chat::new(&lab, script);
    assert_eq!(chat.prompt("go"), "end_turn");
    chat.says("that was it");
    let made = ["a", "b", "c", "d", "e", "f"].map(|name| lab.file(name).exists());
    assert_eq!(made, [false, false, false, false, false, true]);
}

#[test]
fn what_may_not_be_read_is_not_found_either() {
    let lab = Lab::new();
    settings(&lab, "[permissions]\ndeny = [\"read secrets\"]\n");
    for (name, text) in [("secrets/a.txt", "key: deep\n"), ("b.txt", "key: open\n")] {
        let path = lab.file(name);
        std::fs::create_dir_all(path.parent().expect("it is in a directory"))
            .expect("the test owns it");
        std::fs::write(path, text).expect("the test owns it");
    }
    let script = r#"
[[turn]]
[[turn.call]]
tool = "grep"
input = { pattern = "key" }
[[turn.call]]
tool = "glob"
input = { pattern = "*.txt" }
[[turn.call]]
tool = "grep"
input = { pattern = "key", path = "secrets" }

[[turn]]
expect = [
    "b.txt:1:key: open",
    "files that rules exclude, or that may contain keys, were left out",
    "b.txt",
    "files that rules exclude, or that may contain keys, were left out",
    "not allowed: the rule `deny read secrets` forbids to read `secrets`",
]
absent = ["deep", "a.txt"]
text = "nothing there"
"#;
    let chat = Chat::new(&lab, script);
    assert_eq!(chat.prompt("go"), "end_turn");
    chat.says("nothing there");
}

/// All clients are notified that a step became a task, whichever process runs the agent.
#[test]
fn a_step_that_moves_is_a_task_to_every_client() {
    let lab = Lab::new();
    let (gate, hold) = (lab.gate("gate"), lab.root().join("hold"));
    settings(&lab, "[agent]\nyield_after = \"2s\"\n");
    let script = format!(
        "[[turn]]\n[[turn.call]]\ntool = \"bash\"\ninput = {{ command = \"read x < gate\" }}\n\
         [[turn]]\nexpect = [\"moved to the background\"]\nhold = \"{}\"\ntext = \"x\"\n",
        hold.display()
    );
    let (chat, other) = (Chat::new(&lab, &script), lab.daemon());
    // If a task runs when a daemon opens the workspace, the daemon lists it but does not push its start.
    assert_eq!(other.call("task/check", json!({}))["tasks"], json!([]));
    let turn = chat.ask("go");
    let id = chat.task("read x < gate");
    for daemon in [&chat.daemon, &other] {
        daemon.push("task/started", |it| it["task"]["id"] == *id && it["task"]["role"] == "step");
    }
    assert_eq!(other.call("task/check", json!({}))["tasks"], json!([]));
    for daemon in [&chat.daemon, &other] {
        let moved = |it: &Value| it["task"]["id"] == *id && it["task"].get("role").is_none();
        daemon.push("task/started", moved);
        assert_eq!(daemon.call("task/check", json!({}))["tasks"][0]["id"], *id);
        assert_eq!(daemon.check(&id).get("role"), None);
    }
    gate.open();
    for daemon in [&chat.daemon, &other] {
        assert_eq!(daemon.exited(&id)["task"].get("role"), None);
    }
    std::fs::write(&hold, "").expect("the test's directory is writable");
    assert!(chat.daemon.answer(turn).is_ok());
}

/// A foreground command is a step, which lists omit; requests with its id work.
#[test]
fn a_step_is_listed_only_where_it_is_asked_for() {
    let lab = Lab::new();
    let script = "[[turn]]\n[[turn.call]]\ntool = \"bash\"\ninput = { command = \"echo stepped\" }\n\
                  [[turn]]\ntext = \"x\"\n";
    let chat = Chat::new(&lab, script);
    assert_eq!(chat.prompt("go"), "end_turn");
    let listed = |params: Value| chat.daemon.call("task/check", params)["tasks"].clone();
    assert_eq!(listed(json!({})), json!([]));
    let steps = listed(json!({ "steps": true }));
    assert_eq!((&steps[0]["role"], &steps[0]["state"]), (&json!("step"), &json!("exited")));
    let id = steps[0]["id"].as_str().expect("an id");
    assert_eq!(chat.daemon.check(id)["role"], "step");
    assert_eq!(chat.daemon.output(id), "stepped\n");
    let removed = chat.daemon.call("task/remove", json!({ "ids": [id] }));
    assert_eq!(removed, json!({ "removed": 1 }));
}

#[test]
fn a_command_that_was_waited_for_is_a_card_live_and_after_a_load() {
    let lab = Lab::new();
    let script = r#"
[[turn]]
[[turn.call]]
tool = "bash"
input = { command = "cat missing; echo shown" }

[[turn]]
expect = ["exited 0 after"]
text = "that was it"
"#;
    let chat = Chat::new(&lab, script);
    assert_eq!(chat.prompt("go"), "end_turn");
    let card = |chat: &Chat| {
        let ended = chat.update("tool_call_update", |it| it["status"] == "completed");
        ended["_meta"]["meanwhile"]["card"].clone()
    };
    let live = card(&chat);
    assert_eq!(
        (&live["title"], &live["outcome"]),
        (&"cat missing; echo shown".into(), &"succeeded".into())
    );
    let says = live["says"].as_str().expect("a text about its end");
    assert!(says.starts_with("exited 0 after ") && !says.contains('\n'), "{says}");
    let output = live["output"].as_str().expect("its output");
    // Only the model is told that the command ran confined, and may have failed because of it.
    assert!(output.ends_with("\nshown") && !output.contains("ran confined"), "{output}");
    let id = chat.id.clone();
    drop(chat);
    assert_eq!(card(&Chat::load(&lab, "[[turn]]\ntext = \"no\"\n", &id)), live);
}
