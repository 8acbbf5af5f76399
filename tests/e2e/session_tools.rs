//! The agent's tools through the real binary: each is called by a script, which checks what the
//! model is told of it, and leaves on the disk what it was asked for.

use crate::agent_timing::settings;
use crate::harness::Lab;
use crate::session::Chat;

/// A turn that calls every tool, each in an answer of its own. `expect` is about the call before.
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
        std::fs::create_dir_all(path.parent().expect("it lies in one")).expect("it is ours");
        std::fs::write(path, text).expect("it is ours");
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
    "what rules hold back, or may hold keys, was left out",
    "b.txt",
    "what rules hold back, or may hold keys, was left out",
    "not allowed: the rule `deny read secrets` forbids to read `secrets`",
]
absent = ["deep", "a.txt"]
text = "nothing there"
"#;
    let chat = Chat::new(&lab, script);
    assert_eq!(chat.prompt("go"), "end_turn");
    chat.says("nothing there");
}
